"""Addresses of webhooks: whoever knows one can post there, so none is ever shown."""

from __future__ import annotations

from pydantic import AnyHttpUrl, SecretStr, TypeAdapter, ValidationError

_url = TypeAdapter(AnyHttpUrl)


def webhook_address(value: SecretStr) -> SecretStr:
    """An address that can be posted to.

    Args:
        value: The address as a whole.

    Raises:
        ValueError: It is none; the text does not show it.
    """
    try:
        _url.validate_python(value.get_secret_value())
    except ValidationError:
        raise ValueError("this is not an http(s) address") from None
    return value
