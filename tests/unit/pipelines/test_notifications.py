"""Who is told of what, in words that do no harm."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mz_orchestration.pipelines.messages import document, events_of
from mz_orchestration.pipelines.record import NodeEntry, NodeState, PipelineRecord, PipelineState
from mz_orchestration.webhooks.texts import clean, defused

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def record(*messages: str, **more: Any) -> PipelineRecord:
    nodes = [
        NodeEntry(
            name=f"export {i}", kind="export", run_key="r", state=NodeState.FAILED,
            error={"message": message, "hint": "Try <this>."},
        )
        for i, message in enumerate(messages)
    ]  # fmt: skip
    state = PipelineState.FAILED if messages else PipelineState.SUCCEEDED
    fields = {"run_key": "2026-11-23", **more}
    return PipelineRecord(
        pipeline="nightly", at="s3://b/to/", state=state, created_at=NOW, updated_at=NOW, nodes=nodes, **fields
    )


@pytest.mark.parametrize(
    ("state", "previous", "expected"),
    [
        ("failed", None, ("failure",)),
        ("failed", "failed", ("failure",)),
        ("succeeded", None, ("success",)),
        ("succeeded", "succeeded", ("success",)),
        ("succeeded", "failed", ("recovery", "success")),
        ("succeeded", "interrupted", ("success",)),
        ("interrupted", "failed", ()),
        ("running", "failed", ()),
    ],
)
def test_events(state: str, previous: str | None, expected: tuple[str, ...]) -> None:
    assert events_of(PipelineState(state), previous and PipelineState(previous)) == expected  # type: ignore[arg-type]


def test_a_failure_says_what_failed_and_what_to_type() -> None:
    told = document(record("It broke.", file="my files/n.yaml"), "failure")
    assert told["text"] == (
        "nightly 2026-11-23 failed. export 0: It broke. Try &lt;this&gt;. "
        "Again: mz-orchestration pipeline run 'my files/n.yaml' --run-key 2026-11-23"
    )
    assert told["failed"] == [{"name": "export 0", "message": "It broke.", "hint": "Try <this>."}]
    assert told["nodes"] == [{"name": "export 0", "state": "failed", "line": ""}]
    assert told["again"].startswith("mz-orchestration pipeline run")
    assert (told["pipeline"], told["run_key"], told["state"], told["event"]) == (
        "nightly",
        "2026-11-23",
        "failed",
        "failure",
    )
    assert document(record("x", file="n.yaml", only=("a b",)), "failure")["again"].endswith("--only 'a b'")
    assert document(record("x"), "failure")["again"] == ""


def test_good_news_is_short() -> None:
    assert document(record(file="n.yaml"), "recovery")["text"] == "nightly 2026-11-23 works again."


@given(st.lists(st.text(max_size=2000), min_size=1, max_size=12))
def test_no_error_text_can_mention_break_out_or_go_on_for_ever(messages: list[str]) -> None:
    hostile = [f"<!channel> @here @channel <https://evil|click> \x1b[31m\r\n{message}" for message in messages]
    told = document(record(*hostile), "failure")
    json.dumps(told).encode("utf-8")
    text = told["text"]
    assert len(text) < 8000
    assert not {"<", ">"} & set(text)
    assert "@here" not in text
    assert "@channel" not in text
    assert text.replace("\u200b", "").isprintable()
    assert ("more failed." in text) == (len(messages) > 5)


def test_addresses_of_people_stay_as_they_are_and_escapes_are_not_escaped_twice() -> None:
    assert defused("ask ops@example.com & <b>") == "ask ops@example.com &amp; &lt;b&gt;"
    assert defused("@all") == "@\u200ball"


def test_what_is_cut_shows_it() -> None:
    assert clean("a" * 5000) == "a" * 599 + "…"
