"""A stand-in for Snowflake on this machine: the wire the real connectors speak, over DuckDB.

It exists so that the loader can be proved by the real ``snowflake-connector-python`` without an account. It
answers what the loader and its tests need as Snowflake would, and everything else at once with an error that
quotes the statement. Start it with ``python -m mz_orchestration.local.snowflake``.
"""
