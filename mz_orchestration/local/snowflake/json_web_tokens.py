"""JSON web tokens signed with RS256: read and verified, and issued by the stand-in's own identity provider."""

from __future__ import annotations

import base64
import binascii
import json
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

# Who the tokens of the stand-in's provider come from. Nothing is fetched from there.
ISSUER = "https://identity.local"


class InvalidTokenError(Exception):
    """The token is none, or not signed with the key it should be signed with."""


@dataclass(frozen=True)
class Token:
    """A token, not verified yet."""

    header: dict[str, Any]
    claims: dict[str, Any]
    signed: bytes
    signature: bytes

    @classmethod
    def parse(cls, text: str) -> Token:
        """Read a token.

        Raises:
            InvalidTokenError: It is none.
        """
        parts = text.split(".")
        if len(parts) != 3:
            raise InvalidTokenError
        try:
            header, claims = (json.loads(_decode(part)) for part in parts[:2])
            signature = _decode(parts[2])
        except (ValueError, binascii.Error) as error:
            raise InvalidTokenError from error
        if not isinstance(header, dict) or not isinstance(claims, dict):
            raise InvalidTokenError
        return cls(header, claims, f"{parts[0]}.{parts[1]}".encode(), signature)

    def verify(self, key: RSAPublicKey) -> None:
        """Check the signature.

        Raises:
            InvalidTokenError: It is not of this key.
        """
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.hashes import SHA256

        if self.header.get("alg") != "RS256":
            raise InvalidTokenError
        try:
            key.verify(self.signature, self.signed, PKCS1v15(), SHA256())
        except InvalidSignature as error:
            raise InvalidTokenError from error

    def moment(self, claim: str) -> float | None:
        """A claim that is a moment, in seconds since the epoch."""
        value = self.claims.get(claim)
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

    @property
    def has_expired(self) -> bool:
        """Whether the token's time is over, or it says none."""
        expires = self.moment("exp")
        return expires is None or expires <= time.time()

    @property
    def audiences(self) -> set[str]:
        """Whom the token is for."""
        audience = self.claims.get("aud")
        return {str(a) for a in audience} if isinstance(audience, list) else {str(audience)}


class Issuer:
    """The stand-in's identity provider: what an OAuth server and an OIDC provider are for a real account."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: RSAPrivateKey | None = None

    @property
    def _key(self) -> RSAPrivateKey:
        from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

        with self._lock:
            if self._made is None:
                self._made = generate_private_key(public_exponent=65537, key_size=2048)
            return self._made

    def issue(self, subject: str, audiences: list[str], lifetime: float, scope: str | None = None) -> str:
        """A token."""
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.hashes import SHA256

        now = int(time.time())
        claims: dict[str, Any] = {"iss": ISSUER, "sub": subject, "aud": audiences, "iat": now}
        claims |= {"exp": now + int(lifetime), **({"scp": scope} if scope else {})}
        signed = ".".join(_encode(json.dumps(part).encode()) for part in ({"alg": "RS256", "typ": "JWT"}, claims))
        return f"{signed}.{_encode(self._key.sign(signed.encode(), PKCS1v15(), SHA256()))}"

    def verified(self, text: str) -> Token:
        """A token of this provider.

        Raises:
            InvalidTokenError: It is not.
        """
        token = Token.parse(text)
        if token.claims.get("iss") != ISSUER:
            raise InvalidTokenError
        token.verify(self._key.public_key())
        return token


def _decode(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _encode(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()
