"""The grammar of ``COPY ... TO <expression>``: what the parser accepts and how it words its refusals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mz_orchestration.local.materialize.errors import StatementError, not_supported, syntax_error
from mz_orchestration.local.materialize.parsing import Parser, describe
from mz_orchestration.local.materialize.tokens import Piece, Token, identifier

_OPTIONS = (
    ("FORMAT",),
    ("DELIMITER",),
    ("NULL",),
    ("ESCAPE",),
    ("QUOTE",),
    ("HEADER",),
    ("AWS", "CONNECTION"),
    ("MAX", "FILE", "SIZE"),
    ("FILES",),
    ("PATTERN",),
)
_QUERY_WORDS = ("SELECT", "VALUES", "TABLE", "WITH")
_EXPECTED_OPTION = " or ".join(words[0] for words in _OPTIONS)

OptionValue = Token | tuple[str, ...] | None


@dataclass(frozen=True)
class AsOf:
    """The ``AS OF`` of a query.

    Attributes:
        at_least: whether any later timestamp will do.
        expression: the timestamp, an SQL expression.
    """

    at_least: bool
    expression: str


@dataclass(frozen=True)
class CopyTo:
    """A parsed ``COPY ... TO <expression>``.

    Attributes:
        relation: the name of the object, if one is copied by name.
        columns: whether a column list follows the name.
        query: what to read, as PostgreSQL accepts it; top-level LIMIT and OFFSET are left out because Materialize
            drops them without a word.
        ordered: whether the query has a top-level ORDER BY.
        subscribe: whether it is a SUBSCRIBE.
        as_of: the query's AS OF.
        target: the expression after TO.
        options: option values by name; a name without a value has None.
        parameter: the first bind parameter anywhere in the statement.
    """

    relation: tuple[str, ...] | None
    columns: bool
    query: str
    ordered: bool
    subscribe: bool
    as_of: AsOf | None
    target: str
    target_tokens: tuple[Token, ...] = field(repr=False)
    options: dict[str, OptionValue] = field(repr=False)
    parameter: str | None


def parse_copy(piece: Piece) -> CopyTo | None:
    """Parse a statement that begins with COPY.

    Returns:
        The statement, or None for the forms PostgreSQL carries out itself: FROM STDIN and TO STDOUT.

    Raises:
        StatementError: what Materialize's parser would say.
    """
    parser = Parser(piece)
    parser.expect("COPY")
    if parser.looks_at("INTO"):
        if any(token.keyword == "FROM" and token.depth == 0 for token in piece.tokens):
            raise not_supported(piece.text)
        parser.fail("identifier")
    relation: tuple[str, ...] | None = None
    columns = False
    body: Sequence[Token] = ()
    if parser.looks_at("("):
        start = parser.at
        parser.skip_group()
        body = parser.tokens[start + 1 : parser.at - 1]
    else:
        relation = parser.qualified_name()
        if parser.looks_at("("):
            columns = True
            parser.skip_group()
    if parser.accept("FROM"):
        if relation is None:
            raise syntax_error("queries not allowed in COPY FROM")
        if parser.looks_at("STDIN"):
            return None
        raise not_supported(piece.text)
    if not parser.accept("TO"):
        parser.fail("one of FROM or TO")
    if parser.accept("STDOUT"):
        _check_stdout(parser, named=relation is not None)
        return None
    subscribe = bool(body) and body[0].keyword == "SUBSCRIBE"
    target_tokens = _target(parser)
    options = _options(parser)
    parser.end()
    query, ordered, as_of = ("", False, None)
    if relation is None and not subscribe:
        query, ordered, as_of = _query(piece.text, body)
    elif relation is not None:
        query = f"TABLE {'.'.join(identifier(part) for part in relation)}"
    return CopyTo(
        relation=relation,
        columns=columns,
        query=query,
        ordered=ordered,
        subscribe=subscribe,
        as_of=as_of,
        target=piece.text[target_tokens[0].start : target_tokens[-1].end],
        target_tokens=target_tokens,
        options=options,
        parameter=next((token.text for token in piece.tokens if token.kind == "parameter"), None),
    )


def _check_stdout(parser: Parser, *, named: bool) -> None:
    """What PostgreSQL would do ``TO STDOUT`` and Materialize does not."""
    options = _options(parser)
    for name in ("DELIMITER", "QUOTE", "NULL"):
        if name in options:
            raise StatementError(f"COPY TO does not support {name} option yet")
    if named:
        raise StatementError("named with COPY TO STDOUT unsupported")


def _target(parser: Parser) -> tuple[Token, ...]:
    start = parser.at
    while (token := parser.peek()) is not None:
        if token.depth == 0:
            if token.keyword == "WITH":
                break
            previous = parser.tokens[parser.at - 1]
            # WITH may be left out: a parenthesis after a finished operand can only begin the options.
            if token.text == "(" and parser.at > start and (previous.kind == "string" or previous.text == ")"):
                break
        parser.at += 1
    if parser.at == start:
        raise syntax_error(f"Expected an expression, found {describe(parser.peek())}")
    return tuple(parser.tokens[start : parser.at])


def _options(parser: Parser) -> dict[str, OptionValue]:
    options: dict[str, OptionValue] = {}
    if parser.accept("WITH"):
        if not parser.looks_at("("):
            parser.fail("left parenthesis")
    elif parser.peek() is None:
        return options
    parser.expect("(")
    if parser.accept(")"):
        return options
    while True:
        name = _option_name(parser)
        if name in options:
            raise StatementError(f"{name} specified more than once")
        options[name] = _option_value(parser, name)
        if parser.accept(")"):
            return options
        if not parser.accept(","):
            parser.fail("right parenthesis")


def _option_name(parser: Parser) -> str:
    for words in _OPTIONS:
        if parser.accept(words[0]):
            parser.expect(*words[1:])
            return " ".join(words)
    raise syntax_error(f"Expected one of {_EXPECTED_OPTION}, found {describe(parser.peek())}")


def _option_value(parser: Parser, name: str) -> OptionValue:
    given = parser.accept("=")
    token = parser.peek()
    if token is None or token.text in (",", ")"):
        if given:
            parser.fail("option value")
        return None
    if name == "AWS CONNECTION":
        return parser.qualified_name()
    if token.text in ("[", "("):
        # A list of FILES: it has no meaning for COPY TO and is ignored there.
        closing = {"[": "]", "(": ")"}[token.text]
        while (inner := parser.next()) is not None:
            if inner.text == closing and inner.depth == token.depth:
                return None
        parser.fail(_closing_name(closing))
    if token.kind in ("symbol", "parameter"):
        parser.fail("option value")
    parser.at += 1
    return token


def _closing_name(closing: str) -> str:
    return "right square bracket" if closing == "]" else "right parenthesis"


def _query(text: str, body: Sequence[Token]) -> tuple[str, bool, AsOf | None]:
    if not body or (body[0].keyword not in _QUERY_WORDS and body[0].text != "("):
        raise syntax_error(
            "unsupported query in COPY"
            if body and body[0].keyword == "SHOW"
            else f"Expected one of SELECT or VALUES or TABLE or WITH or SHOW or SUBSCRIBE, found "
            f"{describe(body[0] if body else None)}"
        )
    depth = body[0].depth
    end = len(body)
    as_of = None
    for i in range(len(body) - 2, 0, -1):
        if body[i].depth == depth and body[i].keyword == "AS" and body[i + 1].keyword == "OF":
            as_of = _as_of(text, body[i + 2 :])
            end = i if as_of else end
            break
    ordered = False
    cut = end
    for i in range(end):
        if body[i].depth != depth:
            continue
        if body[i].keyword == "ORDER" and i + 1 < end and body[i + 1].keyword == "BY":
            ordered = True
        if body[i].keyword in ("LIMIT", "OFFSET", "FETCH"):
            cut = min(cut, i)
    return text[body[0].start : body[cut - 1].end], ordered, as_of


def _as_of(text: str, tail: Sequence[Token]) -> AsOf | None:
    at_least = len(tail) > 2 and (tail[0].keyword, tail[1].keyword) == ("AT", "LEAST")
    value = tail[2:] if at_least else tail
    # "SELECT 1 AS of FROM t": a column called "of".
    if not value or value[0].keyword == "FROM" or value[0].text == ",":
        return None
    return AsOf(at_least, text[value[0].start : value[-1].end])
