"""Users: who may sign in, and by which means."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from mz_orchestration.local.snowflake import errors
from mz_orchestration.local.snowflake.names import display

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

# The user that every stack has, with a password.
USER = "LOCAL"
_ROUNDS = 1 << 12


@dataclass(frozen=True)
class PasswordHash:
    """A password as it is kept."""

    salt: bytes = field(repr=False)
    digest: bytes = field(repr=False)

    @classmethod
    def of(cls, password: str) -> PasswordHash:
        """Hash a password."""
        salt = secrets.token_bytes(16)
        return cls(salt, _digest(password, salt))

    def matches(self, password: str) -> bool:
        """Whether this is the password."""
        return hmac.compare_digest(self.digest, _digest(password, self.salt))


def _digest(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=_ROUNDS, r=8, p=1)


@dataclass(frozen=True)
class PublicKey:
    """A user's public key: the Base64 of its DER form, as ALTER USER takes it."""

    text: str

    def loaded(self) -> RSAPublicKey:
        """The key itself.

        Raises:
            SnowflakeError: It is no RSA key of at least 2048 bits.
        """
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
        from cryptography.hazmat.primitives.serialization import load_der_public_key

        try:
            key = load_der_public_key(self.der)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise _rejected("Invalid Public key") from error
        if not isinstance(key, RSAPublicKey) or key.key_size < 2048:
            raise _rejected("Invalid Public key")
        return key

    @property
    def der(self) -> bytes:
        """The key's DER form; what is no Base64 gives an empty one."""
        try:
            return base64.b64decode("".join(self.text.split()), validate=True)
        except binascii.Error:
            return b""

    @property
    def fingerprint(self) -> str:
        """The fingerprint that tokens signed with the private key name."""
        return "SHA256:" + base64.b64encode(hashlib.sha256(self.der).digest()).decode()


def new_key_pair(private: Path) -> PublicKey:
    """Make a key pair, write the private key where only this user of the machine reads it, return the public one."""
    from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    key = generate_private_key(public_exponent=65537, key_size=2048)
    private.unlink(missing_ok=True)
    descriptor = os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return PublicKey(base64.b64encode(public).decode())


def _rejected(reason: str) -> errors.SnowflakeError:
    return errors.SnowflakeError(
        "003552", "22023", f"SQL execution error: New public key rejected by current policy. Reason: '{reason}'"
    )


@dataclass(frozen=True)
class AccessToken:
    """A programmatic access token; only its hash is kept."""

    name: str
    digest: str = field(repr=False)
    expires: datetime
    role: str | None = None
    comment: str | None = None
    created: datetime = field(default_factory=lambda: datetime.now(UTC))

    @classmethod
    def new(cls, name: str, days: int, role: str | None, comment: str | None) -> tuple[AccessToken, str]:
        """A new token and its secret, which nothing can tell again."""
        secret = secrets.token_urlsafe(48)
        expires = datetime.now(UTC) + timedelta(days=days)
        return cls(name, _token_digest(secret), expires, role, comment), secret

    def matches(self, secret: str) -> bool:
        """Whether this is the token, and it has not expired."""
        return hmac.compare_digest(self.digest, _token_digest(secret)) and datetime.now(UTC) < self.expires


def _token_digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


@dataclass(frozen=True)
class WorkloadIdentity:
    """What the token of an OIDC provider must say for a workload to be this user."""

    issuer: str
    subject: str
    audiences: tuple[str, ...] = ("snowflakecomputing.com",)


@dataclass(eq=False)
class User:
    """A user. One without a password signs in by key or token only, as users of TYPE = SERVICE must."""

    name: str
    login_name: str
    password: PasswordHash | None = None
    type: str = "PERSON"
    disabled: bool = False
    default_role: str | None = None
    default_warehouse: str | None = None
    default_namespace: str | None = None
    comment: str | None = None
    public_keys: dict[str, PublicKey] = field(default_factory=dict)
    tokens: dict[str, AccessToken] = field(default_factory=dict)
    workload_identity: WorkloadIdentity | None = None
    created: datetime = field(default_factory=lambda: datetime.now(UTC))


class Users:
    """All users of the account; there is one from the start."""

    def __init__(self, password: str) -> None:
        self.lock = threading.RLock()
        first = User(USER, USER, PasswordHash.of(password), default_role="ACCOUNTADMIN", default_warehouse="COMPUTE_WH")
        self._users: dict[str, User] = {USER: first}

    def find(self, name: str) -> User:
        """The user of a name.

        Raises:
            SnowflakeError: There is none.
        """
        with self.lock:
            if name not in self._users:
                raise errors.does_not_exist("User", display(name))
            return self._users[name]

    def exists(self, name: str) -> bool:
        """Whether there is a user of this name."""
        with self.lock:
            return name in self._users

    def put(self, user: User) -> None:
        """Add or replace a user."""
        with self.lock:
            self._users[user.name] = user

    def drop(self, name: str) -> None:
        """Remove a user."""
        with self.lock:
            self.find(name)
            del self._users[name]

    def by_login(self, login_name: str) -> User | None:
        """The user who signs in under this name, which is the same in any case."""
        return self._first(lambda user: user.login_name == login_name.upper())

    def by_identity(self, issuer: str, subject: str) -> User | None:
        """The user a workload is."""
        return self._first(
            lambda user: (
                user.workload_identity is not None
                and (user.workload_identity.issuer, user.workload_identity.subject) == (issuer, subject)
            )
        )

    def by_token(self, secret: str) -> tuple[User, AccessToken] | None:
        """The user and the programmatic access token of a secret."""
        with self.lock:
            for user in self._users.values():
                for token in user.tokens.values():
                    if token.matches(secret):
                        return user, token
        return None

    def _first(self, wanted: Callable[[User], bool]) -> User | None:
        with self.lock:
            return next((user for user in self._users.values() if wanted(user)), None)
