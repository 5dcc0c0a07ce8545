from __future__ import annotations

import pytest

from mz_orchestration.exports.manifest import Manifest
from mz_orchestration.snowflake.marker import Mark, mark, mark_of

OLD, NEW = "a" * 64, "b" * 64
FIRST, SECOND = "0" * 12, "F" * 12


@pytest.mark.parametrize(
    "comment", [None, "", "Owned by finance", f"Owned [mz-orchestration manifest={OLD} swap={FIRST}]"]
)
def test_the_mark_replaces_an_earlier_one_and_keeps_the_comment(comment: str | None) -> None:
    marked = mark(comment, Manifest.model_construct(sha256=NEW), SECOND, swapped=bool(comment))
    assert mark_of(marked) == Mark(NEW, SECOND, bool(comment))
    assert OLD not in marked
    assert FIRST not in marked
    assert marked.startswith((comment or "")[:5])


def test_no_mark() -> None:
    assert mark_of(None) is None
    assert mark_of("manifest=none") is None
