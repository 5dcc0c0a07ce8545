"""What planning a load of very many files takes: from a manifest to all COPY INTO statements, without any request.

Usage: plan.py [--files N ...] [--runs N] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mz_orchestration.exports.manifest import DataFile, Manifest, parse_manifest
from mz_orchestration.exports.verify_level import VerifyLevel
from mz_orchestration.materialize.types import Column
from mz_orchestration.runs.key import run_key_hash
from mz_orchestration.snowflake.advice import advise
from mz_orchestration.snowflake.copy import MAX_FILES, copy_into
from mz_orchestration.snowflake.schema import Layout, wanted_columns
from mz_orchestration.snowflake.stages import StageFacts, path_below_stage

STAGE, STAGING = ("DB", "PUBLIC", "STAGE"), ("DB", "PUBLIC", "ORDERS__MZ_0123456789AB")
TYPES = (
    "bigint",
    "text",
    "numeric",
    "timestamp",
    "timestamptz",
    "boolean",
    "double precision",
    "date",
    "jsonb",
    "uuid",
)
STEPS = ("parse", "plan", "advise")


def manifest_of(files: int) -> bytes:
    """A stored manifest of so many files and twenty columns, half of which need an expression."""
    now = datetime(2026, 11, 22, tzinfo=UTC)
    casts = {"uuid": "text"}
    columns = tuple(
        Column(name=f"c{i}", type=kind, scale=2 if kind == "numeric" else None, cast=casts.get(kind))
        for i, kind in enumerate(TYPES * 2)
    )
    listed = tuple(
        DataFile(name=f"mz-t42-batch-{i:04}-0000.parquet", bytes=100_000_000 + i, etag=f"{i:032x}", rows=1000)
        for i in range(files)
    )
    base, run_key = "s3://mz-exports/nightly/", "nightly-2026-11-22"
    return (
        Manifest(
            run_key=run_key,
            attempt=1,
            export="shop.orders",
            object="shop.orders",
            base=base,
            path=f"{base}shop.orders/20261122T000000Z-{run_key_hash(run_key)[:8]}-01/",
            format="parquet",
            spec_fingerprint="f",
            cluster="quickstart",
            timestamp=1_795_305_600_000,
            columns=columns,
            verified=VerifyLevel.FOOTERS,
            copied=1000 * files,
            counted=None,
            rows=1000 * files,
            files=listed,
            started_at=now,
            copied_at=now,
            finished_at=now,
            materialize_version="v26.24.0",
            written_by="0.1.0",
        )
        .hashed()
        .to_json()
    )


def measure(files: int) -> dict[str, Any]:
    """One run in a process of its own, in seconds of CPU: nothing here waits, and others may use the cores too."""
    body = manifest_of(files)
    moments = [time.process_time()]
    manifest = parse_manifest(body, source="benchmark")
    moments.append(time.process_time())
    path = path_below_stage(StageFacts("STAGE", "s3://mz-exports/", integration="S3"), manifest)
    columns = wanted_columns(manifest, layout=Layout.COLUMNS, lineage=True)
    statements = list(copy_into(STAGING, STAGE, path, manifest, columns))
    moments.append(time.process_time())
    advise([file.bytes for file in manifest.files], "Large", manifest.format)
    moments.append(time.process_time())
    assert len(statements) == -(-files // MAX_FILES)
    assert sum(statement.count(".parquet'") for statement in statements) == files
    taken = zip(STEPS, moments, moments[1:], strict=False)
    return {
        "seconds": {step: end - begin for step, begin, end in taken},
        "manifest_mib": len(body) / 1024**2,
        "statements": len(statements),
        "longest_statement_kib": max(map(len, statements)) / 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.files[0])))
        return
    found = []
    for files in arguments.files:
        command = [sys.executable, __file__, "--one", "--files", str(files)]
        runs = [
            json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
            for _ in range(arguments.runs)
        ]
        seconds = {step: [round(run["seconds"][step], 4) for run in runs] for step in STEPS}
        medians = {step: statistics.median(values) for step, values in seconds.items()}
        rest = {name: round(value, 1) for name, value in runs[0].items() if name != "seconds"}
        found.append({"files": files, **rest, "seconds": seconds, "medians": medians})
        print(
            f"{files:7} files  {rest['statements']:4} statements  "
            + "  ".join(f"{step} {value:.4f} s" for step, value in medians.items()),
            flush=True,
        )
    if arguments.json:
        machine = f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}"
        results = {"machine": machine, "python": platform.python_version(), "plans": found}
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
