from __future__ import annotations

import pytest

from mz_orchestration.exports.manifest import Manifest
from mz_orchestration.snowflake.marker import mark, marked_manifest

OLD, NEW = "a" * 64, "b" * 64


@pytest.mark.parametrize("comment", [None, "", "Owned by finance", f"Owned [mz-orchestration manifest={OLD}]"])
def test_the_mark_replaces_an_earlier_one_and_keeps_the_comment(comment: str | None) -> None:
    marked = mark(comment, Manifest.model_construct(sha256=NEW))
    assert marked_manifest(marked) == NEW
    assert OLD not in marked
    assert marked.startswith((comment or "")[:5])


def test_no_mark() -> None:
    assert marked_manifest(None) is None
    assert marked_manifest("manifest=none") is None
