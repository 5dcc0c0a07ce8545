"""How to reach Census and sign in there."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from datetime import date
from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from mz_orchestration.errors import ConfigurationError
from mz_orchestration.validation import describe_validation

V1_ENDS = date(2027, 1, 15)

_HOSTS = {"us": "https://app.getcensus.com", "eu": "https://app-eu.getcensus.com"}
SETTINGS = {
    "token": "CENSUS_API_TOKEN",
    "api": "CENSUS_API_VERSION",
    "group_id": "CENSUS_GROUP_ID",
    "region": "CENSUS_REGION",
    "url": "CENSUS_URL",
}


class CensusConfig(BaseModel):
    """How to sign in; ``from_environment`` reads ``CENSUS_API_TOKEN`` and so on.

    Attributes:
        token: V2: a personal access token. V1: the workspace's API key.
        api: Version of the API.
        group_id: V2: the Fivetran group whose syncs and sources are listed.
        region: Where the account lives; decides the host. V2 is documented for ``us`` only.
        url: Another host, such as ``https://census.example.com``. Without TLS only on this machine, since the token
            goes with every request.
        timeout: Seconds to wait for each answer.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    token: SecretStr
    api: Literal["v2", "v1"] = "v2"
    group_id: str | None = Field(default=None, min_length=1, max_length=200)
    region: Literal["us", "eu"] = "us"
    url: str | None = None
    timeout: float = Field(default=30, gt=0, le=60, allow_inf_nan=False)

    @field_validator("token")
    @classmethod
    def _fits_a_header(cls, value: SecretStr) -> SecretStr:
        # The HTTP client's own complaint about a header would show it.
        if not re.fullmatch(r"[\x21-\x7e]+", value.get_secret_value()):
            raise ValueError("it is empty, or holds blanks, line ends or other signs that no token has")
        return value

    @field_validator("url")
    @classmethod
    def _is_a_host(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            parts = urlsplit(value)
            host, _ = parts.hostname, parts.port
        except ValueError:
            host = None
        if host is None or parts.scheme not in ("https", "http") or not value.isprintable() or " " in value:
            raise ValueError("this is not an address; write https://HOST")
        if "@" in parts.netloc:
            raise ValueError("it must not hold a name or password; the token goes into CENSUS_API_TOKEN")
        if parts.path.strip("/") or parts.query or parts.fragment:
            raise ValueError("it must be the host alone, without a path such as /api/v2")
        if parts.scheme == "http" and not _is_loopback(host):
            raise ValueError("without TLS the token would travel in the clear; write https://")
        return f"{parts.scheme}://{parts.netloc}"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> CensusConfig:
        """The settings in ``CENSUS_*`` variables.

        Raises:
            ConfigurationError: The token is missing, or a value cannot be used.
        """
        environment = os.environ if environment is None else environment
        found = {field: environment.get(name) for field, name in SETTINGS.items()}
        if not found["token"]:
            raise ConfigurationError(
                "CENSUS_API_TOKEN is not set, so nobody can sign in at Census.",
                hint="Set it to a personal access token (for CENSUS_API_VERSION=v1 to the workspace's API key).",
            )
        try:
            return cls.model_validate({name: value for name, value in found.items() if value})
        except ValidationError as error:
            raise ConfigurationError(
                f"CENSUS_* settings: {describe_validation(error)}",
                hint=f"They are {', '.join(SETTINGS.values())}.",
            ) from None

    @property
    def host(self) -> str:
        """Scheme and host, without a slash at the end."""
        return self.url or _HOSTS[self.region]

    @property
    def base_url(self) -> str:
        """What every path of the API is appended to."""
        return f"{self.host}/api/{self.api}"

    def group(self, *, to: str) -> str | None:
        """The group that V2 wants to be told; None for V1, which has none.

        Args:
            to: What it is needed for.

        Raises:
            ConfigurationError: It is needed and not known.
        """
        if self.api == "v1":
            return None
        if self.group_id is None:
            raise ConfigurationError(
                f"group_id is missing: API V2 needs it to {to}.",
                hint="Set CENSUS_GROUP_ID to the id of the Fivetran group.",
            )
        return self.group_id

    def warnings(self) -> list[str]:
        """What is worth saying about settings that work."""
        found = []
        if self.api == "v1":
            found.append(
                f"Census retires API V1 on {V1_ENDS:%-d %B %Y}: set CENSUS_API_VERSION=v2, CENSUS_GROUP_ID to the "
                "Fivetran group, and CENSUS_API_TOKEN to a personal access token"
            )
        elif self.region == "eu" and self.url is None:
            found.append("API V2 is documented for app.getcensus.com only; app-eu.getcensus.com is asked all the same")
        return found


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
