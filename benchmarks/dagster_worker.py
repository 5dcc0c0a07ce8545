"""One figure of Dagster in this process; runs under either environment.

Usage: dagster_worker.py import MODULE ... | location FILE | tick ours|queue|peer FOLDER ENDPOINT [QUEUE]
"""

# Annotations are not postponed: Dagster reads those of the peer's sensor.
import importlib
import json
import runpy
import sys
import time
from pathlib import Path
from typing import Any

import dagster as dg

HEAVY = ("pyarrow", "pandas", "boto3", "snowflake.connector", "snowflake.snowpark", "psycopg", "httpx")
TICKS = 20


def resident() -> float:
    """MiB of memory."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


def measured(work: Any) -> dict[str, Any]:
    known, memory = set(sys.modules), resident()
    began, cpu = time.perf_counter(), time.process_time()
    work()
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    new = set(sys.modules) - known
    return {
        "seconds": seconds,
        "cpu_seconds": cpu,
        "modules": len(new),
        "rss_mib": resident() - memory,
        "heavy": [name for name in HEAVY if name in new],
    }


def ours(folder: str, queue: str | None) -> dg.SensorDefinition:
    from mz_orchestration.dagster import ObjectStoreResource, build_export_completion_sensor

    return build_export_completion_sensor(
        folder=folder, queue=queue, object_store=ObjectStoreResource(), minimum_interval_seconds=1
    )


def peer(folder: str, endpoint: str) -> dg.SensorDefinition:
    """As the documentation of dagster-aws writes a sensor of new files; what a sentinel is, it cannot know."""
    from datetime import datetime

    from dagster_aws.s3 import S3Resource
    from dagster_aws.s3.sensor import get_objects

    bucket, _, prefix = folder.removeprefix("s3://").partition("/")

    @dg.sensor(target="*", minimum_interval_seconds=1)
    def files(context: dg.SensorEvaluationContext, s3: S3Resource) -> Any:
        since = datetime.fromisoformat(context.cursor) if context.cursor else None
        new = get_objects(bucket, prefix=prefix, since_last_modified=since, client=s3.get_client())
        if not new:
            return dg.SkipReason("nothing new")
        return dg.SensorResult(
            run_requests=[dg.RunRequest(run_key=each["Key"]) for each in new],
            cursor=new[-1]["LastModified"].isoformat(),
        )

    return files


def tick(kind: str, folder: str, endpoint: str, queue: str | None = None) -> dict[str, Any]:
    """Ticks over a folder in which nothing completes: the first, and the median of those after it."""
    resources: dict[str, Any] = {}
    if kind == "peer":
        from dagster_aws.s3 import S3Resource

        sensor = peer(folder, endpoint)
        resources = {"s3": S3Resource(endpoint_url=endpoint, region_name="us-east-1")}
    else:
        sensor = ours(folder, queue)
    cursor: str | None = None
    wall, cpu = [], []
    with dg.DagsterInstance.ephemeral() as instance:
        for _ in range(TICKS + 1):
            context = dg.build_sensor_context(instance, cursor, resources=resources)
            began, before = time.perf_counter(), time.process_time()
            result = sensor(context)
            wall.append(time.perf_counter() - began)
            cpu.append(time.process_time() - before)
            if isinstance(result, dg.SensorResult):
                cursor = result.cursor
    later = sorted(zip(wall[1:], cpu[1:], strict=True))
    return {
        "first_seconds": wall[0],
        "seconds": later[len(later) // 2][0],
        "cpu_seconds": sorted(cpu[1:])[len(later) // 2],
        "cursor_bytes": len(cursor or ""),
    }


def main(kind: str, *names: str) -> None:
    if kind == "import":
        answer = measured(lambda: [importlib.import_module(name) for name in names])
    elif kind == "location":
        answer = measured(lambda: dg.Definitions.validate_loadable(runpy.run_path(names[0])["defs"]))
    else:
        answer = tick(*names)
    print(json.dumps(answer))


main(*sys.argv[1:])
