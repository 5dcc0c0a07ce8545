"""Storage integrations, stages and LIST."""

from __future__ import annotations

import re
import uuid
from dataclasses import replace

from mz_orchestration.local.snowflake import errors
from mz_orchestration.local.snowflake.catalog import Integration, Stage
from mz_orchestration.local.snowflake.lexer import Parser, Value
from mz_orchestration.local.snowflake.names import display
from mz_orchestration.local.snowflake.results import Result
from mz_orchestration.local.snowflake.statement import Statement
from mz_orchestration.local.snowflake.store import check_location, parse_url
from mz_orchestration.local.snowflake.types import NUMBER, TEXT

_STAGE_PATH = re.compile(r'@((?:"(?:[^"]|"")*"|[^./"]+)(?:\.(?:"(?:[^"]|"")*"|[^./"]+)){0,2})(?:/(.*))?\Z', re.DOTALL)
_INTEGRATION_OPTIONS = {
    "TYPE", "STORAGE_PROVIDER", "ENABLED", "STORAGE_AWS_ROLE_ARN", "STORAGE_ALLOWED_LOCATIONS",
    "STORAGE_BLOCKED_LOCATIONS", "STORAGE_AWS_EXTERNAL_ID", "COMMENT",
}  # fmt: skip
_STAGE_OPTIONS = {"URL", "STORAGE_INTEGRATION", "CREDENTIALS", "COMMENT"}


def stage_path(statement: Statement, token: str) -> tuple[Stage, str]:
    """The stage and the path of ``@db.schema.stage/path``."""
    if token.startswith("@'") or token.startswith("@~") or token.startswith("@%"):
        raise errors.unsupported(f"stage reference {token}", statement.sql)
    match = _STAGE_PATH.match(token)
    if match is None:
        raise errors.syntax(statement.sql, statement.sql.find(token), token)
    name = statement.name(Parser(match[1]).name(), "COPY")
    with statement.catalog.lock:
        return statement.catalog.stage(name), match[2] or ""


def create_integration(statement: Statement, parser: Parser, or_replace: bool) -> Result:
    """CREATE STORAGE INTEGRATION for S3."""
    if_not_exists = parser.accept("IF", "NOT", "EXISTS")
    name = parser.identifier()
    options = parser.options()
    parser.end()
    _known(statement, options, _INTEGRATION_OPTIONS)
    if options.get("TYPE") != "EXTERNAL_STAGE":
        raise errors.invalid_value("TYPE", options.get("TYPE"))
    if str(options.get("STORAGE_PROVIDER")).upper() != "S3":
        raise errors.unsupported(f"STORAGE_PROVIDER {options.get('STORAGE_PROVIDER')}", statement.sql)
    role, enabled = options.get("STORAGE_AWS_ROLE_ARN"), options.get("ENABLED")
    if not isinstance(role, str) or not isinstance(enabled, bool):
        missing = "STORAGE_AWS_ROLE_ARN" if not isinstance(role, str) else "ENABLED"
        raise errors.compilation("002029", "42601", f"Missing option(s): [{missing}]")
    allowed = _locations(options.get("STORAGE_ALLOWED_LOCATIONS"), "STORAGE_ALLOWED_LOCATIONS")
    if not allowed:
        raise errors.compilation("002029", "42601", "Missing option(s): [STORAGE_ALLOWED_LOCATIONS]")
    external_id = options.get("STORAGE_AWS_EXTERNAL_ID")
    integration = Integration(
        name,
        role,
        allowed,
        _locations(options.get("STORAGE_BLOCKED_LOCATIONS"), "STORAGE_BLOCKED_LOCATIONS"),
        external_id if isinstance(external_id, str) else f"LOCAL_SFCRole=1_{uuid.uuid4().hex}",
        enabled,
        _string(options.get("COMMENT")),
    )
    with statement.catalog.lock:
        if name in statement.catalog.integrations and not or_replace:
            if not if_not_exists:
                raise errors.already_exists(display(name))
            return Result.status(f"{display(name)} already exists, statement succeeded.")
        statement.catalog.integrations[name] = integration
    return Result.status(f"Integration {display(name)} successfully created.")


def alter_integration(statement: Statement, parser: Parser) -> Result:
    """ALTER STORAGE INTEGRATION … SET."""
    parser.accept("IF", "EXISTS")
    name = parser.identifier()
    parser.expect("SET")
    options = parser.options()
    parser.end()
    _known(statement, options, _INTEGRATION_OPTIONS - {"TYPE", "STORAGE_PROVIDER"})
    with statement.catalog.lock:
        found = statement.catalog.integration(name)
        for key, value in options.items():
            match key:
                case "ENABLED":
                    found = replace(found, enabled=value is True)
                case "STORAGE_ALLOWED_LOCATIONS":
                    found = replace(found, allowed=_locations(value, key))
                case "STORAGE_BLOCKED_LOCATIONS":
                    found = replace(found, blocked=_locations(value, key))
                case "STORAGE_AWS_ROLE_ARN":
                    found = replace(found, role_arn=str(value))
                case "STORAGE_AWS_EXTERNAL_ID":
                    found = replace(found, external_id=str(value))
                case _:
                    found = replace(found, comment=_string(value))
        statement.catalog.integrations[name] = found
    return Result.status("Statement executed successfully.")


def create_stage(statement: Statement, parser: Parser, or_replace: bool) -> Result:
    """CREATE STAGE over an S3 location."""
    if_not_exists = parser.accept("IF", "NOT", "EXISTS")
    name = statement.name(parser.name(), "CREATE STAGE")
    options = parser.options()
    parser.end()
    _known(statement, options, _STAGE_OPTIONS)
    url, integration = options.get("URL"), options.get("STORAGE_INTEGRATION")
    if not isinstance(url, str):
        raise errors.unsupported("internal stage (CREATE STAGE without URL)", statement.sql)
    parse_url(url)
    credentials = options.get("CREDENTIALS")
    keys = credentials if isinstance(credentials, dict) else {}
    with statement.catalog.lock:
        if isinstance(integration, str):
            found = statement.catalog.integration(integration)
            check_location(url, found.allowed, found.blocked, found.name)
        stage = Stage(
            name.object,
            url,
            integration if isinstance(integration, str) else None,
            _string(keys.get("AWS_KEY_ID")),
            _string(keys.get("AWS_SECRET_KEY")),
            _string(options.get("COMMENT")),
        )
        stages = statement.catalog.schema_of(name).stages
        if name.object in stages and not or_replace:
            if not if_not_exists:
                raise errors.already_exists(str(name))
            return Result.status(f"{display(name.object)} already exists, statement succeeded.")
        stages[name.object] = stage
    return Result.status(f"Stage area {display(name.object)} successfully created.")


def list_files(statement: Statement, parser: Parser) -> Result:
    """LIST @stage/path [PATTERN = '…']."""
    if parser.token.kind != "stage":
        raise parser.unexpected()
    stage, path = stage_path(statement, parser.take().text)
    options = parser.options()
    parser.end()
    _known(statement, options, {"PATTERN"})
    files = statement.account.store.files(statement.catalog, stage, path, None)
    pattern = options.get("PATTERN")
    if isinstance(pattern, str):
        matcher = compile_pattern(pattern)
        files = [file for file in files if matcher.fullmatch(file.url)]
    return Result.of(
        [("name", TEXT), ("size", NUMBER), ("md5", TEXT), ("last_modified", TEXT)],
        [[f.url, f.size, f.etag.strip('"'), f.modified.strftime("%a, %-d %b %Y %H:%M:%S GMT")] for f in files],
    )


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """A PATTERN option; it has to match the whole name."""
    try:
        return re.compile(pattern)
    except re.error as error:
        raise errors.SnowflakeError(
            "091003", "22000", f"Failure using stage area. Cause: [Invalid pattern '{pattern}': {error}]"
        ) from error


def _locations(value: Value, option: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise errors.invalid_value(option, value)
    for place in value:
        if place != "*":
            parse_url(str(place))
    return tuple(str(v) for v in value)


def _string(value: Value) -> str | None:
    return value if isinstance(value, str) else None


def _known(statement: Statement, options: dict[str, Value], known: set[str]) -> None:
    unknown = sorted(set(options) - known)
    if unknown:
        raise errors.unsupported(f"option {unknown[0]}", statement.sql)
