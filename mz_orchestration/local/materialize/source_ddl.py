"""``CREATE SOURCE`` of the one kind that lives here, a generator that counts."""

from __future__ import annotations

import json

from mz_orchestration.local.materialize.ddl import OWNER, PATH, array, boolean, item_names, wants_cascade
from mz_orchestration.local.materialize.errors import not_supported
from mz_orchestration.local.materialize.option_lists import option_list
from mz_orchestration.local.materialize.parsing import Parser
from mz_orchestration.local.materialize.tokens import identifier, literal


def create_source(parser: Parser) -> str:
    """``CREATE SOURCE [IF NOT EXISTS] name [IN CLUSTER c] FROM LOAD GENERATOR COUNTER [(TICK INTERVAL '1s')]``."""
    lenient = parser.flag_if_exists(negated=True)
    name = parser.qualified_name()
    cluster = "current_setting('mz.cluster')"
    if parser.accept("IN", "CLUSTER"):
        cluster = literal(parser.identifier())
    start = parser.peek()
    if start is None or not parser.accept("FROM", "LOAD", "GENERATOR", "COUNTER"):
        raise not_supported(parser.text)
    given = option_list(parser, ("TICK INTERVAL",)) if parser.looks_at("(") else {}
    if parser.peek() is not None:
        raise not_supported(parser.text)
    options = json.dumps({"tick": given.get("TICK INTERVAL", "1s")})
    return (
        f"PERFORM mz_local.create_source({array(name)}, {PATH}, {OWNER}, {boolean(lenient)}, {cluster}, "
        f"{literal(options)}::jsonb, {literal(parser.text[start.start :])});"
    )


def drop_source(parser: Parser) -> str:
    """``DROP SOURCE [IF EXISTS] name [, ...] [CASCADE|RESTRICT]``."""
    lenient = parser.flag_if_exists(negated=False)
    names = item_names(parser)
    behaviour = "CASCADE" if wants_cascade(parser) else "RESTRICT"
    steps = []
    for name in names:
        view = ".".join(identifier(part) for part in name)
        drop = f"PERFORM mz_local.item({array(name)}, {PATH}, 'source'); "
        drop += f"EXECUTE {literal(f'DROP VIEW {view} {behaviour}')};"
        if lenient:
            drop = f"IF (mz_local.find_item({array(name)}, {PATH})).oid IS NOT NULL THEN {drop} END IF;"
        steps.append(drop)
    return " ".join(steps)
