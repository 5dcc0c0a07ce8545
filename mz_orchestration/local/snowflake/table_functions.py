"""Table functions (``FROM TABLE(INFORMATION_SCHEMA.F(NAME => value))``): a registry that other modules fill."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from mz_orchestration.local.snowflake import errors
from mz_orchestration.local.snowflake.statement import Statement

if TYPE_CHECKING:
    from sqlglot import exp

    from mz_orchestration.local.snowflake.results import Result

# Statement, database the function was asked in (None: the current one), arguments by their names in capitals.
TableFunction: TypeAlias = "Callable[[Statement, str | None, dict[str, Any]], Result]"

_FUNCTIONS: dict[str, tuple[tuple[str, ...], TableFunction]] = {}


def table_function(name: str, *parameters: str) -> Callable[[TableFunction], TableFunction]:
    """Register a table function under a name, with its parameters in their positional order."""

    def register(function: TableFunction) -> TableFunction:
        _FUNCTIONS[name] = (parameters, function)
        return function

    return register


def called(node: exp.Expression) -> tuple[str | None, exp.Anonymous] | None:
    """The database and the call of ``TABLE(…)``, if a registered function is called there."""
    from sqlglot import exp

    path: list[str] = []
    while isinstance(node, exp.Dot):
        inner = node.this
        path[:0] = [_upper(i) for i in ([inner.this, inner.expression] if isinstance(inner, exp.Dot) else [inner])]
        node = node.expression
    if not isinstance(node, exp.Anonymous) or node.name.upper() not in _FUNCTIONS:
        return None
    return (path[-2] if len(path) > 1 else None), node


def answer(
    statement: Statement, database: str | None, call: exp.Anonymous, evaluate: Callable[[exp.Expression], Any]
) -> Result:
    """Call a registered function; ``evaluate`` gives the value of an argument."""
    from sqlglot import exp

    parameters, function = _FUNCTIONS[call.name.upper()]
    arguments: dict[str, Any] = {}
    for position, argument in enumerate(call.expressions):
        named = isinstance(argument, exp.Kwarg)
        if not named and position >= len(parameters):
            raise _invalid(call)
        key = argument.this.name.upper() if named else parameters[position]
        if key not in parameters:
            raise _invalid(call)
        value = argument.expression if named else argument
        arguments[key] = [evaluate(e) for e in value.expressions] if isinstance(value, exp.Tuple) else evaluate(value)
    return function(statement, database, arguments)


def _invalid(call: exp.Anonymous) -> errors.SnowflakeError:
    shown = call.sql(dialect="snowflake")
    return errors.compilation(
        "001044", "42P13", f"error line 1 at position 0\nInvalid argument types for function '{shown}'"
    )


def _upper(identifier: exp.Expression) -> str:
    return str(identifier.this) if identifier.args.get("quoted") else str(identifier.this).upper()
