"""What a footer must be to be believed."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mz_orchestration.errors import VerificationError
from mz_orchestration.exports.verify.parquet import FIRST_TAIL, FooterReader
from mz_orchestration.exports.verify.result import Counted
from mz_orchestration.materialize.types import Column
from mz_orchestration.objectstore.client import ObjectInfo
from mz_orchestration.objectstore.location import Location

COLUMNS = [Column(name="id", type="bigint"), Column(name="name", type="text")]
FOLDER = Location("bucket", "folder/")


class Bytes:
    """The ends of one object in memory, and how often and how much of them was asked for."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.asked: list[int] = []

    def read(self, file: ObjectInfo, length: int) -> bytes:
        self.asked.append(length)
        return self.body[-length:] if self.body else b""


def written(types: dict[str, tuple[Any, str | None]], rows: int = 3, **options: Any) -> bytes:
    """A file with columns by name, Arrow type and extension name."""
    schema = pa.schema(
        [
            pa.field(name, arrow, metadata={"ARROW:extension:name": f"materialize.v1.{said}"} if said else None)
            for name, (arrow, said) in types.items()
        ]
    )
    columns = [pa.array([None] * rows, arrow) for arrow, _ in types.values()]
    body = io.BytesIO()
    pq.write_table(pa.table(columns, schema=schema), body, write_statistics=False, **options)
    return body.getvalue()


GOOD = written({"id": (pa.int64(), "bigint"), "name": (pa.large_utf8(), "text")})


def read(body: bytes, columns: list[Column] = COLUMNS) -> Counted:
    return FooterReader(Bytes(body), FOLDER, columns).read(ObjectInfo("folder/f.parquet", len(body), "e"))  # type: ignore[arg-type]


def lying(length: int) -> Callable[[bytes], bytes]:
    return lambda body: body[:-8] + length.to_bytes(4, "little") + b"PAR1"


def test_rows_and_types() -> None:
    assert read(GOOD) == Counted(3, {"id": "bigint", "name": "text"})
    assert read(written({"id": (pa.int64(), "bigint"), "name": (pa.utf8(), "text")}, rows=0)).rows == 0


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda body: body[:-1], "not a complete Parquet file"),
        (lambda body: body[: len(body) // 2], "not a complete Parquet file"),
        (lambda body: b"", "not a complete Parquet file"),
        (lambda body: b"PAR1", "not a complete Parquet file"),
        (lambda body: b"PAR1\0\0\0\0PAR1", "not a complete Parquet file"),
        (lambda body: b"id,name\n1,a\n", "not a complete Parquet file"),
        (lambda body: body + b"\n", "not a complete Parquet file"),
        (lambda body: body[:-4] + b"PARE", "not a complete Parquet file"),
        (lying(len(GOOD)), "not a complete Parquet file"),
        (lying(0), "not a complete Parquet file"),
        (lying(0xFFFFFFFF), "not a complete Parquet file"),
        (lying(20), "damaged Parquet footer"),
        (lying(len(GOOD) - 12), "damaged Parquet footer"),
        (lambda body: body[:-200] + bytes(192) + body[-8:], "damaged Parquet footer"),
    ],
)
def test_damaged_files(damage: Callable[[bytes], bytes], said: str) -> None:
    with pytest.raises(VerificationError, match=said) as caught:
        read(damage(GOOD))
    assert "s3://bucket/folder/f.parquet" in caught.value.message
    assert "Run the export again" in caught.value.hint


def test_a_footer_that_claims_to_be_huge() -> None:
    class Huge(Bytes):
        def read(self, file: ObjectInfo, length: int) -> bytes:
            self.asked.append(length)
            return (70 << 20).to_bytes(4, "little") + b"PAR1"

    tails = Huge(b"")
    with pytest.raises(VerificationError, match="claims to take 73400328 bytes"):
        FooterReader(tails, FOLDER, COLUMNS).read(ObjectInfo("folder/f.parquet", 1 << 30, "e"))  # type: ignore[arg-type]
    assert tails.asked == [FIRST_TAIL]


@pytest.mark.parametrize(
    ("types", "said"),
    [
        ({"id": (pa.int64(), "bigint")}, "has the columns id where id, name were exported"),
        ({"name": (pa.utf8(), "text"), "id": (pa.int64(), "bigint")}, "has the columns name, id where id, name"),
        ({"id": (pa.int64(), "bigint"), "Name": (pa.utf8(), "text")}, "has the columns id, Name where id, name"),
        (
            {"id": (pa.int32(), "integer"), "name": (pa.utf8(), "text")},
            "holds integer in the column id, where bigint was exported",
        ),
        (
            {"id": (pa.int64(), "bigint"), "name": (pa.binary(16), "uuid")},
            "holds uuid in the column name, where text was exported",
        ),
    ],
)
def test_other_columns(types: dict[str, tuple[Any, str | None]], said: str) -> None:
    with pytest.raises(VerificationError, match=said):
        read(written(types))


@pytest.mark.parametrize("name", [None, "geometry", "timestampz"])
def test_types_that_are_not_known_here(name: str | None) -> None:
    """A later Materialize may call its types by other names."""
    found = read(written({"id": (pa.int64(), name), "name": (pa.utf8(), "text")}))
    assert found.source_types == ({"id": name} if name else {}) | {"name": "text"}


@pytest.mark.parametrize(
    ("column", "name"),
    [
        (Column(name="c", type="double precision"), "double"),
        (Column(name="c", type="varchar", length=5), "text"),
        (Column(name="c", type="numeric", scale=2), "numeric"),
        (Column(name="c", type="uuid", cast="text"), "text"),
        (Column(name="c", type="uint8", cast="numeric(20,0)"), "numeric"),
        (Column(name="c", type="integer", array=True), "array"),
        (Column(name="c", type="integer", array=True, cast="jsonb"), "jsonb"),
        (Column(name="c", type="integer", array=True, cast="integer list"), "list"),
        (Column(name="c", type="tstzrange"), "range"),
        (Column(name="c", type="timestamp", cast="timestamp(3) with time zone"), "timestamptz"),
    ],
)
def test_what_materialize_calls_each_type(column: Column, name: str) -> None:
    assert read(written({"c": (pa.utf8(), name)}), [column]).source_types == {"c": name}
    with pytest.raises(VerificationError, match="holds date in the column c"):
        read(written({"c": (pa.date32(), "date")}), [column])


def test_a_thousand_columns_take_two_requests_once() -> None:
    names = [f"column_{number:04}" for number in range(1000)]
    body = written({name: (pa.int64(), "bigint") for name in names})
    columns = [Column(name=name, type="bigint") for name in names]
    tails = Bytes(body)
    footers = FooterReader(tails, FOLDER, columns)  # type: ignore[arg-type]
    file = ObjectInfo("folder/f.parquet", len(body), "e")
    assert [footers.read(file).rows for _ in range(3)] == [3, 3, 3]
    first, footer, second, third = tails.asked
    assert first == FIRST_TAIL < footer <= second == third < footer + 4096
    other = [*columns[:500], Column(name="b", type="text"), *columns[501:]]
    with pytest.raises(VerificationError, match="number 501 being column_0500 and not b"):
        read(body, other)


@given(st.data())
def test_no_byte_that_flips_adds_or_hides_rows(data: st.DataObject) -> None:
    body = bytearray(GOOD)
    start = len(body) - int.from_bytes(body[-8:-4], "little") - 8
    body[data.draw(st.integers(start, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = read(bytes(body))
    except VerificationError:
        return
    assert found.rows == 3
