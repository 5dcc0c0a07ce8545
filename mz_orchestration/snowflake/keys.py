"""Private keys for key-pair sign-in, read from PEM, from base64 of it, or from base64 of DER.

They are read here and not by the connector: its majors take different forms, and say of a wrong passphrase no more
than their library does.
"""

from __future__ import annotations

import base64
import binascii
import stat
from pathlib import Path

from mz_orchestration.errors import ConfigurationError

_CONVERT = "openssl pkcs8 -topk8 -in KEY -out KEY.p8 makes one of an older key."


def read_key_file(path: str, *, named: str) -> bytes:
    """The content of a key file.

    Raises:
        ConfigurationError: It cannot be read.
    """
    try:
        return Path(path).expanduser().read_bytes()
    except (OSError, RuntimeError) as error:
        # The latter of a home folder that cannot be found.
        raise ConfigurationError(
            f"{named} {path} cannot be read: {getattr(error, 'strerror', None) or error}.",
            hint="Name a PKCS#8 private key in PEM that this process may read.",
        ) from error


def readable_by_others(path: str) -> bool:
    """Whether others than its owner may read a file; False where there are no such modes, or no file."""
    try:
        return bool(Path(path).expanduser().stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))
    except (OSError, RuntimeError):
        return False


def key_bytes(text: str, *, named: str) -> bytes:
    """The key that a setting holds: PEM, perhaps with ``\\n`` for its line ends, or base64.

    Raises:
        ConfigurationError: It is neither.
    """
    text = text.strip().replace("\\n", "\n")
    if text.startswith("-----BEGIN"):
        return text.encode()
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise ConfigurationError(
            f"{named} holds neither PEM nor base64.", hint="Give the key's PEM text, or base64 of it or of its DER."
        ) from None


def pkcs8(key: bytes, passphrase: str | None, *, named: str, passphrase_named: str) -> bytes:
    """A private key as unencrypted PKCS#8 DER, which every major of the connector takes.

    Args:
        key: PEM or DER, encrypted or not.
        passphrase: What opens it.
        named: How errors name the key.
        passphrase_named: How errors name the passphrase.

    Raises:
        ConfigurationError: It is no private key Snowflake takes, or the passphrase does not open it.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    pem = key.lstrip().startswith(b"-----BEGIN")
    load = serialization.load_pem_private_key if pem else serialization.load_der_private_key
    password = passphrase.encode() if passphrase else None
    try:
        loaded = load(key, password)
    except TypeError:
        if password is None:
            raise ConfigurationError(
                f"{named} is encrypted, and there is no passphrase.", hint=f"Set {passphrase_named}."
            ) from None
        raise ConfigurationError(
            f"{named} is not encrypted, and there is a passphrase.",
            hint=f"Unset {passphrase_named}, or use the encrypted key.",
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        # The library's own words change with its version and may quote the content.
        if b"PUBLIC KEY" in key or key.startswith((b"ssh-", b"ecdsa-")):
            raise ConfigurationError(
                f"{named} is a public key.", hint="Name the private key that goes with it."
            ) from None
        if password is not None and (not pem or b"ENCRYPTED" in key):
            raise ConfigurationError(
                f"The passphrase does not open {named}.", hint=f"Correct {passphrase_named}."
            ) from None
        raise ConfigurationError(f"{named} is not a private key in PKCS#8.", hint=_CONVERT) from None
    if not isinstance(loaded, RSAPrivateKey | EllipticCurvePrivateKey):
        raise ConfigurationError(
            f"{named} is neither an RSA nor an EC key.",
            hint="Snowflake takes RSA from 2048 bits, and EC on P-256 to P-521.",
        )
    if isinstance(loaded, RSAPrivateKey) and loaded.key_size < 2048:
        raise ConfigurationError(
            f"{named} has {loaded.key_size} bits.", hint="Snowflake takes RSA keys from 2048 bits."
        )
    return loaded.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
