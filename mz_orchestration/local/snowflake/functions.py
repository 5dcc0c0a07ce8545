"""Functions and casts whose meaning differs between the two dialects, as rewrites of the syntax tree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mz_orchestration.local.snowflake import errors, system_functions
from mz_orchestration.local.snowflake.types import (
    ARRAY,
    OBJECT,
    TIMESTAMP_LTZ,
    TIMESTAMP_TZ,
    VARIANT,
    SfType,
)

if TYPE_CHECKING:
    from sqlglot import exp

    from mz_orchestration.local.snowflake.statement import Statement

_ELEMENTS = """
SELECT 1 AS SEQ, CASE WHEN NOT e.key SIMILAR TO '[0-9]+' THEN e.key END AS KEY, e.fullkey AS PATH,
       TRY_CAST(e.key AS BIGINT) AS INDEX, e.value AS VALUE, q.v AS THIS
FROM (SELECT CAST(? AS JSON) AS v) AS q, json_each(q.v) AS e
"""
_FORMATS = [
    ("YYYY", "%Y"), ("MMMM", "%B"), ("MON", "%b"), ("MM", "%m"), ("DD", "%d"), ("HH24", "%H"), ("HH12", "%I"),
    ("MI", "%M"), ("SS", "%S"), ("FF3", "%g"), ("FF6", "%f"), ("AM", "%p"), ("PM", "%p"), ("TZHTZM", "%z"),
]  # fmt: skip


def result_type(node: exp.Expression) -> SfType | None:
    """The semi-structured or instant type an expression plainly has."""
    from sqlglot import exp

    if isinstance(node, exp.Cast):
        return {
            exp.DataType.Type.ARRAY: ARRAY,
            exp.DataType.Type.OBJECT: OBJECT,
            exp.DataType.Type.VARIANT: VARIANT,
            exp.DataType.Type.TIMESTAMPTZ: TIMESTAMP_TZ,
            exp.DataType.Type.TIMESTAMPLTZ: TIMESTAMP_LTZ,
        }.get(node.to.this)
    return None


def replace(tree: exp.Expression, statement: Statement) -> exp.Expression:
    """The tree with Snowflake's functions and casts replaced."""
    # What is inside comes first: a replacement contains it.
    nodes: list[Any] = list(tree.bfs())
    for node in reversed(nodes):
        new = _replace(node, statement)
        if new is not node and node is not tree:
            node.replace(new)
        elif new is not node:
            tree = new
    return tree


def _replace(node: exp.Expression, statement: Statement) -> exp.Expression:
    from sqlglot import exp

    if isinstance(node, exp.Cast) and not isinstance(node, exp.TryCast):
        return _cast(node)
    if isinstance(node, exp.DataType):
        return _data_type(node)
    if isinstance(node, exp.Div):
        return exp.Div(this=node.this, expression=_call("sf_divisor", node.expression))
    if isinstance(node, exp.Bracket) and len(node.expressions) == 1:
        return _element(node)
    if isinstance(node, exp.CountIf):
        # The dialect's own translation is a sum, which is NULL where there are no rows.
        return exp.Count(this=exp.Case(ifs=[exp.If(this=node.this, true=exp.Literal.number(1))]))
    if isinstance(node, exp.HashAgg):
        return _hash_agg(node)
    if isinstance(node, exp.ArraySize):
        return _call("sf_array_size", node.this)
    if isinstance(node, exp.Typeof):
        return _call("sf_typeof", node.this)
    if isinstance(node, exp.ToVariant):
        return _call("sf_variant", node.this)
    if isinstance(node, exp.ToBinary) and not node.args.get("format"):
        # Hexadecimal unless the session says otherwise.
        return _call("unhex", node.this)
    if isinstance(node, exp.CurrentDate):
        # Under its own name DuckDB would take it for the column of the result that is called so.
        return _call("today")
    if isinstance(node, exp.ToChar):
        return _to_char(node, statement)
    if isinstance(node, exp.Parameter | exp.SessionParameter):
        raise errors.unsupported(f"session variable {node.sql(dialect='snowflake')}", statement.sql)
    if type(node) is exp.Anonymous and node.name.upper() == "LAST_QUERY_ID" and node.expressions:
        query_id = statement.session.last_query_id(_integer(node.expressions[0], statement))
        return exp.Null() if query_id is None else exp.Literal.string(query_id)
    known = system_functions.value(node, statement)
    return known if known is not None else _context_function(node, statement)


def _hash_agg(node: exp.HashAgg) -> exp.Expression:
    """A number that depends on the rows and not on their order; other numbers than Snowflake's."""
    import sqlglot
    from sqlglot import exp

    whole = isinstance(node.this, exp.Star)
    columns = ["*COLUMNS(*)"] if whole else [e.sql(dialect="duckdb") for e in (node.this, *node.expressions)]
    # A sum and not an exclusive or, in which two equal rows would cancel each other out.
    hashed = f"SUM(CAST(HASH({', '.join(columns)}) AS INT128)) % 9223372036854775807"
    return exp.cast(sqlglot.parse_one(hashed, read="duckdb"), "BIGINT", dialect="duckdb")


def _integer(node: exp.Expression, statement: Statement) -> int:
    """A literal whole number."""
    text = node.sql()
    if not text.lstrip("-").isdecimal():
        raise errors.unsupported(f"the argument {text}", statement.sql)
    return int(text)


def _element(node: exp.Bracket) -> exp.Expression:
    """``v['key']`` and ``v[0]`` of a VARIANT."""
    from sqlglot import exp

    key = node.expressions[0]
    if not isinstance(key, exp.Literal):
        return node
    shown = str(key.this).replace('"', '\\"')
    path = f'$."{shown}"' if key.is_string else f"$[{shown}]"
    return _call("json_extract", _call("to_json", node.this), exp.Literal.string(path))


def flatten(tree: exp.Expression) -> None:
    """LATERAL FLATTEN(…) and TABLE(FLATTEN(…)) as a join with the elements of the JSON value."""
    import sqlglot
    from sqlglot import exp

    for explode in list(tree.find_all(exp.Explode)):
        source = explode.parent
        if not isinstance(source, exp.Lateral | exp.TableFromRows):
            continue
        value = explode.this.expression if isinstance(explode.this, exp.Kwarg) else explode.this
        elements = sqlglot.parse_one(_ELEMENTS, read="duckdb")
        for placeholder in list(elements.find_all(exp.Placeholder)):
            placeholder.replace(value.copy())
        for function in elements.find_all(exp.Table):
            function.set("physical", True)
        alias = source.args.get("alias")
        name = alias.this.copy() if alias is not None and alias.this else exp.to_identifier("FLATTEN")
        lateral = exp.Lateral(this=exp.Subquery(this=elements), alias=exp.TableAlias(this=name))
        if isinstance(source.parent, exp.Join):
            source.parent.set("kind", "CROSS")
        source.replace(lateral)


def name_values(tree: exp.Expression) -> None:
    """The columns of FROM VALUES are COLUMN1, COLUMN2, … unless the query names them."""
    from sqlglot import exp

    for values in tree.find_all(exp.Values):
        alias = values.args.get("alias")
        if not isinstance(values.parent, exp.From | exp.Join) or (alias is not None and alias.columns):
            continue
        first = values.expressions[0]
        width = len(first.expressions) if isinstance(first, exp.Tuple) else 1
        name = alias.this if alias is not None and alias.this else exp.to_identifier("VALUES")
        columns = [exp.to_identifier(f"COLUMN{i + 1}") for i in range(width)]
        values.set("alias", exp.TableAlias(this=name, columns=columns))


def _context_function(node: exp.Expression, statement: Statement) -> exp.Expression:
    """CURRENT_DATABASE() and its like as literals."""
    from sqlglot import exp

    anonymous = type(node) is exp.Anonymous
    if not isinstance(node, exp.Func) or (anonymous and node.expressions):
        return node
    name = node.name if anonymous else type(node).sql_name()
    value = _context_value(name.upper(), statement)
    if value is _UNKNOWN:
        return node
    return exp.Null() if value is None else exp.Literal.string(str(value))


_UNKNOWN: Any = object()


def _context_value(name: str, statement: Statement) -> Any:
    """The value of a context function."""
    session = statement.session
    return {
        "CURRENT_DATABASE": session.context.database,
        "CURRENT_SCHEMA": session.context.schema,
        "CURRENT_CATALOG": session.context.database,
        "CURRENT_USER": session.user,
        "CURRENT_ROLE": session.role,
        "CURRENT_WAREHOUSE": session.warehouse,
        "CURRENT_ACCOUNT": "LOCAL",
        "CURRENT_ACCOUNT_NAME": "LOCAL",
        "CURRENT_REGION": "LOCAL",
        "CURRENT_CLIENT": "local",
        "CURRENT_VERSION": statement.account.version,
        "CURRENT_SESSION": str(session.id),
        "LAST_QUERY_ID": session.last_query_id(),
        "CURRENT_TRANSACTION": None if session.transaction is None else str(session.transaction.id),
    }.get(name, _UNKNOWN)


def _call(name: str, *arguments: exp.Expression) -> exp.Expression:
    from sqlglot import exp

    return exp.Anonymous(this=name, expressions=list(arguments))


def _cast(node: exp.Cast) -> exp.Expression:
    from sqlglot import exp

    kind = node.to.this
    types = exp.DataType.Type
    if kind in {types.TEXT, types.VARCHAR, types.CHAR, types.NCHAR, types.NVARCHAR}:
        return _call("sf_text", node.this)
    if kind == types.ARRAY:
        return _call("sf_array", node.this)
    if kind in {types.VARIANT, types.OBJECT}:
        return _call("sf_variant", node.this)
    return node


def _data_type(node: exp.DataType) -> exp.Expression:
    """Snowflake's integers all are NUMBER(38,0)."""
    from sqlglot import exp

    types = exp.DataType.Type
    if node.this in {types.INT, types.BIGINT, types.SMALLINT, types.TINYINT}:
        return exp.DataType.build("DECIMAL(38, 0)")
    if node.this == types.FLOAT:
        return exp.DataType.build("DOUBLE")
    return node


def _to_char(node: exp.ToChar, statement: Statement) -> exp.Expression:
    from sqlglot import exp

    pattern = node.args.get("format")
    if pattern is None:
        return _call("sf_text", node.this)
    text = str(pattern.this) if isinstance(pattern, exp.Literal) and pattern.is_string else ""
    for snowflake, strftime in _FORMATS:
        text = text.replace(snowflake, strftime)
    if "%" not in text:
        raise errors.unsupported(f"TO_CHAR with format {pattern.sql(dialect='snowflake')}", statement.sql)
    return _call("strftime", node.this, exp.Literal.string(text.replace('"', "")))
