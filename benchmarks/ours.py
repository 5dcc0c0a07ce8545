"""One export by the library; with --memory, its peak memory above idle.

Idle means that the libraries have been used once, by an export of one row: what a first use costs (4 to 6 MiB of mapped
code of OpenSSL and Arrow) does not depend on what is exported.

Usage: ours.py QUERY RUN_KEY [--memory]
"""

import gc
import json
import sys
import time
from pathlib import Path

from mz_orchestration.exports.export import run_export
from mz_orchestration.exports.spec import export_spec
from mz_orchestration.objectstore.client import ObjectStore


def resident(field: str) -> int:
    """KiB of VmRSS or VmHWM."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith(field)).split()[1])


def main(query: str, run_key: str, memory: str = "") -> None:
    store = ObjectStore()
    spec = export_spec(object="bench", to="s3://mz-exports/bench/ours/", connection="local_s3", query=query)
    if memory:
        one = spec.model_copy(update={"object": "one", "query": "SELECT 1 AS one"})
        run_export(one, run_key=run_key, store=store)
    gc.collect()
    idle = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark begins anew
    began = time.monotonic()
    result = run_export(spec, run_key=run_key, store=store)
    seconds = time.monotonic() - began
    peak = resident("VmHWM")
    print(json.dumps({"rows": result.manifest.rows, "seconds": seconds, "peak_above_idle_mib": (peak - idle) / 1024}))


main(*sys.argv[1:])
