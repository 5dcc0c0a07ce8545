"""Verified exports from Materialize to object stores and warehouses."""

__version__ = "0.1.0"
