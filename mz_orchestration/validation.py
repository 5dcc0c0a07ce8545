"""Findings of pydantic in words that name field, value and reason."""

from __future__ import annotations

from pydantic import ValidationError


def describe_validation(error: ValidationError) -> str:
    """One sentence per finding.

    Values are shown only where pydantic's own check failed: our checks name the value where it helps.
    """
    lines = []
    for item in error.errors(include_url=False, include_context=False):
        field = ".".join(str(part) for part in item["loc"])
        text = item["msg"].removeprefix("Value error, ").rstrip(".")
        shown = "" if item["type"] in ("value_error", "missing") else f" (got {item['input']!r})"
        lines.append(f"{field}: {text}{shown}." if field else f"{text}.")
    return " ".join(lines)
