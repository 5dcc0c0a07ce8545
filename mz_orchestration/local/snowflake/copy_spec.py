"""COPY INTO <table>: what the statement asks for, checked before anything runs."""

from __future__ import annotations

from dataclasses import dataclass

from mz_orchestration.local.snowflake import errors
from mz_orchestration.local.snowflake.lexer import Parser, Value
from mz_orchestration.local.snowflake.statement import Statement

MAX_FILES = 1000
_HARMLESS: dict[str, Value] = {
    "PURGE": False,
    "RETURN_FAILED_ONLY": False,
    "TRUNCATECOLUMNS": False,
    "ENFORCE_LENGTH": True,
    "LOAD_UNCERTAIN_FILES": False,
    "ON_ERROR": "ABORT_STATEMENT",
}
_OPTIONS = {"FILES", "PATTERN", "FILE_FORMAT", "MATCH_BY_COLUMN_NAME", "FORCE", *_HARMLESS}


@dataclass(frozen=True)
class ParquetFormat:
    """Options of TYPE = PARQUET, with Snowflake's defaults."""

    use_logical_type: bool = False
    binary_as_text: bool = True


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


@dataclass(frozen=True)
class CopySpec:
    """A COPY INTO statement."""

    table: list[str]
    columns: list[str] | None
    stage: str
    projection: str | None
    alias: str | None
    files: list[str] | None
    pattern: str | None
    format: ParquetFormat | CsvFormat
    match_by: str | None
    force: bool


def parse_copy(statement: Statement, parser: Parser) -> CopySpec:
    """Read a COPY INTO statement from behind ``COPY INTO``."""
    if parser.token.kind == "stage" or parser.token.kind == "string":
        raise errors.unsupported("COPY INTO <location>", statement.sql)
    table = parser.name()
    columns: list[str] | None = None
    if parser.accept("("):
        columns = [parser.identifier()]
        while parser.accept(","):
            columns.append(parser.identifier())
        parser.expect(")")
    parser.expect("FROM")
    projection: str | None = None
    alias: str | None = None
    if parser.accept("("):
        parser.expect("SELECT")
        projection = _projection(parser)
        parser.expect("FROM")
        stage = _stage(statement, parser)
        parser.accept("AS")
        if not parser.looking_at(")"):
            alias = parser.identifier()
        parser.expect(")")
    else:
        stage = _stage(statement, parser)
    options = parser.options()
    parser.end()
    return _spec(statement, table, columns, stage, projection, alias, options)


def _stage(statement: Statement, parser: Parser) -> str:
    if parser.token.kind == "string":
        raise errors.unsupported("COPY INTO FROM a location without a stage", statement.sql)
    if parser.token.kind != "stage":
        raise parser.unexpected()
    return parser.take().text


def _projection(parser: Parser) -> str:
    start, end, depth = parser.token.start, parser.token.start, 0
    while depth or not parser.looking_at("FROM"):
        token = parser.take()
        depth += {"(": 1, ")": -1}.get(token.upper, 0)
        if depth < 0:
            raise parser.unexpected()
        end = token.end
    return parser.sql[start:end]


def _spec(
    statement: Statement,
    table: list[str],
    columns: list[str] | None,
    stage: str,
    projection: str | None,
    alias: str | None,
    options: dict[str, Value],
) -> CopySpec:
    for key, value in options.items():
        word = value.upper() if isinstance(value, str) else value
        if key not in _OPTIONS or (key in _HARMLESS and word != _HARMLESS[key]):
            raise errors.unsupported(f"COPY INTO with {key} = {value}", statement.sql)
    match_by = options.get("MATCH_BY_COLUMN_NAME")
    if match_by is not None and match_by not in ("CASE_SENSITIVE", "CASE_INSENSITIVE"):
        raise errors.invalid_value("MATCH_BY_COLUMN_NAME", match_by)
    if match_by is not None and (projection is not None or columns is not None):
        raise errors.compilation(
            "002301", "42601", "MATCH_BY_COLUMN_NAME is not supported with a column list or copy transform."
        )
    pattern, force = options.get("PATTERN"), options.get("FORCE", False)
    if pattern is not None and not isinstance(pattern, str):
        raise errors.invalid_value("PATTERN", pattern)
    if not isinstance(force, bool):
        raise errors.invalid_value("FORCE", force)
    if options.get("FILES") is not None and pattern is not None:
        raise errors.compilation("002301", "42601", "FILES and PATTERN cannot be used together.")
    found = _format(statement, options.get("FILE_FORMAT"))
    if match_by is not None and isinstance(found, CsvFormat) and not found.parse_header:
        raise errors.compilation(
            "002301", "42601", "MATCH_BY_COLUMN_NAME with a CSV file format requires PARSE_HEADER = TRUE."
        )
    return CopySpec(
        table,
        columns,
        stage,
        projection,
        alias,
        _files(options.get("FILES")),
        pattern,
        found,
        str(match_by) if match_by is not None else None,
        force,
    )


def _files(value: Value) -> list[str] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not value or not all(isinstance(v, str) for v in value):
        raise errors.invalid_value("FILES", value)
    if len(value) > MAX_FILES:
        raise errors.compilation(
            "001008",
            "22023",
            f"invalid value [{len(value)} files] for parameter 'FILES': at most {MAX_FILES} file names",
        )
    return [str(v) for v in value]


def _format(statement: Statement, value: Value) -> ParquetFormat | CsvFormat:
    options = value if isinstance(value, dict) else {}
    if value is not None and not isinstance(value, dict):
        raise errors.unsupported("named file formats", statement.sql)
    kind = str(options.get("TYPE", "CSV")).upper()
    rest = {k: v for k, v in options.items() if k != "TYPE"}
    if kind == "PARQUET":
        return _parquet(statement, rest)
    if kind == "CSV":
        return _csv(statement, rest)
    raise errors.unsupported(f"FILE_FORMAT TYPE {kind}", statement.sql)


def _parquet(statement: Statement, options: dict[str, Value]) -> ParquetFormat:
    known = {"USE_LOGICAL_TYPE", "BINARY_AS_TEXT", "USE_VECTORIZED_SCANNER", "COMPRESSION"}
    for key, value in options.items():
        if key not in known:
            raise errors.unsupported(f"FILE_FORMAT with {key}", statement.sql)
        if key != "COMPRESSION" and not isinstance(value, bool):
            raise errors.invalid_value(key, value)
    return ParquetFormat(
        use_logical_type=options.get("USE_LOGICAL_TYPE", False) is True,
        binary_as_text=options.get("BINARY_AS_TEXT", True) is True,
    )


def _csv(statement: Statement, options: dict[str, Value]) -> CsvFormat:
    known = {
        "FIELD_DELIMITER", "RECORD_DELIMITER", "SKIP_HEADER", "PARSE_HEADER", "FIELD_OPTIONALLY_ENCLOSED_BY",
        "ESCAPE", "ESCAPE_UNENCLOSED_FIELD", "NULL_IF", "EMPTY_FIELD_AS_NULL", "ENCODING",
        "ERROR_ON_COLUMN_COUNT_MISMATCH", "COMPRESSION", "SKIP_BLANK_LINES", "TRIM_SPACE", "MULTI_LINE",
    }  # fmt: skip
    for key in options:
        if key not in known:
            raise errors.unsupported(f"FILE_FORMAT with {key}", statement.sql)
    if str(options.get("ENCODING", "UTF8")).upper().replace("-", "") != "UTF8":
        raise errors.unsupported(f"ENCODING {options['ENCODING']}", statement.sql)
    if options.get("MULTI_LINE", True) is not True:
        raise errors.unsupported("MULTI_LINE = FALSE", statement.sql)
    skip, null_if = options.get("SKIP_HEADER", 0), options.get("NULL_IF", ["\\N"])
    if not isinstance(skip, int) or not isinstance(null_if, list):
        raise errors.invalid_value("SKIP_HEADER" if not isinstance(skip, int) else "NULL_IF", skip)
    parse_header = options.get("PARSE_HEADER", False) is True
    if parse_header and skip:
        raise errors.compilation("002301", "42601", "PARSE_HEADER cannot be used with SKIP_HEADER.")
    record = options.get("RECORD_DELIMITER")
    return CsvFormat(
        delimiter=str(options.get("FIELD_DELIMITER", ",")),
        record_delimiter=record if isinstance(record, str) and record != "\n" else None,
        skip_header=skip,
        parse_header=parse_header,
        enclosed_by=_character(options, "FIELD_OPTIONALLY_ENCLOSED_BY", None),
        escape=_character(options, "ESCAPE", None),
        escape_unenclosed=_character(options, "ESCAPE_UNENCLOSED_FIELD", "\\"),
        null_if=tuple(str(v) for v in null_if),
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
