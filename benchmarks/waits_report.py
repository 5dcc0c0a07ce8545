"""What the benchmarks beside peers write down: the machine and the versions, and tables."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

_OURS = (
    *("boto3", "botocore", "moto", "pyarrow", "psycopg", "apache-airflow-core", "apache-airflow-task-sdk", "dagster"),
)
_PEERS = (
    *("apache-airflow-providers-amazon", "apache-airflow-providers-snowflake", "apache-airflow-providers-postgres"),
    *("apache-airflow-core", "apache-airflow-task-sdk", "aiobotocore", "boto3", "pandas", "snowflake-connector-python"),
)
_ASK = (
    "import json, sys; from importlib.metadata import version; print(json.dumps({n: version(n) for n in sys.argv[1:]}))"
)


def describe_machine(peers: str | None = None, names: Sequence[str] = _PEERS) -> dict[str, Any]:
    """Cores, Python, versions; of the peers' environment, whose Python ``peers`` is, those of ``names``."""
    described: dict[str, Any] = {
        "machine": f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in _OURS},
    }
    if peers:
        done = subprocess.run([peers, "-c", _ASK, *names], capture_output=True, text=True, check=True)
        described["peer_versions"] = json.loads(done.stdout)
    return described


def table(rows: list[dict[str, Any]]) -> str:
    """Medians as Markdown, a line a row; a row is ``case``, ``n``, ``runs``, ``median`` by name."""
    names = list(rows[0]["median"])
    lines = [["case", "n", *names, "runs"], ["---"] * (len(names) + 3)]
    lines += [
        [row["case"], f"{row['n']:,}", *(f"{row['median'][name]:,.4g}" for name in names), str(row["runs"])]
        for row in rows
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
