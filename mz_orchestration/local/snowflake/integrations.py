"""Storage integrations for S3 and GCS, and the function that tries one."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import replace

from mz_orchestration.local.snowflake import errors, grants
from mz_orchestration.local.snowflake.catalog import Integration, Stage
from mz_orchestration.local.snowflake.lexer import Parser, Value
from mz_orchestration.local.snowflake.names import display
from mz_orchestration.local.snowflake.results import Result
from mz_orchestration.local.snowflake.stages import SCHEMES, known, string
from mz_orchestration.local.snowflake.statement import Statement
from mz_orchestration.local.snowflake.store import check_location, parse_url
from mz_orchestration.local.snowflake.system_functions import system_function

_OPTIONS = {
    "TYPE", "STORAGE_PROVIDER", "ENABLED", "STORAGE_AWS_ROLE_ARN", "STORAGE_ALLOWED_LOCATIONS",
    "STORAGE_BLOCKED_LOCATIONS", "STORAGE_AWS_EXTERNAL_ID", "COMMENT",
}  # fmt: skip
_ACTIONS = ("READ", "DELETE", "LIST", "WRITE")


def create_integration(statement: Statement, parser: Parser, or_replace: bool) -> Result:
    """CREATE STORAGE INTEGRATION for S3 or GCS."""
    if_not_exists = parser.accept("IF", "NOT", "EXISTS")
    name = parser.identifier()
    options = parser.options()
    parser.end()
    known(statement, options, _OPTIONS)
    grants.require(statement, statement.catalog.account_access, "ACCOUNT", "LOCAL", "CREATE INTEGRATION")
    if options.get("TYPE") != "EXTERNAL_STAGE":
        raise errors.invalid_value("TYPE", options.get("TYPE"))
    provider = str(options.get("STORAGE_PROVIDER")).upper()
    if provider not in SCHEMES:
        raise errors.unsupported(f"STORAGE_PROVIDER {options.get('STORAGE_PROVIDER')}", statement.sql)
    _require(options, "ENABLED", isinstance(options.get("ENABLED"), bool))
    role = string(options.get("STORAGE_AWS_ROLE_ARN"))
    _require(options, "STORAGE_AWS_ROLE_ARN", (role is not None) or provider == "GCS")
    allowed = _locations(options.get("STORAGE_ALLOWED_LOCATIONS"), "STORAGE_ALLOWED_LOCATIONS", provider)
    _require(options, "STORAGE_ALLOWED_LOCATIONS", bool(allowed))
    integration = Integration(
        name,
        role or "",
        allowed,
        _locations(options.get("STORAGE_BLOCKED_LOCATIONS"), "STORAGE_BLOCKED_LOCATIONS", provider),
        string(options.get("STORAGE_AWS_EXTERNAL_ID")) or f"LOCAL_SFCRole=1_{uuid.uuid4().hex}",
        options.get("ENABLED") is True,
        string(options.get("COMMENT")),
        provider,
        grants.created(statement, "INTEGRATION"),
    )
    with statement.catalog.lock:
        if name in statement.catalog.integrations and not or_replace:
            if not if_not_exists:
                raise errors.already_exists(display(name))
            return Result.status(f"{display(name)} already exists, statement succeeded.")
        statement.catalog.integrations[name] = integration
    return Result.status(f"Integration {display(name)} successfully created.")


def _require(options: dict[str, Value], option: str, given: bool) -> None:
    if not given:
        raise errors.compilation("002029", "42601", f"Missing option(s): [{option}]")


def alter_integration(statement: Statement, parser: Parser) -> Result:
    """ALTER STORAGE INTEGRATION … SET."""
    parser.accept("IF", "EXISTS")
    name = parser.identifier()
    parser.expect("SET")
    options = parser.options()
    parser.end()
    known(statement, options, _OPTIONS - {"TYPE", "STORAGE_PROVIDER"})
    with statement.catalog.lock:
        found = statement.catalog.integration(name)
        grants.require(statement, found.access, "INTEGRATION", display(name), "OWNERSHIP")
        for key, value in options.items():
            match key:
                case "ENABLED":
                    found = replace(found, enabled=value is True)
                case "STORAGE_ALLOWED_LOCATIONS":
                    found = replace(found, allowed=_locations(value, key, found.provider))
                case "STORAGE_BLOCKED_LOCATIONS":
                    found = replace(found, blocked=_locations(value, key, found.provider))
                case "STORAGE_AWS_ROLE_ARN":
                    found = replace(found, role_arn=str(value))
                case "STORAGE_AWS_EXTERNAL_ID":
                    found = replace(found, external_id=str(value))
                case _:
                    found = replace(found, comment=string(value))
        statement.catalog.integrations[name] = found
    return Result.status("Statement executed successfully.")


def _locations(value: Value, option: str, provider: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise errors.invalid_value(option, value)
    for place in map(str, value):
        if place == "*":
            continue
        parse_url(place)
        if place.partition("://")[0] != SCHEMES[provider]:
            raise errors.compilation("001011", "22000", f"invalid URL prefix found in: '{place}'")
    return tuple(str(v) for v in value)


@system_function("SYSTEM$VALIDATE_STORAGE_INTEGRATION")
def validate(statement: Statement, arguments: list[str]) -> str | None:
    """SYSTEM$VALIDATE_STORAGE_INTEGRATION('name', 'location', 'file', 'read' | 'write' | 'list' | 'delete' | 'all')."""
    if len(arguments) != 4:
        raise errors.compilation(
            "000939", "22023", f"SYSTEM$VALIDATE_STORAGE_INTEGRATION takes 4 arguments, got {len(arguments)}"
        )
    name, url, file, action = arguments
    wanted = _ACTIONS if action.upper() == "ALL" else (action.upper(),)
    if any(a not in _ACTIONS for a in wanted):
        raise errors.invalid_value("validate_action", action)
    with statement.catalog.lock:
        found = statement.catalog.integration(name)
        grants.require(statement, found.access, "INTEGRATION", display(name), "USAGE")
        check_location(url, found.allowed, found.blocked, found.name, found.enabled)
    attempts = _attempts(statement, Stage("", url, integration=name), file)
    # All four in the order in which they can work: what is written can be read and then deleted.
    outcomes = {a: _outcome(attempts[a]) for a in ("WRITE", "READ", "LIST", "DELETE") if a in wanted}
    failed = any(o["status"] != "success" for o in outcomes.values())
    answer: dict[str, object] = {
        "status": "failure" if failed else "success",
        "actions": {a: outcomes[a] for a in _ACTIONS if a in outcomes},
    }
    if failed:
        answer["message"] = "Some of the integration checks failed. Check the Snowflake documentation for more details."
    return json.dumps(answer, indent=2, separators=(",", " : "))


def _attempts(statement: Statement, stage: Stage, file: str) -> dict[str, Callable[[], object]]:
    bucket, prefix = parse_url(stage.url)
    key = f"{prefix}{file}" if not prefix or prefix.endswith("/") else f"{prefix}/{file}"
    client = statement.account.store.client(stage)
    return {
        "READ": lambda: client.get_object(Bucket=bucket, Key=key)["Body"].read(1),
        "LIST": lambda: client.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1),
        "WRITE": lambda: client.put_object(Bucket=bucket, Key=key, Body=b"", IfNoneMatch="*"),
        "DELETE": lambda: client.delete_object(Bucket=bucket, Key=key),
    }


def _outcome(attempt: Callable[[], object]) -> dict[str, str]:
    try:
        attempt()
    except Exception as error:
        # Whatever the client raises, the function tells it as text.
        response = getattr(error, "response", {})
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        code = response.get("Error", {}).get("Code")
        message = response.get("Error", {}).get("Message") or str(error)
        detail = f" (Status Code: {status}; Error Code: {code})" if status else ""
        return {"message": f"{message}{detail}", "status": "failure"}
    return {"status": "success"}
