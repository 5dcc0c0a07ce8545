"""File formats: the options of TYPE = PARQUET and TYPE = CSV, and named formats that keep them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TypeAlias

from mz_orchestration.local.snowflake import errors, grants
from mz_orchestration.local.snowflake.catalog import FileFormat
from mz_orchestration.local.snowflake.lexer import Parser, Value
from mz_orchestration.local.snowflake.names import display
from mz_orchestration.local.snowflake.results import Result
from mz_orchestration.local.snowflake.statement import Statement
from mz_orchestration.local.snowflake.types import TEXT, TIMESTAMP_LTZ

_SHOWN = [
    ("created_on", TIMESTAMP_LTZ),
    *((name, TEXT) for name in ("name", "database_name", "schema_name", "type", "owner", "comment",
                                "format_options", "owner_role_type")),
]  # fmt: skip
_DESCRIBED = [(name, TEXT) for name in ("property", "property_type", "property_value", "property_default")]
_DEFAULTS: dict[str, dict[str, Value]] = {
    "PARQUET": {
        "TRIM_SPACE": False, "NULL_IF": ["\\N"], "COMPRESSION": "AUTO", "BINARY_AS_TEXT": True,
        "USE_LOGICAL_TYPE": False, "REPLACE_INVALID_CHARACTERS": False, "USE_VECTORIZED_SCANNER": False,
    },
    "CSV": {
        "RECORD_DELIMITER": "\n", "FIELD_DELIMITER": ",", "FILE_EXTENSION": None, "SKIP_HEADER": 0,
        "PARSE_HEADER": False, "DATE_FORMAT": "AUTO", "TIME_FORMAT": "AUTO", "TIMESTAMP_FORMAT": "AUTO",
        "BINARY_FORMAT": "HEX", "ESCAPE": None, "ESCAPE_UNENCLOSED_FIELD": "\\", "TRIM_SPACE": False,
        "FIELD_OPTIONALLY_ENCLOSED_BY": None, "NULL_IF": ["\\N"], "COMPRESSION": "AUTO",
        "ERROR_ON_COLUMN_COUNT_MISMATCH": True, "SKIP_BLANK_LINES": False, "REPLACE_INVALID_CHARACTERS": False,
        "EMPTY_FIELD_AS_NULL": True, "SKIP_BYTE_ORDER_MARK": True, "ENCODING": "UTF8", "MULTI_LINE": True,
    },
}  # fmt: skip
# Options that are read and mean nothing here, because only one value of theirs is supported.
_FIXED: dict[str, dict[str, Value]] = {
    "PARQUET": {"TRIM_SPACE": False, "REPLACE_INVALID_CHARACTERS": False},
    "CSV": {
        "DATE_FORMAT": "AUTO", "TIME_FORMAT": "AUTO", "TIMESTAMP_FORMAT": "AUTO", "BINARY_FORMAT": "HEX",
        "REPLACE_INVALID_CHARACTERS": False, "SKIP_BYTE_ORDER_MARK": True, "MULTI_LINE": True,
    },
}  # fmt: skip


@dataclass(frozen=True)
class ParquetFormat:
    """Options of TYPE = PARQUET, with Snowflake's defaults."""

    use_logical_type: bool = False
    binary_as_text: bool = True
    vectorized: bool = False


@dataclass(frozen=True)
class CsvFormat:
    """Options of TYPE = CSV, with Snowflake's defaults."""

    delimiter: str = ","
    record_delimiter: str | None = None
    skip_header: int = 0
    parse_header: bool = False
    enclosed_by: str | None = None
    escape: str | None = None
    escape_unenclosed: str | None = "\\"
    null_if: tuple[str, ...] = ("\\N",)
    empty_as_null: bool = True
    mismatch_is_error: bool = True
    skip_blank_lines: bool = False
    trim_space: bool = False
    compression: str = "AUTO"


Format: TypeAlias = "ParquetFormat | CsvFormat"
# What a statement says about a format: the parts of a name, or options.
Reference: TypeAlias = "list[str] | dict[str, Value]"


def reference(parser: Parser) -> Reference:
    """Read what stands behind ``FILE_FORMAT =``: options in brackets, ``(FORMAT_NAME = …)`` or a bare name."""
    if not parser.accept("("):
        return _name(parser)
    if parser.accept("FORMAT_NAME", "="):
        parts = _name(parser)
        parser.expect(")")
        return parts
    options = parser.options()
    parser.expect(")")
    return options


def resolve(statement: Statement, given: Reference) -> Format:
    """The format a reference stands for; without TYPE it is CSV."""
    if isinstance(given, list):
        return named(statement, given)
    if isinstance(name := given.get("FORMAT_NAME"), str):
        return named(statement, Parser(name).name())
    return build(statement, str(given.get("TYPE", "CSV")).upper(), {k: v for k, v in given.items() if k != "TYPE"})


def named(statement: Statement, parts: list[str]) -> Format:
    """The format of a name."""
    found = _usable(statement, parts, "COPY")
    return build(statement, found.kind, found.options)


def build(statement: Statement, kind: str, options: dict[str, Value]) -> Format:
    """A format from its type and options."""
    if kind not in _DEFAULTS:
        raise errors.unsupported(f"FILE_FORMAT TYPE {kind}", statement.sql)
    for key, value in options.items():
        if key not in _DEFAULTS[kind]:
            raise errors.unsupported(f"FILE_FORMAT with {key}", statement.sql)
        word = value.upper() if isinstance(value, str) else value
        if key in _FIXED[kind] and word != _FIXED[kind][key]:
            raise errors.unsupported(f"FILE_FORMAT with {key} = {value}", statement.sql)
        if isinstance(_DEFAULTS[kind][key], bool) and not isinstance(value, bool):
            raise errors.invalid_value(key, value)
    return _parquet(statement, options) if kind == "PARQUET" else _csv(statement, options)


def create(statement: Statement, parser: Parser, or_replace: bool) -> Result:
    """CREATE FILE FORMAT."""
    if_not_exists = parser.accept("IF", "NOT", "EXISTS")
    name = statement.name(parser.name(), "CREATE FILE FORMAT")
    grants.enter(statement, name, "CREATE FILE FORMAT")
    options = parser.options()
    parser.end()
    kind, comment = str(options.pop("TYPE", "CSV")).upper(), options.pop("COMMENT", None)
    build(statement, kind, options)
    with statement.catalog.lock:
        formats = statement.catalog.schema_of(name).file_formats
        if name.object in formats and not or_replace:
            if not if_not_exists:
                raise errors.already_exists(str(name))
            return Result.status(f"{display(name.object)} already exists, statement succeeded.")
        text = comment if isinstance(comment, str) else None
        access = grants.created(statement, "FILE FORMAT", name)
        formats[name.object] = FileFormat(name.object, kind, options, text, access=access)
    return Result.status(f"File format {display(name.object)} successfully created.")


def drop(statement: Statement, parser: Parser) -> Result:
    """DROP FILE FORMAT."""
    if_exists = parser.accept("IF", "EXISTS")
    parts = parser.name()
    parser.end()
    name = statement.name(parts, "DROP")
    shown = display(name.object)
    with statement.catalog.lock:
        formats = statement.catalog.schema_of(name).file_formats
        if if_exists and name.object not in formats:
            return Result.status(f"Drop statement executed successfully ({shown} already dropped).")
        found = statement.catalog.file_format(name)
        grants.require(statement, found.access, "FILE FORMAT", str(name), "OWNERSHIP")
        del formats[name.object]
    return Result.status(f"{shown} successfully dropped.")


def describe(statement: Statement, parser: Parser) -> Result:
    """DESC FILE FORMAT."""
    parts = parser.name()
    parser.end()
    found = _usable(statement, parts, "DESCRIBE")
    rows: list[list[object]] = [["TYPE", "String", found.kind, "CSV"]]
    for key, default in _DEFAULTS[found.kind].items():
        rows.append([key, _kind(default), _shown(found.options.get(key, default)), _shown(default)])
    return Result.of(_DESCRIBED, rows)


def show(statement: Statement, parser: Parser) -> Result:
    """SHOW FILE FORMATS [LIKE …] [IN [ACCOUNT | DATABASE d | [SCHEMA] s]]."""
    like = re.compile("")
    if parser.accept("LIKE"):
        shown = {"%": ".*", "_": "."}
        like = re.compile("".join(shown.get(c, re.escape(c)) for c in parser.string()) + r"\Z", re.IGNORECASE)
    context = statement.session.context
    database, schema = context.database, context.schema
    if parser.accept("IN", "ACCOUNT"):
        database = schema = None
    elif parser.accept("IN", "DATABASE"):
        database, schema = (context.database if parser.at_end else parser.identifier()), None
    elif parser.accept("IN"):
        parser.accept("SCHEMA")
        parts = [] if parser.at_end else parser.name()
        schema = parts[-1] if parts else context.schema
        database = parts[-2] if len(parts) > 1 else context.database
    parser.end()
    with statement.catalog.lock:
        rows = [
            [f.created, f.name, d.name, s.name, f.kind, f.access.owner, f.comment or "",
             json.dumps({"TYPE": f.kind, **_DEFAULTS[f.kind], **f.options}), "ROLE"]
            for d in statement.catalog.databases.values() if database in (None, d.name)
            for s in d.schemas.values() if schema in (None, s.name)
            for f in s.file_formats.values() if like.match(f.name) and grants.sees(statement, f.access)
        ]  # fmt: skip
    return Result.of(_SHOWN, rows)


def _usable(statement: Statement, parts: list[str], action: str) -> FileFormat:
    name = statement.name(parts, action)
    with statement.catalog.lock:
        found = statement.catalog.file_format(name)
        grants.enter(statement, name)
        grants.require(statement, found.access, "FILE FORMAT", str(name), "USAGE")
        return found


def _name(parser: Parser) -> list[str]:
    if parser.token.kind == "string":
        return Parser(parser.string()).name()
    return parser.name()


def _kind(default: Value) -> str:
    if isinstance(default, bool):
        return "Boolean"
    return {list: "List", int: "Integer"}.get(type(default), "String")


def _shown(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(str(v) for v in value)}]"
    return "NONE" if value is None else str(value)


def _parquet(statement: Statement, options: dict[str, Value]) -> ParquetFormat:
    if options.get("NULL_IF", []) not in ([], ["\\N"], None):
        raise errors.unsupported("FILE_FORMAT TYPE = PARQUET with NULL_IF", statement.sql)
    return ParquetFormat(
        use_logical_type=options.get("USE_LOGICAL_TYPE", False) is True,
        binary_as_text=options.get("BINARY_AS_TEXT", True) is True,
        vectorized=options.get("USE_VECTORIZED_SCANNER", False) is True,
    )


def _csv(statement: Statement, options: dict[str, Value]) -> CsvFormat:
    if str(options.get("ENCODING", "UTF8")).upper().replace("-", "") != "UTF8":
        raise errors.unsupported(f"ENCODING {options['ENCODING']}", statement.sql)
    skip, null_if = options.get("SKIP_HEADER", 0), options.get("NULL_IF", ["\\N"])
    if not isinstance(skip, int):
        raise errors.invalid_value("SKIP_HEADER", skip)
    if not isinstance(null_if, list):
        null_if = [null_if]
    parse_header = options.get("PARSE_HEADER", False) is True
    if parse_header and skip:
        raise errors.compilation("002301", "42601", "PARSE_HEADER cannot be used with SKIP_HEADER.")
    delimiter, record = options.get("FIELD_DELIMITER", ","), options.get("RECORD_DELIMITER", "\n")
    for key, value in (("FIELD_DELIMITER", delimiter), ("RECORD_DELIMITER", record)):
        if value is None or value == "NONE":
            raise errors.unsupported(f"FILE_FORMAT with {key} = NONE", statement.sql)
        if not isinstance(value, str) or not value:
            raise errors.invalid_value(key, value)
    return CsvFormat(
        delimiter=str(delimiter),
        record_delimiter=str(record) if record != "\n" else None,
        skip_header=skip,
        parse_header=parse_header,
        enclosed_by=_character(options, "FIELD_OPTIONALLY_ENCLOSED_BY", None),
        escape=_character(options, "ESCAPE", None),
        escape_unenclosed=_character(options, "ESCAPE_UNENCLOSED_FIELD", "\\"),
        null_if=tuple(str(v) for v in null_if if v is not None),
        empty_as_null=options.get("EMPTY_FIELD_AS_NULL", True) is True,
        mismatch_is_error=options.get("ERROR_ON_COLUMN_COUNT_MISMATCH", True) is True,
        skip_blank_lines=options.get("SKIP_BLANK_LINES", False) is True,
        trim_space=options.get("TRIM_SPACE", False) is True,
        compression=str(options.get("COMPRESSION", "AUTO") or "NONE").upper(),
    )


def _character(options: dict[str, Value], key: str, default: str | None) -> str | None:
    value = options.get(key, default)
    if value is None or (isinstance(value, str) and len(value) == 1):
        return value
    if value == "NONE":
        return None
    raise errors.invalid_value(key, value)
