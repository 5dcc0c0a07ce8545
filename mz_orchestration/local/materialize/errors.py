"""An error as Materialize would report it."""

from __future__ import annotations


class StatementError(Exception):
    """A statement that is refused or failed, with everything an ErrorResponse carries."""

    def __init__(self, message: str, code: str = "XX000", *, detail: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.detail = detail
        self.hint = hint


def syntax_error(message: str) -> StatementError:
    """An error of the parser."""
    return StatementError(message, "42601")


def not_supported(text: str) -> StatementError:
    """The answer to a statement real Materialize knows and this stand-in does not, yet."""
    head = " ".join(text.split())
    head = head if len(head) <= 80 else head[:77] + "..."
    return StatementError(
        f"the local stack does not support this statement yet: {head}",
        "0A000",
        hint="Run it against a real Materialize.",
    )
