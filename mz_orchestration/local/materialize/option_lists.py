"""Options in parentheses, as statements about connections, sinks and sources have them: ``(NAME = value, ...)``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mz_orchestration.local.materialize.errors import StatementError
from mz_orchestration.local.materialize.parsing import Parser


def option_list(parser: Parser, names: Iterable[str]) -> dict[str, str]:
    """Read a list of options: the value of a string, the text of whatever else there is.

    Args:
        parser: Before the opening parenthesis.
        names: The options there are, such as ``TOPIC``.

    Raises:
        StatementError: One is unknown or comes twice.
    """
    found: dict[str, str] = {}
    known = sorted(names, key=len, reverse=True)
    parser.expect("(")
    while not parser.accept(")"):
        name = next((each for each in known if parser.accept(*each.split())), None)
        if name is None:
            firsts = sorted({each.split()[0] for each in known})
            parser.fail(f"one of {' or '.join(firsts)}" if len(firsts) > 1 else firsts[0])
        if name in found:
            raise StatementError(f"{name} specified more than once")
        parser.accept("=")
        found[name] = _value(parser)
        if not parser.accept(",") and not parser.looks_at(")"):
            parser.fail("right parenthesis")
    return found


def _value(parser: Parser) -> str:
    first = parser.peek()
    if first is None:
        parser.fail("option value")
    depth = first.depth
    last = None
    while (token := parser.peek()) is not None:
        if (token.depth == depth and token.text == ",") or token.depth < depth:
            break
        last = parser.next()
    if last is None:
        parser.fail("option value")
    if last is first and first.value is not None:
        return first.value
    return parser.text[first.start : last.end]


def truth(options: Mapping[str, str], name: str, *, otherwise: bool) -> bool:
    """The value of an option that is true or false; one without a value is true.

    Args:
        options: Those that were given.
        name: Which.
        otherwise: The value if it was not given.
    """
    text = options.get(name)
    if text is None:
        return otherwise
    if text.lower() not in ("true", "false"):
        raise StatementError(f"invalid {name}: cannot use value as boolean")
    return text.lower() == "true"
