"""What docs/waiting.md shows is true: its Python runs, its JSON is taken by the services."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import boto3
import pytest

from mz_orchestration.cli.output import exit_code
from mz_orchestration.errors import (
    ConfigurationError,
    CredentialsError,
    DeadlineError,
    ExportError,
    UnavailableError,
    VerificationError,
)
from mz_orchestration.objectstore.events import removals

PAGE = (Path(__file__).parents[3] / "docs/waiting.md").read_text()
EXECUTED = re.findall(r"<!-- executed by tests -->\n```python\n(.*?)```", PAGE, re.DOTALL)
JSON = [json.loads(textwrap.dedent(block)) for block in re.findall(r" *```json\n(.*?)```", PAGE, re.DOTALL)]


def start(block: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", block, *arguments],
        env={**os.environ, **environment},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def said(child: subprocess.Popen[str]) -> list[str]:
    output, errors = child.communicate(timeout=120)
    assert child.returncode == 0, errors
    return output.splitlines()


def shown(key: str) -> Any:
    (found,) = [block for block in JSON if key in block]
    return found


def test_the_programs_run(new_export: Any) -> None:
    queue = boto3.client("sqs").create_queue(QueueName="shown")["QueueUrl"]
    exports = [new_export(f"{n}").write() for n in range(3)]
    paths = [str(export.folder) for export in exports]
    one, many, woken = start(EXECUTED[0]), start(EXECUTED[1], *paths), start(EXECUTED[2], *paths, QUEUE_URL=queue)
    lines = said(one)
    assert lines
    assert all(re.fullmatch(r"orders/2026-11-22-01/mz-t\d+-batch-\d{4}-\d{4}\.parquet \d+", line) for line in lines)
    assert said(many) == said(woken) == [f"{path} 1 4" for path in paths]


def test_every_executed_block_is_executed() -> None:
    assert len(EXECUTED) == 3


@pytest.fixture
def bucket() -> str:
    boto3.client("s3").create_bucket(Bucket="mz-exports-shown")
    return "mz-exports-shown"


def test_the_set_up_reports_sentinels_only(bucket: str) -> None:
    sqs, s3 = boto3.client("sqs"), boto3.client("s3")
    queue = sqs.create_queue(QueueName="export-sentinels")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": json.dumps(shown("Statement"))})
    notification = shown("QueueConfigurations")
    notification["QueueConfigurations"][0]["QueueArn"] = arn
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=notification)
    deleted = [
        "orders/one/mz-t1-batch-0000-0000.delete_object_test",
        "orders/one/mz-t1-batch-0000-0000.parquet",
        "other/one/mz-t1-INCOMPLETE",
        "orders/one/mz-t1-INCOMPLETE",
    ]
    for key in deleted:
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
        s3.delete_object(Bucket=bucket, Key=key)
    bodies = [message["Body"] for message in sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]]
    assert [item.key for body in bodies for item in removals(body)] == [deleted[-1]]


def test_the_rule_and_the_message_are_what_the_reader_expects() -> None:
    rule, message = shown("detail-type"), shown("Records")
    events = boto3.client("events")
    events.put_rule(Name="export-sentinels", EventPattern=json.dumps(rule))
    assert json.loads(events.describe_rule(Name="export-sentinels")["EventPattern"]) == rule
    (removal,) = removals(json.dumps(message))
    assert removal.key == "orders/dt=2026-11-22/mz-t3786-INCOMPLETE"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConfigurationError, "holds folders"),
        (ExportError, "abandoned"),
        (CredentialsError, "we may not look"),
        (VerificationError, "files of two exports"),
        (DeadlineError, "the time is up"),
        (UnavailableError, "does not answer"),
    ],
)
def test_exit_codes(error: Any, words: str) -> None:
    (row,) = [line for line in PAGE.splitlines() if re.match(r"\| \d \|", line) and words in line]
    assert row.startswith(f"| {exit_code(error('x'))} |")
