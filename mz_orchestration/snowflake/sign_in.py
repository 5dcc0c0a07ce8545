"""Which way to sign in the settings ask for, what it lacks, and what the connector is given for it.

Only what belongs to the chosen way is handed on: major 4 takes a private key before the authenticator that was asked
for, major 5 refuses the two together.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from mz_orchestration.errors import ConfigurationError
from mz_orchestration.snowflake import keys

if TYPE_CHECKING:
    from mz_orchestration.snowflake.config import SnowflakeConfig


class SignIn(StrEnum):
    """The ways to sign in that need no person, by the connector's names for them (``authenticator``)."""

    PASSWORD = "SNOWFLAKE"
    KEY_PAIR = "SNOWFLAKE_JWT"
    OAUTH = "OAUTH"
    OAUTH_CLIENT_CREDENTIALS = "OAUTH_CLIENT_CREDENTIALS"
    PROGRAMMATIC_ACCESS_TOKEN = "PROGRAMMATIC_ACCESS_TOKEN"
    WORKLOAD_IDENTITY = "WORKLOAD_IDENTITY"


_TOKEN = ("token", "token_file_path")
_KEY = ("private_key_file", "private_key")
_CLIENT = ("oauth_client_id", "oauth_client_secret", "oauth_token_request_url")
_OWN: dict[SignIn, tuple[str, ...]] = {
    SignIn.PASSWORD: ("password",),
    SignIn.KEY_PAIR: (*_KEY, "private_key_file_pwd"),
    SignIn.OAUTH: _TOKEN,
    SignIn.OAUTH_CLIENT_CREDENTIALS: (*_CLIENT, "oauth_scope", "oauth_credentials_in_body"),
    SignIn.PROGRAMMATIC_ACCESS_TOKEN: _TOKEN,
    SignIn.WORKLOAD_IDENTITY: ("workload_identity_provider", "workload_identity_entra_resource", *_TOKEN),
}
_CREDENTIALS = tuple(dict.fromkeys(name for names in _OWN.values() for name in names))
# Settings that no other way has. A token alone tells nothing: neither major of the connector guesses what it is.
_TELLING: dict[SignIn, tuple[str, ...]] = {
    SignIn.PASSWORD: ("password",),
    SignIn.KEY_PAIR: _KEY,
    SignIn.OAUTH_CLIENT_CREDENTIALS: _CLIENT,
    SignIn.WORKLOAD_IDENTITY: ("workload_identity_provider",),
}
_NEEDS: dict[SignIn, tuple[tuple[str, ...], ...]] = {
    SignIn.PASSWORD: (("user",), ("password",)),
    SignIn.KEY_PAIR: (("user",), _KEY),
    SignIn.OAUTH: (_TOKEN,),
    SignIn.OAUTH_CLIENT_CREDENTIALS: tuple((name,) for name in _CLIENT),
    SignIn.PROGRAMMATIC_ACCESS_TOKEN: (_TOKEN,),
    SignIn.WORKLOAD_IDENTITY: (("workload_identity_provider",),),
}
_WITH_A_PERSON = {"EXTERNALBROWSER", "OAUTH_AUTHORIZATION_CODE", "USERNAME_PASSWORD_MFA"}
_PROVIDERS = ("AWS", "AZURE", "GCP", "OIDC")
_WAYS = (
    "Set one of SNOWFLAKE_PRIVATE_KEY_FILE (key pair), SNOWFLAKE_TOKEN or SNOWFLAKE_TOKEN_FILE_PATH with "
    "SNOWFLAKE_AUTHENTICATOR (access token, OAuth), SNOWFLAKE_OAUTH_CLIENT_ID, _SECRET and "
    "SNOWFLAKE_OAUTH_TOKEN_REQUEST_URL (OAuth client credentials), SNOWFLAKE_WORKLOAD_IDENTITY_PROVIDER."
)


def named(field: str) -> str:
    """A setting as errors name it: the field, and its environment variable."""
    return f"{field} (SNOWFLAKE_{field.upper()})"


def chosen(config: SnowflakeConfig) -> SignIn | None:
    """The way to sign in; None leaves it to the connector: a named connection's own way, or one that asks a person.

    Raises:
        ConfigurationError: There is none, there are two, or the one there is lacks something.
    """
    way = _asked_for(config) if config.authenticator else _told(config)
    if way is not None:
        _check(config, way)
    return way


def _asked_for(config: SnowflakeConfig) -> SignIn | None:
    asked = str(config.authenticator)
    name = asked.upper()
    if name in _WITH_A_PERSON or name.startswith("HTTPS://"):
        return None
    name = "SNOWFLAKE" if name == "SNOWFLAKE_PASSWORD" else name
    try:
        return SignIn(name)
    except ValueError:
        raise ConfigurationError(
            f"{named('authenticator')} is {asked!r}, which is no way to sign in.",
            hint=f"Use one of {', '.join(SignIn)}.",
        ) from None


def _told(config: SnowflakeConfig) -> SignIn | None:
    found = {way: given for way, names in _TELLING.items() if (given := _given(config, names))}
    tokens = _given(config, _TOKEN)
    if len(found) > 1 or (found and tokens and SignIn.WORKLOAD_IDENTITY not in found):
        fields = [given[0] for given in found.values()] + tokens[:1]
        raise ConfigurationError(
            f"{' and '.join(named(field) for field in fields)} are different ways to sign in.",
            hint=f"Unset all but one, or say which by {named('authenticator')}.",
        )
    if found:
        return next(iter(found))
    if tokens:
        raise ConfigurationError(
            f"{named(tokens[0])} is set, and nothing says what kind of token it is.",
            hint="Set SNOWFLAKE_AUTHENTICATOR to PROGRAMMATIC_ACCESS_TOKEN, OAUTH or WORKLOAD_IDENTITY.",
        )
    if config.connection_name:
        return None
    raise ConfigurationError("There is no way to sign in to Snowflake.", hint=_WAYS)


def _check(config: SnowflakeConfig, way: SignIn) -> None:
    for either in _NEEDS[way]:
        # What is missing here, a named connection may hold.
        if not _given(config, either) and not config.connection_name:
            raise ConfigurationError(
                f"Signing in by {way} needs {' or '.join(named(field) for field in either)}, which is not set."
            )
    for pair in (_KEY, _TOKEN):
        if pair[0] in _OWN[way] and len(_given(config, pair)) > 1:
            raise ConfigurationError(f"{named(pair[0])} and {named(pair[1])} are both set.", hint="Unset one of them.")
    if way is SignIn.WORKLOAD_IDENTITY and config.workload_identity_provider:
        _check_provider(config, config.workload_identity_provider.upper())


def _check_provider(config: SnowflakeConfig, provider: str) -> None:
    if provider not in _PROVIDERS:
        raise ConfigurationError(
            f"{named('workload_identity_provider')} is {config.workload_identity_provider!r}.",
            hint=f"Use one of {', '.join(_PROVIDERS)}.",
        )
    token = _given(config, _TOKEN)
    if provider == "OIDC" and not token and not config.connection_name:
        raise ConfigurationError(
            f"The workload identity provider OIDC needs {named('token')} or {named('token_file_path')}."
        )
    if provider != "OIDC" and token:
        raise ConfigurationError(
            f"{named(token[0])} is set, and the workload identity provider {provider} brings a token of its own.",
            hint="Unset it, or use the provider OIDC.",
        )


def arguments(config: SnowflakeConfig) -> dict[str, Any]:
    """What the connector's ``connect`` is given: names as both its majors know them, secrets in the clear.

    Raises:
        ConfigurationError: As ``chosen``, or a file cannot be read, or a key cannot be opened.
    """
    way = chosen(config)
    own = _CREDENTIALS if way is None else _OWN[way]
    dropped = set(_CREDENTIALS) - set(own)
    found: dict[str, Any] = {}
    for name, value in config.model_dump(exclude_none=True, by_alias=True).items():
        if name not in dropped:
            found[name] = value.get_secret_value() if isinstance(value, SecretStr) else value
    if way is not None:
        found["authenticator"] = way.value
    _open_key(found)
    if path := found.pop("token_file_path", None):
        # Major 4 would take the line end as a part of the token.
        found["token"] = _read_token(path)
    if provider := found.get("workload_identity_provider"):
        found["workload_identity_provider"] = provider.upper()
    return found


def _open_key(found: dict[str, Any]) -> None:
    path, text = found.pop("private_key_file", None), found.pop("private_key", None)
    passphrase = found.pop("private_key_file_pwd", None)
    if path:
        shown, key = f"The key file {path}", keys.read_key_file(path, named=named("private_key_file"))
    elif text:
        shown, key = f"The key in {named('private_key')}", keys.key_bytes(text, named=named("private_key"))
    else:
        return
    found["private_key"] = keys.pkcs8(key, passphrase, named=shown, passphrase_named=named("private_key_file_pwd"))


def _read_token(path: str) -> str:
    try:
        token = Path(path).expanduser().read_text(encoding="utf-8").strip()
    except (OSError, RuntimeError, UnicodeDecodeError) as error:
        reason = "it is no text" if isinstance(error, UnicodeDecodeError) else getattr(error, "strerror", error)
        raise ConfigurationError(
            f"{named('token_file_path')} {path} cannot be read: {reason}.",
            hint="Name the file that holds the token and nothing else.",
        ) from error
    if not token:
        raise ConfigurationError(f"{named('token_file_path')} {path} is empty.", hint="Write the token into it.")
    return token


def warnings(config: SnowflakeConfig) -> list[str]:
    """What is worth saying about a way to sign in that works."""
    found: list[str] = []
    way = chosen(config)
    # Plain HTTP is no account of Snowflake's: stand-ins are signed in to as they like.
    if way is SignIn.PASSWORD and (config.protocol or "https").lower() != "http":
        found.append(
            "signing in by password: Snowflake is ending that for services. Use a key pair, an access token, OAuth or "
            "a workload identity."
        )
    if config.authenticator and config.authenticator.upper() in _WITH_A_PERSON:
        found.append(f"signing in by {config.authenticator} asks a person, who is not there when a schedule runs this.")
    if config.private_key_file and keys.readable_by_others(config.private_key_file):
        found.append(f"{config.private_key_file} can be read by others: chmod 600 {config.private_key_file}")
    if way is not None and (
        unused := [name for name in _CREDENTIALS if name not in _OWN[way] and _given(config, (name,))]
    ):
        found.append(f"signing in by {way}: {', '.join(named(name) for name in unused)} set and not used")
    return found


def _given(config: SnowflakeConfig, names: tuple[str, ...]) -> list[str]:
    """The settings of these that hold something."""
    values = {name: getattr(config, name) for name in names}
    return [
        name
        for name, value in values.items()
        if value and (not isinstance(value, SecretStr) or value.get_secret_value())
    ]
