"""Scalar SYSTEM$ functions that only tell something: a registry that other modules fill."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from mz_orchestration.local.snowflake import errors

if TYPE_CHECKING:
    from sqlglot import exp

    from mz_orchestration.local.snowflake.statement import Statement

# Takes the literal arguments and answers text or NULL.
SystemFunction: TypeAlias = "Callable[[Statement, list[str]], str | None]"

_FUNCTIONS: dict[str, SystemFunction] = {}


def system_function(name: str) -> Callable[[SystemFunction], SystemFunction]:
    """Register a function under its name."""

    def register(function: SystemFunction) -> SystemFunction:
        _FUNCTIONS[name] = function
        return function

    return register


def value(node: exp.Expression, statement: Statement) -> exp.Expression | None:
    """The literal in whose place a call of a registered function stands; None if it is no such call."""
    from sqlglot import exp

    if type(node) is not exp.Anonymous or node.name.upper() not in _FUNCTIONS:
        return None
    if not all(isinstance(argument, exp.Literal) for argument in node.expressions):
        raise errors.unsupported(f"{node.name.upper()} with arguments that are not literals", statement.sql)
    answer = _FUNCTIONS[node.name.upper()](statement, [str(argument.this) for argument in node.expressions])
    return exp.Null() if answer is None else exp.Literal.string(answer)
