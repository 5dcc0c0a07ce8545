from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mz_orchestration.objectstore.events import MalformedEventError, Removal, is_test_event, newest, removals

BODIES = Path(__file__).parents[2] / "fixtures" / "events"
ATTEMPT = "exports/shop.orders/dt=2026-11-22/20261122T000000Z-0a1b2c3d-01/"
SENTINEL = Removal("acme-exports", ATTEMPT + "mz-t3786-INCOMPLETE", "0055AED6DCD90281E5")


def body(name: str) -> str:
    return (BODIES / f"{name}.json").read_text()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("delete", [SENTINEL]),
        ("delete_marker", [SENTINEL]),
        ("sns", [SENTINEL]),
        ("eventbridge", [SENTINEL]),
        ("eventbridge_delete_marker", [SENTINEL]),
        ("minio", [Removal(SENTINEL.bucket, SENTINEL.key, "17A2B3C4D5E6F708")]),
        (
            "several_records",
            [SENTINEL, Removal("acme-exports", "exports/a b+c/mz-t1-INCOMPLETE", "0055AED6DCD90281E6")],
        ),
        (
            "probe_of_a_versioned_bucket",
            [Removal("acme-exports", ATTEMPT + "mz-t3786-batch-0000-0000.delete_object_test", SENTINEL.sequencer)],
        ),
        ("created", []),
        ("test_event", []),
        ("sns_test_event", []),
        ("eventbridge_lifecycle", []),
        ("eventbridge_created", []),
    ],
)
def test_recorded_bodies(name: str, expected: list[Removal]) -> None:
    assert removals(body(name)) == expected


def test_every_recorded_body_is_read_above() -> None:
    marks: list[pytest.Mark] = test_recorded_bodies.pytestmark  # type: ignore[attr-defined]
    assert {case[0] for case in marks[0].args[1]} == {path.stem for path in BODIES.iterdir()}


def test_test_events_are_told_apart() -> None:
    assert {path.stem for path in BODIES.iterdir() if is_test_event(path.read_text())} == {
        "test_event",
        "sns_test_event",
    }


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "[]",
        "null",
        '"text"',
        "{}",
        '{"Records": null}',
        '{"Records": [{}]}',
        '{"Records": [{"eventName": "ObjectRemoved:Delete"}]}',
        '{"Records": [{"eventName": "ObjectRemoved:Delete", "s3": {"bucket": {"name": 1}, "object": {"key": "k"}}}]}',
        '{"Records": [{"eventName": null}]}',
        '{"detail-type": "Object Deleted"}',
        '{"detail-type": "Object Deleted", "detail": []}',
        '{"Type": "Notification", "Message": "not json"}',
        '{"Type": "Notification", "Message": null}',
    ],
)
def test_what_is_no_event_is_reported(text: str) -> None:
    with pytest.raises(MalformedEventError, match="not an event of an object store"):
        removals(text)
    assert not is_test_event(text)


def test_a_body_that_is_nested_too_deeply_is_reported() -> None:
    """It would end whoever reads the queue, again and again."""
    with pytest.raises(MalformedEventError):
        removals("[" * 100_000)
    assert not is_test_event("[" * 100_000)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["Records", "eventName", "s3", "bucket", "name", "object", "key", "detail-type", "detail"])
            | st.sampled_from(["Type", "Message", "Event"]),
            inner | st.sampled_from(["ObjectRemoved:Delete", "Object Deleted", "Notification", "DeleteObject", "{}"]),
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_nothing_else_is_raised_whatever_comes(value: object) -> None:
    text = json.dumps(value)
    is_test_event(text)
    try:
        found = removals(text)
    except MalformedEventError:
        return
    assert all(isinstance(item.key, str) for item in found)


@given(st.text(st.characters(codec="utf-8"), min_size=1))
def test_any_key_comes_back_as_it_was(key: str) -> None:
    from urllib.parse import quote_plus

    message = json.loads(body("delete"))
    message["Records"][0]["s3"]["object"]["key"] = quote_plus(key)
    assert [item.key for item in removals(json.dumps(message))] == [key]


def test_the_newest_of_a_key_is_kept() -> None:
    one, two, short, other = (
        Removal("b", "k", "0055AED6DCD90281E5"),
        Removal("b", "k", "0055AED6DCD90281E6"),
        Removal("b", "k", "0055AED7"),
        Removal("b", "k2", "00"),
    )
    assert newest([two, one, one, other]) == [two, other]
    assert newest([one, short, two]) == [short]
    assert newest([Removal("b", "k"), Removal("b", "k")]) == [Removal("b", "k")]
    assert newest([]) == []
