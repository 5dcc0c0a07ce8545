"""Stages over S3, GCS and S3-compatible stores, and LIST."""

from __future__ import annotations

import re
from dataclasses import replace

from mz_orchestration.local.snowflake import errors, grants
from mz_orchestration.local.snowflake.catalog import Stage
from mz_orchestration.local.snowflake.lexer import Parser, Value
from mz_orchestration.local.snowflake.names import display
from mz_orchestration.local.snowflake.results import Result
from mz_orchestration.local.snowflake.statement import Statement
from mz_orchestration.local.snowflake.store import check_location, parse_url
from mz_orchestration.local.snowflake.types import NUMBER, TEXT

_STAGE_PATH = re.compile(r'@((?:"(?:[^"]|"")*"|[^./"]+)(?:\.(?:"(?:[^"]|"")*"|[^./"]+)){0,2})(?:/(.*))?\Z', re.DOTALL)
_STAGE_OPTIONS = {
    "URL", "STORAGE_INTEGRATION", "CREDENTIALS", "ENDPOINT", "FILE_FORMAT", "DIRECTORY", "ENCRYPTION", "COMMENT",
}  # fmt: skip
# The scheme of the locations a provider's integration can allow.
SCHEMES = {"S3": "s3", "GCS": "gcs"}
# A bare host name: neither scheme nor port nor path.
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?\Z")


def stage_path(statement: Statement, token: str) -> tuple[Stage, str]:
    """The stage and the path of ``@db.schema.stage/path``."""
    if token.startswith("@'") or token.startswith("@~") or token.startswith("@%"):
        raise errors.unsupported(f"stage reference {token}", statement.sql)
    match = _STAGE_PATH.match(token)
    if match is None:
        raise errors.syntax(statement.sql, statement.sql.find(token), token)
    name = statement.name(Parser(match[1]).name(), "COPY")
    return grants.on_stage(statement, name), match[2] or ""


def create_stage(statement: Statement, parser: Parser, or_replace: bool) -> Result:
    """CREATE STAGE over a cloud location."""
    if_not_exists = parser.accept("IF", "NOT", "EXISTS")
    name = statement.name(parser.name(), "CREATE STAGE")
    options = _options(statement, parser)
    if not isinstance(options.get("URL"), str):
        raise errors.unsupported("internal stage (CREATE STAGE without URL)", statement.sql)
    grants.enter(statement, name, "CREATE STAGE")
    with statement.catalog.lock:
        stages = statement.catalog.schema_of(name).stages
        stage = _changed(Stage(name.object, ""), options)
        _check(statement, stage)
        if name.object in stages and if_not_exists:
            return Result.status(f"{display(name.object)} already exists, statement succeeded.")
        if name.object in stages and not or_replace:
            raise errors.already_exists(str(name))
        stages[name.object] = replace(stage, access=grants.created(statement, "STAGE", name))
    return Result.status(f"Stage area {display(name.object)} successfully created.")


def alter_stage(statement: Statement, parser: Parser) -> Result:
    """ALTER STAGE SET … or RENAME TO."""
    if_exists = parser.accept("IF", "EXISTS")
    name = statement.name(parser.name(), "ALTER")
    catalog = statement.catalog
    with catalog.lock:
        stages = catalog.schema_of(name).stages
        if if_exists and name.object not in stages:
            return Result.status("Statement executed successfully.")
        stage = grants.on_stage(statement, name)
        grants.require(statement, stage.access, "STAGE", str(name), "OWNERSHIP")
        if parser.accept("RENAME", "TO"):
            other = statement.name(parser.name(), "ALTER")
            parser.end()
            target = catalog.schema_of(other).stages
            if other.object in target:
                raise errors.already_exists(str(other))
            target[other.object] = replace(stages.pop(name.object), name=other.object)
        else:
            parser.expect("SET")
            changed = _changed(stage, _options(statement, parser))
            _check(statement, changed)
            stages[name.object] = changed
    return Result.status("Statement executed successfully.")


def _options(statement: Statement, parser: Parser) -> dict[str, Value]:
    options = parser.options()
    parser.end()
    known(statement, options, _STAGE_OPTIONS)
    directory, encryption = options.get("DIRECTORY"), options.get("ENCRYPTION")
    if isinstance(directory, dict) and directory.get("ENABLE", False) is not False:
        raise errors.unsupported("DIRECTORY = (ENABLE = TRUE)", statement.sql)
    if isinstance(encryption, dict) and "MASTER_KEY" in encryption:
        raise errors.unsupported("client-side ENCRYPTION", statement.sql)
    return options


def _changed(stage: Stage, options: dict[str, Value]) -> Stage:
    """The stage with the options put in."""
    for key, value in options.items():
        match key:
            case "URL" if isinstance(value, str):
                stage = replace(stage, url=value)
            case "STORAGE_INTEGRATION" if isinstance(value, str):
                stage = replace(stage, integration=value, key_id=None, secret=None)
            case "CREDENTIALS" if isinstance(value, dict):
                keys = [string(value.get(word)) for word in ("AWS_KEY_ID", "AWS_SECRET_KEY")]
                stage = replace(stage, key_id=keys[0], secret=keys[1], integration=None)
            case "ENDPOINT" if isinstance(value, str):
                stage = replace(stage, endpoint=value)
            case "FILE_FORMAT" if isinstance(value, dict):
                stage = replace(stage, file_format=value)
            case "FILE_FORMAT" if isinstance(value, str):
                stage = replace(stage, file_format={"FORMAT_NAME": value})
            case "COMMENT":
                stage = replace(stage, comment=string(value))
            case "DIRECTORY" | "ENCRYPTION":
                pass
            case _:
                raise errors.invalid_value(key, value)
    if "STORAGE_INTEGRATION" in options and "CREDENTIALS" in options:
        raise errors.compilation(
            "002301", "42601", "STORAGE_INTEGRATION and CREDENTIALS cannot be used together in a stage."
        )
    return stage


def _check(statement: Statement, stage: Stage) -> None:
    """What a location demands by documentation. Where that gives no number, the number here is a guess."""
    parse_url(stage.url)
    scheme = stage.url.partition("://")[0]
    if scheme == "s3compat":
        _check_compatible(stage)
        return
    if stage.endpoint is not None:
        raise errors.compilation("002301", "42601", f"ENDPOINT is not a valid option for a stage over {scheme}://.")
    if stage.integration is None:
        if scheme == "gcs":
            raise errors.compilation("002029", "42601", "Missing option(s): [STORAGE_INTEGRATION]")
        return
    found = statement.catalog.integration(stage.integration)
    grants.require(statement, found.access, "INTEGRATION", display(found.name), "USAGE")
    check_location(stage.url, found.allowed, found.blocked, found.name)
    if SCHEMES[found.provider] != scheme:
        # An allowed location '*' says nothing about the cloud.
        check_location(stage.url, (), (), found.name)


def _check_compatible(stage: Stage) -> None:
    if stage.integration is not None:
        raise errors.compilation(
            "002301", "42601", "STORAGE_INTEGRATION is not supported for s3compat:// locations; use CREDENTIALS."
        )
    if stage.endpoint is None:
        raise errors.compilation("002029", "42601", "Missing option(s): [ENDPOINT]")
    if not stage.key_id or not stage.secret:
        raise errors.compilation("002029", "42601", "Missing option(s): [CREDENTIALS]")
    if not _HOST.match(stage.endpoint):
        raise errors.invalid_value("ENDPOINT", stage.endpoint)


def list_files(statement: Statement, parser: Parser) -> Result:
    """LIST @stage/path [PATTERN = '…']."""
    if parser.token.kind != "stage":
        raise parser.unexpected()
    stage, path = stage_path(statement, parser.take().text)
    options = parser.options()
    parser.end()
    known(statement, options, {"PATTERN"})
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


def string(value: Value) -> str | None:
    """The value if it is text."""
    return value if isinstance(value, str) else None


def known(statement: Statement, options: dict[str, Value], names: set[str]) -> None:
    """Refuse options that this stand-in does not know."""
    unknown = sorted(set(options) - names)
    if unknown:
        raise errors.unsupported(f"option {unknown[0]}", statement.sql)
