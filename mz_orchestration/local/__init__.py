"""The local stack: Materialize, S3 and Snowflake stand-ins on one machine, for demos and tests."""
