"""From the deletion of a sentinel to the return of the wait: by event, and by polling.

Over S3 and SQS of the local stack: 50 waits in one process, their sentinels deleted one after the other by another.
An event wakes a wait, which then lists its path to confirm; so every figure holds one listing.

Usage: events.py [--runs N]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from waits import Waiter, waiter
from waits_report import describe_machine, table
from waits_worker import percentile

from mz_orchestration.local.stack import LocalStack
from mz_orchestration.local.state import BUCKET

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

HERE = Path(__file__).parent
WAITS, SPREAD = 50, 10.0
# By event, polling stays on as the safety net it is, too seldom to be what notices.
CASES = {"event": 120.0, "poll_1s": 1.0, "poll_5s": 5.0}


def queue_of_removals(s3: S3Client) -> str:
    """A queue that the bucket tells of deleted sentinels; returns its URL."""
    sqs = boto3.client("sqs")
    url: str = sqs.create_queue(QueueName="removals")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    suffix = {"Key": {"FilterRules": [{"Name": "suffix", "Value": "-INCOMPLETE"}]}}
    configuration: Any = {"QueueArn": arn, "Events": ["s3:ObjectRemoved:*"], "Filter": suffix}
    s3.put_bucket_notification_configuration(
        Bucket=BUCKET, NotificationConfiguration={"QueueConfigurations": [configuration]}
    )
    return url


def measure(case: str, number: int, s3: S3Client, queue: str) -> dict[str, float]:
    folder = f"events/{case}-{number}/"
    for wait in range(WAITS):
        for name in ("INCOMPLETE", "batch-0000-0000.parquet"):
            s3.put_object(Bucket=BUCKET, Key=f"{folder}{wait:05}/mz-t7-{name}", Body=b"")
    poll = CASES[case]
    command = [
        sys.executable,
        str(HERE / "waits_ours.py"),
        str(WAITS),
        f"s3://{BUCKET}/{folder}",
        "--poll-max",
        str(poll),
    ]
    if case == "event":
        command += ["--queue", queue]
    with waiter(command, {}) as child:
        child.answer()
        time.sleep(10)  # polls have slowed down to the interval
        delays = noticed(child, s3, folder)
    return {
        "p50_ms": percentile(delays, 0.5) * 1000,
        "p99_ms": percentile(delays, 0.99) * 1000,
        "max_ms": max(delays) * 1000,
        "missed": WAITS - len(delays),
    }


def noticed(child: Waiter, s3: S3Client, folder: str) -> list[float]:
    """Delete the sentinels at an even pace; seconds from each answer of the store to the return of its wait."""
    deleted: dict[str, float] = {}
    for name in (f"{wait:05}" for wait in range(WAITS)):
        s3.delete_object(Bucket=BUCKET, Key=f"{folder}{name}/mz-t7-INCOMPLETE")
        deleted[name] = time.monotonic()
        time.sleep(SPREAD / WAITS)
    until = time.monotonic() + 30
    while time.monotonic() < until and not deleted.keys() <= child.notices.keys():
        time.sleep(0.05)
    return [max(0.0, child.notices[name] - at) for name, at in deleted.items() if name in child.notices]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--output", type=Path, default=HERE / "results-waits.json")
    arguments = parser.parse_args()
    runs: dict[str, list[dict[str, float]]] = {case: [] for case in CASES}
    with tempfile.TemporaryDirectory() as folder, LocalStack() as stack:
        stack.start(Path(folder) / "stack", port_base=0, servers=("s3",))
        os.environ.update(stack.environment)
        s3 = boto3.client("s3")
        queue = queue_of_removals(s3)
        for number in range(arguments.runs):
            for case in CASES:
                runs[case].append(measure(case, number, s3, queue))
                print(f"run {number + 1}: {case} {runs[case][-1]}", file=sys.stderr, flush=True)
    rows = [
        {
            "case": case,
            "n": WAITS,
            "runs": len(answers),
            "median": {name: round(statistics.median(a[name] for a in answers), 2) for name in answers[0]},
            "all": [{name: round(value, 2) for name, value in answer.items()} for answer in answers],
        }
        for case, answers in runs.items()
    ]
    results = json.loads(arguments.output.read_text()) if arguments.output.exists() else {}
    results |= {"machine": {**results.get("machine", {}), **describe_machine()}, "events": rows}
    arguments.output.write_text(json.dumps(results, indent=1) + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
