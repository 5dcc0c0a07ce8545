"""How a column of a query becomes a field of a Parquet file, and which columns cannot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

_EXTENSION = b"ARROW:extension:name"
_MAX_SCALE = 38
_DEFAULT_SCALE = 10
_VARHDRSZ = 4


@dataclass(frozen=True)
class ResultColumn:
    """A column as PostgreSQL's planner describes it.

    Attributes:
        name: its name.
        oid: the oid of its type.
        modifier: the type's modifier, -1 for none.
        type_name: the type's SQL name, for messages.
        nullable: whether it may hold NULL.
    """

    name: str
    oid: int
    modifier: int
    type_name: str
    nullable: bool = True


@dataclass(frozen=True)
class _Type:
    """A type Parquet files can hold.

    Attributes:
        arrow: makes the Arrow type from the type modifier.
        extension: the name after ``materialize.v1.``.
        select: how PostgreSQL is asked for it; ``{}`` stands for the column.
        kind: how the values that arrive are converted; empty for a plain cast.
        array: the cast by which elements of arrays are asked for; None: as they are.
    """

    arrow: Callable[[int], pa.DataType]
    extension: str
    select: str = "{}"
    kind: str = ""
    array: str | None = None


def _plain(name: str, *arguments: object) -> Callable[[int], pa.DataType]:
    def make(_modifier: int) -> pa.DataType:
        import pyarrow as pa

        made: pa.DataType = getattr(pa, name)(*arguments)
        return made

    return make


def _limited_text(modifier: int) -> pa.DataType:
    import pyarrow as pa

    return pa.utf8() if modifier >= _VARHDRSZ else pa.large_utf8()


def numeric_scale(modifier: int) -> int:
    """The scale of a numeric's modifier; without one Materialize takes 10."""
    if modifier < _VARHDRSZ:
        return _DEFAULT_SCALE
    # Eleven bits, signed.
    return (((modifier - _VARHDRSZ) & 0x7FF) ^ 1024) - 1024


def _decimal(modifier: int) -> pa.DataType:
    import pyarrow as pa

    return pa.decimal128(38, numeric_scale(modifier))


_TYPES: dict[int, _Type] = {
    16: _Type(_plain("bool_"), "boolean"),
    17: _Type(_plain("large_binary"), "bytea"),
    20: _Type(_plain("int64"), "bigint"),
    21: _Type(_plain("int16"), "smallint"),
    23: _Type(_plain("int32"), "integer"),
    25: _Type(_plain("large_utf8"), "text"),
    26: _Type(_plain("uint32"), "oid", "{}::bigint", array="bigint[]"),
    700: _Type(_plain("float32"), "real"),
    701: _Type(_plain("float64"), "double"),
    1042: _Type(_limited_text, "text"),
    1043: _Type(_limited_text, "text"),
    1082: _Type(_plain("date32"), "date"),
    1083: _Type(_plain("time64", "us"), "time"),
    1114: _Type(_plain("timestamp", "us"), "timestamp"),
    1184: _Type(_plain("timestamp", "us", "+00:00"), "timestamptz"),
    1700: _Type(_decimal, "numeric", "{}::text", "decimal", "text[]"),
    2950: _Type(_plain("binary", 16), "uuid", "uuid_send({})", array="text[]"),
    3802: _Type(_plain("large_utf8"), "jsonb", "{}::text", "json", "text[]"),
}
_ELEMENTS = {
    1000: 16,
    1001: 17,
    1016: 20,
    1005: 21,
    1007: 23,
    1009: 25,
    1028: 26,
    1021: 700,
    1022: 701,
    1014: 1042,
    1015: 1043,
    1182: 1082,
    1183: 1083,
    1115: 1114,
    1185: 1184,
    1231: 1700,
    2951: 2950,
    3807: 3802,
}
_RANGES = {3904: 23, 3906: 1700, 3908: 1114, 3910: 1184, 3912: 1082, 3926: 20}
# What a range is asked for by, in the order of the fields of its struct.
_RANGE_PARTS = ("lower", "upper", "lower_inc", "upper_inc", "isempty")
# How Materialize names the types it cannot write.
_UNSUPPORTED = {
    18: "PgLegacyChar",
    19: "PgLegacyName",
    22: "Int2Vector",
    24: "RegProc",
    1033: "AclItem",
    1186: "Interval (unsupported arrow datatype)",
    1187: "Array(Interval) (unsupported arrow datatype)",
    2205: "RegClass",
    2206: "RegType",
}
JSON_OID, JSON_ARRAY_OID = 3802, 3807
OIDS = frozenset({26, 1028})


def refusal(column: ResultColumn) -> str | None:
    """Why the column cannot be written, in Materialize's words; None when it can."""
    oid = _ELEMENTS.get(column.oid, column.oid)
    if oid == 1700 and not 0 <= numeric_scale(column.modifier) <= _MAX_SCALE:
        scale = numeric_scale(column.modifier)
        return f"{column.name}: Numeric {{ max_scale: Some(NumericMaxScale({scale})) }}"
    if oid in _TYPES or oid in _RANGES:
        return None
    return f"{column.name}: {_UNSUPPORTED.get(column.oid, column.type_name)}"


def unique_names(columns: list[ResultColumn]) -> list[str]:
    """Column names of a file: a second ``a`` is ``a2``, a third ``a3``."""
    seen: dict[str, int] = {}
    names = []
    for column in columns:
        count = seen[column.name] = seen.get(column.name, 0) + 1
        names.append(column.name if count == 1 else f"{column.name}{count}")
    return names


def _metadata(extension: str) -> dict[bytes, bytes]:
    return {_EXTENSION: f"materialize.v1.{extension}".encode()}


def field(name: str, column: ResultColumn) -> pa.Field[Any]:
    """The field of a file."""
    if column.oid in _ELEMENTS:
        return _array_field(name, column)
    if column.oid in _RANGES:
        return _range_field(name, column)
    return _plain_field(name, column.oid, column.modifier, nullable=column.nullable)


def _plain_field(name: str, oid: int, modifier: int, *, nullable: bool) -> pa.Field[Any]:
    import pyarrow as pa

    known = _TYPES[oid]
    return pa.field(name, known.arrow(modifier), nullable, _metadata(known.extension))


def _array_field(name: str, column: ResultColumn) -> pa.Field[Any]:
    import pyarrow as pa

    item = _plain_field("item", _ELEMENTS[column.oid], column.modifier, nullable=True)
    struct = pa.struct(
        [
            pa.field("items", pa.list_(item), False, _metadata("array_items")),
            pa.field("dimensions", pa.uint8(), False, _metadata("array_dimensions")),
        ]
    )
    return pa.field(name, struct, column.nullable, _metadata("array"))


def _range_field(name: str, column: ResultColumn) -> pa.Field[Any]:
    import pyarrow as pa

    bound = _RANGES[column.oid]
    struct = pa.struct(
        [
            _plain_field("lower", bound, -1, nullable=True),
            _plain_field("upper", bound, -1, nullable=True),
            *(_plain_field(part, 16, -1, nullable=False) for part in ("lower_inclusive", "upper_inclusive", "empty")),
        ]
    )
    return pa.field(name, struct, column.nullable, _metadata("range"))


def selected(columns: list[ResultColumn]) -> str:
    """The expressions to ask PostgreSQL for; the columns of the query are called ``c0``, ``c1`` and so on.

    An array takes two: the elements and the number of dimensions. A range takes five: its bounds and what they are.
    """
    out = []
    for i, column in enumerate(columns):
        if column.oid in _RANGES:
            bound = _TYPES[_RANGES[column.oid]].select
            out += [
                f"{(bound if j < 2 else '{}').format(f'{part}(q.c{i})')} AS c{i}_{j}"
                for j, part in enumerate(_RANGE_PARTS)
            ]
            continue
        element = _ELEMENTS.get(column.oid)
        if element is None:
            out.append(f"{_TYPES[column.oid].select.format(f'q.c{i}')} AS c{i}")
            continue
        cast = _TYPES[element].array
        out.append(f"q.c{i}{f'::{cast}' if cast else ''} AS c{i}")
        out.append(f"CASE WHEN q.c{i} IS NOT NULL THEN coalesce(array_ndims(q.c{i}), 0)::smallint END AS d{i}")
    return ", ".join(out)


def element_oid(column: ResultColumn) -> int | None:
    """The type of an array's elements, None for other types."""
    return _ELEMENTS.get(column.oid)


def bound_oid(column: ResultColumn) -> int | None:
    """The type of a range's bounds, None for other types."""
    return _RANGES.get(column.oid)


def conversion(oid: int) -> str:
    """How values of the type are converted."""
    return _TYPES[oid].kind
