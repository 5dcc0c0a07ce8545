"""What a statement answers: typed columns over an Arrow table, and its encoding for the wire."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, Any

from mz_orchestration.local.snowflake.types import NUMBER, TEXT, SfType

if TYPE_CHECKING:
    import pyarrow as pa

# Statement kinds, as the wire numbers them: connectors take the row count of DML from the first row.
SELECT = 0x1000
INSERT = 0x3100
UPDATE = 0x3200
DELETE = 0x3300
MERGE = 0x3400
COPY = 0x3600
SESSION = 0x4000
TRANSACTION = 0x5000
DDL = 0x6000

_SECOND = 1_000_000


@dataclass(frozen=True)
class Result:
    """The answer to one statement."""

    columns: tuple[tuple[str, SfType], ...]
    table: pa.Table
    kind: int = SELECT

    @classmethod
    def of(cls, columns: Sequence[tuple[str, SfType]], rows: Sequence[Sequence[Any]], kind: int = SELECT) -> Result:
        """A small answer from Python values."""
        import pyarrow as pa

        by_column: list[list[Any]] = [[row[i] for row in rows] for i in range(len(columns))]
        arrays = [
            pa.array(values, type=_arrow_type(column_type))
            for (_, column_type), values in zip(columns, by_column, strict=True)
        ]
        return cls(tuple(columns), pa.Table.from_arrays(arrays, names=[name for name, _ in columns]), kind)

    @classmethod
    def status(cls, text: str, kind: int = DDL) -> Result:
        """One row, one column: what DDL answers."""
        return cls.of([("status", TEXT)], [[text]], kind)

    @classmethod
    def counts(cls, kind: int, counts: Mapping[str, int]) -> Result:
        """What DML answers: ``rows inserted`` becomes the column ``number of rows inserted``."""
        return cls.of([(f"number of {name}", NUMBER) for name in counts], [list(counts.values())], kind)

    def without_rows(self) -> Result:
        """The same columns and no row."""
        return replace(self, table=self.table.slice(0, 0))

    def stats(self) -> dict[str, int]:
        """The counts of DML, by the names 5.x reads."""
        names = {"inserted": "numRowsInserted", "updated": "numRowsUpdated", "deleted": "numRowsDeleted"}
        if not INSERT <= self.kind < COPY or not self.table.num_rows:
            return {}
        counted = {column.rsplit(" ", 1)[1]: self.table.column(i)[0].as_py() for i, (column, _) in
                   enumerate(self.columns) if "multi-joined" not in column}  # fmt: skip
        return {names[word]: count for word, count in counted.items()}

    def rows_produced(self) -> int:
        """The rows of a query; for DML those it changed, for COPY those it loaded."""
        rows = self.table.num_rows
        if not INSERT <= self.kind <= COPY or not rows:
            return rows if self.kind == SELECT else 0
        names = [name for name, _ in self.columns]
        if self.kind == COPY:
            loaded = self.table.column(names.index("rows_loaded")) if "rows_loaded" in names else None
            return sum(value or 0 for value in loaded.to_pylist()) if loaded is not None else 0
        return sum(self.stats().values())

    def rowtype(self) -> list[dict[str, Any]]:
        """The columns as the wire describes them."""
        return [column_type.rowtype(name) for name, column_type in self.columns]

    def rowset(self, zone: tzinfo) -> list[list[str | None]]:
        """The rows as the wire carries them: strings."""
        encoded = [_encode(self.table.column(i), column_type, zone) for i, (_, column_type) in enumerate(self.columns)]
        if not encoded:
            return []
        return [list(row) for row in zip(*encoded, strict=True)]


def _arrow_type(column_type: SfType) -> pa.DataType | None:
    import pyarrow as pa

    if column_type.name == "NUMBER":
        return pa.int64() if column_type.scale == 0 else None
    known: dict[str, pa.DataType] = {
        "TEXT": pa.string(),
        "BOOLEAN": pa.bool_(),
        "TIMESTAMP_LTZ": pa.timestamp("us", "UTC"),
        "TIMESTAMP_NTZ": pa.timestamp("us"),
    }
    return known.get(column_type.name)


def _encode(column: pa.ChunkedArray[Any], column_type: SfType, zone: tzinfo) -> list[str | None]:
    import pyarrow as pa
    import pyarrow.compute as pc

    name = column_type.name
    if name == "BOOLEAN":
        return [None if v is None else "1" if v else "0" for v in column.to_pylist()]
    if name == "DATE":
        return [None if v is None else str(v) for v in column.cast(pa.int32()).to_pylist()]
    if name == "BINARY":
        return [None if v is None else v.hex().upper() for v in column.to_pylist()]
    if name == "NUMBER":
        if pa.types.is_decimal(column.type):
            return [None if v is None else format(v, "f") for v in column.to_pylist()]
        return pc.cast(column, pa.string()).to_pylist()
    if name == "FLOAT":
        return [None if v is None else _real(v) for v in column.to_pylist()]
    if name == "TIME" or name.startswith("TIMESTAMP"):
        return _moments(column, name, zone)
    return [None if v is None else str(v) for v in column.to_pylist()]


def _real(value: float) -> str:
    if value != value:
        return "NaN"
    return {float("inf"): "inf", float("-inf"): "-inf"}.get(value, repr(value))


def _moments(column: pa.ChunkedArray[Any], name: str, zone: tzinfo) -> list[str | None]:
    """Seconds since the epoch (of the day, for TIME) with nine fractional digits."""
    import pyarrow as pa

    unit = pa.time64("us") if name == "TIME" else pa.timestamp("us", column.type.tz)
    micros: list[int | None] = column.cast(unit).cast(pa.int64()).to_pylist()
    suffix: Callable[[int], str] = _no_suffix
    if name == "TIMESTAMP_TZ":

        def suffix(value: int) -> str:
            offset = datetime.fromtimestamp(value // _SECOND, zone).utcoffset()
            assert offset is not None
            return f" {1440 + int(offset.total_seconds()) // 60}"

    return [None if v is None else _fraction(v) + suffix(v) for v in micros]


def _no_suffix(_: int) -> str:
    return ""


def _fraction(micros: int) -> str:
    sign = "-" if micros < 0 else ""
    whole, rest = divmod(abs(micros), _SECOND)
    return f"{sign}{whole}.{rest:06d}000"
