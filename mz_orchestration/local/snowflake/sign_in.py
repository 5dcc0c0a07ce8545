"""Signing in: which user a login request proves to come from, by every means a service has.

Password, key pair, OAuth access token, programmatic access token, and workload identity with an OIDC token. Browsers,
MFA and the clouds' own workload identities are refused by name. Network policies, which a real account wants for
programmatic access tokens, are not looked at.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mz_orchestration.local.snowflake.errors import SnowflakeError
from mz_orchestration.local.snowflake.json_web_tokens import ISSUER, InvalidTokenError, Issuer, Token
from mz_orchestration.local.snowflake.users import User, Users

# What a token for this account may name as its audience.
AUDIENCES = ("LOCAL", "snowflakecomputing.com")
# A key pair's token is good for an hour at most, whatever it says.
_LONGEST_JWT = 3600
_CLOCKS_APART = 60


@dataclass(frozen=True)
class SignedIn:
    """Who signed in, and the one role the credentials are restricted to, if they are."""

    user: User
    role: str | None = None


class SignIn:
    """Decides on login requests."""

    def __init__(self, account: str, users: Users, issuer: Issuer) -> None:
        self._account = account
        self._users = users
        self._issuer = issuer

    def user(self, data: Mapping[str, Any]) -> SignedIn:
        """The user of a login request.

        Raises:
            SnowflakeError: The credentials do not prove one.
        """
        authenticator = str(data.get("AUTHENTICATOR") or "SNOWFLAKE").upper()
        means: dict[str, Callable[[Mapping[str, Any]], SignedIn]] = {
            "SNOWFLAKE": self._password,
            "SNOWFLAKE_JWT": self._key_pair,
            "OAUTH": self._oauth,
            "PROGRAMMATIC_ACCESS_TOKEN": self._access_token,
            "WORKLOAD_IDENTITY": self._workload_identity,
        }
        if authenticator not in means:
            raise _not_supported(authenticator)
        signed_in = means[authenticator](data)
        if signed_in.user.disabled:
            raise _refused("390101", "User access disabled. Contact your local system administrator.")
        return signed_in

    def _named(self, data: Mapping[str, Any]) -> User | None:
        return self._users.by_login(str(data.get("LOGIN_NAME") or ""))

    def _password(self, data: Mapping[str, Any]) -> SignedIn:
        user, given = self._named(data), str(data.get("PASSWORD") or "")
        if user is None:
            raise _incorrect()
        if user.type != "SERVICE" and user.password is not None and user.password.matches(given):
            return SignedIn(user)
        # A programmatic access token may stand in the place of the password.
        found = self._users.by_token(given)
        if found is None or found[0] is not user:
            raise _incorrect()
        return SignedIn(user, found[1].role)

    def _key_pair(self, data: Mapping[str, Any]) -> SignedIn:
        user = self._named(data)
        try:
            token = Token.parse(str(data.get("TOKEN") or ""))
            if user is None or not _in_time(token):
                raise InvalidTokenError
            subject = f"{self._account}.{user.login_name}"
            for key in user.public_keys.values():
                if (token.claims.get("sub"), token.claims.get("iss")) == (subject, f"{subject}.{key.fingerprint}"):
                    token.verify(key.loaded())
                    return SignedIn(user)
        except InvalidTokenError:
            pass
        # One answer for every fault: the details are for the account's administrator, in LOGIN_HISTORY.
        raise _refused("390144", f"JWT token is invalid. [{uuid.uuid4()}]")

    def _oauth(self, data: Mapping[str, Any]) -> SignedIn:
        try:
            token = self._issuer.verified(str(data.get("TOKEN") or ""))
        except InvalidTokenError as error:
            raise _refused("390303", f"Invalid OAuth access token. [{uuid.uuid4()}]") from error
        if token.has_expired:
            raise _refused("390318", f"OAuth access token expired. [{uuid.uuid4()}]")
        user = self._users.by_login(str(token.claims.get("sub")))
        if user is None or not token.audiences.intersection(AUDIENCES):
            raise _refused("390303", f"Invalid OAuth access token. [{uuid.uuid4()}]")
        if data.get("LOGIN_NAME") and self._named(data) is not user:
            raise _refused(
                "390309", "The user you were trying to authenticate as differs from the user tied to the access token."
            )
        return SignedIn(user, _role(str(token.claims.get("scp") or "")))

    def _access_token(self, data: Mapping[str, Any]) -> SignedIn:
        found = self._users.by_token(str(data.get("TOKEN") or ""))
        if found is None or (data.get("LOGIN_NAME") and self._named(data) is not found[0]):
            raise _refused("394400", "Programmatic access token is invalid.")
        return SignedIn(found[0], found[1].role)

    def _workload_identity(self, data: Mapping[str, Any]) -> SignedIn:
        provider = str(data.get("PROVIDER") or "").upper()
        if provider != "OIDC":
            raise _not_supported(f"WORKLOAD_IDENTITY of {provider or 'an unnamed provider'}")
        try:
            token = self._issuer.verified(str(data.get("TOKEN") or ""))
        except InvalidTokenError as error:
            raise _incorrect() from error
        user = self._users.by_identity(ISSUER, str(token.claims.get("sub")))
        identity = user.workload_identity if user is not None else None
        named = self._named(data) if data.get("LOGIN_NAME") else user
        if user is None or identity is None or named is not user:
            raise _incorrect()
        if token.has_expired or not token.audiences.intersection(identity.audiences):
            # Snowflake's own number is not in its documentation; the refusal of any credentials is the safe guess.
            raise _incorrect()
        return SignedIn(user)


def _in_time(token: Token) -> bool:
    issued, now = token.moment("iat"), time.time()
    return not token.has_expired and issued is not None and now - _LONGEST_JWT < issued <= now + _CLOCKS_APART


def _role(scope: str) -> str | None:
    """The role of a scope like ``session:role:LOADER``; SESSION:ROLE-ANY leaves the choice to the client."""
    roles = [word[len("session:role:") :] for word in scope.split() if word.lower().startswith("session:role:")]
    return roles[0].upper() if roles else None


def _refused(code: str, message: str) -> SnowflakeError:
    return SnowflakeError(code, "08001", message)


def _incorrect() -> SnowflakeError:
    return _refused("390100", "Incorrect username or password was specified.")


def _not_supported(authenticator: str) -> SnowflakeError:
    return _refused(
        "390139",
        f"The specified authenticator is not accepted by your Snowflake account configuration: {authenticator}. "
        "(The local stand-in takes passwords, key pairs, OAuth and programmatic access tokens and OIDC workload "
        "identities.)",
    )
