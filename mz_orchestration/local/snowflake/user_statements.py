"""CREATE, ALTER, DROP and DESCRIBE USER, with public keys, programmatic access tokens and workload identities."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mz_orchestration.local.snowflake import errors, grants
from mz_orchestration.local.snowflake.lexer import Parser, Value
from mz_orchestration.local.snowflake.names import display
from mz_orchestration.local.snowflake.results import DDL, Result
from mz_orchestration.local.snowflake.statement import Statement
from mz_orchestration.local.snowflake.types import TEXT, TIMESTAMP_LTZ
from mz_orchestration.local.snowflake.users import AccessToken, PasswordHash, PublicKey, User, WorkloadIdentity

_DONE = "Statement executed successfully."
_KEYS = ("RSA_PUBLIC_KEY", "RSA_PUBLIC_KEY_2")
_ADMINS = frozenset({"ACCOUNTADMIN", "SECURITYADMIN", "USERADMIN"})
_DEFAULT_DAYS = 15
_TOKENS = [
    ("name", TEXT), ("user_name", TEXT), ("role_restriction", TEXT), ("expires_at", TIMESTAMP_LTZ), ("status", TEXT),
    ("comment", TEXT), ("created_on", TIMESTAMP_LTZ),
]  # fmt: skip


def create_user(statement: Statement, parser: Parser, or_replace: bool) -> Result:
    """CREATE [OR REPLACE] USER [IF NOT EXISTS] name properties."""
    if_not_exists = parser.accept("IF", "NOT", "EXISTS")
    name = parser.identifier()
    properties = parser.options()
    parser.end()
    _administer(statement, name)
    users = statement.account.users
    with users.lock:
        if users.exists(name) and not or_replace:
            if if_not_exists:
                return Result.status(f"{display(name)} already exists, statement succeeded.")
            raise errors.already_exists(display(name))
        user = User(name, name.upper())
        _set(statement, user, properties)
        users.put(user)
    return Result.status(f"User {display(name)} successfully created.")


def alter_user(statement: Statement, parser: Parser) -> Result:
    """ALTER USER: SET, UNSET, and programmatic access tokens added or removed."""
    users = statement.account.users
    if_exists = parser.accept("IF", "EXISTS")
    unnamed = parser.looking_at("ADD") or parser.looking_at("REMOVE")
    name = statement.session.user if unnamed else parser.identifier()
    if if_exists and not users.exists(name):
        return Result.status(_DONE)
    with users.lock:
        user = users.find(name)
        if parser.accept("ADD"):
            return _add_token(statement, parser, user)
        if parser.accept("REMOVE"):
            return _remove_token(statement, parser, user)
        if parser.accept("UNSET"):
            names = [parser.identifier()]
            while parser.accept(",") or not parser.at_end:
                names.append(parser.identifier())
            _administer(statement, name)
            _set(statement, user, dict.fromkeys(names))
        else:
            parser.expect("SET")
            properties = parser.options()
            parser.end()
            if not properties:
                raise parser.unexpected()
            _administer(statement, name)
            _set(statement, user, properties)
    return Result.status(_DONE)


def drop_user(statement: Statement, parser: Parser) -> Result:
    """DROP USER [IF EXISTS] name."""
    if_exists = parser.accept("IF", "EXISTS")
    name = parser.identifier()
    parser.end()
    _administer(statement, name)
    users = statement.account.users
    with users.lock:
        if if_exists and not users.exists(name):
            return Result.status("Drop statement executed successfully.")
        users.drop(name)
    return Result.status(f"{display(name)} successfully dropped.")


def describe_user(statement: Statement, parser: Parser) -> Result:
    """DESCRIBE USER name: what can be told of it."""
    user = statement.account.users.find(parser.identifier())
    parser.end()
    shown: list[tuple[str, Any]] = [
        ("NAME", user.name),
        ("COMMENT", user.comment),
        ("LOGIN_NAME", user.login_name),
        ("TYPE", user.type),
        ("PASSWORD", "********" if user.password is not None else None),
        ("DISABLED", str(user.disabled).lower()),
        ("DEFAULT_WAREHOUSE", user.default_warehouse),
        ("DEFAULT_NAMESPACE", user.default_namespace),
        ("DEFAULT_ROLE", user.default_role),
    ]
    for key in _KEYS:
        found = user.public_keys.get(key)
        shown += [(f"{key}_FP", found.fingerprint if found else None), (key, found.text if found else None)]
    columns = [("property", TEXT), ("value", TEXT), ("default", TEXT), ("description", TEXT)]
    return Result.of(columns, [[name, value, "null", ""] for name, value in shown])


def show_tokens(statement: Statement, parser: Parser) -> Result:
    """SHOW USER PROGRAMMATIC ACCESS TOKENS [FOR USER name]; never a secret."""
    name = parser.identifier() if parser.accept("FOR", "USER") else statement.session.user
    parser.end()
    user = statement.account.users.find(name)
    return Result.of(
        _TOKENS,
        [[t.name, user.name, t.role, t.expires, "ACTIVE", t.comment, t.created] for t in user.tokens.values()],
    )


def _add_token(statement: Statement, parser: Parser, user: User) -> Result:
    _token_words(parser)
    if_not_exists = parser.accept("IF", "NOT", "EXISTS")
    name = parser.identifier()
    options = parser.options()
    parser.end()
    _administer(statement, user.name, own=True)
    known = {"ROLE_RESTRICTION", "DAYS_TO_EXPIRY", "COMMENT", "MINS_TO_BYPASS_NETWORK_POLICY_REQUIREMENT"}
    if unknown := sorted(set(options) - known):
        raise errors.unsupported(f"token option {unknown[0]}", statement.sql)
    if name in user.tokens:
        if if_not_exists:
            return Result.status(_DONE)
        raise errors.already_exists(display(name))
    days = options.get("DAYS_TO_EXPIRY", _DEFAULT_DAYS)
    if isinstance(days, bool) or not isinstance(days, int) or not 1 <= days <= 365:
        raise errors.invalid_value("DAYS_TO_EXPIRY", days)
    role = _text(options, "ROLE_RESTRICTION")
    if user.type == "SERVICE" and role is None:
        raise errors.invalid_value("ROLE_RESTRICTION", None)
    if role is not None and role.upper() not in statement.catalog.hierarchy.of_user(user.name):
        raise errors.does_not_exist("Role", role)
    token, secret = AccessToken.new(name, days, role.upper() if role else None, _text(options, "COMMENT"))
    user.tokens[name] = token
    return Result.of([("token_name", TEXT), ("token_secret", TEXT)], [[name, secret]], DDL)


def _remove_token(statement: Statement, parser: Parser, user: User) -> Result:
    _token_words(parser)
    name = parser.identifier()
    parser.end()
    _administer(statement, user.name, own=True)
    if user.tokens.pop(name, None) is None:
        raise errors.does_not_exist("Programmatic access token", display(name))
    return Result.status(f"Programmatic access token {display(name)} successfully removed.")


def _token_words(parser: Parser) -> None:
    if not parser.accept("PAT"):
        parser.expect("PROGRAMMATIC", "ACCESS", "TOKEN")


def _administer(statement: Statement, name: str, *, own: bool = False) -> None:
    """Only administrators change users; own tokens are everybody's own affair."""
    if own and name == statement.session.user:
        return
    if not grants.active_roles(statement) & _ADMINS:
        raise errors.insufficient("USER", display(name))


def _set(statement: Statement, user: User, properties: dict[str, Value]) -> None:
    """Set properties; None takes one away. All are checked before the first is set."""
    setters: list[Callable[[], None]] = []
    for name, value in properties.items():
        if name in _KEYS:
            setters.append(_public_key(user, name, value))
        elif name == "WORKLOAD_IDENTITY":
            identity = None if value is None else _identity(statement, value)
            setters.append(lambda identity=identity: setattr(user, "workload_identity", identity))  # type: ignore[misc]
        else:
            field, checked = _plain(statement, name, value)
            setters.append(lambda field=field, checked=checked: setattr(user, field, checked))  # type: ignore[misc]
    for setter in setters:
        setter()


def _public_key(user: User, name: str, value: Value) -> Callable[[], None]:
    if value is None or value == "":
        return lambda: user.public_keys.__delitem__(name) if name in user.public_keys else None
    if not isinstance(value, str):
        raise errors.invalid_value(name, value)
    key = PublicKey(value)
    key.loaded()
    return lambda: user.public_keys.update({name: key})


def _plain(statement: Statement, name: str, value: Value) -> tuple[str, Any]:
    """The field of a property and its checked value."""
    if name == "PASSWORD":
        return "password", PasswordHash.of(str(value)) if isinstance(value, str) and value else None
    if name == "DISABLED":
        return "disabled", value is True
    if name == "TYPE":
        kind = str(value or "PERSON").upper()
        if kind not in {"PERSON", "SERVICE", "LEGACY_SERVICE"}:
            raise errors.invalid_value(name, value)
        return "type", kind
    fields = {
        "LOGIN_NAME": "login_name", "DEFAULT_ROLE": "default_role", "DEFAULT_WAREHOUSE": "default_warehouse",
        "DEFAULT_NAMESPACE": "default_namespace", "COMMENT": "comment",
    }  # fmt: skip
    if name not in fields:
        raise errors.unsupported(f"user property {name}", statement.sql)
    if value is not None and not isinstance(value, str):
        raise errors.invalid_value(name, value)
    if value is None or name == "COMMENT":
        return fields[name], value
    return fields[name], value.upper()


def _identity(statement: Statement, value: Value) -> WorkloadIdentity:
    if not isinstance(value, dict):
        raise errors.invalid_value("WORKLOAD_IDENTITY", value)
    kind = str(value.get("TYPE")).upper()
    if kind != "OIDC":
        raise errors.unsupported(f"WORKLOAD_IDENTITY of TYPE = {kind}", statement.sql)
    issuer, subject = _text(value, "ISSUER"), _text(value, "SUBJECT")
    if not issuer or not subject:
        raise errors.invalid_value("WORKLOAD_IDENTITY", "ISSUER and SUBJECT are required")
    audiences = value.get("OIDC_AUDIENCE_LIST")
    if audiences is None:
        return WorkloadIdentity(issuer, subject)
    if not isinstance(audiences, list):
        raise errors.invalid_value("OIDC_AUDIENCE_LIST", audiences)
    return WorkloadIdentity(issuer, subject, tuple(str(audience) for audience in audiences))


def _text(options: dict[str, Value], name: str) -> str | None:
    value = options.get(name)
    if value is not None and not isinstance(value, str):
        raise errors.invalid_value(name, value)
    return value
