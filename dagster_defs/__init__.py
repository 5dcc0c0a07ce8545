"""Example code location."""
