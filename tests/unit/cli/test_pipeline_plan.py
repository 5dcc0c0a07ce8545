"""What a plan prints: the graph, then every statement and request; the same for the same run key, without secrets."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from mz_orchestration.cli import dry_run
from mz_orchestration.cli.pipeline_plan import plan_lines
from mz_orchestration.errors import ConfigurationError
from mz_orchestration.pipelines.planning import UNKNOWN_MANIFEST
from mz_orchestration.pipelines.reading import parse_pipeline

FILE = """\
name: nightly
defaults: {to: s3://bucket/nightly/, connection: aws, stage: DB.S.STAGE, concurrency: 3}
exports:
  - {object: shop.orders, consistency_group: g}
  - {object: shop.lines, consistency_group: g, checks: {min_rows: 12345678, max_lag: 5m}}
  - {name: germans, object: shop.customers, where: country = 'DE', count: true, checks: {max_change: 20%}}
loads:
  - {export: shop.lines, table: DB.S.LINES}
  - {export: germans, table: DB.S.GERMANS, strategy: merge, keys: [id]}
syncs:
  - {sync: 12, after: [DB.S.GERMANS, DB.S.LINES], full: true, max_failed: 3, max_invalid_ratio: 0.5}
  - {sync: 13, on_overlap: attach}
retention: {keep_last: 3, keep_for: 14d}
notifications:
  webhooks: [{url: https://hooks.example.com/SECRET, on: [failure, success]}]
  heartbeat: https://user:SECRET@beat.example.com/
"""
PLAN = parse_pipeline(FILE, source="p.yaml", environment={})


def lines(*only: str, run_key: str = "K") -> list[str]:
    return list(plan_lines(PLAN, run_key, only))


def section(name: str) -> list[str]:
    found = lines()
    start = found.index(f"== {name}") + 1
    return found[start : found.index("", start)]


def test_the_graph_comes_first() -> None:
    assert lines()[:10] == [
        "pipeline nightly, run key K, at most 3 at a time",
        "    1  group g            (shop.orders, shop.lines)",
        "    2  export germans",
        "    3  check shop.lines   after group g",
        "    4  check germans      after export germans",
        "    5  load DB.S.LINES    after check shop.lines",
        "    6  load DB.S.GERMANS  after check germans",
        "    7  sync 12            after load DB.S.GERMANS, load DB.S.LINES",
        "    8  sync 13",
        "    9  retention          after all others",
    ]


def test_every_node_has_its_section_in_order() -> None:
    headings = [line.removeprefix("== ") for line in lines() if line.startswith("== ")]
    assert headings == [*(node.name for node in PLAN.nodes), "afterwards"]


def test_exports_say_what_they_say_by_themselves() -> None:
    group, export = "\n".join(section("group g")), "\n".join(section("export germans"))
    assert """SELECT * FROM "shop"."lines" AS OF 0""" in group
    assert "-- record of the group: s3://bucket/nightly/.groups/" in group
    assert """SELECT * FROM "shop"."customers" WHERE (country = 'DE'\n)""" in export
    assert "count(*)" in export
    assert "TO 's3://bucket/nightly/germans/<moment>-" in export


def test_checks_say_what_is_compared() -> None:
    assert section("check shop.lines")[:2] == ["-- min_rows: 12345678", "-- max_lag: 300 seconds"]
    assert "mz_wallclock_global_lag" in section("check shop.lines")[2]
    assert "shop.lines" in section("check shop.lines")[2]
    assert section("check germans") == ["-- max_change: 0.2 of the last run that passed"]


def test_loads_do_not_show_a_manifest_that_nobody_knows_yet() -> None:
    load = section("load DB.S.GERMANS")
    assert load[0] == "-- read the manifest that the export writes and compare it with the store"
    assert any(line.startswith("COPY INTO") and '@"DB"."S"."STAGE"' in line for line in load)
    assert any("merge the rows" in line for line in load)
    text = "\n".join(lines())
    assert UNKNOWN_MANIFEST not in text
    assert "known-once-exported" not in text


def test_syncs_say_their_requests() -> None:
    assert section("sync 12") == [
        "-- requests to Census",
        "GET /syncs/12",
        "GET /syncs/12/sync_runs?page=1&per_page=100&order=desc",
        "-- and while one of them is active, GET /sync_runs/<its id>",
        "POST /syncs/12/trigger?force_full_sync=true",
        "GET /sync_runs/<the run's id>  -- until it has ended",
        "-- records rejected: at most 3; invalid: at most 0.5 of the source's",
    ]
    assert "-- one that is active is taken; otherwise" in section("sync 13")


def test_retention_says_what_it_looks_at() -> None:
    assert section("retention") == [
        "-- of each export, the newest 3 finished runs are kept, and those younger than 1209600 seconds",
        "-- looks at the run records below s3://bucket/nightly/; deletes files by their manifests, then the records",
    ]


def test_addresses_of_notifications_stay_secret() -> None:
    text = "\n".join(lines())
    assert "webhook (its address is a secret) on failure, success" in text
    assert "SECRET" not in text
    assert "example.com" not in text


def test_the_same_run_has_the_same_plan_at_any_time(monkeypatch: pytest.MonkeyPatch) -> None:
    class Later(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return datetime(2031, 1, 2, 3, 4, 5, tzinfo=UTC)

    now = lines()
    monkeypatch.setattr(dry_run, "datetime", Later)
    assert lines() == now
    assert lines(run_key="other") != now


def test_a_part_comes_with_what_it_needs() -> None:
    found = [line for line in lines("germans") if re.match(r"== ", line)]
    assert found == ["== export germans", "== check germans", "== afterwards"]
    with pytest.raises(ConfigurationError, match="germans"):
        lines("german")
