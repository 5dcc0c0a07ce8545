"""Names of objects, read the way Materialize reads them."""

from __future__ import annotations

from mz_orchestration.names import split_name


def parse_object_name(text: str) -> tuple[str, ...]:
    """Split ``database.schema.name`` into its parts; unquoted parts are folded to lower case.

    Raises:
        ValueError: It is not a name of one to three parts.
    """
    return split_name(text, str.lower)
