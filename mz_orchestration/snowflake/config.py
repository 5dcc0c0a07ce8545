"""How to reach Snowflake and sign in there; names as in its connector."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from mz_orchestration.errors import ConfigurationError
from mz_orchestration.snowflake import sign_in
from mz_orchestration.snowflake.sign_in import SignIn
from mz_orchestration.validation import describe_validation

# Other names in use for the same setting.
_ALSO_NAMED = {"private_key_file_pwd": "SNOWFLAKE_PRIVATE_KEY_PASSPHRASE"}


class SnowflakeConfig(BaseModel):
    """How to sign in; ``from_environment`` reads ``SNOWFLAKE_ACCOUNT`` and so on.

    The way to sign in follows from what is given: a private key, OAuth client credentials, a workload identity
    provider, or a password. A token needs ``authenticator`` beside it.

    Attributes:
        account: Account identifier.
        connection_name: A connection of the connector's own ``connections.toml``; what is given here goes before it.
        authenticator: ``SNOWFLAKE_JWT``, ``PROGRAMMATIC_ACCESS_TOKEN``, ``OAUTH``, ``OAUTH_CLIENT_CREDENTIALS``,
            ``WORKLOAD_IDENTITY`` or ``SNOWFLAKE`` (password).
        token: Programmatic access token, OAuth access token, or token of the OIDC provider.
        token_file_path: A file that holds the token; read at every sign-in.
        private_key_file: Path of a private key in PKCS#8.
        private_key: The key itself: PEM, or base64 of it or of its DER.
        private_key_file_pwd: What opens the key, whether it comes from a file or not.
        workload_identity_provider: ``AWS``, ``AZURE``, ``GCP`` or ``OIDC``.
        login_timeout: Seconds until a sign-in is given up.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, populate_by_name=True)

    account: str | None = None
    connection_name: str | None = None
    user: str | None = None
    password: SecretStr | None = None
    authenticator: str | None = None
    token: SecretStr | None = None
    token_file_path: str | None = None
    private_key_file: str | None = None
    private_key: SecretStr | None = None
    private_key_file_pwd: SecretStr | None = None
    oauth_client_id: str | None = None
    oauth_client_secret: SecretStr | None = None
    oauth_token_request_url: str | None = None
    oauth_scope: str | None = None
    oauth_credentials_in_body: bool | None = None
    workload_identity_provider: str | None = None
    workload_identity_entra_resource: str | None = None
    role: str | None = None
    warehouse: str | None = None
    database: str | None = None
    # pydantic models have a method called schema
    schema_name: str | None = Field(default=None, alias="schema")
    host: str | None = Field(default=None, pattern=r"^[^\s/:]+$")
    port: int | None = Field(default=None, ge=1, le=65535)
    protocol: str | None = None
    login_timeout: int = Field(default=30, gt=0)

    @model_validator(mode="after")
    def _names_an_account(self) -> SnowflakeConfig:
        if not self.account and not self.connection_name:
            raise ValueError("account (or connection_name) is missing")
        return self

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> SnowflakeConfig:
        """The settings in ``SNOWFLAKE_*`` variables.

        Without ``SNOWFLAKE_ACCOUNT``, ``SNOWFLAKE_DEFAULT_CONNECTION_NAME`` names a connection of
        ``connections.toml``, as it does for the connector.

        Raises:
            ConfigurationError: The account is missing, a value cannot be used, or there is not exactly one way to
                sign in.
        """
        environment = os.environ if environment is None else environment
        names = {field.alias or name for name, field in cls.model_fields.items()}
        found = {name: environment.get(f"SNOWFLAKE_{name.upper()}") for name in names}
        for name, other in _ALSO_NAMED.items():
            found[name] = found[name] or environment.get(other)
        if not found["account"] and not found["connection_name"]:
            found["connection_name"] = environment.get("SNOWFLAKE_DEFAULT_CONNECTION_NAME")
        if not found["account"] and not found["connection_name"]:
            raise ConfigurationError(
                "SNOWFLAKE_ACCOUNT is not set, so there is no Snowflake to load into.",
                hint="Set SNOWFLAKE_ACCOUNT, SNOWFLAKE_USER and a way to sign in (SNOWFLAKE_PRIVATE_KEY_FILE ...).",
            )
        try:
            config = cls.model_validate({name: value for name, value in found.items() if value})
        except ValidationError as error:
            raise ConfigurationError(f"SNOWFLAKE_* settings: {describe_validation(error)}") from None
        config.connect_arguments()
        return config

    def sign_in(self) -> SignIn | None:
        """The way to sign in; None where the connector finds it: in a named connection, or by asking a person.

        Raises:
            ConfigurationError: There is none, there are two, or the one there is lacks something.
        """
        return sign_in.chosen(self)

    def warnings(self) -> list[str]:
        """What is worth saying about a way to sign in that works: a password, a key that others can read.

        Raises:
            ConfigurationError: As ``sign_in``.
        """
        return sign_in.warnings(self)

    def connect_arguments(self) -> dict[str, Any]:
        """What the connector's ``connect`` is given for this, by names that both its majors know; secrets in the clear.

        Raises:
            ConfigurationError: As ``sign_in``, or a file cannot be read, or a key cannot be opened.
        """
        return sign_in.arguments(self)
