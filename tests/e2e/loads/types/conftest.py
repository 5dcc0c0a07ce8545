"""Exports of tables made here, and what of them is in Snowflake."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from mz_orchestration.exports.export import run_export
from mz_orchestration.exports.manifest import Manifest
from mz_orchestration.exports.spec import export_spec
from mz_orchestration.snowflake.config import SnowflakeConfig
from mz_orchestration.snowflake.quoting import Sql, compose, identifier, join, literal, stage_path
from mz_orchestration.snowflake.schema import WantedColumn, copy_expressions
from mz_orchestration.snowflake.session import SnowflakeSession

BASE = "s3://mz-exports/loads/types/"
STAGE = ("DEMO", "PUBLIC", "MZ_STAGE")
_serial = itertools.count()


@pytest.fixture(autouse=True)
def in_the_stack(environment: dict[str, str]) -> None:
    """Everything in this folder talks to the stack."""


@pytest.fixture
def snowflake(environment: dict[str, str]) -> Iterator[SnowflakeSession]:
    with SnowflakeSession(SnowflakeConfig.from_environment()) as session:
        yield session


Export = Callable[..., Manifest]


@pytest.fixture
def export(environment: dict[str, str]) -> Export:
    """Exports a query, each time as a run of its own."""

    def run(query: str, format: str = "parquet", **fields: Any) -> Manifest:
        serial = next(_serial)
        spec = export_spec(object=f"t{serial}", query=query, to=BASE, connection="local_s3", format=format, **fields)
        return run_export(spec, run_key=f"{serial}").manifest

    return run


Copy = Callable[[Manifest, str, Sequence[WantedColumn]], None]


@pytest.fixture
def copy(snowflake: SnowflakeSession) -> Copy:
    """Copies an export's files into the columns of a table."""

    def run(manifest: Manifest, table: str, columns: Sequence[WantedColumn]) -> None:
        source = stage_path(STAGE, manifest.folder.key)
        target = compose("{} ({})", Sql(table), join(identifier(column.name) for column in columns))
        file_format = (
            Sql("TYPE = PARQUET USE_LOGICAL_TYPE = TRUE BINARY_AS_TEXT = FALSE")
            if manifest.format == "parquet"
            else Sql("TYPE = CSV FIELD_OPTIONALLY_ENCLOSED_BY = '\"' ESCAPE_UNENCLOSED_FIELD = NONE NULL_IF = ()")
        )
        match = Sql("")
        expressions = copy_expressions(manifest, columns)
        if expressions is not None:
            source = compose("(SELECT {} FROM {})", join(expressions), source)
        elif columns[0].source is None:
            target = Sql(table)
        else:
            target, match = Sql(table), Sql("MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE")
        files = join(literal(file.name) for file in manifest.files)
        snowflake.query(
            compose(
                "COPY INTO {} FROM {} FILES = ({}) FILE_FORMAT = ({}) {}", target, source, files, file_format, match
            )
        )

    return run
