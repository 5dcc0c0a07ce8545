"""Footers of many files: this package's verification beside ``pyarrow.parquet.read_metadata`` over pyarrow's S3.

Each side runs in a process of its own against the same stub (`stub_s3`), by turns; the first turn is not counted.
Times are from the first request for a footer to the last answer, with the files listed before.

Usage: verify.py [--files N ...] [--latency-ms MS ...] [--runs N] [--json FILE]
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import statistics
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from stub_s3 import StubProcess, stub_process

SIDES = ("ours", "pyarrow, 32 threads", "pyarrow, one by one")
ROWS = 5_000
BUCKET = "bench"
TYPES = ("bigint", "text", "double precision", "integer", "boolean")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, nargs="+", default=[2_000, 10_000])
    parser.add_argument("--latency-ms", type=float, nargs="+", default=[0, 20])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        print(json.dumps(measure(arguments.side, arguments.files[0])))
        return
    found = []
    for latency in arguments.latency_ms:
        with stub_process(latency) as stub:
            for files in arguments.files:
                found += compare(stub, files, latency, arguments.runs)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


def compare(stub: StubProcess, files: int, latency: float, runs: int) -> list[dict[str, Any]]:
    """Figures of all sides for one number of files; one line of each is printed."""
    size = fill(stub, files)
    # One by one, pyarrow waits for two answers a file: minutes that show nothing new.
    sides = [side for side in SIDES if not (latency and files > 2_000 and side == SIDES[2])]
    turns: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
    for turn in range(runs + 1):
        for side, answers in turns.items():
            if side == SIDES[2] and latency and turn:
                continue  # a minute and a half, nearly all of it waiting
            stub.requests(anew=True)
            answer = child(stub, side, files)
            asked = stub.requests()
            answer["requests_per_file"] = (asked["GET"] + asked["HEAD"]) / files
            answer["kib_per_file"] = (asked["bytes"] - answer.pop("listing_bytes")) / 1024 / files
            if turn or (side == SIDES[2] and latency):
                answers.append(answer)
    found = []
    for side, answers in turns.items():
        median = {name: statistics.median(answer[name] for answer in answers) for name in answers[0]}
        ratio = median["seconds"] / statistics.median(answer["seconds"] for answer in turns[SIDES[0]])
        found.append({"side": side, "files": files, "latency_ms": latency, "file_kib": size / 1024, **median})
        print(
            f"{latency:3.0f} ms  {files:6} files  {side:20} {median['seconds']:7.2f} s  "
            f"{files / median['seconds']:6.0f} files/s  cpu {median['cpu_seconds']:5.2f} s  "
            f"{median['requests_per_file']:.3f} requests/file  {median['kib_per_file']:5.1f} KiB/file  "
            f"{median['peak_above_idle_mib']:5.1f} MiB above idle  {ratio:5.1f} x ours",
            flush=True,
        )
    return found


def child(stub: StubProcess, side: str, files: int) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, __file__, "--side", side, "--files", str(files)],
        env={**os.environ, **stub.environment},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def fill(stub: StubProcess, files: int) -> int:
    """Put the files there, all with one body, and return its size."""
    import pyarrow
    import pyarrow.parquet

    arrow = [pyarrow.int64(), pyarrow.large_utf8(), pyarrow.float64(), pyarrow.int32(), pyarrow.bool_()]
    schema = pyarrow.schema(
        [
            pyarrow.field(f"c{i}", kind, metadata={"ARROW:extension:name": f"materialize.v1.{name.split()[0]}"})
            for i, (kind, name) in enumerate(zip(arrow, TYPES, strict=True))
        ]
    )
    columns = [
        range(ROWS),
        [f"row {i * 7919 % ROWS}" for i in range(ROWS)],
        [i / 7 for i in range(ROWS)],
        range(ROWS),
        [i % 3 == 0 for i in range(ROWS)],
    ]
    table = pyarrow.table(
        [pyarrow.array(values, kind) for values, kind in zip(columns, arrow, strict=True)], schema=schema
    )
    body = io.BytesIO()
    pyarrow.parquet.write_table(table, body, write_statistics=False)
    stub.put(BUCKET, "body", body.getvalue())

    def copy(number: int) -> None:
        url = f"{stub.url}/{BUCKET}/{files}/mz-t1-batch-{number:04}-0000.parquet"
        headers = {"x-amz-copy-source": f"{BUCKET}/body"}
        urllib.request.urlopen(urllib.request.Request(url, method="PUT", headers=headers), timeout=60).close()

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(copy, range(files)))
    return len(body.getvalue())


def measure(side: str, files: int) -> dict[str, Any]:
    """List, read all footers, and say what it took; in a process of its own."""
    import pyarrow.fs
    import pyarrow.parquet

    from mz_orchestration.exports.verify import verify_files
    from mz_orchestration.materialize.types import Column
    from mz_orchestration.objectstore.client import ObjectStore
    from mz_orchestration.objectstore.location import Location

    folder = Location(BUCKET, f"{files}/")
    store = ObjectStore()
    system = pyarrow.fs.S3FileSystem(endpoint_override=os.environ["AWS_ENDPOINT_URL"], region="us-east-1")
    idle = memory(anew=True)
    listed = store.list_objects(folder)
    assert len(listed) == files

    def rows(key: str) -> int:
        count: int = pyarrow.parquet.read_metadata(f"{BUCKET}/{key}", filesystem=system).num_rows
        return count

    keys = [file.key for file in listed]
    before = bytes_asked()
    began, cpu = time.monotonic(), time.process_time()
    if side == SIDES[0]:
        columns = [Column(name=f"c{i}", type=name) for i, name in enumerate(TYPES)]
        total = verify_files(store, folder, listed, columns, None).total
    elif side == SIDES[1]:
        with ThreadPoolExecutor(32) as pool:
            total = sum(pool.map(rows, keys))
    else:
        total = sum(map(rows, keys))
    answer = {
        "seconds": time.monotonic() - began,
        "cpu_seconds": time.process_time() - cpu,
        "peak_above_idle_mib": (memory() - idle) / 1024,
        "listing_bytes": before,
    }
    assert total == files * ROWS
    return answer


def bytes_asked() -> int:
    with urllib.request.urlopen(os.environ["AWS_ENDPOINT_URL"] + "/-/requests", timeout=60) as answer:
        count: int = json.load(answer)["bytes"]
        return count


def memory(*, anew: bool = False) -> int:
    """The peak so far of this process's memory in KiB; with ``anew``, forgetting earlier peaks."""
    if anew:
        Path("/proc/self/clear_refs").write_text("5")
    match = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    assert match is not None
    return int(match[1])


if __name__ == "__main__":
    main()
