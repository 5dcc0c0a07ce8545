"""A dry run prints what the run sends: the same statements in the same order."""

from __future__ import annotations

import json
import re

import pytest

from .conftest import TO, Invoke, Sent

# What only the run knows, and a dry run has 0 or an example for.
KNOWN_LATER = (r"(?<=connection_id::bigint = )\d+", r"(?<= AS OF )\d+", r"(?<= TO ')[^']*")


def in_order(statements: list[str]) -> list[str]:
    """Each statement once, where it comes first."""
    masked = []
    for statement in statements:
        for what in KNOWN_LATER:
            statement = re.sub(what, "…", statement)
        masked.append(statement)
    return list(dict.fromkeys(masked))


def printed(text: str) -> list[str]:
    lines = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("--"))
    return lines.split(";\n")[:-1]


@pytest.mark.parametrize(
    "arguments",
    [
        ["shop.orders", "--raw-types"],
        ["shop.orders", "--raw-types", "--count", "--if-running", "wait"],
        ["shop.customers", "--raw-types", "--cluster", "quickstart"],
        ["totals", "--raw-types", "--query", "SELECT id FROM shop.orders"],
    ],
)
def test_one_object(invoke: Invoke, sent: Sent, arguments: list[str]) -> None:
    planned = invoke("export", *arguments, *TO, "--dry-run").stdout
    assert sent() == []
    invoke("export", *arguments, *TO)
    assert in_order(printed(planned)) == in_order(sent())


@pytest.mark.parametrize("mode", ["held", "transaction"])
def test_several_objects(invoke: Invoke, sent: Sent, mode: str) -> None:
    arguments = ["shop.orders", "shop.customers", "--raw-types", "--count", "--cluster", "quickstart"]
    arguments += ["--consistency", mode, "--max-parallel", "1"]
    planned = printed(invoke("export", *arguments, *TO, "--dry-run").stdout)
    assert sent() == []
    # Sent after half a minute only.
    planned.remove("SHOW cluster")
    invoke("export", *arguments, *TO)
    assert in_order(planned) == in_order(sent())
    as_of = [line for line in planned if " AS OF " in line]
    assert len(as_of) == (2 if mode == "held" else 0)


def test_what_only_the_run_knows_is_said(invoke: Invoke) -> None:
    one = invoke("export", "shop.orders", *TO, "--cast", "status=varchar(5)", "--dry-run").stdout
    assert "-- status is cast to varchar(5): all columns are listed" in one
    assert "0 stands for its pid" in one
    assert "the path carries the moment" in one
    several = invoke("export", "shop.orders", "shop.customers", *TO, "--dry-run").stdout
    assert "paths and records are examples" in several
    assert "AS OF 0 stands for the timestamp" in several


def test_a_comment_stays_one(invoke: Invoke) -> None:
    """A name may hold a line break; what is behind it is no statement of a dry run."""
    planned = invoke("export", "shop.orders", *TO, "--cast", "a\nDROP TABLE b=text", "--dry-run").stdout
    assert not any(line.startswith("DROP") for line in planned.splitlines())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["shop.orders", "--json"], "--dry-run prints SQL, which --json cannot hold"),
        (["shop.orders", "shop.orders"], "Named twice: shop.orders"),
        (["shop.orders", "--verify", "deeply"], "'deeply'"),
        (["shop.orders", "shop.customers", "--cast", "id=text"], "OBJECT.COLUMN=TYPE"),
    ],
)
def test_the_checks_are_the_runs(invoke: Invoke, arguments: list[str], said: str) -> None:
    done = invoke("export", *arguments, *TO, "--dry-run", code=2)
    assert said in done.stderr


def test_a_load_is_not_printed_as_json_either(invoke: Invoke) -> None:
    done = invoke("load", "s3://b00/m.json", "--stage", "S", "--table", "T", "--dry-run", "--json", code=2)
    assert "--json cannot hold" in done.stderr


def test_statistics_take_the_place_of_a_count(invoke: Invoke, sent: Sent) -> None:
    arguments = ["shop.orders", "--raw-types", "--statistics", "--count"]
    planned = invoke("export", *arguments, *TO, "--dry-run").stdout
    [count] = [statement for statement in printed(planned) if "count(*)" in statement]
    assert count == 'SELECT count(*)::text FROM (SELECT * FROM "shop"."orders") AS q'
    assert "for each column how many values it has" in planned
    done = invoke("export", *arguments, *TO, "--run-key", "with-statistics", "--json")
    [asked] = [statement for statement in sent() if "count(*)" in statement]
    assert asked.startswith('SELECT count(*)::text, count("c1")::text, min("c1"')
    assert asked.endswith(")")
    assert json.loads(done.stdout)["rows"] > 0
    several = invoke("export", "shop.orders", "shop.customers", "--statistics", *TO, "--dry-run").stdout
    assert several.count("SELECT count(*)::text FROM (SELECT * FROM") == 2


def test_a_run_that_was_finished_without_statistics_says_so(invoke: Invoke) -> None:
    arguments = ["shop.customers", *TO, "--run-key", "no-statistics"]
    invoke("export", *arguments)
    assert (
        "shop.customers has no statistics, when it was exported" in invoke("export", *arguments, "--statistics").stderr
    )
