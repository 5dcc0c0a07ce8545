"""Many deferred sensors in one triggerer: `SentinelRemovedTrigger` beside `S3KeyTrigger`, measured as in `waits.py`.

Usage: airflow_waits.py --peers PYTHON [--runs N] [--cases KIND:WAITS[:RUNS] ...]
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from waits import BUCKET, HERE, POLL, Case, main


@dataclass(frozen=True)
class TriggerCase(Case):
    """The same layouts, with our waits made by the trigger."""

    def command(self, peers: str) -> list[str]:
        if not self.ours:
            return super().command(peers)
        return [sys.executable, str(HERE / "waits_trigger.py"), str(self.n), f"s3://{BUCKET}/{self.kind}/", str(POLL)]


if __name__ == "__main__":
    main(TriggerCase, ["s3keytrigger:1000", "dense:1000", "scattered:1000"], "results-airflow-waits.json")
