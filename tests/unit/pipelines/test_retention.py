"""Which runs no limit keeps, and whose they are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mz_orchestration.pipelines.expiry import FinishedRun, to_delete
from mz_orchestration.pipelines.planning import ExportNode, plan_pipeline
from mz_orchestration.pipelines.run_names import logical_run
from mz_orchestration.pipelines.spec import PipelineSpec, RetentionSpec
from mz_orchestration.runs.record import GroupEntry, RunRecord

NOW = datetime(2026, 11, 23, tzinfo=UTC)
DAY = 86400.0

runs = st.lists(
    st.builds(
        FinishedRun,
        st.uuids().map(str),
        st.integers(0, 40).map(lambda days: NOW - timedelta(days=days)),
        st.sampled_from([False, False, False, True]),
    ),
    max_size=30,
    unique_by=lambda run: run.name,
)
limits = st.builds(
    RetentionSpec,
    keep_last=st.integers(1, 20),
    keep_for=st.none() | st.integers(1, 40).map(lambda days: days * DAY),
)


def kept(found: list[FinishedRun], spec: RetentionSpec) -> set[FinishedRun]:
    return set(found) - set(to_delete(found, spec, NOW))


@given(runs, limits)
def test_the_newest_the_young_and_what_is_in_use_stay_and_all_else_goes(
    found: list[FinishedRun], spec: RetentionSpec
) -> None:
    newest = sorted(found, key=lambda run: (run.at, run.name))[-spec.keep_last :]
    young = {run for run in found if spec.keep_for and NOW - run.at < timedelta(seconds=spec.keep_for)}
    assert kept(found, spec) == {*newest, *young, *(run for run in found if run.in_use)}


@given(runs, limits, st.integers(0, 5), st.integers(0, 5))
def test_looser_limits_keep_no_less(found: list[FinishedRun], spec: RetentionSpec, more: int, days: int) -> None:
    longer = (spec.keep_for or 0) + days * DAY
    looser = RetentionSpec(keep_last=spec.keep_last + more, keep_for=longer or None)
    assert kept(found, spec) <= kept(found, looser)


@given(runs, limits)
def test_another_run_costs_the_place_of_one_at_the_most(found: list[FinishedRun], spec: RetentionSpec) -> None:
    for run in found:
        others = [each for each in found if each != run]
        lost = kept(others, spec) - kept(found, spec)
        assert len(lost) <= 1
        assert all(each.at <= run.at for each in lost)


@given(runs, limits)
def test_the_oldest_goes_first(found: list[FinishedRun], spec: RetentionSpec) -> None:
    moments = [run.at for run in to_delete(found, spec, NOW)]
    assert moments == sorted(moments)


def exports() -> tuple[ExportNode, ExportNode]:
    spec = PipelineSpec.model_validate(
        {
            "name": "nightly",
            "defaults": {"to": "s3://bucket/to/", "connection": "aws"},
            "exports": [
                {"name": "alone", "object": "shop.a"},
                {"name": "together", "object": "shop.b", "consistency_group": "orders"},
            ],
        }
    )
    alone, together = plan_pipeline(spec).exports
    return alone, together


def record(run_key: str, group: str = "") -> RunRecord:
    entry = GroupEntry(run_key=group, objects=("shop.b",)) if group else None
    return RunRecord(
        run_key=run_key, export="shop.b", object="shop.b", spec_fingerprint="", spec={}, created_at=NOW,
        updated_at=NOW, group=entry,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("run_key", "expected"),
    [
        ("nightly/2026-11-23/alone", "2026-11-23"),
        ("nightly/a/b/alone", "a/b"),
        ("nightly//alone", None),
        ("nightly/alone", None),
        ("nightly2/2026-11-23/alone", None),
        ("nightly/scheduled__2026/some_task/-1", None),
        ("mine", None),
    ],
)
def test_only_whole_keys_of_the_pipeline_are_its_own(run_key: str, expected: str | None) -> None:
    assert logical_run(record(run_key), "nightly", exports()[0]) == expected


@pytest.mark.parametrize(
    ("run_key", "group", "expected"),
    [
        ("nightly/mon/orders#1-aabbcc", "nightly/mon/orders", "mon"),
        ("nightly/mon/others#1-aabbcc", "nightly/mon/others", None),
        ("nightly/mon/orders", "nightly/mon/orders", None),
        ("another#1-aabbcc", "nightly/mon/orders", None),
        ("nightly/mon/together", "", "mon"),
    ],
)
def test_members_of_groups_belong_to_their_groups_run(run_key: str, group: str, expected: str | None) -> None:
    assert logical_run(record(run_key, group), "nightly", exports()[1]) == expected
