"""Data types: as Snowflake names and describes them, and as DuckDB stores them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from mz_orchestration.local.snowflake import errors
from mz_orchestration.local.snowflake.lexer import Parser

MAX_TEXT = 16_777_216
MAX_BINARY = 8_388_608

_DUCK = {
    "FLOAT": "DOUBLE",
    "TEXT": "VARCHAR",
    "BOOLEAN": "BOOLEAN",
    "DATE": "DATE",
    "TIME": "TIME",
    "TIMESTAMP_NTZ": "TIMESTAMP",
    # One instant type in DuckDB for both: an offset of its own is not kept (a TIMESTAMP_TZ is shown in the
    # session's time zone, which is also what Snowflake gives a TIMESTAMP_TZ loaded from Parquet).
    "TIMESTAMP_LTZ": "TIMESTAMPTZ",
    "TIMESTAMP_TZ": "TIMESTAMPTZ",
    "VARIANT": "JSON",
    "ARRAY": "JSON",
    "OBJECT": "JSON",
    "BINARY": "BLOB",
}
_SYNONYMS = {
    "NUMBER": "NUMBER", "DECIMAL": "NUMBER", "NUMERIC": "NUMBER", "DEC": "NUMBER", "INT": "NUMBER",
    "INTEGER": "NUMBER", "BIGINT": "NUMBER", "SMALLINT": "NUMBER", "TINYINT": "NUMBER", "BYTEINT": "NUMBER",
    "FLOAT": "FLOAT", "FLOAT4": "FLOAT", "FLOAT8": "FLOAT", "DOUBLE": "FLOAT", "REAL": "FLOAT",
    "VARCHAR": "TEXT", "CHAR": "TEXT", "CHARACTER": "TEXT", "STRING": "TEXT", "TEXT": "TEXT",
    "NVARCHAR": "TEXT", "BOOLEAN": "BOOLEAN", "BOOL": "BOOLEAN", "DATE": "DATE", "TIME": "TIME",
    "DATETIME": "TIMESTAMP_NTZ", "TIMESTAMP": "TIMESTAMP_NTZ", "TIMESTAMP_NTZ": "TIMESTAMP_NTZ",
    "TIMESTAMPNTZ": "TIMESTAMP_NTZ", "TIMESTAMP_LTZ": "TIMESTAMP_LTZ", "TIMESTAMPLTZ": "TIMESTAMP_LTZ",
    "TIMESTAMP_TZ": "TIMESTAMP_TZ", "TIMESTAMPTZ": "TIMESTAMP_TZ", "VARIANT": "VARIANT", "ARRAY": "ARRAY",
    "OBJECT": "OBJECT", "BINARY": "BINARY", "VARBINARY": "BINARY",
}  # fmt: skip
_FIXED_INTEGERS = {"INT", "INTEGER", "BIGINT", "SMALLINT", "TINYINT", "BYTEINT"}
_DUCK_INTEGERS = {
    "TINYINT": 3, "UTINYINT": 3, "SMALLINT": 5, "USMALLINT": 5, "INTEGER": 10, "UINTEGER": 10,
    "BIGINT": 19, "UBIGINT": 20, "HUGEINT": 38, "UHUGEINT": 38,
}  # fmt: skip
_DECIMAL = re.compile(r"DECIMAL\((\d+),\s*(\d+)\)")


@dataclass(frozen=True)
class SfType:
    """A Snowflake type by the name INFORMATION_SCHEMA gives it."""

    name: str
    precision: int | None = None
    scale: int | None = None
    length: int | None = None

    @property
    def duck(self) -> str:
        """The DuckDB type that stores it."""
        return f"DECIMAL({self.precision},{self.scale})" if self.name == "NUMBER" else _DUCK[self.name]

    @property
    def ddl(self) -> str:
        """The type as DESC TABLE spells it."""
        if self.name == "NUMBER":
            return f"NUMBER({self.precision},{self.scale})"
        if self.name == "TEXT":
            return f"VARCHAR({self.length})"
        if self.name == "BINARY":
            return f"BINARY({self.length})"
        if self.name == "TIME" or self.name.startswith("TIMESTAMP"):
            return f"{self.name}({self.scale})"
        return self.name

    def rowtype(self, name: str, nullable: bool = True) -> dict[str, Any]:
        """The column's description on the wire."""
        wire = {"NUMBER": "fixed", "FLOAT": "real"}.get(self.name, self.name.lower())
        described = {
            "name": name, "database": "", "schema": "", "table": "", "nullable": nullable, "type": wire,
            "precision": self.precision, "scale": self.scale, "length": self.length,
            "byteLength": self.length, "collation": None,
        }  # fmt: skip
        if self.name == "TEXT" and self.length is not None:
            described["byteLength"] = min(self.length * 4, MAX_TEXT)
        return described


NUMBER = SfType("NUMBER", 38, 0)
TEXT = SfType("TEXT", length=MAX_TEXT)
FLOAT = SfType("FLOAT")
BOOLEAN = SfType("BOOLEAN")
DATE = SfType("DATE")
TIME = SfType("TIME", 0, 9)
TIMESTAMP_NTZ = SfType("TIMESTAMP_NTZ", 0, 9)
TIMESTAMP_LTZ = SfType("TIMESTAMP_LTZ", 0, 9)
TIMESTAMP_TZ = SfType("TIMESTAMP_TZ", 0, 9)
VARIANT = SfType("VARIANT")
ARRAY = SfType("ARRAY")
OBJECT = SfType("OBJECT")
BINARY = SfType("BINARY", length=MAX_BINARY)
_PLAIN = {
    t.name: t
    for t in (TEXT, FLOAT, BOOLEAN, DATE, TIME, TIMESTAMP_NTZ, TIMESTAMP_LTZ, TIMESTAMP_TZ, VARIANT, ARRAY,
              OBJECT, BINARY)
}  # fmt: skip


def parse_type(parser: Parser) -> SfType:
    """Read a data type with its parameters."""
    start = parser.token
    word = parser.take().upper
    if word not in _SYNONYMS:
        raise errors.compilation("002040", "42601", f"Unsupported data type '{start.text}'.")
    if word == "DOUBLE":
        parser.accept("PRECISION")
    name = _SYNONYMS[word]
    arguments: list[int] = []
    if parser.looking_at("(") and name not in {"VARIANT", "FLOAT", "BOOLEAN", "DATE"}:
        if name in {"ARRAY", "OBJECT"}:
            raise errors.unsupported("structured types", parser.sql)
        parser.expect("(")
        arguments.append(parser.integer())
        while parser.accept(","):
            arguments.append(parser.integer())
        parser.expect(")")
    if name == "NUMBER":
        precision = 38 if word in _FIXED_INTEGERS or not arguments else arguments[0]
        scale = arguments[1] if len(arguments) > 1 and word not in _FIXED_INTEGERS else 0
        if not 1 <= precision <= 38 or not 0 <= scale <= min(precision, 37):
            raise errors.compilation("002039", "42601", f"Invalid precision or scale ({precision},{scale}).")
        return SfType("NUMBER", precision, scale)
    if name == "TEXT":
        default = 1 if word in {"CHAR", "CHARACTER"} else MAX_TEXT
        return SfType("TEXT", length=arguments[0] if arguments else default)
    if name == "BINARY":
        return SfType("BINARY", length=arguments[0] if arguments else MAX_BINARY)
    if arguments:
        return SfType(name, 0, arguments[0])
    return _PLAIN[name]


def from_duck(duck_type: str) -> SfType:
    """The type of a query's column, from what DuckDB calls it."""
    if match := _DECIMAL.match(duck_type):
        return SfType("NUMBER", int(match[1]), int(match[2]))
    if duck_type in _DUCK_INTEGERS:
        return SfType("NUMBER", _DUCK_INTEGERS[duck_type], 0)
    if duck_type.endswith("]"):
        return ARRAY
    if duck_type.startswith(("STRUCT", "MAP")):
        return OBJECT
    return {
        "DOUBLE": FLOAT, "FLOAT": FLOAT, "BOOLEAN": BOOLEAN, "DATE": DATE, "TIME": TIME,
        "TIMESTAMP": TIMESTAMP_NTZ, "TIMESTAMP_S": TIMESTAMP_NTZ, "TIMESTAMP_MS": TIMESTAMP_NTZ,
        "TIMESTAMP_NS": TIMESTAMP_NTZ, "TIMESTAMP WITH TIME ZONE": TIMESTAMP_LTZ, "JSON": VARIANT,
        "BLOB": BINARY,
    }.get(duck_type, TEXT)  # fmt: skip
