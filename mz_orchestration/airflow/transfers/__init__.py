"""Transfers: from Materialize into other systems."""
