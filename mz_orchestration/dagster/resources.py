"""Dagster resources: how to reach Materialize, the object store, Snowflake and Census. Give secrets as ``EnvVar``.

Resources hold settings only; the heavy libraries are imported when an asset runs, not when its code location loads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dagster import AssetCheckResult, AssetExecutionContext, ConfigurableResource, MaterializeResult, OpExecutionContext
from pydantic import Field

from mz_orchestration.validation import validated

if TYPE_CHECKING:
    from mz_orchestration.census.config import CensusConfig
    from mz_orchestration.materialize.connection import MaterializeConfig
    from mz_orchestration.objectstore.client import ObjectStore, ObjectStoreConfig
    from mz_orchestration.pipelines.tools import Tools
    from mz_orchestration.snowflake.config import SnowflakeConfig


class MaterializeResource(ConfigurableResource[Any]):
    """How to reach Materialize; what is left out is libpq's own to find (``PGHOST`` ..., ``~/.pgpass``)."""

    host: str | None = Field(default=None, description="Host name.")
    port: int | None = Field(default=None, description="Port; Materialize's own is 6875.")
    user: str | None = Field(default=None, description="Role to connect as.")
    password: str | None = Field(default=None, description="Password or app password.", repr=False)
    database: str | None = Field(default=None, description="Database that unqualified names are looked up in.")
    sslmode: str | None = Field(default=None, description="libpq's sslmode; Materialize Cloud needs require.")
    sslrootcert: str | None = Field(default=None, description="Path of the root certificate, or 'system'.")
    cluster: str | None = Field(default=None, description="Cluster that statements run on.")
    connect_timeout: int = Field(default=10, description="Seconds.")

    def config(self) -> MaterializeConfig:
        """The settings for the core."""
        from mz_orchestration.materialize.connection import MaterializeConfig

        return validated(MaterializeConfig, **_settings(self))

    def export(
        self, *, context: AssetExecutionContext, object_store: ObjectStoreResource
    ) -> Iterator[MaterializeResult[Any] | AssetCheckResult]:
        """Export what is selected of the assets of `materialize_exports`; the body of its function.

        Args:
            context: The step's.
            object_store: The store that the files land in.

        Yields:
            A result for each export as it is finished and verified.

        Raises:
            Failure: Trying again cannot help.
            RetryRequested: Trying again may help.
        """
        from mz_orchestration.dagster.assets.export_step import export_selected

        yield from export_selected(context, BoundResources(materialize=self, object_store=object_store))


class ObjectStoreResource(ConfigurableResource[Any]):
    """How to reach the object store; what is left out is boto3's own to find (environment, profile, role)."""

    endpoint_url: str | None = Field(default=None, description="For S3-compatible stores.")
    region_name: str | None = Field(default=None, description="For example eu-west-1.")
    profile_name: str | None = Field(default=None, description="A profile of ~/.aws/config.")
    aws_access_key_id: str | None = Field(default=None, description="Static key.")
    aws_secret_access_key: str | None = Field(default=None, description="Its secret.", repr=False)
    aws_session_token: str | None = Field(default=None, description="Its session token, if it has one.", repr=False)

    def store(self) -> ObjectStore:
        """A client for the store."""
        from mz_orchestration.objectstore.client import ObjectStore

        return ObjectStore(self.store_config())

    def store_config(self) -> ObjectStoreConfig:
        """The settings for the core."""
        from mz_orchestration.objectstore.client import ObjectStoreConfig

        return validated(ObjectStoreConfig, **_settings(self))


class SnowflakeResource(ConfigurableResource[Any]):
    """How to sign in to Snowflake; names as in its connector."""

    account: str | None = Field(default=None, description="Account identifier, for example myorg-myaccount.")
    connection_name: str | None = Field(default=None, description="A connection of the connector's connections.toml.")
    user: str | None = Field(default=None, description="User.")
    password: str | None = Field(default=None, description="Password.", repr=False)
    authenticator: str | None = Field(
        default=None, description="Way to sign in, where it does not follow: with a token."
    )
    token: str | None = Field(default=None, description="Token for the authenticator.", repr=False)
    token_file_path: str | None = Field(default=None, description="A file that holds the token.")
    private_key_file: str | None = Field(default=None, description="Path of a PKCS#8 key.")
    private_key: str | None = Field(default=None, description="The key itself: PEM, or base64.", repr=False)
    private_key_file_pwd: str | None = Field(default=None, description="The key's passphrase.", repr=False)
    oauth_client_id: str | None = Field(default=None, description="Client id for OAuth client credentials.")
    oauth_client_secret: str | None = Field(default=None, description="Its secret.", repr=False)
    oauth_token_request_url: str | None = Field(default=None, description="Where the identity provider gives tokens.")
    oauth_scope: str | None = Field(
        default=None, description="Scope to ask for, where it does not follow from the role."
    )
    oauth_credentials_in_body: bool | None = Field(
        default=None, description="Send id and secret in the body, for providers that take no header."
    )
    workload_identity_provider: str | None = Field(default=None, description="AWS, AZURE, GCP or OIDC.")
    workload_identity_entra_resource: str | None = Field(default=None, description="Entra resource, on Azure only.")
    role: str | None = Field(default=None, description="Role to use.")
    warehouse: str | None = Field(default=None, description="Warehouse to use.")
    database: str | None = Field(default=None, description="Database that unqualified names are looked up in.")
    # pydantic models have a method called schema
    schema_: str | None = Field(default=None, alias="schema", description="Schema for unqualified names.")
    host: str | None = Field(default=None, description="Host name, where it does not follow from the account.")
    port: int | None = Field(default=None, description="Port, where it is not 443.")
    protocol: str | None = Field(default=None, description="http for stand-ins without TLS.")
    login_timeout: int = Field(default=30, description="Seconds until a sign-in is given up.")

    def config(self) -> SnowflakeConfig:
        """The settings for the core."""
        from mz_orchestration.snowflake.config import SnowflakeConfig

        return validated(SnowflakeConfig, **_settings(self))


class CensusResource(ConfigurableResource[Any]):
    """How to sign in at Census."""

    token: str | None = Field(
        default=None, description="V2: a personal access token. V1: the workspace's API key.", repr=False
    )
    api: str | None = Field(default=None, description="Version of the API: v2 (default) or v1.")
    group_id: str | None = Field(default=None, description="V2: the Fivetran group.")
    region: str | None = Field(default=None, description="us (default) or eu.")
    url: str | None = Field(default=None, description="Another host than Census's own, such as https://HOST.")

    def config(self) -> CensusConfig:
        """The settings for the core."""
        from mz_orchestration.census.config import CensusConfig

        return validated(CensusConfig, **_settings(self))


@dataclass(frozen=True)
class BoundResources:
    """Resources for some assets only, in place of those that the code location names for all.

    They are not among the code location's resources, so their settings are neither shown nor stored. None leaves a
    system to the resource of that name.
    """

    materialize: MaterializeResource | None = None
    object_store: ObjectStoreResource | None = None
    snowflake: SnowflakeResource | None = None
    census: CensusResource | None = None
    _resolved: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def keys(self, needed: Iterable[str]) -> set[str]:
        """Those of the needed systems that the code location has to provide.

        Args:
            needed: ``materialize``, ``object_store``, ``snowflake``, ``census``.
        """
        return {name for name in needed if getattr(self, name) is None}

    def resolved(self, name: str) -> Any:
        """A resource of these with its `EnvVar`s read, once; None if it is the code location's.

        Args:
            name: Of the system.
        """
        if name not in self._resolved:
            self._resolved[name] = None if (bound := getattr(self, name)) is None else _initialized(bound)
        return self._resolved[name]

    def tools(self, context: AssetExecutionContext | OpExecutionContext, needed: Iterable[str]) -> Tools:
        """The settings of the needed systems for the core; a resource without any leaves them to the environment.

        Args:
            context: The step's.
            needed: As for `keys`.

        Raises:
            ConfigurationError: A setting is wrong.
        """
        from mz_orchestration.pipelines.tools import Tools

        def resource(name: str) -> Any:
            return self.resolved(name) or getattr(context.resources, name)

        names = set(needed)
        given: dict[str, Any] = {
            name: each.config() if has_settings(each := resource(name)) else None for name in names - {"object_store"}
        }
        if "object_store" in names:
            given["store"] = resource("object_store").store()
        return Tools(**given, on_event=lambda event: context.log.info(event.line()))


def has_settings(resource: ConfigurableResource[Any]) -> bool:
    """Whether a resource says anything; what says nothing leaves all to the environment."""
    fields = type(resource).model_fields.items()
    return any(getattr(resource, name) is not None for name, field in fields if field.default is None)


def _initialized(resource: ConfigurableResource[Any]) -> Any:
    # Dagster makes an instance for it, which takes a tenth of a second. Without `with`, the garbage collector would end
    # that instance some time later, and with it set where the state of components is looked for to one that is gone.
    with resource.process_config_and_initialize_cm() as initialized:
        return initialized


def _settings(resource: ConfigurableResource[Any]) -> dict[str, Any]:
    fields = {field.alias or name: getattr(resource, name) for name, field in type(resource).model_fields.items()}
    return {name: value for name, value in fields.items() if value is not None}
