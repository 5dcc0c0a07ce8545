"""Functions of Snowflake that DuckDB lacks, defined in DuckDB's own SQL for the rewrites of ``functions`` to call."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# A value that is JSON inside DuckDB is a VARIANT; what it holds decides, so these look at run time.
_MACROS = """
CREATE MACRO sf_text(x) AS CASE
    WHEN typeof(x) = 'JSON' THEN CAST(CAST(x AS VARCHAR) AS JSON) ->> '$'
    WHEN typeof(x) = 'TIMESTAMP' THEN strftime(TRY_CAST(CAST(x AS VARCHAR) AS TIMESTAMP), '%Y-%m-%d %H:%M:%S.%g')
    WHEN typeof(x) = 'TIMESTAMP WITH TIME ZONE'
        THEN strftime(TRY_CAST(CAST(x AS VARCHAR) AS TIMESTAMPTZ), '%Y-%m-%d %H:%M:%S.%g %z')
    WHEN typeof(x) = 'BLOB' THEN hex(CAST(CAST(x AS VARCHAR) AS BLOB))
    ELSE CAST(x AS VARCHAR) END;
CREATE MACRO sf_divisor(x) AS CASE WHEN x = 0 THEN error('SF|100051|22012|Division by zero|FS') ELSE x END;
CREATE MACRO sf_variant(x) AS to_json(x);
CREATE MACRO sf_array(x) AS CASE
    WHEN coalesce(json_type(to_json(x)), 'NULL') = 'NULL' THEN NULL
    WHEN json_type(to_json(x)) = 'ARRAY' THEN to_json(x) ELSE json_array(to_json(x)) END;
CREATE MACRO sf_array_size(x) AS CASE
    WHEN json_type(to_json(x)) = 'ARRAY' THEN CAST(json_array_length(to_json(x)) AS BIGINT) END;
CREATE MACRO sf_typeof(x) AS CASE json_type(to_json(x))
    WHEN 'UBIGINT' THEN 'INTEGER' WHEN 'BIGINT' THEN 'INTEGER' WHEN 'DOUBLE' THEN 'DECIMAL'
    WHEN 'NULL' THEN 'NULL_VALUE' ELSE json_type(to_json(x)) END;
"""


def install(connection: DuckDBPyConnection) -> None:
    """Define the macros the rewrites use."""
    connection.execute(_MACROS)
