"""COPY INTO <table>: what the statement asks for, checked before anything runs."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mz_orchestration.local.snowflake import errors, file_formats
from mz_orchestration.local.snowflake.file_formats import CsvFormat, Format, ParquetFormat, Reference
from mz_orchestration.local.snowflake.lexer import Parser, Value
from mz_orchestration.local.snowflake.statement import Statement

MAX_FILES = 1000
METADATA = {
    "METADATA$FILENAME": "VARCHAR",
    "METADATA$FILE_ROW_NUMBER": "BIGINT",
    "METADATA$FILE_LAST_MODIFIED": "TIMESTAMP",
    "METADATA$FILE_CONTENT_KEY": "VARCHAR",
    "METADATA$START_SCAN_TIME": "TIMESTAMP WITH TIME ZONE",
}
_OPTIONS = {
    "FILES", "PATTERN", "MATCH_BY_COLUMN_NAME", "FORCE", "PURGE", "RETURN_FAILED_ONLY", "TRUNCATECOLUMNS",
    "ENFORCE_LENGTH", "LOAD_UNCERTAIN_FILES", "ON_ERROR", "SIZE_LIMIT", "VALIDATION_MODE", "LOAD_MODE",
}  # fmt: skip
_VALIDATION = re.compile(r"RETURN_(?:(\d+)_ROWS|ERRORS|ALL_ERRORS)\Z")
_ON_ERROR = re.compile(r"(ABORT_STATEMENT|CONTINUE|SKIP_FILE(?:_(\d+)(%)?)?)\Z")


@dataclass(frozen=True)
class OnError:
    """What a faulty row or file does to the load. ``limit`` is the n of SKIP_FILE_n and SKIP_FILE_n%."""

    action: str = "ABORT_STATEMENT"
    limit: int | None = None
    percent: bool = False

    @property
    def by_row(self) -> bool:
        """Whether a file's good rows may be loaded without its faulty ones."""
        return self.action == "CONTINUE" or self.limit is not None

    def skips(self, errors_seen: int, parsed: int) -> bool:
        """Whether a file with so many faulty rows is left out as a whole."""
        if not errors_seen or self.action == "CONTINUE":
            return False
        if self.limit is None:
            return True
        # As documented: equal or more for a number, more for a percentage.
        return errors_seen * 100 > self.limit * parsed if self.percent else errors_seen >= self.limit

    def error_limit(self, parsed: int) -> int:
        """What the answer shows as ``error_limit``; by documentation the number at which a file is given up."""
        if self.action == "CONTINUE":
            return parsed
        if self.limit is None:
            return 1
        return self.limit * parsed // 100 + 1 if self.percent else self.limit


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
    format: Reference | None
    match_by: str | None
    include_metadata: dict[str, str]
    on_error: OnError
    force: bool
    purge: bool
    truncate: bool
    failed_only: bool
    uncertain: bool
    size_limit: int | None
    validation: str | None

    @property
    def validated_rows(self) -> int | None:
        """The n of VALIDATION_MODE = RETURN_n_ROWS."""
        match = _VALIDATION.match(self.validation or "")
        return int(match[1]) if match and match[1] else None

    @property
    def uses_metadata(self) -> bool:
        """Whether a row has to know which file it is from."""
        return bool(self.include_metadata) or "METADATA$" in (self.projection or "").upper()


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
    found, fmt, metadata = _options(statement, parser)
    parser.end()
    return _spec(statement, table, columns, stage, (projection, alias), found, fmt, metadata)


def check_format(spec: CopySpec, fmt: Format) -> None:
    """Refuse what the format, wherever it comes from, does not go with."""
    if spec.match_by is not None and isinstance(fmt, CsvFormat) and not fmt.parse_header:
        raise errors.compilation(
            "002301", "42601", "MATCH_BY_COLUMN_NAME with a CSV file format requires PARSE_HEADER = TRUE."
        )
    if isinstance(fmt, ParquetFormat) and fmt.vectorized and spec.on_error.by_row:
        # Documented as not supported together; what the server says is not, so this is the stand-in's own wording.
        raise errors.compilation(
            "002301",
            "42601",
            f"ON_ERROR = {spec.on_error.action} is not supported with USE_VECTORIZED_SCANNER = TRUE; "
            "use ABORT_STATEMENT or SKIP_FILE.",
        )


def _stage(statement: Statement, parser: Parser) -> str:
    if parser.token.kind == "string" and not parser.token.text.startswith("@"):
        raise errors.unsupported("COPY INTO FROM a location without a stage", statement.sql)
    if parser.token.kind not in {"stage", "string"}:
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


def _options(statement: Statement, parser: Parser) -> tuple[dict[str, Value], Reference | None, dict[str, str]]:
    """The copy options, the file format, and the columns INCLUDE_METADATA fills."""
    found: dict[str, Value] = {}
    fmt: Reference | None = None
    metadata: dict[str, str] = {}
    while not parser.at_end:
        key = parser.identifier()
        parser.expect("=")
        if key == "FILE_FORMAT":
            fmt = file_formats.reference(parser)
        elif key == "INCLUDE_METADATA":
            metadata = _include_metadata(parser)
        elif key in _OPTIONS:
            found[key] = parser.value()
        else:
            raise errors.unsupported(f"COPY INTO with {key}", statement.sql)
        parser.accept(",")
    return found, fmt, metadata


def _include_metadata(parser: Parser) -> dict[str, str]:
    parser.expect("(")
    found: dict[str, str] = {}
    while True:
        column = parser.identifier()
        parser.expect("=")
        name = parser.identifier()
        if name not in METADATA:
            raise errors.invalid_value("INCLUDE_METADATA", name)
        found[column] = name
        if not parser.accept(","):
            parser.expect(")")
            return found


def _spec(
    statement: Statement,
    table: list[str],
    columns: list[str] | None,
    stage: str,
    transform: tuple[str | None, str | None],
    options: dict[str, Value],
    fmt: Reference | None,
    metadata: dict[str, str],
) -> CopySpec:
    projection, alias = transform
    if options.get("LOAD_MODE", "FULL_INGEST") != "FULL_INGEST":
        raise errors.unsupported(f"COPY INTO with LOAD_MODE = {options['LOAD_MODE']}", statement.sql)
    match_by = options.get("MATCH_BY_COLUMN_NAME")
    if match_by is not None and match_by not in ("CASE_SENSITIVE", "CASE_INSENSITIVE"):
        raise errors.invalid_value("MATCH_BY_COLUMN_NAME", match_by)
    validation, size, pattern = options.get("VALIDATION_MODE"), options.get("SIZE_LIMIT"), options.get("PATTERN")
    if validation is not None and (not isinstance(validation, str) or not _VALIDATION.match(validation.upper())):
        raise errors.invalid_value("VALIDATION_MODE", validation)
    if pattern is not None and not isinstance(pattern, str):
        raise errors.invalid_value("PATTERN", pattern)
    if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size <= 0):
        raise errors.invalid_value("SIZE_LIMIT", size)
    transformed = projection is not None or columns is not None
    for wrong, text in (
        (match_by and transformed, "MATCH_BY_COLUMN_NAME is not supported with a column list or copy transform."),
        (match_by and validation, "MATCH_BY_COLUMN_NAME is not supported with VALIDATION_MODE."),
        (projection and validation, "VALIDATION_MODE is not supported with a copy transform."),
        (metadata and not match_by, "INCLUDE_METADATA requires MATCH_BY_COLUMN_NAME."),
        (options.get("FILES") is not None and pattern, "FILES and PATTERN cannot be used together."),
    ):
        if wrong:
            raise errors.compilation("002301", "42601", text)
    truncate = _flag(options, "TRUNCATECOLUMNS", False)
    if "ENFORCE_LENGTH" in options:
        # The same switch with the meaning reversed.
        enforced = _flag(options, "ENFORCE_LENGTH", True)
        if "TRUNCATECOLUMNS" in options and truncate == enforced:
            raise errors.compilation("002301", "42601", "ENFORCE_LENGTH and TRUNCATECOLUMNS contradict each other.")
        truncate = not enforced
    return CopySpec(
        table=table,
        columns=columns,
        stage=stage,
        projection=projection,
        alias=alias,
        files=_files(options.get("FILES")),
        pattern=pattern,
        format=fmt,
        match_by=str(match_by) if match_by is not None else None,
        include_metadata=metadata,
        on_error=_on_error(options.get("ON_ERROR", "ABORT_STATEMENT")),
        force=_flag(options, "FORCE", False),
        purge=_flag(options, "PURGE", False),
        truncate=truncate,
        failed_only=_flag(options, "RETURN_FAILED_ONLY", False),
        uncertain=_flag(options, "LOAD_UNCERTAIN_FILES", False),
        size_limit=size,
        validation=validation.upper() if isinstance(validation, str) else None,
    )


def _flag(options: dict[str, Value], key: str, default: bool) -> bool:
    value = options.get(key, default)
    if not isinstance(value, bool):
        raise errors.invalid_value(key, value)
    return value


def _on_error(value: Value) -> OnError:
    match = _ON_ERROR.match(value.upper()) if isinstance(value, str) else None
    if match is None:
        raise errors.invalid_value("ON_ERROR", value)
    limit = int(match[2]) if match[2] else None
    if limit == 0 or (match[3] and limit is not None and limit > 100):
        raise errors.invalid_value("ON_ERROR", value)
    return OnError(match[1], limit, bool(match[3]))


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
