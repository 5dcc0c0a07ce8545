"""Killed by SIGKILL at random moments, and run again until done: no row is lost, none arrives twice.

``MZ_SOAK_KILLS`` says how many kills, 12 by default; ``make soak`` takes hundreds.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import psycopg
import pytest

from mz_orchestration.local.materialize.faults import copy_faults
from mz_orchestration.local.stack import LocalStack
from mz_orchestration.snowflake.config import SnowflakeConfig
from mz_orchestration.snowflake.quoting import Sql
from mz_orchestration.snowflake.session import SnowflakeSession

KILLS = int(os.environ.get("MZ_SOAK_KILLS", "12"))
ROWS = 400
# Seconds a pipeline is given at most before it is killed; undisturbed it takes about three.
LONGEST = 3.2
PIPELINE = Path(__file__).with_name("pipeline.py")
TARGET = ("s3://mz-exports/soak/", "DEMO.PUBLIC.MZ_STAGE", "DEMO.PUBLIC.SOAK")


def test_killed_at_random(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {**os.environ, **stack.environment}
    for name, value in stack.environment.items():
        monkeypatch.setenv(name, value)
    seed = random.randrange(1 << 30)
    moments = random.Random(seed)
    seen: Counter[str] = Counter()
    with psycopg.connect(autocommit=True) as source, SnowflakeSession(SnowflakeConfig.from_environment()) as target:
        source.execute("CREATE SCHEMA soak")
        source.execute("CREATE TABLE soak.ledger (id integer, run integer)")
        while seen["kills"] < KILLS:
            seen["runs"] += 1
            source.execute("DELETE FROM soak.ledger")
            rows = ROWS + moments.randrange(50)
            source.execute(
                "INSERT INTO soak.ledger SELECT i, %s FROM generate_series(1, %s) AS s(i)", (seen["runs"], rows)
            )
            disconnect = moments.choice(["run_on", "run_on", "cancel"])
            with copy_faults(source, slow_rows=0.002, on_disconnect=disconnect, target="/soak/"):
                answer = None
                while answer is None:
                    words = [sys.executable, str(PIPELINE), "soak.ledger", *TARGET, f"soak-{seen['runs']}"]
                    process = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True)
                    # The last run of all is let through.
                    patience = moments.uniform(0.5, LONGEST) if seen["kills"] < KILLS else 120.0
                    try:
                        printed, _ = process.communicate(timeout=patience)
                    except subprocess.TimeoutExpired:
                        process.kill()
                        process.communicate()
                        seen["kills"] += 1
                        continue
                    assert process.returncode == 0, f"seed {seed}: exit code {process.returncode}"
                    answer = json.loads(printed)
            seen["adopted"] += answer["adopted"]
            seen["attempts"] += answer["attempt"]
            found = target.query(Sql("SELECT ID, RUN FROM DEMO.PUBLIC.SOAK")).rows
            ids = Counter(row["id"] for row in found)
            seen["lost"] += sum(number not in ids for number in range(1, rows + 1))
            seen["doubled"] += sum(count - 1 for count in ids.values())
            seen["stale"] += sum(row["run"] != seen["runs"] for row in found)
            assert answer["rows"] == rows == len(found), f"seed {seed}"
    print(f"\nsoak, seed {seed}: {dict(seen)}")
    assert (seen["lost"], seen["doubled"], seen["stale"]) == (0, 0, 0)
