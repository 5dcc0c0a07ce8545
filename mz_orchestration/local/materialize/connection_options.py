"""The options of connections other than to AWS that sinks are made with."""

from __future__ import annotations

from mz_orchestration.local.materialize.errors import StatementError
from mz_orchestration.local.materialize.parsing import Parser

#: By type: options that hold a text, and options that name another connection.
CONNECTION_OPTIONS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "kafka": (("BROKER", "PROGRESS TOPIC"), ("SSH TUNNEL", "AWS CONNECTION")),
    "iceberg-catalog": (("CATALOG TYPE", "URL", "WAREHOUSE", "SCOPE", "CREDENTIAL"), ("AWS CONNECTION",)),
}


def connection_options(parser: Parser, kind: str) -> dict[str, dict[str, object]]:
    """Read the options in parentheses; those that change nothing here are passed over.

    Args:
        parser: Before the opening parenthesis.
        kind: The type of the connection.

    Raises:
        StatementError: One that is needed is missing.
    """
    texts, names = CONNECTION_OPTIONS[kind]
    options: dict[str, dict[str, object]] = {}
    parser.expect("(")
    while not parser.accept(")"):
        text = next((each for each in texts if parser.accept(*each.split())), None)
        name = None if text else next((each for each in names if parser.accept(*each.split())), None)
        if text or name:
            parser.accept("=")
        if name:
            options[name] = {"connection": list(parser.qualified_name())}
        elif text:
            _text(parser, text, options)
        _pass_over(parser)
        if not parser.accept(",") and not parser.looks_at(")"):
            parser.fail("right parenthesis")
    if kind == "iceberg-catalog" and "URL" not in options:
        raise StatementError("must specify URL")
    return options


def _text(parser: Parser, name: str, options: dict[str, dict[str, object]]) -> None:
    token = parser.peek()
    if token is None or token.value is None:
        if parser.accept("SECRET"):
            options[name] = {"secret": list(parser.qualified_name())}
        return
    options[name] = {"text": parser.string()}


def _pass_over(parser: Parser) -> None:
    """To the end of an option, whatever it holds."""
    while (token := parser.peek()) is not None and token.text not in (",", ")"):
        if token.text in ("(", "["):
            closing = ")" if token.text == "(" else "]"
            while (inner := parser.next()) is not None and not (inner.text == closing and inner.depth == token.depth):
                pass
        else:
            parser.next()
