"""Writing the rows of an export as Parquet files."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from decimal import Decimal
from typing import IO, TYPE_CHECKING, Any, cast

from mz_orchestration.local.materialize import arrow_types
from mz_orchestration.local.materialize.arrow_types import ResultColumn
from mz_orchestration.local.materialize.errors import StatementError
from mz_orchestration.local.materialize.job import ExportJob, subquery

if TYPE_CHECKING:
    import pyarrow as pa
    from mypy_boto3_s3 import S3Client

    from mz_orchestration.local.materialize.store import MultipartFile

_SLICE_ROWS = 65536
# Row groups are closed by their size, as a share of the size of a file.
_ROW_GROUP_SHARE = 0.2
_PRECISION = 38
# From Materialize's first day, 4714-11-24 BC, in days, and in microseconds of days.
_FIRST_DAY, _DAY = -2440588, 86_400_000_000
_FIRST_AND_LAST = {
    "date32": (_FIRST_DAY, 2**31),
    "timestamp": (_FIRST_DAY * _DAY, 2**63),
    "time64": (0, _DAY - 1),
}
_SQL_NAMES = {"date32": "date", "timestamp": "timestamp", "time64": "time"}
# Takes the blank after each colon and comma that is not inside a string.
_JSON_SPACES = r'("(?:[^"\\]|\\.)*")|([:,]) '
_POSTGRES_ERROR = re.compile(r"ERROR:\s+(?P<message>.*?)(?:\nLINE|\nDETAIL|\nCONTEXT|\n\nQuery was|\n?$)", re.DOTALL)


def write_parquet(job: ExportJob, client: S3Client) -> int:
    """Read the query and write its rows; returns their number."""
    import pyarrow as pa

    plan = job.plan
    names = arrow_types.unique_names(plan.columns)
    schema = pa.schema([arrow_types.field(n, c) for n, c in zip(names, plan.columns, strict=True)])
    chains = [_Chain(job, client, batch, schema) for batch in range(plan.batches)]
    # Batch 0 has a file also when there is no row.
    chains[0].open()
    places = _places(plan.batches)
    rows = 0
    for batch in _record_batches(job):
        converted = _convert(batch, plan.columns, schema)
        for start in range(0, converted.num_rows, _SLICE_ROWS):
            job.check()
            part = converted.slice(start, _SLICE_ROWS)
            rows += part.num_rows
            for chain, indices in zip(chains, places, strict=True):
                count = bisect_left(indices[0], part.num_rows)
                if count:
                    chain.write(part.take(indices[1].slice(0, count)))
    for chain in chains:
        job.check()
        chain.close()
    return rows


def _places(batches: int) -> list[tuple[list[int], pa.Array[Any]]]:
    """Which rows of a slice go to which batch: by a hash of the row's place, so that small results spread too."""
    import pyarrow as pa

    found: list[list[int]] = [[] for _ in range(batches)]
    for i in range(_SLICE_ROWS):
        found[((i + 1) * 2654435761 >> 16) % batches].append(i)
    return [(indices, pa.array(indices, pa.int32())) for indices in found]


class _Chain:
    """The files of one batch, one after the other."""

    def __init__(self, job: ExportJob, client: S3Client, batch: int, schema: pa.Schema) -> None:
        self._job, self._client, self._batch, self._schema = job, client, batch, schema
        self._limit = job.plan.max_file_size
        self._files = 0
        self._file: MultipartFile | None = None
        self._writer: Any = None
        self._pending: list[pa.RecordBatch] = []
        self._pending_bytes = 0

    def open(self) -> None:
        import pyarrow.parquet as pq

        self._file = self._job.open(self._client, self._batch, self._files)
        self._files += 1
        self._writer = pq.ParquetWriter(
            cast("IO[bytes]", self._file),
            self._schema,
            # Arrow writes unsigned 32-bit integers as they are only from 2.4 on.
            version="2.4" if any(c.oid in arrow_types.OIDS for c in self._job.plan.columns) else "1.0",
            compression="snappy",
            use_dictionary=True,
            write_statistics=False,
            store_schema=True,
            use_compliant_nested_type=False,
        )

    def write(self, rows: pa.RecordBatch) -> None:
        if self._file is None:
            self.open()
        assert self._file is not None
        self._pending.append(rows)
        self._pending_bytes += rows.nbytes
        full = self._file.tell() + self._pending_bytes >= self._limit
        if full or self._pending_bytes >= self._limit * _ROW_GROUP_SHARE:
            self._flush()
        if full and self._file.tell() >= self._limit:
            # The next file begins at once, so the last one may turn out empty: Materialize does the same.
            self.close()
            self.open()

    def _flush(self) -> None:
        import pyarrow as pa

        if self._pending:
            table = pa.Table.from_batches(self._pending, self._schema)
            self._writer.write_table(table, row_group_size=max(1, table.num_rows))
        self._pending, self._pending_bytes = [], 0

    def close(self) -> None:
        if self._file is None:
            return
        self._flush()
        self._writer.close()
        self._file.complete()
        self._file = self._writer = None


def _record_batches(job: ExportJob) -> Iterator[pa.RecordBatch]:
    from adbc_driver_postgresql import dbapi

    plan = job.plan
    sql = f"SELECT {arrow_types.selected(plan.columns)} FROM {subquery(plan)}"  # noqa: S608
    with dbapi.connect(plan.conninfo, autocommit=True) as connection, connection.cursor() as cursor:
        try:
            for statement in plan.snapshot.statements():
                cursor.execute(statement)
            with job.interruptible(cursor.adbc_cancel):
                cursor.execute(sql)
                yield from cursor.fetch_record_batch()
        except (OSError, dbapi.Error) as error:
            job.check()
            raise StatementError(_message_of(error)) from None


def _message_of(error: Exception) -> str:
    found = _POSTGRES_ERROR.search(str(error))
    return f"Evaluation error: {found['message'].strip() if found else error}"


def _convert(batch: pa.RecordBatch, columns: list[ResultColumn], schema: pa.Schema) -> pa.RecordBatch:
    import pyarrow as pa

    arrays = []
    at = 0
    for column, field in zip(columns, schema, strict=True):
        element, bound = arrow_types.element_oid(column), arrow_types.bound_oid(column)
        if bound is not None:
            arrays.append(_range(batch.columns[at : at + 5], field.type, bound))
            at += 5
        elif element is None:
            arrays.append(_values(batch.column(at), field.type, column.oid))
            at += 1
        else:
            arrays.append(_array(batch.column(at), batch.column(at + 1), field.type, element))
            at += 2
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _values(values: Any, wanted: Any, oid: int) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = arrow_types.conversion(oid)
    _refuse_beyond_range(values)
    if kind == "json":
        values = pc.replace_substring_regex(values, _JSON_SPACES, r"\1\2")
    if kind == "decimal":
        try:
            return values.cast(wanted)
        except pa.ArrowInvalid:
            _explain_decimals(values, wanted.scale)
            raise
    if pa.types.is_fixed_size_binary(wanted) and pa.types.is_string(values.type):
        raw = [None if v is None else bytes.fromhex(v.replace("-", "")) for v in values.to_pylist()]
        return pa.array(raw, wanted)
    return values.cast(wanted)


def _refuse_beyond_range(values: pa.Array[Any]) -> None:
    """Refuse what PostgreSQL has and Materialize has not: infinity, which arrives wrapped around, and 24:00."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = str(values.type).partition("[")[0]
    if kind not in _FIRST_AND_LAST:
        return
    number = pa.int32() if kind == "date32" else pa.int64()
    found: Any = pc.min_max(values.view(number))
    first, last = _FIRST_AND_LAST[kind]
    if found["min"].is_valid and not first <= found["min"].as_py() <= found["max"].as_py() <= last:
        raise StatementError(f"Evaluation error: {_SQL_NAMES[kind]} out of range")


def _range(parts: list[Any], wanted: Any, bound: int) -> pa.Array[Any]:
    import pyarrow as pa
    import pyarrow.compute as pc

    fields = list(wanted)
    bounds = [_values(part, field.type, bound) for part, field in zip(parts[:2], fields[:2], strict=True)]
    flags = [part.fill_null(False) for part in parts[2:]]
    return pa.StructArray.from_arrays([*bounds, *flags], fields=fields, mask=pc.is_null(parts[-1]))


def _explain_decimals(values: pa.Array[Any], scale: int) -> None:
    for text in values.to_pylist():
        if text is None:
            continue
        value = Decimal(text)
        if not value.is_finite():
            raise StatementError(f"Cannot represent special numeric value {text} in parquet")
        digits = value.normalize().as_tuple()
        exponent = int(digits.exponent)
        if -exponent > scale:
            raise StatementError(f"cannot represent decimal value {text} in column with scale {scale}")
        if len(digits.digits) + exponent + scale > _PRECISION:
            raise StatementError(f"Decimal value {text} out of range for column with precision {_PRECISION}")


def _array(items: Any, dimensions: Any, wanted: Any, element: int) -> pa.Array[Any]:
    import pyarrow as pa
    import pyarrow.compute as pc

    missing = pc.is_null(items)
    items = items.fill_null(pa.scalar([], items.type)) if items.null_count else items
    values = _values(items.flatten(), wanted.field("items").type.value_type, element)
    ends: Any = pc.cumulative_sum(pc.list_value_length(items))
    offsets = pa.concat_arrays([pa.array([0], pa.int32()), ends.cast(pa.int32())])
    lists = pa.ListArray.from_arrays(offsets, values, type=wanted.field("items").type)
    counts = dimensions.fill_null(0).cast(pa.uint8())
    return pa.StructArray.from_arrays([lists, counts], fields=list(wanted), mask=missing)
