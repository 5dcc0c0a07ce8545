"""Findings of pydantic in words that name field, value and reason."""

from __future__ import annotations

import re
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from mz_orchestration.errors import ConfigurationError

# Fields whose values are nobody's business, misspelled ones among them.
_SECRET = re.compile(r"passw|pwd|secret|token|private_key|access_key|phrase|credential", re.IGNORECASE)

Model = TypeVar("Model", bound=BaseModel)


def validated(model: type[Model], **fields: Any) -> Model:
    """A model made from fields, with refusals as `ConfigurationError` naming field, value and reason.

    Raises:
        ConfigurationError: A field is missing, unknown or wrong.
    """
    try:
        return model(**fields)
    except ValidationError as error:
        # pydantic's own error shows every value it was given, passwords among them.
        raise ConfigurationError(describe_validation(error)) from None


def describe_validation(error: ValidationError) -> str:
    """One sentence per finding.

    Values are shown only where pydantic's own check failed: our checks name the value where it helps.
    """
    lines = []
    for item in error.errors(include_url=False, include_context=False):
        field = ".".join(str(part) for part in item["loc"])
        text = item["msg"].removeprefix("Value error, ").rstrip(".")
        hidden = item["type"] in ("value_error", "missing") or _SECRET.search(field)
        shown = "" if hidden else f" (got {item['input']!r})"
        lines.append(f"{field}: {text}{shown}." if field else f"{text}.")
    return " ".join(lines)
