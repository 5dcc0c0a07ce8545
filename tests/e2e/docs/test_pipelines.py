"""What docs/pipelines.md shows is true: its file runs, its Python runs it, its tables name what there is."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from mz_orchestration.pipelines.check_spec import ChecksSpec
from mz_orchestration.pipelines.reading import parse_pipeline
from mz_orchestration.pipelines.spec import Defaults, ExportItem, LoadItem, PipelineSpec, SyncItem

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/pipelines.md").read_text()
[FILE] = re.findall(r"<!-- executed by tests: nightly.yaml -->\n```yaml\n(.*?)```", PAGE, re.DOTALL)
[PROGRAM] = re.findall(r"<!-- executed by tests -->\n```python\n(.*?)```", PAGE, re.DOTALL)
[NOTIFICATIONS] = [block for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) if "heartbeat" in block]


@pytest.mark.usefixtures("environment")
def test_the_program_runs_the_file(tmp_path: Path) -> None:
    (tmp_path / "nightly.yaml").write_text(FILE)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True, timeout=150, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    said = [line.split(" succeeded ")[0] for line in lines]
    assert said == [
        "group orders",
        "export german_customers",
        "check shop.order_lines",
        "check shop.order_totals",
        "check german_customers",
        "load DEMO.PUBLIC.ORDER_LINES",
        "load DEMO.PUBLIC.ORDER_TOTALS",
        "sync 1",
        "retention",
    ], lines


def test_the_notifications_are_taken() -> None:
    head = "name: n\ndefaults: {to: s3://bucket/folder/, connection: c}\nexports: [{object: a.b}]\n"
    addresses = {"SLACK_WEBHOOK": "https://hooks.example.com/x", "HEARTBEAT_URL": "https://example.com/beat"}
    plan = parse_pipeline(head + NOTIFICATIONS, source="n.yaml", environment=addresses)
    assert plan.spec.notifications.webhooks[0].on == ("failure", "recovery")


def test_every_field_is_named_or_stands_for_the_flags_of_a_command() -> None:
    named = set(re.findall(r"`(?:defaults\.)?(\w+)`", PAGE))
    by_command = {"layout", "delete_missing", "clear", "lineage", "schema_changes"}
    by_command |= {"max_failed_ratio", "max_invalid", "max_invalid_ratio"}
    for model in (PipelineSpec, Defaults, ExportItem, LoadItem, SyncItem, ChecksSpec):
        missing = set(model.model_fields) - named - by_command - {"version", "defaults", "exports", "loads", "syncs"}
        assert not missing, (model.__name__, missing)
