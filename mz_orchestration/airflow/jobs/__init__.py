"""What operators and triggers carry out: the same job in a worker or in a triggerer, described by small JSON."""
