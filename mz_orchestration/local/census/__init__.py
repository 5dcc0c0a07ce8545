"""A stand-in for Census on this machine: its HTTP API, V1 and V2, over runs that really read and really deliver.

It exists so that the client can be proved without an account. Sources are the stack's Snowflake and Materialize, read
by their own clients; the destination is a table that tests can look into. Start it with
``python -m mz_orchestration.local.census``.
"""
