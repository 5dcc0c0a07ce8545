"""Commands that are said to a person run the same export, load or wait again."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from typing import Any

import pytest
from typer.main import get_group

from mz_orchestration.cli import commands
from mz_orchestration.cli.casts import parse_casts
from mz_orchestration.cli.main import app
from mz_orchestration.errors import ConfigurationError
from mz_orchestration.exports.policy import ExportPolicy
from mz_orchestration.exports.spec import export_spec
from mz_orchestration.runs.record import GroupEntry, RunRecord

NOW = datetime(2026, 11, 22, tzinfo=UTC)
PLAIN = "mz-orchestration export shop.orders --to s3://bucket/e/ --connection c --run-key k"


def spec(**fields: Any) -> dict[str, Any]:
    given = {"object": "shop.orders", "to": "s3://bucket/e/", "connection": "c", **fields}
    return export_spec(**given).model_dump(mode="json")


def record(**fields: Any) -> RunRecord:
    of = {"run_key": "k", "export": "e", "object": "shop.orders", "spec_fingerprint": "", "spec": spec()}
    return RunRecord.model_validate({**of, "created_at": NOW, "updated_at": NOW, **fields})


def test_defaults_are_not_said() -> None:
    policy = ExportPolicy().model_dump(mode="json")
    assert commands.export_command([spec()], "k", policy=policy, mode="transaction", max_parallel=9) == PLAIN


def test_the_commands_defaults_are_the_flags() -> None:
    flags = get_group(app).commands
    usual = {(name, each.name): each.default for name in ("export", "load", "wait") for each in flags[name].params}
    expected = spec()
    for name in ("timeout", "max_file_size", "format", "safe_types"):
        assert usual["export", name] == expected[name]
    for name, value in ExportPolicy().model_dump(mode="json").items():
        assert usual["export", name] == value
    assert (usual["export", "consistency"], usual["export", "max_parallel"]) == ("held", 4)
    assert {usual["load", "timeout"], usual["wait", "deadline"], usual["wait", "abandoned_after"]} == {
        commands.SIX_HOURS
    }
    assert (usual["wait", "poll"], usual["wait", "settle"]) == (5, 5)


@pytest.mark.parametrize(
    ("fields", "policy", "said"),
    [
        ({"timeout": 900}, {}, "--timeout 900"),
        ({"timeout": 0.5}, {}, "--timeout 0.5"),
        ({}, {"verify": "full"}, "--verify full"),
        ({}, {"count": True}, "--count"),
        ({}, {"if_running": "skip"}, "--if-running skip"),
        ({}, {"left_behind": "cancel"}, "--left-behind cancel"),
        ({"casts": {"id": "text"}}, {}, "--cast id=text"),
        # What would be read as the object's column is named in full.
        ({"casts": {"shop.orders.id": "text"}}, {}, "--cast shop.orders.shop.orders.id=text"),
        ({"casts": {"a b": "numeric(38,2)"}}, {}, "--cast 'a b=numeric(38,2)'"),
    ],
)
def test_what_is_not_the_default_is_said(fields: dict[str, Any], policy: dict[str, Any], said: str) -> None:
    assert commands.export_command([spec(**fields)], "k", policy=policy) == PLAIN.replace(
        " --run-key", f" {said} --run-key"
    )
    unfinished = record(spec=spec(**fields), policy=policy)
    assert commands.next_command(unfinished) == commands.export_command([spec(**fields)], "k", policy=policy)


def test_a_group_is_asked_for_as_a_whole() -> None:
    group = GroupEntry(
        run_key="nightly",
        objects=("shop.orders", "shop.lines"),
        casts={"shop.orders": {"id": "text"}, "shop.lines": {"note": "varchar(9)"}},
        mode="transaction",
        max_parallel=2,
    )
    member = record(group=group, policy={"verify": "listing"}, spec=spec(casts={"id": "text"}))
    words = shlex.split(commands.next_command(member))
    assert words[2:4] == ["shop.orders", "shop.lines"]
    assert words[8:12] == ["--cast", "shop.orders.id=text", "--cast", "shop.lines.note=varchar(9)"]
    assert shlex.join(words[12:]) == ("--verify listing --consistency transaction --max-parallel 2 --run-key nightly")
    listed = member.model_copy(update={"manifest": {"verified": "listing"}})
    assert commands.next_command(listed) == ""
    closer = commands.loadable_command(listed)
    assert "--verify" not in closer
    assert closer.endswith("--consistency transaction --max-parallel 2 --run-key nightly-footers")


def test_the_other_commands() -> None:
    assert commands.load_command("s3://b/m.json", "S", "T") == "mz-orchestration load s3://b/m.json --stage S --table T"
    options = {
        "strategy": "merge",
        "keys": ["id", "two words"],
        "delete_missing": True,
        "lineage": False,
        "timeout": 60.0,
        "again": True,
    }
    said = "--strategy merge --key id --key 'two words' --delete-missing --no-lineage --timeout 60 --again"
    assert commands.load_command("m", "S", "T", options).endswith(f"--table T {said}")
    assert commands.show_command("a b", "s3://b/e/") == "mz-orchestration runs show --at s3://b/e/ 'a b'"
    assert commands.show_command("-k", "s3://b/e/").endswith(" --at s3://b/e/ -- -k")


@pytest.mark.parametrize(
    ("given", "objects", "casts"),
    [
        (["id=text"], ["shop.orders"], {"shop.orders": {"id": "text"}}),
        (["shop.orders.id=text"], ["shop.orders"], {"shop.orders": {"id": "text"}}),
        (["a=b=text"], ["o"], {"o": {"a=b": "text"}}),
        (["a.id=text", "b.id=uuid"], ["a", "b"], {"a": {"id": "text"}, "b": {"id": "uuid"}}),
        (["s.a.b.id=text"], ["s.a", "s.a.b"], {"s.a": {}, "s.a.b": {"id": "text"}}),
    ],
)
def test_casts(given: list[str], objects: list[str], casts: dict[str, dict[str, str]]) -> None:
    assert parse_casts(given, objects) == casts


@pytest.mark.parametrize(
    ("given", "objects", "said"),
    [
        (["id"], ["a"], "is not COLUMN=TYPE"),
        (["id="], ["a"], "is not COLUMN=TYPE"),
        (["id"], ["a", "b"], "is not OBJECT.COLUMN=TYPE"),
        (["id=text"], ["a", "b"], "one of the objects a, b; with several objects the form is OBJECT.COLUMN=TYPE"),
        (["a.=text"], ["a", "b"], "names no column"),
        (["id=text", "id=uuid"], ["a"], "'id' twice, as text and as uuid"),
        (["id=text", "a.id=text"], ["a"], "'id' twice"),
    ],
)
def test_what_is_no_cast(given: list[str], objects: list[str], said: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        parse_casts(given, objects)
    assert said in raised.value.message
    assert raised.value.hint
