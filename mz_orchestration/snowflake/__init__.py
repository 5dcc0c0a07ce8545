"""Loads into Snowflake: from a manifest to a table published only when the counts agree."""
