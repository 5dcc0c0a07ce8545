"""Many waits in one process: ours for exports to complete, beside `S3KeyTrigger` waiting for keys to appear.

Every figure comes from a fresh process against the stub of `stub_s3.py`, which runs in another; the cases are run in
turn. Layouts of our exports: *dense*, all below one parent with nothing between them; *scattered*, with 2,000 other
objects between one and the next, so that no listing covers two of them.

Usage: waits.py --peers PYTHON [--runs N] [--cases KIND:WAITS[:RUNS] ...]; RUNS is how many of the runs take part
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import queue
import random
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stub_s3 import StubProcess, stub_process
from waits_report import describe_machine, table
from waits_worker import percentile

HERE = Path(__file__).parent
BUCKET = "bench"
POLL = 5.0
CASES = ["s3keytrigger:100", "s3keytrigger:1000", "dense:1000", "scattered:1000", "dense:10000", "scattered:10000:1"]
SETTLE, SAMPLE, SPREAD, PATIENCE = 12.0, 100, 20.0, 90.0
# Scattered waits look for neighbours again at every twelfth poll: the window must hold that, too.
WINDOW = {"s3keytrigger": 30.0, "dense": 30.0, "scattered": 62.0}


class Waiter:
    """A process with waits: what `waits_worker` says, sorted into answers and notices."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self.notices: dict[str, float] = {}
        self._errors: list[str] = []
        self._answers: queue.Queue[dict[str, Any]] = queue.Queue()
        self._child = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=self._read_errors, daemon=True).start()

    def _read(self) -> None:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            if not line.startswith("{"):
                continue
            said = json.loads(line)
            if "noticed" in said:
                self.notices[said["noticed"]] = said["at"]
            elif "problem" in said:
                print(said["problem"], file=sys.stderr, flush=True)
            else:
                self._answers.put(said)

    def _read_errors(self) -> None:
        assert self._child.stderr is not None
        for line in self._child.stderr:
            self._errors.append(line)

    def answer(self, timeout: float = 120) -> dict[str, Any]:
        with contextlib.suppress(queue.Empty):
            return self._answers.get(timeout=timeout)
        raise SystemExit("The waiting process did not answer:\n" + "".join(self._errors[-40:]))

    def ask(self, command: str) -> dict[str, Any]:
        assert self._child.stdin is not None
        self._child.stdin.write(command + "\n")
        self._child.stdin.flush()
        return self.answer()

    def stop(self) -> None:
        self._child.kill()
        self._child.wait()


@contextlib.contextmanager
def waiter(command: list[str], environment: dict[str, str]) -> Iterator[Waiter]:
    child = Waiter(command, {**os.environ, **environment, "PYTHONPATH": str(HERE)})
    try:
        yield child
    finally:
        child.stop()


@dataclass(frozen=True)
class Case:
    """One row: who waits, how many times, and how the store is laid out."""

    kind: str
    n: int

    @property
    def ours(self) -> bool:
        return self.kind != "s3keytrigger"

    def name(self, number: int) -> str:
        return f"{number:05}"

    def command(self, peers: str) -> list[str]:
        if self.ours:
            folder = f"s3://{BUCKET}/{self.kind}/"
            return [sys.executable, str(HERE / "waits_ours.py"), str(self.n), folder, "--poll-max", str(POLL)]
        return [peers, str(HERE / "peers" / "s3keytrigger.py"), str(self.n), f"s3://{BUCKET}/keys/", str(POLL)]

    def lay_out(self, stub: StubProcess) -> None:
        if not self.ours:
            stub.make(BUCKET, [("keys-are-elsewhere", 0)])
            return
        names = [f"{self.kind}/{self.name(number)}/" for number in range(self.n)]
        objects = [
            (f"{folder}mz-t7-{rest}", 0) for folder in names for rest in ("INCOMPLETE", "batch-0000-0000.parquet")
        ]
        between = [(f"{folder[:-1]}-other/", 2000) for folder in names] if self.kind == "scattered" else []
        stub.make(BUCKET, objects, between)

    def started(self, stub: StubProcess) -> bool:
        """Whether every wait has been looked at."""
        asked = stub.requests()
        return asked["LIST"] >= self.n * 2 / 1000 if self.kind == "dense" else asked["LIST"] + asked["keys"] >= self.n

    def end(self, number: int, stub: StubProcess) -> None:
        """What the wait waits for."""
        if self.ours:
            stub.delete(BUCKET, f"{self.kind}/{self.name(number)}/mz-t7-INCOMPLETE")
        else:
            stub.put(BUCKET, f"keys/{self.name(number)}", b"")


def measure(case: Case, peers: str) -> dict[str, float]:
    """One fresh process, from its start to the last notice."""
    load = os.getloadavg()[0]  # of whatever else runs here
    with stub_process() as stub:
        case.lay_out(stub)
        stub.requests(anew=True)
        place = {"endpoint_url": stub.url, "region_name": "us-east-1"}
        connection = {"conn_type": "aws", "login": "bench", "password": "bench", "extra": place}
        environment = {**stub.environment, "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(connection)}
        with waiter(case.command(peers), environment) as child:
            idle = child.answer()
            began = time.monotonic()
            while not case.started(stub):
                if time.monotonic() > began + 600:
                    raise SystemExit(f"{case} did not start")
                time.sleep(0.1)
            start_s = time.monotonic() - began
            time.sleep(SETTLE)
            stub.requests(anew=True)
            before = child.ask("begin")
            time.sleep(WINDOW[case.kind])
            after = child.ask("end")
            asked = stub.requests(anew=True)
            seconds = after["at"] - before["at"]
            child.ask("begin")
            delays, missed = noticed(case, child, stub)
            busy = child.ask("end")
    return {
        "cpu_s_per_min": (after["cpu_s"] - before["cpu_s"]) / seconds * 60,
        "rss_mib": after["rss_mib"],
        "rss_above_idle_mib": after["rss_mib"] - idle["idle_rss_mib"],
        "threads": after["threads"],
        "loop_lag_p99_ms": after["lag_p99_ms"],
        "loop_lag_max_ms": after["lag_max_ms"],
        "requests_per_s": sum(asked[kind] for kind in ("HEAD", "GET", "LIST")) / seconds,
        "heads_per_s": asked["HEAD"] / seconds,
        "lists_per_s": asked["LIST"] / seconds,
        "start_s": start_s,
        "start_cpu_s": before["cpu_s"] - idle["cpu_s"],
        "notice_p50_s": percentile(delays, 0.5),
        "notice_p99_s": percentile(delays, 0.99),
        "notice_lag_p99_ms": busy["lag_p99_ms"],
        "missed": missed,
        "load_before": load,
    }


def noticed(case: Case, child: Waiter, stub: StubProcess) -> tuple[list[float], int]:
    """End a random sample of the waits, spread evenly in time: seconds to each notice, and how many never came."""
    ended: dict[str, float] = {}
    early = set(child.notices)
    for number in random.sample(range(case.n), min(SAMPLE, case.n)):
        case.end(number, stub)
        ended[case.name(number)] = time.monotonic()
        time.sleep(SPREAD / SAMPLE)
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and not ended.keys() <= child.notices.keys():
        time.sleep(0.05)
    if wrong := child.notices.keys() - ended.keys() | early:
        raise SystemExit(f"{case}: waits returned that nothing ended: {sorted(wrong)[:5]}")
    delays = [max(0.0, child.notices[name] - at) for name, at in ended.items() if name in child.notices]
    return delays or [float("nan")], len(ended) - len(delays)


def summary(case: Case, answers: list[dict[str, float]]) -> dict[str, Any]:
    return {
        "case": case.kind,
        "n": case.n,
        "runs": len(answers),
        "median": {name: round(statistics.median(a[name] for a in answers), 3) for name in answers[0]},
        "all": [{name: round(value, 3) for name, value in answer.items()} for answer in answers],
    }


def main(case_type: type[Case], cases: list[str], output: str) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", required=True, help="the Python of the environment of constraints-peers.txt")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--cases", nargs="+", default=cases, metavar="KIND:WAITS[:RUNS]")
    parser.add_argument("--output", type=Path, default=HERE / output)
    arguments = parser.parse_args()
    runs: dict[Case, list[dict[str, float]]] = {}
    at_most: dict[Case, int] = {}
    for kind, n, *limit in (text.split(":") for text in arguments.cases):
        case = case_type(kind, int(n))
        runs[case], at_most[case] = [], int(limit[0]) if limit else arguments.runs
    results = json.loads(arguments.output.read_text()) if arguments.output.exists() else {}
    results |= {"machine": describe_machine(arguments.peers), "poll_s": POLL, "window_s": WINDOW}
    for number in range(arguments.runs):
        for case, answers in runs.items():
            if number >= at_most[case]:
                continue
            answers.append(measure(case, arguments.peers))
            print(f"run {number + 1}: {case.kind} {case.n} {answers[-1]}", file=sys.stderr, flush=True)
            results["waits"] = [summary(case, answers) for case, answers in runs.items() if answers]
            arguments.output.write_text(json.dumps(results, indent=1) + "\n")
    print(table(results["waits"]))


if __name__ == "__main__":
    main(Case, CASES, "results-waits.json")
