"""Texts from other systems made fit for messages: what would steer a chat, break a line or never end is harmless."""

from __future__ import annotations

import re

_LONGEST_FIELD = 600
_MENTION = re.compile(r"(?<!\w)@(?=\w)")


def clean(text: str) -> str:
    """A text in one line, without what cannot be seen, and of a length that can be read."""
    return cut(" ".join("".join(char if char.isprintable() else " " for char in text).split()), _LONGEST_FIELD)


def defused(text: str) -> str:
    """A text in which chat programs find no mentions, links or commands; the escapes are Slack's own."""
    for char, escape in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(char, escape)
    return _MENTION.sub("@\u200b", text)


def cut(text: str, longest: int) -> str:
    """A text of so many characters at most."""
    return text if len(text) <= longest else text[: longest - 1] + "…"
