"""The statements of a load, in the order they run.

Only the functions of `quoting` put names and values into them.
"""

from __future__ import annotations

from collections.abc import Iterator

from mz_orchestration.errors import ConfigurationError
from mz_orchestration.exports.manifest import Manifest
from mz_orchestration.exports.spec import CsvOptions
from mz_orchestration.materialize.types import Column
from mz_orchestration.snowflake.quoting import Sql, compose, identifier, join, literal, stage_path
from mz_orchestration.snowflake.types import (
    column_name,
    csv_expression,
    ddl_type,
    needs_transform,
    parquet_expression,
    refuse_unloadable,
)

Name = tuple[str, ...]
# COPY INTO takes at most this many names in FILES.
MAX_FILES = 1000
_PARQUET_FORMAT = compose("TYPE = PARQUET USE_LOGICAL_TYPE = TRUE BINARY_AS_TEXT = FALSE USE_VECTORIZED_SCANNER = TRUE")


def current_names() -> Sql:
    """Asks for the session's database and schema, which complete a short name."""
    return compose("SELECT CURRENT_DATABASE() AS DATABASE_NAME, CURRENT_SCHEMA() AS SCHEMA_NAME")


def describe_stage(stage: Name) -> Sql:
    """Asks for the stage's properties, its URL among them."""
    return compose("DESC STAGE {}", identifier(*stage))


def describe_table(table: Name) -> Sql:
    """Asks whether the table exists, what kind it is, and for its comment."""
    database, schema, name = table
    return compose(
        "SELECT TABLE_TYPE, IS_TRANSIENT, COMMENT FROM {} WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {}",
        identifier(database, "INFORMATION_SCHEMA", "TABLES"),
        literal(schema),
        literal(name),
    )


def describe_columns(table: Name) -> Sql:
    """Asks for the table's columns in order."""
    database, schema, name = table
    return compose(
        "SELECT COLUMN_NAME, DATA_TYPE, NUMERIC_SCALE, DATETIME_PRECISION FROM {} "
        "WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {} ORDER BY ORDINAL_POSITION",
        identifier(database, "INFORMATION_SCHEMA", "COLUMNS"),
        literal(schema),
        literal(name),
    )


def create_staging(staging: Name, columns: tuple[Column, ...]) -> Sql:
    """A table with the types that fit the export."""
    listed = (compose("{} {}", identifier(column_name(column)), ddl_type(column)) for column in columns)
    return compose("CREATE TABLE {} ({})", identifier(*staging), join(listed))


def create_staging_like(staging: Name, table: Name, *, transient: bool) -> Sql:
    """A table with the columns of the one it will be swapped with."""
    # The grants must come along: after the swap this is the table that readers find.
    template = "CREATE TRANSIENT TABLE {} LIKE {} COPY GRANTS" if transient else "CREATE TABLE {} LIKE {} COPY GRANTS"
    return compose(template, identifier(*staging), identifier(*table))


def copy_into(staging: Name, stage: Name, path: str, manifest: Manifest) -> Iterator[Sql]:
    """``COPY INTO`` by file list, at most 1,000 files a statement.

    Raises:
        ConfigurationError: The files were written in a way that Snowflake cannot read back without loss.
    """
    columns = manifest.columns
    refuse_unloadable(columns, manifest.format)
    target, source, match = identifier(*staging), stage_path(stage, path), compose("")
    if manifest.format == "csv":
        file_format = _csv_format(manifest.csv or CsvOptions())
        expressions = [csv_expression(column, position) for position, column in enumerate(columns, 1)]
    else:
        file_format = _PARQUET_FORMAT
        expressions = [parquet_expression(column) for column in columns]
    if manifest.format == "parquet" and not any(needs_transform(column) for column in columns):
        match = compose(" MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE")
    else:
        target = compose("{} ({})", target, join(identifier(column_name(column)) for column in columns))
        source = compose("(SELECT {} FROM {})", join(expressions), source)
    names = [literal(file.name) for file in manifest.files]
    for start in range(0, len(names), MAX_FILES):
        yield compose(
            "COPY INTO {} FROM {} FILES = ({}) FILE_FORMAT = ({}){} ON_ERROR = ABORT_STATEMENT",
            target,
            source,
            join(names[start : start + MAX_FILES]),
            file_format,
            match,
        )


def count_rows(table: Name) -> Sql:
    """Counts what has arrived."""
    return compose("SELECT COUNT(*) AS N FROM {}", identifier(*table))


def set_comment(table: Name, comment: str) -> Sql:
    """Marks the staging table with the manifest it holds; the comment moves along when it is published."""
    return compose("COMMENT ON TABLE {} IS {}", identifier(*table), literal(comment))


def publish_by_swap(table: Name, staging: Name) -> Sql:
    """Exchanges the two tables in one atomic step."""
    return compose("ALTER TABLE {} SWAP WITH {}", identifier(*table), identifier(*staging))


def publish_by_rename(table: Name, staging: Name) -> Sql:
    """Gives the staging table the name that no table has yet."""
    return compose("ALTER TABLE {} RENAME TO {}", identifier(*staging), identifier(*table))


def drop(table: Name) -> Sql:
    """Removes a staging table that is no longer needed."""
    return compose("DROP TABLE IF EXISTS {}", identifier(*table))


def _csv_format(csv: CsvOptions) -> Sql:
    # Snowflake compares NULL_IF with quoted fields too, knows two quotes, and applies ESCAPE to fields without quotes.
    if csv.null != "" or csv.quote not in "\"'" or csv.escape not in (None, csv.quote):
        raise ConfigurationError(
            f"A CSV export with null={csv.null!r}, quote={csv.quote!r} and escape={csv.escape!r} cannot be loaded "
            "without loss.",
            hint="Export with the default null, quote and escape, or as Parquet.",
        )
    return compose(
        "TYPE = CSV FIELD_DELIMITER = {} SKIP_HEADER = {} FIELD_OPTIONALLY_ENCLOSED_BY = {} "
        "ESCAPE_UNENCLOSED_FIELD = NONE NULL_IF = () EMPTY_FIELD_AS_NULL = TRUE",
        literal(csv.delimiter),
        int(csv.header),
        literal(csv.quote),
    )
