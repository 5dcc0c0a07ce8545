"""Tokens of Snowflake's SQL and a cursor over them, for the statements that are parsed here by hand."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

from mz_orchestration.local.snowflake import errors

Value: TypeAlias = "str | int | float | bool | list[Value] | dict[str, Value] | None"

_TOKEN = re.compile(
    r"""
    (?P<space>\s+ | --[^\n]* | //[^\n]* | /\*.*?\*/)
  | (?P<dollar>\$\$.*?\$\$)
  | (?P<string>'(?:[^'\\]|''|\\.)*')
  | (?P<quoted>"(?:[^"]|"")*")
  | (?P<stage>@(?:"(?:[^"]|"")*"|'(?:[^'])*'|[^\s,;()"'])+)
  | (?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
  | (?P<word>[A-Za-z_\u0080-\uffff][A-Za-z0-9_$\u0080-\uffff]*)
  | (?P<op>::|=>|<>|!=|<=|>=|\|\||->|[^\s])
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "b": "\b", "f": "\f"}


@dataclass(frozen=True)
class Token:
    """One token: ``text`` is its value (a string without quotes), ``start`` and ``end`` its place."""

    kind: str
    text: str
    start: int
    end: int

    @property
    def upper(self) -> str:
        """The word as a keyword; a quoted name or a string is never one."""
        return self.text.upper() if self.kind in {"word", "op"} else ""


def unescape(body: str) -> str:
    """The value of a single-quoted literal: doubled quotes and backslash escapes."""

    def one(match: re.Match[str]) -> str:
        text = match[0]
        if text == "''":
            return "'"
        if match[1]:
            return chr(int(match[1], 16))
        return _ESCAPES.get(text[1], text[1])

    return re.sub(r"''|\\[xu]([0-9a-fA-F]{2,4})|\\.", one, body, flags=re.DOTALL)


def tokenize(sql: str) -> list[Token]:
    """All tokens of a text, without spaces and comments."""
    tokens: list[Token] = []
    for match in _TOKEN.finditer(sql):
        kind, text = str(match.lastgroup), match[0]
        if kind == "space":
            continue
        if kind == "op" and text in "'\"":
            raise errors.syntax(sql, match.start(), text)
        if kind == "string":
            text = unescape(text[1:-1])
        elif kind == "dollar":
            kind, text = "string", text[2:-2]
        elif kind == "quoted":
            text = text[1:-1].replace('""', '"')
        tokens.append(Token(kind, text, match.start(), match.end()))
    return tokens


def split(sql: str) -> list[str]:
    """The statements of a text, without their semicolons and without empty ones."""
    parts: list[str] = []
    start: int | None = None
    end = 0
    for token in tokenize(sql):
        if token.kind == "op" and token.text == ";":
            if start is not None:
                parts.append(sql[start:end])
            start = None
            continue
        start = token.start if start is None else start
        end = token.end
    if start is not None:
        parts.append(sql[start:end])
    return parts


class Parser:
    """A cursor over the tokens of one statement."""

    def __init__(self, sql: str) -> None:
        self.sql = sql
        self.tokens = tokenize(sql)
        self.index = 0

    @property
    def token(self) -> Token:
        """The next token; at the end an empty one."""
        if self.index < len(self.tokens):
            return self.tokens[self.index]
        return Token("eof", "", len(self.sql), len(self.sql))

    @property
    def at_end(self) -> bool:
        """Whether nothing is left."""
        return self.index >= len(self.tokens)

    def looking_at(self, *words: str) -> bool:
        """Whether the next tokens are these keywords."""
        ahead = self.tokens[self.index : self.index + len(words)]
        return [t.upper for t in ahead] == list(words)

    def accept(self, *words: str) -> bool:
        """Take these keywords if they come next."""
        if self.looking_at(*words):
            self.index += len(words)
            return True
        return False

    def accept_any(self, *words: str) -> str | None:
        """Take one of these keywords if it comes next."""
        if self.token.upper and self.token.upper in words:
            return self.take().upper
        return None

    def expect(self, *words: str) -> None:
        """Take these keywords or fail as Snowflake does."""
        for word in words:
            if not self.accept(word):
                raise self.unexpected()

    def take(self) -> Token:
        """Take whatever comes next."""
        if self.at_end:
            raise self.unexpected()
        token = self.token
        self.index += 1
        return token

    def unexpected(self) -> errors.SnowflakeError:
        """The syntax error at this place."""
        token = self.token
        return errors.syntax(self.sql, token.start, self.sql[token.start : token.end])

    def end(self) -> None:
        """Insist on the end of the statement."""
        if not self.at_end:
            raise self.unexpected()

    def rest(self) -> str:
        """The text from here to the end."""
        return self.sql[self.token.start :]

    def identifier(self) -> str:
        """One name: unquoted upper-cased, quoted kept."""
        if self.token.kind == "word":
            return self.take().text.upper()
        if self.token.kind == "quoted":
            return self.take().text
        raise self.unexpected()

    def name(self) -> list[str]:
        """A name of up to three parts; ``IDENTIFIER('a.b')`` is one too."""
        if self.looking_at("IDENTIFIER", "("):
            self.index += 2
            inner = Parser(self.string()).name()
            self.expect(")")
            return inner
        parts = [self.identifier()]
        while self.accept("."):
            parts.append(self.identifier())
        if len(parts) > 3:
            raise self.unexpected()
        return parts

    def string(self) -> str:
        """A string literal."""
        if self.token.kind != "string":
            raise self.unexpected()
        return self.take().text

    def integer(self) -> int:
        """A whole number."""
        if self.token.kind != "number" or not self.token.text.isdigit():
            raise self.unexpected()
        return int(self.take().text)

    def value(self) -> Value:
        """The right side of an option: word, literal, list or nested options."""
        token = self.token
        if token.kind == "string":
            return self.take().text
        if token.kind == "number":
            self.take()
            return int(token.text) if token.text.isdigit() else float(token.text)
        if self.accept("-"):
            return -self.integer()
        if token.kind == "word":
            word = self.take().upper
            return {"TRUE": True, "FALSE": False, "NONE": None, "NULL": None}.get(word, word)
        if token.kind == "quoted":
            return self.take().text
        if self.accept("("):
            following = self.tokens[self.index + 1] if self.index + 1 < len(self.tokens) else None
            if self.token.kind == "word" and following is not None and following.text == "=":
                nested = self.options()
                self.expect(")")
                return nested
            items: list[Value] = []
            while not self.accept(")"):
                items.append(self.value())
                if not self.accept(",") and not self.looking_at(")"):
                    raise self.unexpected()
            return items
        raise self.unexpected()

    def options(self) -> dict[str, Value]:
        """``KEY = value`` pairs, with commas or without, up to what is not one."""
        found: dict[str, Value] = {}
        while self.token.kind == "word" and self.index + 1 < len(self.tokens):
            if self.tokens[self.index + 1].text != "=" or self.tokens[self.index + 1].kind != "op":
                break
            key = self.take().upper
            self.expect("=")
            found[key] = self.value()
            self.accept(",")
        return found
