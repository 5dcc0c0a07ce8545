"""Exports: from an object or a query in Materialize to verified files with a manifest."""
