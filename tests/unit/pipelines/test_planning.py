"""What a pipeline comes to: defaults filled in, names looked up, and what needs what."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from mz_orchestration.errors import ConfigurationError
from mz_orchestration.pipelines.planning import (
    CheckNode,
    ExportNode,
    GroupNode,
    LoadNode,
    Plan,
    RetentionNode,
    SyncNode,
    plan_pipeline,
    select,
)
from mz_orchestration.pipelines.record import node_run_key
from mz_orchestration.pipelines.spec import PipelineSpec

DEFAULTS = {"to": "s3://bucket/f/", "connection": "aws", "stage": "DB.S.STAGE"}


def planned(defaults: dict[str, Any] | None = None, **parts: Any) -> Plan:
    return plan_pipeline(PipelineSpec(name="p", defaults={**DEFAULTS, **(defaults or {})}, **parts))  # type: ignore[arg-type]


def refused(**parts: Any) -> list[tuple[tuple[int | str, ...], str]]:
    with pytest.raises(ValidationError) as raised:
        planned(**parts)
    return [(error["loc"], error["msg"]) for error in raised.value.errors()]


def test_an_export_has_the_defaults_unless_it_says_otherwise() -> None:
    general = {"cluster": "big", "count": True, "checks": {"min_rows": 1, "max_lag": 60}}
    own = {"object": "a.c", "cluster": None, "count": False, "to": "s3://bucket/g/", "checks": {"max_lag": None}}
    first, second = planned(general, exports=[{"object": "a.b"}, own]).exports
    assert (first.spec.cluster, first.policy.count, first.checks.min_rows, first.checks.max_lag) == ("big", True, 1, 60)
    assert (second.spec.cluster, second.policy.count, second.spec.to) == (None, False, "s3://bucket/g/")
    assert (second.checks.min_rows, second.checks.max_lag) == (1, None)


def test_a_load_waits_for_the_checks_of_its_export() -> None:
    plan = planned(
        exports=[{"object": "a.b"}, {"object": "a.c", "checks": {"min_rows": 1}}, {"object": "a.d"}],
        loads=[{"export": e, "table": e[-1].upper()} for e in ("a.b", "a.c")],
        syncs=[{"sync": 1, "after": ["a.d", "B", "a.c", "C"]}, {"sync": 2}],
    )
    assert {node.name: node.needs for node in plan.nodes} == {
        "export a.b": (),
        "export a.c": (),
        "export a.d": (),
        "check a.c": ("export a.c",),
        "load B": ("export a.b",),
        "load C": ("check a.c",),
        "sync 1": ("export a.d", "load B", "check a.c", "load C"),
        "sync 2": (),
    }


def test_exports_of_a_group_run_as_one() -> None:
    exports: list[dict[str, Any]] = [{"object": "a.b", "consistency_group": "g"}, {"object": "a.c"}]
    exports += [{"object": "a.d", "consistency_group": "g", "checks": {"min_rows": 1}}]
    plan = planned(exports=exports, loads=[{"export": "a.b", "table": "B"}, {"export": "a.d", "table": "D"}])
    assert [node.name for node in plan.nodes] == ["group g", "export a.c", "check a.d", "load B", "load D"]
    group = plan.node("group g")
    assert isinstance(group, GroupNode)
    assert [member.item for member in group.members] == ["a.b", "a.d"]
    assert plan.node("load B").needs == ("group g",)
    assert plan.node("check a.d").needs == ("group g",)


def test_a_query_of_an_object_keeps_its_name() -> None:
    plan = planned(exports=[{"name": "n", "object": 'a."b c"', "where": "x = 1 -- one"}])
    assert plan.exports[0].spec.query == 'SELECT * FROM "a"."b c" WHERE (x = 1 -- one\n)'
    assert plan.exports[0].source == 'a."b c"'
    assert plan.exports[0].spec.object == "n"


def test_every_refusal_has_its_place() -> None:
    found = refused(
        exports=[{"object": "a.b"}, {"object": "a.b"}, {"query": "SELECT 1"}, {"name": "q", "query": "DROP TABLE t"}],
        loads=[{"export": "a.x", "table": "T"}, {"export": "a.b", "table": "T", "keys": ["id"]}],
        syncs=[{"sync": 1, "after": ["U"]}],
    )
    assert [place for place, _ in found] == [
        ("exports", 2, "name"),
        ("exports", 3, "query"),
        ("loads", 0, "export"),
        ("loads", 1),
        ("syncs", 0, "after", 0),
        ("exports", 1, "object"),
    ]


@pytest.mark.parametrize(
    ("only", "names"),
    [
        ((), ["export a.b", "check a.b", "load B", "sync 1", "retention"]),
        (("a.b",), ["export a.b", "check a.b"]),
        (("B",), ["export a.b", "check a.b", "load B"]),
        (("sync 1",), ["export a.b", "check a.b", "load B", "sync 1"]),
    ],
)
def test_a_selection_has_all_that_it_needs(only: tuple[str, ...], names: list[str]) -> None:
    plan = planned(
        exports=[{"object": "a.b", "checks": {"min_rows": 1}}],
        loads=[{"export": "a.b", "table": "B"}],
        syncs=[{"sync": 1, "after": ["B"]}],
        retention={"keep_last": 1},
    )
    assert [node.name for node in select(plan, only)] == names


def test_a_selection_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="x"):
        select(planned(exports=[{"object": "a.b"}]), ("x",))


@st.composite
def pipelines(draw: st.DrawFn) -> dict[str, Any]:
    names = draw(st.lists(st.sampled_from("abcdefgh"), min_size=1, unique=True))
    groups = st.sampled_from([None, "g", "h"])
    checks = st.sampled_from([None, {"min_rows": 1}, {"max_change": "10%"}])
    exports = [{"object": f"s.{n}", "consistency_group": draw(groups), "checks": draw(checks)} for n in names]
    loads = [{"export": f"s.{n}", "table": n.upper()} for n in names if draw(st.booleans())]
    known = [each["object"] for each in exports] + [each["table"] for each in loads]
    afters = draw(st.lists(st.lists(st.sampled_from(known)), max_size=3))
    syncs = [{"sync": i, "after": after} for i, after in enumerate(afters)]
    return {"exports": exports, "loads": loads, "syncs": syncs, "retention": draw(st.sampled_from([None, {}]))}


@settings(max_examples=100, deadline=None)
@given(pipelines())
def test_every_node_stands_behind_all_that_it_needs(parts: dict[str, Any]) -> None:
    plan = planned(**parts)
    names = [node.name for node in plan.nodes]
    assert len(set(names)) == len(names)
    for i, node in enumerate(plan.nodes):
        assert isinstance(node, ExportNode | GroupNode | CheckNode | LoadNode | SyncNode | RetentionNode)
        assert set(node.needs) <= set(names[:i])
        chosen = select(plan, (node.name,))
        assert {need for each in chosen for need in each.needs} <= {each.name for each in chosen}


def _with(**parts: Any) -> PipelineSpec:
    defaults = {"to": "s3://bucket/f/", "connection": "c", "stage": "S", "checks": {"min_rows": 9}}
    return PipelineSpec.model_validate({"name": "n", "defaults": defaults, **parts})


def test_two_parts_never_share_a_node() -> None:
    with pytest.raises(ValidationError, match="is the name of another part already"):
        plan_pipeline(_with(syncs=[{"sync": 999}, {"sync": 1, "name": "999"}]))


def test_no_two_parts_have_one_run_key() -> None:
    assert node_run_key("p", "k", "x/y") != node_run_key("p", "k/x", "y")
    assert node_run_key("p", "k", "x/y") != node_run_key("p", "k", "x%2Fy")


def test_null_takes_all_checks_away() -> None:
    plan = plan_pipeline(_with(exports=[{"object": "a.b", "checks": None}, {"object": "a.c"}]))
    assert [node.name for node in plan.nodes] == ["export a.b", "export a.c", "check a.c"]
