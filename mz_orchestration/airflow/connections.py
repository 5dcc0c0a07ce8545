"""Airflow connections turned into the core's settings.

Who may edit a connection is less trusted than who writes a DAG: extras are read by name from a list, never handed on
whole.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.sdk import BaseHook
from pydantic import BaseModel, SecretStr

from mz_orchestration.airflow.version_compat import AirflowNotFoundException, conf
from mz_orchestration.errors import ConfigurationError
from mz_orchestration.validation import validated

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from mz_orchestration.census.config import CensusConfig
    from mz_orchestration.materialize.connection import MaterializeConfig
    from mz_orchestration.objectstore.client import ObjectStore, ObjectStoreConfig
    from mz_orchestration.snowflake.config import SnowflakeConfig

Config = TypeVar("Config", bound=BaseModel)


@dataclass(frozen=True)
class Systems:
    """
    How to reach the systems that a job needs.

    :param materialize: Materialize.
    :param object_store: the object store; None leaves it to boto3.
    :param snowflake: Snowflake.
    :param census: Census.
    :param console_url: Materialize's console, if the connection or Airflow's configuration names it.
    """

    materialize: MaterializeConfig | None = None
    object_store: ObjectStoreConfig | None = None
    snowflake: SnowflakeConfig | None = None
    census: CensusConfig | None = None
    console_url: str = ""

    def store(self) -> ObjectStore:
        """Return a client of the object store."""
        from mz_orchestration.objectstore.client import ObjectStore

        return ObjectStore(self.object_store)


def get_connection(conn_id: str) -> Connection:
    """An Airflow connection by its id.

    :param conn_id: the id.
    :raises ConfigurationError: there is none, which Airflow's own error would have the task retry.
    """
    with _named(conn_id):
        return BaseHook.get_connection(conn_id)


async def aget_connection(conn_id: str) -> Connection:
    """As :func:`get_connection`, on an event loop."""
    with _named(conn_id):
        return await BaseHook.aget_connection(conn_id)


def resolve(conn_ids: Mapping[str, str | None]) -> Systems:
    """
    Look up the connections of a job.

    :param conn_ids: connection ids by system; None for what is left to the environment.
    :raises ConfigurationError: one is missing or cannot be used.
    """
    return _systems({system: get_connection(each) for system, each in conn_ids.items() if each})


async def aresolve(conn_ids: Mapping[str, str | None]) -> Systems:
    """As :func:`resolve`, on an event loop, which reading them and importing what reads them does not block."""
    from mz_orchestration.flow import in_daemon_thread

    found = {system: await aget_connection(each) for system, each in conn_ids.items() if each}
    return await in_daemon_thread(lambda: _systems(found))


def _systems(found: Mapping[str, Connection]) -> Systems:
    def read(system: str, parse: Any) -> Any:
        return parse(found[system]) if system in found else None

    materialize = found.get("materialize")
    console = "" if materialize is None else _extras(materialize, "console_url").get("console_url", "")
    return Systems(
        read("materialize", materialize_config),
        read("aws", object_store_config),
        read("snowflake", snowflake_config),
        read("census", census_config),
        console or conf.get("materialize", "console_url", fallback=""),
    )


@contextmanager
def _named(conn_id: str) -> Iterator[None]:
    try:
        yield
    except AirflowNotFoundException as error:
        raise ConfigurationError(
            f"There is no Airflow connection {conn_id!r}.", hint="Define it, or correct the connection id."
        ) from error


def materialize_config(connection: Connection) -> MaterializeConfig:
    """Settings for Materialize from a connection of type ``materialize`` (or ``postgres``).

    :param connection: host, port (6875 by default), login, password, schema (the database) and the extras
        ``sslmode``, ``sslrootcert``, ``cluster`` and ``connect_timeout``.
    :raises ConfigurationError: a field cannot be used; the connection and the field are named.
    """
    from mz_orchestration.materialize.connection import MaterializeConfig

    for field, value in (("host", connection.host), ("login", connection.login)):
        if not value:
            # libpq would fill the gap from the worker's environment and hand its password to whatever host is named.
            raise ConfigurationError(
                f"The connection {connection.conn_id!r} has no {field}.", hint="Complete the connection."
            )
    extras = _extras(connection, "sslmode", "sslrootcert", "cluster", "connect_timeout")
    config = _config(
        connection,
        MaterializeConfig,
        host=connection.host,
        port=connection.port or 6875,
        user=connection.login,
        database=connection.schema or "materialize",
        **extras,
    )
    return config.model_copy(update={"password": SecretStr(connection.password or "")})


def object_store_config(connection: Connection) -> ObjectStoreConfig:
    """Settings for the object store from a connection of type ``aws``.

    :param connection: login (access key id), password (secret) and the extras ``endpoint_url``, ``region_name``,
        ``profile_name``, ``aws_access_key_id``, ``aws_secret_access_key`` and ``aws_session_token``. What is missing
        is boto3's own to find.
    :raises ConfigurationError: a field cannot be used, or the connection asks for a role to be assumed.
    """
    from mz_orchestration.objectstore.client import ObjectStoreConfig

    names = ("endpoint_url", "region_name", "profile_name", "aws_access_key_id", "aws_secret_access_key")
    fields = _extras(connection, *names, "aws_session_token", "role_arn")
    _refuse(connection, "service_config", "Put the endpoint into endpoint_url.")
    if role := fields.pop("role_arn", None):
        raise ConfigurationError(
            f"The connection {connection.conn_id!r} asks for the role {role!r} in role_arn, which is not assumed here.",
            hint="Use a profile_name that assumes it, or give the workers the role.",
        )
    if connection.login and connection.password:
        fields |= {"aws_access_key_id": connection.login, "aws_secret_access_key": connection.password}
    return _config(connection, ObjectStoreConfig, **fields)


def snowflake_config(connection: Connection) -> SnowflakeConfig:
    """Settings for Snowflake from a connection of type ``snowflake``.

    The password is the secret of whichever way to sign in the extras choose: the pass phrase of a private key, the
    token of an ``authenticator`` that takes one, the client's secret of ``OAUTH_CLIENT_CREDENTIALS``.

    :param connection: login, password, schema and the extras ``account``, ``warehouse``, ``database``, ``role``,
        ``authenticator``, ``token``, ``private_key_file``, ``private_key_content`` (PEM, or base64),
        ``oauth_client_id`` (login by default), ``oauth_token_request_url``, ``oauth_scope``,
        ``workload_identity_provider``, ``workload_identity_entra_resource``, ``host``, ``port`` and ``protocol``.
    :raises ConfigurationError: a field is missing or cannot be used.
    """
    from mz_orchestration.snowflake.config import SnowflakeConfig

    _refuse(connection, "region", "Write it as a part of the account: myaccount.eu-west-1.")
    _refuse(connection, "refresh_token", "Use the authenticator OAUTH_CLIENT_CREDENTIALS, or an access token in token.")
    fields = _extras(connection, *_SNOWFLAKE_EXTRAS, "private_key_content")
    if content := fields.pop("private_key_content", None):
        fields["private_key"] = _key_text(connection, content)
    authenticator = fields.get("authenticator", "").upper()
    secret = _secret_field(fields, authenticator)
    if authenticator == "OAUTH_CLIENT_CREDENTIALS":
        fields.setdefault("oauth_client_id", connection.login or "")
    # A secret among the extras goes before the password.
    return _config(
        connection,
        SnowflakeConfig,
        **{"user": connection.login, "schema": connection.schema, secret: connection.password} | fields,
    )


def census_config(connection: Connection) -> CensusConfig:
    """Settings for Census from a connection of type ``census``.

    :param connection: password (the token) and the extras ``api_version`` (``v2`` by default), ``group_id`` and
        ``region``; host, port and schema (``https`` by default) where it is not Census's own.
    :raises ConfigurationError: a field is missing or cannot be used.
    """
    from mz_orchestration.census.config import CensusConfig

    if not connection.password:
        raise ConfigurationError(
            f"The connection {connection.conn_id!r} has no password, which is Census's token.",
            hint="Complete the connection.",
        )
    url = connection.host
    if url and "://" not in url:
        url = f"{connection.schema or 'https'}://{url}"
    if url and connection.port:
        url = f"{url}:{connection.port}"
    extras = _extras(connection, "api_version", "group_id", "region")
    if version := extras.pop("api_version", None):
        extras["api"] = version
    return _config(connection, CensusConfig, token=connection.password, url=url, **extras)


def _key_text(connection: Connection, content: str) -> str:
    """A key that an extra holds; looked at now, while the connection's name is at hand."""
    from mz_orchestration.snowflake.keys import key_bytes

    try:
        key_bytes(content, named="private_key_content")
    except ConfigurationError as error:
        raise ConfigurationError(
            f"The connection {connection.conn_id!r} cannot be used: {error.message}", hint=error.hint
        ) from error
    return content


_SNOWFLAKE_EXTRAS = (
    "account", "warehouse", "database", "role", "authenticator", "token", "private_key_file", "oauth_client_id",
    "oauth_client_secret", "oauth_token_request_url", "oauth_scope", "workload_identity_provider",
    "workload_identity_entra_resource", "host", "port", "protocol",
)  # fmt: skip


def _secret_field(fields: dict[str, Any], authenticator: str) -> str:
    """What the connection's password is, by the way to sign in that its extras choose."""
    if "private_key_file" in fields or "private_key" in fields:
        return "private_key_file_pwd"
    if authenticator == "OAUTH_CLIENT_CREDENTIALS":
        return "oauth_client_secret"
    if authenticator in ("OAUTH", "PROGRAMMATIC_ACCESS_TOKEN", "WORKLOAD_IDENTITY"):
        return "token"
    return "password"


def _refuse(connection: Connection, name: str, hint: str) -> None:
    """Refuse an extra that the official provider reads and we do not: ignored, it would lead elsewhere."""
    if connection.extra_dejson.get(name):
        raise ConfigurationError(
            f"The connection {connection.conn_id!r} holds {name} in its extra, which is not read here.", hint=hint
        )


def _extras(connection: Connection, *names: str) -> dict[str, Any]:
    """The named extras that are set; older Airflow stored them behind a prefix."""
    try:
        readable = isinstance(json.loads(connection.extra or "{}"), dict)
    except ValueError:
        readable = False
    if not readable:
        # Airflow would go on without any, for example with the credentials of another store.
        raise ConfigurationError(
            f"The connection {connection.conn_id!r} cannot be used: extra is not a JSON object.",
            hint='Write it like {"name": "value"}.',
        )
    extras = connection.extra_dejson
    found = {name: extras.get(name) or extras.get(f"extra__{connection.conn_type}__{name}") for name in names}
    # As text: a secret that happens to be a number would be quoted in the error about its type.
    return {name: str(value) for name, value in found.items() if value not in (None, "")}


def _config(connection: Connection, model: type[Config], **fields: Any) -> Config:
    try:
        return validated(model, **{name: value for name, value in fields.items() if value not in (None, "")})
    except ConfigurationError as error:
        raise ConfigurationError(
            f"The connection {connection.conn_id!r} cannot be used: {error.message}", hint="Correct the connection."
        ) from error
