"""A tokenizer for Materialize's SQL, so that statements are recognised by their words and never by their strings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["word", "quoted", "string", "number", "parameter", "symbol"]

_LETTER = "A-Za-z_\u0080-\U0010ffff"
_TOKEN = re.compile(
    rf"""
      (?P<space>\s+|--[^\n]*)
    | (?P<comment>/\*)
    | (?P<escaped>[eE]'[^'\\]*(?:(?:\\.|'')[^'\\]*)*(?:'|\Z))
    | (?P<string>(?:[bBxXnN]|[uU]&)?'[^']*(?:''[^']*)*(?:'|\Z))
    | (?P<quoted>(?:[uU]&)?"[^"]*(?:""[^"]*)*(?:"|\Z))
    | (?P<parameter>\$\d+)
    | (?P<dollar>\$(?:[{_LETTER}][\w\u0080-\U0010ffff]*)?\$)
    | (?P<word>[{_LETTER}][\w$\u0080-\U0010ffff]*)
    | (?P<number>(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)
    | (?P<symbol>::|.)
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_ESCAPE = re.compile(r"\\([0-7]{1,3}|x[0-9A-Fa-f]{1,2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|.)", re.DOTALL)
_SINGLE = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


@dataclass(frozen=True, slots=True)
class Token:
    """One lexical element and where it stands in the text.

    Attributes:
        kind: what it is.
        text: as written.
        start: offset of its first character.
        end: offset after its last character.
        depth: how many parentheses or brackets are open around it.
    """

    kind: Kind
    text: str
    start: int
    end: int
    depth: int

    @property
    def keyword(self) -> str:
        """The word in upper case; empty for anything that cannot be a keyword."""
        return self.text.upper() if self.kind == "word" else ""

    @property
    def name(self) -> str | None:
        """The identifier it stands for, or None."""
        if self.kind == "word":
            return self.text.lower()
        if self.kind == "quoted":
            return self.text[self.text.index('"') + 1 : -1].replace('""', '"')
        return None

    @property
    def value(self) -> str | None:
        """The text a string literal stands for, or None."""
        if self.kind != "string":
            return None
        if self.text[0] == "$":
            mark = self.text.index("$", 1) + 1
            return self.text[mark:-mark]
        body = self.text[self.text.index("'") + 1 : -1].replace("''", "'")
        return _ESCAPE.sub(_unescape, body) if self.text[0] in "eE" else body


def _unescape(found: re.Match[str]) -> str:
    code = found[1]
    if code[0] in "xuU" and len(code) > 1:
        return chr(int(code[1:], 16))
    if code[0] in "01234567":
        return chr(int(code, 8))
    return _SINGLE.get(code, code)


def tokenize(text: str) -> list[Token]:
    """All tokens of the text; comments and blanks are left out, an unterminated literal reaches to the end."""
    tokens: list[Token] = []
    at = depth = 0
    while found := _TOKEN.match(text, at):
        kind = found.lastgroup
        start, at = found.span()
        if kind == "space":
            continue
        if kind == "comment":
            at = _end_of_comment(text, start)
            continue
        if kind == "dollar":
            close = text.find(found[0], at)
            at = len(text) if close < 0 else close + len(found[0])
            kind = "string"
        elif kind == "escaped":
            kind = "string"
        body = text[start:at]
        if body in (")", "]"):
            depth = max(0, depth - 1)
        tokens.append(Token(kind, body, start, at, depth))  # type: ignore[arg-type]
        if body in ("(", "["):
            depth += 1
    return tokens


def _end_of_comment(text: str, start: int) -> int:
    depth = 0
    for edge in _COMMENT_EDGE.finditer(text, start):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    return len(text)


@dataclass(frozen=True, slots=True)
class Piece:
    """One statement of a text that may hold several.

    Attributes:
        text: the statement without its semicolon.
        start: where it begins in the whole text.
        end: where it ends there.
        tokens: its tokens, with offsets into ``text``.
    """

    text: str
    start: int
    end: int
    tokens: tuple[Token, ...]


def split(text: str) -> list[Piece]:
    """The statements of a text; empty ones are left out."""
    pieces: list[Piece] = []
    current: list[Token] = []
    for token in tokenize(text):
        # The body of an SQL function written with BEGIN ATOMIC holds semicolons; it is left in one piece.
        if token.text == ";" and token.depth == 0 and not _in_function_body(current):
            if current:
                pieces.append(_piece(text, current))
            current = []
        else:
            current.append(token)
    if current:
        pieces.append(_piece(text, current))
    return pieces


def _in_function_body(tokens: Sequence[Token]) -> bool:
    if not tokens or tokens[0].keyword != "CREATE":
        return False
    words = [t.keyword for t in tokens]
    return any(words[i : i + 2] == ["BEGIN", "ATOMIC"] for i in range(len(words)))


def _piece(text: str, tokens: Sequence[Token]) -> Piece:
    start, end = tokens[0].start, tokens[-1].end
    moved = tuple(Token(t.kind, t.text, t.start - start, t.end - start, t.depth) for t in tokens)
    return Piece(text[start:end], start, end, moved)


def literal(value: str) -> str:
    """The value as an SQL string literal, whatever it contains."""
    quoted = "'" + value.replace("'", "''") + "'"
    return quoted if "\\" not in value else " E" + quoted.replace("\\", "\\\\")


def identifier(name: str) -> str:
    """The name as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'
