"""A stand-in for Materialize: a real PostgreSQL 18 behind a pgwire proxy that adds what PostgreSQL lacks.

PostgreSQL answers the protocol, the transactions and the SQL. The proxy replaces the statements only Materialize
knows by statements PostgreSQL knows, and carries out ``COPY ... TO 's3://...'`` itself. Run it as
``python -m mz_orchestration.local.materialize``.
"""
