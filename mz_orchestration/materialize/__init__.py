"""Materialize: sessions, names, types and the COPY TO statement."""
