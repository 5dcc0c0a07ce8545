"""One export and its load, for a test that kills it; prints a line of JSON when done.

Usage: pipeline.py OBJECT TO STAGE TABLE RUN_KEY
"""

from __future__ import annotations

import json
import sys

from mz_orchestration.exports.export import run_export
from mz_orchestration.exports.spec import export_spec
from mz_orchestration.snowflake.load import run_load
from mz_orchestration.snowflake.spec import load_spec


def main(name: str, to: str, stage: str, table: str, run_key: str) -> None:
    export = run_export(export_spec(object=name, to=to, connection="local_s3"), run_key=run_key)
    load = run_load(load_spec(manifest=export.manifest_url, stage=stage, table=table))
    answer = {"attempt": export.attempt, "adopted": export.adopted, "rows": load.rows}
    print(json.dumps({**answer, "timestamp": export.manifest.timestamp}))


main(*sys.argv[1:])
