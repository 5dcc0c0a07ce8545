"""Types PostgreSQL has not, from files written here the way Materialize's Arrow builder writes them."""

from __future__ import annotations

import io
import json
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mz_orchestration.errors import VerificationError
from mz_orchestration.exports.verify import verify_files
from mz_orchestration.exports.verify_level import VerifyLevel
from mz_orchestration.materialize.types import Column, with_casts
from mz_orchestration.objectstore.client import ObjectInfo, ObjectStore
from mz_orchestration.objectstore.location import Location, parse_folder
from mz_orchestration.snowflake.quoting import Sql, compose, identifier, join, literal
from mz_orchestration.snowflake.session import SnowflakeSession
from mz_orchestration.snowflake.types import ddl_type, parquet_expression


def _field(name: str, type: pa.DataType, extension: str, nullable: bool = True) -> pa.Field:
    return pa.field(name, type, nullable, {b"ARROW:extension:name": f"materialize.v1.{extension}".encode()})


def _list(element: pa.DataType, extension: str) -> pa.DataType:
    return pa.list_(_field("item", element, extension))


_MAP = pa.map_(pa.field("keys", pa.string(), False), _field("values", pa.int64(), "bigint"))
_RECORD = pa.struct([_field("f1", pa.int32(), "integer"), _field("f2", pa.large_utf8(), "text")])
_RANGE = pa.struct(
    [
        _field("lower", pa.int32(), "integer"),
        _field("upper", pa.int32(), "integer"),
        *(_field(name, pa.bool_(), "boolean", False) for name in ("lower_inclusive", "upper_inclusive", "empty")),
    ]
)
# The column as Materialize describes it, its field in the file, and a value there.
COLUMNS: list[tuple[Column, pa.Field, Any]] = [
    (Column(name="u2", type="uint2"), _field("u2", pa.uint16(), "uint2"), 65535),
    (Column(name="u4", type="uint4"), _field("u4", pa.uint32(), "uint4"), 4294967295),
    (Column(name="u8", type="uint8"), _field("u8", pa.uint64(), "uint8"), 18446744073709551615),
    (Column(name="ts", type="mz_timestamp"), _field("ts", pa.uint64(), "mz_timestamp"), 1712345678901),
    (Column(name="flat", type="list"), _field("flat", _list(pa.int32(), "integer"), "list"), [1, None, 3]),
    (
        Column(name="nested", type="list"),
        _field("nested", _list(_list(pa.large_utf8(), "text"), "list"), "list"),
        [["a", None], [], None],
    ),
    (Column(name="m", type="map"), _field("m", _MAP, "map"), [("b", 2), ("a", None)]),
    (Column(name="r", type="record"), _field("r", _RECORD, "record"), {"f1": 1, "f2": None}),
    (
        Column(name="span", type="int4range"),
        _field("span", _RANGE, "range"),
        {"lower": 1, "upper": None, "lower_inclusive": True, "upper_inclusive": False, "empty": False},
    ),
    (
        Column(name="tags", type="text", array=True),
        _field(
            "tags",
            pa.struct(
                [
                    _field("items", _list(pa.large_utf8(), "text"), "array_items", False),
                    _field("dimensions", pa.uint8(), "array_dimensions", False),
                ]
            ),
            "array",
        ),
        {"items": ["a", None], "dimensions": 1},
    ),
]
_SCHEMA = pa.schema([field for _, field, _ in COLUMNS])


def _put(store: ObjectStore, folder: Location, table: pa.Table) -> ObjectInfo:
    body = io.BytesIO()
    # Parquet 1.0 writes unsigned integers of 32 bits as they are in arrow-rs, and in Arrow's own writer from 2.4 on.
    pq.write_table(table, body, version="2.4", compression="snappy", write_statistics=False, store_schema=True)
    at = folder.child("mz-t7-batch-0000-0000.parquet")
    store.put(at, body.getvalue())
    info = store.head(at)
    assert info is not None
    return info


@pytest.fixture
def folder(request: pytest.FixtureRequest) -> Location:
    return parse_folder(f"s3://mz-exports/elsewhere/{request.node.originalname}/", field="folder")


@pytest.fixture
def file(store: ObjectStore, folder: Location) -> ObjectInfo:
    rows = [{field.name: value for _, field, value in COLUMNS}, dict.fromkeys(_SCHEMA.names)]
    return _put(store, folder, pa.Table.from_pylist(rows, _SCHEMA))


@pytest.mark.parametrize("level", [VerifyLevel.FOOTERS, VerifyLevel.FULL])
def test_names_types_and_rows_are_read(
    store: ObjectStore, folder: Location, file: ObjectInfo, level: VerifyLevel
) -> None:
    columns = with_casts([column for column, _, _ in COLUMNS], "parquet", safe=False)
    found = verify_files(store, folder, [file], columns, None, level)
    assert found.rows == (2,)
    assert found.source_types == {
        "u2": "uint2",
        "u4": "uint4",
        "u8": "uint8",
        "ts": "mz_timestamp",
        "flat": "list",
        "nested": "list",
        "m": "map",
        "r": "record",
        "span": "range",
        "tags": "array",
    }


def test_a_file_without_the_casts_is_not_what_was_exported(
    store: ObjectStore, folder: Location, file: ObjectInfo
) -> None:
    columns = with_casts([column for column, _, _ in COLUMNS], "parquet")
    with pytest.raises(VerificationError, match=r"holds uint8 in the column u8, where numeric\(20,0\) was exported"):
        verify_files(store, folder, [file], columns, None)


def test_what_snowflake_makes_of_them(store: ObjectStore, folder: Location, snowflake: SnowflakeSession) -> None:
    """Those that are loaded as Materialize writes them, and an uint8 after its cast."""
    loaded = {"u2", "u4", "ts", "flat", "nested", "m"}
    columns = [column for column, _, _ in COLUMNS if column.name in loaded]
    columns += with_casts([Column(name="u8", type="uint8")], "parquet")
    schema = pa.schema([field for field in _SCHEMA if field.name in loaded])
    schema = schema.append(_field("u8", pa.decimal128(38, 0), "numeric"))
    row = {field.name: value for _, field, value in COLUMNS if field.name in loaded} | {"u8": Decimal(2**64 - 1)}
    file = _put(store, folder, pa.Table.from_pylist([row], schema))
    listed = join(compose("{} {}", identifier(column.name.upper()), ddl_type(column)) for column in columns)
    snowflake.query(compose("CREATE TABLE DEMO.PUBLIC.MATERIALIZE_ONLY ({})", listed))
    snowflake.query(
        compose(
            "COPY INTO DEMO.PUBLIC.MATERIALIZE_ONLY FROM (SELECT {} FROM @DEMO.PUBLIC.MZ_STAGE) FILES = ({})"
            " FILE_FORMAT = (TYPE = PARQUET USE_LOGICAL_TYPE = TRUE)",
            join(parquet_expression(column) for column in columns),
            literal(file.key),
        )
    )
    [found] = snowflake.query(Sql("SELECT * FROM DEMO.PUBLIC.MATERIALIZE_ONLY")).rows
    for name in ("flat", "nested", "m"):
        found[name] = json.loads(found[name])
    assert found == {
        "u2": 65535,
        "u4": 4294967295,
        "ts": 1712345678901,
        "flat": [1, None, 3],
        "nested": [["a", None], [], None],
        "m": {"b": 2, "a": None},
        "u8": 18446744073709551615,
    }
