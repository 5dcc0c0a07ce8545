"""docs/sinks.md: what it shows runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCUMENT = Path(__file__).parents[3] / "docs" / "sinks.md"


def test_the_example_in_python(environment: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    [block] = re.findall(r"<!-- executed by tests -->\n```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    exec(compile(block, str(DOCUMENT), "exec"), {})


def test_every_verdict_and_its_severity_is_explained() -> None:
    from mz_orchestration.sinks.verdict import Verdict

    rows = re.findall(r"^\| `([a-z-]+)` \| ([a-z]+) \|", DOCUMENT.read_text(), re.MULTILINE)
    assert dict(rows) == {verdict.value: verdict.severity.name.lower() for verdict in Verdict}
