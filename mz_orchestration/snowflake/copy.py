"""``COPY INTO`` by file list: which files, read how, into which columns.

Naming the files is the quickest way for Snowflake to find them and keeps sentinels, manifests and strays out of every
load. Planning costs no request.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mz_orchestration.errors import ConfigurationError
from mz_orchestration.exports.manifest import Manifest
from mz_orchestration.exports.spec import CsvOptions
from mz_orchestration.snowflake.quoting import Name, Sql, compose, identifier, join, literal, stage_path
from mz_orchestration.snowflake.schema import WantedColumn, copy_expressions

# COPY INTO takes at most this many names in FILES.
MAX_FILES = 1000
_PARQUET_FORMAT = compose("TYPE = PARQUET USE_LOGICAL_TYPE = TRUE BINARY_AS_TEXT = FALSE USE_VECTORIZED_SCANNER = TRUE")


def copy_into(
    target: Name,
    stage: Name,
    path: str,
    manifest: Manifest,
    columns: Sequence[WantedColumn],
    *,
    force: bool = False,
) -> Iterator[Sql]:
    """The statements that copy a manifest's files into a table, at most 1,000 files each; none if there are no rows.

    Args:
        target: The table; it has ``columns``.
        stage: The external stage.
        path: The manifest's folder below the stage.
        manifest: The files.
        columns: What is filled, by `schema.wanted_columns`.
        force: Copy files that the table's load history knows; only for a table whose rows have just been deleted.

    Raises:
        ConfigurationError: The files were written in a way that Snowflake cannot read back without loss.
    """
    file_format = _csv_format(manifest.csv or CsvOptions()) if manifest.format == "csv" else _PARQUET_FORMAT
    into, source, match = identifier(*target), stage_path(stage, path), compose("")
    expressions = copy_expressions(manifest, tuple(columns))
    if expressions is not None:
        into = compose("{} ({})", into, join(identifier(column.name) for column in columns))
        source = compose("(SELECT {} FROM {})", join(expressions), source)
    elif any(column.source is not None for column in columns):
        match = compose(" MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE")
    forced = compose(" FORCE = TRUE") if force else compose("")
    # Whether Snowflake takes a Parquet file without row groups is not documented; nothing is lost by skipping.
    names = [literal(file.name) for file in manifest.files] if manifest.rows else []
    for start in range(0, len(names), MAX_FILES):
        yield compose(
            "COPY INTO {} FROM {} FILES = ({}) FILE_FORMAT = ({}){} ON_ERROR = ABORT_STATEMENT{}",
            into,
            source,
            join(names[start : start + MAX_FILES]),
            file_format,
            match,
            forced,
        )


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
