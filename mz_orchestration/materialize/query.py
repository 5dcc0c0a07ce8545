"""What a query for COPY TO must not contain at its top level, found by reading its tokens.

Materialize refuses a top-level ORDER BY and silently drops a top-level LIMIT or OFFSET; both are honoured in a
subquery. AS OF belongs outside the column list that we may put around the query.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_TOKEN = re.compile(
    r"""
    (?P<space>\s+|--[^\n]*)
  | (?P<comment>/\*)
  | (?P<string>[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|(?P<dollar>\$(?:[A-Za-z_]\w*)?\$).*?(?P=dollar))
  | (?P<quoted>"(?:[^"]|"")*")
  | (?P<word>[^\W\d][\w$]*)
  | (?P<other>\d+(?:\.\d+)?|.)
    """,
    re.VERBOSE | re.DOTALL,
)
_WRAP = "Wrap it: SELECT * FROM (<your query>) AS q."


def refuse_unsafe_query(query: str) -> None:
    """Refuse a query whose meaning COPY TO would change.

    Raises:
        ValueError: The query is empty, holds several statements or an unclosed quote, is no query, or has
            ORDER BY, LIMIT, OFFSET, FETCH or AS OF at its top level.
    """
    words = list(_top_level_words(query))
    if not words:
        raise ValueError("the query is empty")
    if words[0] not in ("SELECT", "WITH", "VALUES", "TABLE", "("):
        raise ValueError(f"a query begins with SELECT, WITH, VALUES or TABLE, not with {words[0]}")
    if ";" in words[:-1] or words[-1] == ";":
        raise ValueError("the query must be one statement without a semicolon")
    for before, first, second in zip(["", *words], words, [*words[1:], ""], strict=False):
        if before in (".", "AS") and first != "OF":
            continue  # the name of a column
        if first == "ORDER" and second == "BY":
            raise ValueError(f"Materialize refuses a top-level ORDER BY in COPY. {_WRAP}")
        if first in ("LIMIT", "OFFSET", "FETCH"):
            raise ValueError(f"Materialize would silently drop the top-level {first} in COPY. {_WRAP}")
        if first == "AS" and second == "OF":
            raise ValueError("AS OF at the top level of the query is not supported; leave it out")


def _top_level_words(query: str) -> Iterator[str]:
    """Unquoted words in upper case, and punctuation, outside all parentheses."""
    depth = position = 0
    while position < len(query):
        match = _TOKEN.match(query, position)
        assert match is not None, "the last alternative matches any character"
        kind, text = match.lastgroup, match.group()
        position = match.end()
        if kind == "comment":
            position = _end_of_comment(query, match.start())
        elif text == "(":
            if depth == 0:
                yield "("
            depth += 1
        elif text == ")":
            depth -= 1
            if depth < 0:
                raise ValueError("the query closes a parenthesis that it never opened")
        elif kind == "other" and text in "'\"":
            raise ValueError(f"the query holds a {text} that is never closed")
        elif depth == 0 and kind == "word":
            yield text.upper()
        elif depth == 0 and kind != "space":
            yield text if kind == "other" else "''"
    if depth:
        raise ValueError("the query opens a parenthesis that it never closes")


def _end_of_comment(query: str, start: int) -> int:
    """Where the comment that begins at ``start`` ends; comments nest."""
    depth = 0
    for match in re.compile(r"/\*|\*/").finditer(query, start):
        depth += 1 if match.group() == "/*" else -1
        if depth == 0:
            return match.end()
    raise ValueError("the query opens a comment that it never closes")
