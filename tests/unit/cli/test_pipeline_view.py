from __future__ import annotations

import io
import json
import re
from datetime import UTC, datetime
from enum import StrEnum

import pytest

from mz_orchestration.cli.pipeline_view import LogFormat, StructuredView
from mz_orchestration.errors import Detail
from mz_orchestration.pipelines.record import NodeEntry, NodeState, PipelineRecord, PipelineState
from mz_orchestration.progress import Event

NASTY = 'a "quoted"\nline \\ with = signs,\x1b[31m and \u2028 more'
ERROR = {"type": "LoadError", "message": NASTY, "hint": "Do that.", "retryable": False, "details": {}}


class Step(StrEnum):
    COPY = "copy"


def lines(format: LogFormat) -> list[dict[str, object]]:
    """What one view of one run writes, read again; every call must have made one line."""
    stream = io.StringIO()
    view = StructuredView(format, "nightly", "a key", stream)
    view.step("load a", Event(Step.COPY, "started", NASTY))
    # Facts of a step with the names of what every line has.
    facts: dict[str, Detail] = {"state": "LOADED", "level": 9, "message": "m", "pipeline": "other", "seconds": None}
    view.step("load a", Event(Step.COPY, "finished", "", seconds=1.23456, details=facts))
    failed = NodeEntry(name="load a", kind="load", run_key="r", state=NodeState.FAILED, error=ERROR)
    blocked = NodeEntry(name="sync 1", kind="sync", run_key="r", state=NodeState.BLOCKED)
    view.node(failed)
    view.warn(NASTY)
    now = datetime(2026, 1, 1, tzinfo=UTC)
    record = PipelineRecord(pipeline="nightly", run_key="a key", at="s3://b/", created_at=now, updated_at=now)
    record.state, record.nodes = PipelineState.FAILED, [failed, blocked]
    view.ended(record, "mz-orchestration pipeline run 'a file'")
    written = stream.getvalue()
    assert written.endswith("\n")
    each = written[:-1].split("\n")
    assert each == written.splitlines()
    assert written.isascii()
    return [json.loads(line) if format is LogFormat.JSON else _logfmt(line) for line in each]


def _logfmt(line: str) -> dict[str, object]:
    pairs = re.findall(r'([a-z_]+)=("(?:[^"\\]|\\.)*"|[^ "=]+)', line)
    assert " ".join(f"{name}={value}" for name, value in pairs) == line
    assert len({name for name, _ in pairs}) == len(pairs)
    return {name: json.loads(value) if value.startswith('"') else value for name, value in pairs}


@pytest.mark.parametrize("format", [LogFormat.LOGFMT, LogFormat.JSON])
def test_every_line_can_be_read_whatever_it_says(format: LogFormat) -> None:
    started, finished, failed, warned, ended = lines(format)
    assert all(each["run_key"] == "a key" and each["pipeline"] == "nightly" for each in (started, finished, ended))
    assert (started["message"], started["node"], started["state"]) == (NASTY, "load a", "started")
    assert (finished["state"], finished["state_"], finished["level"], finished["level_"]) == (
        "finished",
        "LOADED",
        "info",
        9 if format is LogFormat.JSON else "9",
    )
    assert float(str(finished["seconds"])) == 1.235
    assert (failed["level"], failed["message"], failed["what_to_do"]) == ("error", NASTY, "Do that.")
    assert (warned["level"], warned["message"]) == ("warning", NASTY)
    assert (ended["failed"], ended["blocked"]) == ("load a", "sync 1")
    assert ended["again"] == "mz-orchestration pipeline run 'a file'"
