"""The JSON schema of pipeline files: what is committed is current, and it knows right from wrong as the reader does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from mz_orchestration.pipelines.reading import pipeline_schema

COMMITTED = Path(__file__).parents[3] / "docs" / "pipeline.schema.json"
FILE = """
name: nightly
defaults: {to: "s3://mz-exports/nightly/", connection: aws, stage: DEMO.S.STAGE, concurrency: 4, checks: {min_rows: 1}}
exports:
  - {object: shop.order_lines, consistency_group: orders}
  - {name: totals, object: shop.totals, where: "total > 5", checks: {max_change: 20%, max_lag: 5m}}
loads:
  - {export: shop.order_lines, table: DEMO.PUBLIC.ORDER_LINES, strategy: overwrite}
  - {export: totals, table: DEMO.PUBLIC.ORDER_TOTALS, strategy: merge, keys: [customer_id]}
syncs:
  - {sync: 1, after: [DEMO.PUBLIC.ORDER_TOTALS], max_failed_ratio: 0.01}
retention: {keep_last: 7, keep_for: 14d}
notifications:
  webhooks: [{url: "${WEBHOOK}", "on": [failure, recovery]}]
  heartbeat: "${HEARTBEAT}"
"""


def errors(change: dict[str, Any]) -> list[str]:
    validator = jsonschema.Draft202012Validator(pipeline_schema())
    return [error.json_path for error in validator.iter_errors({**yaml.safe_load(FILE), **change})]


def test_the_committed_schema_is_current() -> None:
    assert json.loads(COMMITTED.read_text(encoding="utf-8")) == pipeline_schema(), "write it again: make schema"


def test_it_is_a_schema_of_the_current_draft() -> None:
    schema = pipeline_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["title"] == "mz-orchestration pipeline"


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"name": "${NAME}"},
        {"defaults": {"to": "s3://b/x/", "concurrency": "${N}", "safe_types": "${SAFE}", "format": "${FORMAT}"}},
        {"syncs": [{"sync": "abc-1"}, {"sync": "${ID}", "timeout": 90}, {"sync": 7, "timeout": "${TIMEOUT}"}]},
        {"loads": [{"export": "totals", "table": "T", "strategy": "${STRATEGY}"}]},
        {"retention": None},
    ],
)
def test_it_accepts_what_is_right(change: dict[str, Any]) -> None:
    assert errors(change) == []


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"name": "two words"}, "$.name"),
        ({"exprts": []}, "$"),
        ({"defaults": {"connection": "aws"}}, "$.defaults"),
        ({"defaults": {"to": "s3://b/x/", "concurrency": 0}}, "$.defaults.concurrency"),
        ({"exports": [{"object": "a.b", "format": "xml"}]}, "$.exports[0].format"),
        ({"exports": [{"object": "a.b", "wher": "x"}]}, "$.exports[0]"),
        ({"exports": [{"object": "a.b", "timeout": "5 years"}]}, "$.exports[0].timeout"),
        ({"loads": [{"export": "a"}]}, "$.loads[0]"),
        ({"loads": [{"export": "a", "table": "T", "strategy": "upsert"}]}, "$.loads[0].strategy"),
        ({"syncs": [{"sync": 1.5}]}, "$.syncs[0].sync"),
        ({"retention": {"keep_last": 0}}, "$.retention"),
    ],
)
def test_it_refuses_what_is_wrong(change: dict[str, Any], path: str) -> None:
    assert errors(change) == [path]
