"""DESCRIBE: what one object is like."""

from __future__ import annotations

from mz_orchestration.local.snowflake import errors, grants
from mz_orchestration.local.snowflake.catalog import Name
from mz_orchestration.local.snowflake.lexer import Parser, Value
from mz_orchestration.local.snowflake.names import display
from mz_orchestration.local.snowflake.results import Result
from mz_orchestration.local.snowflake.statement import Statement
from mz_orchestration.local.snowflake.types import TEXT

_DESC_TABLE = [
    (name, TEXT)
    for name in ("name", "type", "kind", "null?", "default", "primary key", "unique key", "check", "expression",
                 "comment", "policy name")
]  # fmt: skip
_DESC_STAGE = [
    (name, TEXT) for name in ("parent_property", "property", "property_type", "property_value", "property_default")
]
_DESC_INTEGRATION = [
    (name, TEXT) for name in ("property", "property_type", "property_value", "property_default")
]  # fmt: skip
_SERVICE_ACCOUNT = "local000@local-stack.iam.gserviceaccount.com"


def describe(statement: Statement, parser: Parser) -> Result:
    """DESC TABLE, VIEW, STAGE or INTEGRATION."""
    parser.accept("STORAGE")
    kind = parser.accept_any("TABLE", "VIEW", "STAGE", "INTEGRATION")
    if kind is None:
        raise errors.unsupported(f"DESCRIBE {parser.token.text.upper()}", statement.sql)
    parts = parser.name()
    parser.end()
    if kind == "INTEGRATION":
        return _integration(statement, parts[-1])
    name = statement.name(parts, "DESCRIBE")
    return _stage(statement, name) if kind == "STAGE" else _table(statement, name)


def _table(statement: Statement, name: Name) -> Result:
    with statement.catalog.lock:
        table = statement.session.find(name)
        if name not in statement.session.temporary:
            grants.enter(statement, name)
            if not grants.sees(statement, table.access):
                raise errors.does_not_exist("Table", str(name))
    keyed = {c.kind: {n for k in table.constraints if k.kind == c.kind for n in k.columns} for c in table.constraints}
    masking = table.governance.masking
    return Result.of(
        _DESC_TABLE,
        [
            [c.name, c.type.ddl, "COLUMN", _letter(c.nullable), c.default_shown,
             _letter(c.name in keyed.get("PRIMARY KEY", ())), _letter(c.name in keyed.get("UNIQUE", ())), None, None,
             c.comment, str(masking[c.name]) if c.name in masking else None]
            for c in table.columns
        ],
    )  # fmt: skip


def _letter(holds: bool) -> str:
    return "Y" if holds else "N"


def _stage(statement: Statement, name: Name) -> Result:
    stage = grants.on_stage(statement, name)
    url = stage.url.replace('"', '\\"')
    options: dict[str, Value] = {"TYPE": "CSV", **stage.file_format}
    rows = [
        *(["STAGE_FILE_FORMAT", key, _type(value), _shown(value), "CSV" if key == "TYPE" else ""]
          for key, value in options.items()),
        ["STAGE_COPY_OPTIONS", "ON_ERROR", "String", "ABORT_STATEMENT", "ABORT_STATEMENT"],
        ["STAGE_LOCATION", "URL", "String", f'["{url}"]', ""],
        ["STAGE_INTEGRATION", "STORAGE_INTEGRATION", "String", stage.integration or "", ""],
        ["STAGE_CREDENTIALS", "AWS_KEY_ID", "String", stage.key_id or "", ""],
        ["DIRECTORY", "ENABLE", "Boolean", "false", "false"],
    ]  # fmt: skip
    if stage.endpoint is not None:
        rows.insert(-3, ["STAGE_LOCATION", "ENDPOINT", "String", stage.endpoint, ""])
    return Result.of(_DESC_STAGE, rows)


def _type(value: Value) -> str:
    return {bool: "Boolean", int: "Integer", list: "List"}.get(type(value), "String")


def _shown(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ", ".join(_shown(v) for v in value) + "]"
    return "" if value is None else str(value)


def _integration(statement: Statement, name: str) -> Result:
    with statement.catalog.lock:
        found = statement.catalog.integration(name)
        grants.require(statement, found.access, "INTEGRATION", display(name), "USAGE")
    rows = [
        ["ENABLED", "Boolean", str(found.enabled).lower(), "false"],
        ["STORAGE_PROVIDER", "String", found.provider, ""],
        ["STORAGE_ALLOWED_LOCATIONS", "List", ",".join(found.allowed), "[]"],
        ["STORAGE_BLOCKED_LOCATIONS", "List", ",".join(found.blocked), "[]"],
    ]
    if found.provider == "GCS":
        rows.append(["STORAGE_GCP_SERVICE_ACCOUNT", "String", _SERVICE_ACCOUNT, ""])
    else:
        rows += [
            ["STORAGE_AWS_IAM_USER_ARN", "String", "arn:aws:iam::123456789012:user/snowflake", ""],
            ["STORAGE_AWS_ROLE_ARN", "String", found.role_arn, ""],
            ["STORAGE_AWS_EXTERNAL_ID", "String", found.external_id, ""],
        ]
    return Result.of(_DESC_INTEGRATION, [*rows, ["COMMENT", "String", found.comment or "", ""]])
