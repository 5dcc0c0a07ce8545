"""Walking through the tokens of one statement, with the error texts of Materialize's parser."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from mz_orchestration.local.materialize.errors import StatementError, syntax_error
from mz_orchestration.local.materialize.tokens import Piece, Token

_SYMBOLS = {
    "(": "left parenthesis",
    ")": "right parenthesis",
    "[": "left square bracket",
    "]": "right square bracket",
    ",": "comma",
    ".": "dot",
    ";": "semicolon",
    "*": "star",
    "::": "double colon",
    ":": "colon",
}
_KEYWORD_LIST = (
    "ACCESS ALL ALTER AND ARN AS ASSUME AT AWS BETWEEN BINARY BROKER BY CASCADE CASE CAST CLUSTER COLUMN "
    "COMMENT COMPRESSION CONNECTION COPY CREATE CROSS CSV DATABASE DEFAULT DELETE DELIMITER DESC DISTINCT "
    "DROP ENDPOINT ESCAPE EXCEPT EXISTS EXPLAIN FETCH FILE FILES FIRST FORCE FORMAT FROM FULL GRANT GROUP "
    "HAVING HEADER ID IF IN INDEX INNER INSERT INTERSECT INTERVAL INTO IS JOIN JSON KAFKA KEY LATERAL LEAST "
    "LEFT LIKE LIMIT MATERIALIZED MAX NAME NATURAL NOT NULL OF OFFSET ON ONLY OPTION OPTIONS OR ORDER OVER "
    "PARQUET PARTITION PATTERN PREFIX QUOTE REGION REPLICA REPLICAS REPLICATION ROLE ROW ROWS SCHEMA SECRET "
    "SELECT SESSION SET SHOW SINK SIZE SOURCE SUBSCRIBE TABLE TEXT TO TOKEN TYPE UNION UPDATE USER USING "
    "VALIDATE VALUES VIEW WHEN WHERE WITH WITHIN "
)
# Words the parser names as keywords in its messages; every other word is an identifier.
_KEYWORDS = frozenset(_KEYWORD_LIST.split())


def describe(token: Token | None) -> str:
    """How the parser names what it found."""
    if token is None:
        return "EOF"
    if token.keyword in _KEYWORDS:
        return token.keyword
    if token.kind == "string":
        return f"string literal {_quoted(token.value or '')}"
    if token.name is not None:
        return f'identifier "{token.name}"'
    if token.kind == "number":
        return f'number "{token.text}"'
    if token.kind == "parameter":
        return f'parameter "{token.text}"'
    return _SYMBOLS.get(token.text, f'operator "{token.text}"')


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


class Parser:
    """A position in the tokens of one statement."""

    def __init__(self, piece: Piece) -> None:
        self.text = piece.text
        self.tokens: Sequence[Token] = piece.tokens
        self.at = 0

    def peek(self, ahead: int = 0) -> Token | None:
        """The token some places on, or None at the end."""
        place = self.at + ahead
        return self.tokens[place] if place < len(self.tokens) else None

    def next(self) -> Token | None:
        """The present token, going past it."""
        token = self.peek()
        self.at += token is not None
        return token

    def looks_at(self, *words: str) -> bool:
        """Whether these keywords or symbols come next."""
        return all(
            (token := self.peek(i)) is not None and word in (token.keyword, token.text) for i, word in enumerate(words)
        )

    def accept(self, *words: str) -> bool:
        """Go past these keywords or symbols if they come next."""
        if self.looks_at(*words):
            self.at += len(words)
            return True
        return False

    def fail(self, expected: str) -> NoReturn:
        """Report what was expected here."""
        raise syntax_error(f"Expected {expected}, found {describe(self.peek())}")

    def expect(self, *words: str) -> None:
        """Go past these keywords or symbols, which must come next."""
        for word in words:
            if not self.accept(word):
                self.fail(_SYMBOLS.get(word, word))

    def end(self) -> None:
        """Nothing may follow."""
        if self.peek() is not None:
            self.fail("end of statement")

    def identifier(self) -> str:
        """One identifier."""
        token = self.peek()
        name = token.name if token else None
        if name is None:
            self.fail("identifier")
        self.at += 1
        return name

    def qualified_name(self) -> tuple[str, ...]:
        """A name of up to three parts."""
        parts = [self.identifier()]
        while self.accept("."):
            parts.append(self.identifier())
        if len(parts) > 3:
            raise StatementError(f"qualified name did not have between 1 and 3 components: {'.'.join(parts)}")
        return tuple(parts)

    def string(self) -> str:
        """One string literal."""
        token = self.peek()
        value = token.value if token else None
        if value is None:
            self.fail("literal string")
        self.at += 1
        return value

    def flag_if_exists(self, *, negated: bool) -> bool:
        """``IF EXISTS`` or ``IF NOT EXISTS``."""
        return self.accept("IF", "NOT", "EXISTS") if negated else self.accept("IF", "EXISTS")

    def skip_group(self) -> None:
        """Go past a parenthesised group that begins here."""
        opening = self.peek()
        if opening is None or opening.text != "(":
            self.fail("left parenthesis")
        self.at += 1
        while (token := self.peek()) is not None:
            self.at += 1
            if token.text == ")" and token.depth == opening.depth:
                return
        self.fail("right parenthesis")

    def rest(self) -> str:
        """The text from here to the end of the statement, taken."""
        token = self.peek()
        self.at = len(self.tokens)
        return self.text[token.start :] if token else ""
