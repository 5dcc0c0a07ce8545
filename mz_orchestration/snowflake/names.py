"""Names of what a load makes in Snowflake, all from the load's id."""

from __future__ import annotations

import re
import secrets

_LOAD = "[0-9A-F]{12}"


def new_load_id() -> str:
    """An id nobody else uses: of two processes that load one manifest, neither disturbs the other's tables."""
    return secrets.token_hex(6).upper()


def is_load_id(text: str) -> bool:
    """Whether that is how a load's id looks."""
    return re.fullmatch(_LOAD, text) is not None


def staging_name(table: str, load: str) -> str:
    """The staging table beside a target; cut so that it stays within 255 characters."""
    return f"{table[:200]}__MZ_{load}"


def is_staging_name(name: str) -> bool:
    """Whether a table may be one of our staging tables."""
    return re.fullmatch(f".*__MZ_{_LOAD}", name, re.DOTALL) is not None


def transaction_name(load: str) -> str:
    """The transaction of a load, by which other sessions find it."""
    return f"MZ_{load}"
