"""A real Airflow, all its parts as processes of their own, for tests that kill them; spoken to by its public API."""

from __future__ import annotations

import json
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import psutil

from mz_orchestration.local.airflow import LocalAirflow
from mz_orchestration.local.stack import LocalStack

ENDED = ("success", "failed")
CONSOLE = "https://console.example.com/"
# New files and dead parts are noticed in seconds, and nobody has to unpause a DAG.
SETTINGS = {
    "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
    "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": "0",
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "2",
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "5",
    "AIRFLOW__MATERIALIZE__CONSOLE_URL": CONSOLE,
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "10",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "5",
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
}


class Standalone(LocalAirflow):
    """Airflow with what tests ask of it.

    Args:
        folder: An empty one.
        stack: The systems its connections lead to.
        more: Variables beside those of the stack.
    """

    def __init__(self, folder: Path, stack: LocalStack, more: Mapping[str, str] | None = None) -> None:
        (folder / "dags").mkdir()
        super().__init__(folder / "airflow", folder / "dags", {**stack.environment, **(more or {})}, SETTINGS)
        self._triggerer: subprocess.Popen[bytes] | None = None
        self._headers: dict[str, str] = {}

    def write_dag(self, dag_id: str, text: str) -> None:
        """Put a file there; `wait_for_dag` when it is needed."""
        (self._dags / f"{dag_id}.py").write_text(text)

    def wait_for_dag(self, dag_id: str) -> None:
        """Wait until a DAG is known."""

        def known() -> bool:
            errors = self.get("/importErrors")["import_errors"]
            assert not errors, errors[0]["stack_trace"]
            return bool(self.get(f"/dags?dag_id_pattern={dag_id}")["dags"])

        self.until(known, f"the DAG {dag_id}")

    def trigger(self, dag_id: str, **conf: Any) -> str:
        """Return the path of the new run in the API."""
        run = self.ask("POST", f"/dags/{dag_id}/dagRuns", {"logical_date": None, "conf": conf})
        return f"/dags/{dag_id}/dagRuns/{run['dag_run_id']}"

    def wait_for(self, run: str, states: Iterable[str] = ENDED, deadline: float = 90.0) -> str:
        """Wait until a run is in one of the states, and say in which."""
        self.until(lambda: self.get(run)["state"] in states, f"{run} in {states}", deadline)
        return str(self.get(run)["state"])

    def task(self, run: str, task_id: str) -> dict[str, Any]:
        """The task instance, as the API has it."""
        instance: dict[str, Any] = self.get(f"{run}/taskInstances/{task_id}")
        return instance

    def wait_for_task(self, run: str, task_id: str, *states: str) -> None:
        self.until(lambda: self.task(run, task_id)["state"] in states, f"{task_id} of {run} in {states}")

    def set_state(self, run: str, task_id: str, state: str) -> None:
        """As a user does by "Mark state as"."""
        self.ask("PATCH", f"{run}/taskInstances/{task_id}", {"new_state": state})

    def result(self, run: str, task_id: str) -> Any:
        """What the task returned."""
        return self.get(f"{run}/taskInstances/{task_id}/xcomEntries/return_value?deserialize=true")["value"]

    def links(self, run: str, task_id: str) -> dict[str, str | None]:
        """The extra links the task has now, by name."""
        links: dict[str, str | None] = self.get(f"{run}/taskInstances/{task_id}/links")["extra_links"]
        return links

    def asset_events(self, run: str) -> list[dict[str, Any]]:
        """The asset events that a run has made."""
        dag, _, run_id = run.removeprefix("/dags/").partition("/dagRuns/")
        events = self.get("/assets/events")["asset_events"]
        return [event for event in events if (event["source_dag_id"], event["source_run_id"]) == (dag, run_id)]

    def logs(self, run: str) -> str:
        """What the tasks of a run have logged, in workers and triggerers."""
        folder = self.home / "logs" / f"dag_id={run.split('/')[2]}" / f"run_id={run.rpartition('/')[2]}"
        return "".join(file.read_text(errors="replace") for file in sorted(folder.rglob("*.log*")))

    def kill_task(self, run: str, task_id: str) -> None:
        """Kill what runs the task with -9, with its supervisor, as the end of a machine does."""
        process = psutil.Process(self.task(run, task_id)["pid"])
        supervisor = process.parent()
        assert supervisor is not None
        assert "LocalExecutor" in " ".join(supervisor.cmdline())
        for each in (supervisor, process):
            each.kill()

    def stop(self) -> None:
        """Nothing in it is worth a polite end, which takes long once a part has been killed."""
        for process in self._started:
            if process.poll() is None:
                process.kill()
        super().stop()

    def kill_triggerer(self) -> None:
        """Kill it with -9, with its children, as the end of a machine does. `standalone` does not start another."""
        triggerer = self._triggerer_process()
        for each in (triggerer, *triggerer.children(recursive=True)):
            each.kill()

    def end_triggerer(self) -> None:
        """End it as a deployment does that rolls out a new version, and wait until it has ended."""
        triggerer = self._triggerer_process()
        triggerer.send_signal(signal.SIGTERM)
        triggerer.wait(60)

    def start_triggerer(self) -> None:
        """Start the next one."""
        self._triggerer = self.run("triggerer")

    def _triggerer_process(self) -> psutil.Process:
        if self._triggerer is not None:
            return psutil.Process(self._triggerer.pid)
        assert self._process is not None
        parts = psutil.Process(self._process.pid).children()
        (triggerer,) = (
            each for each in parts if each.status() != psutil.STATUS_ZOMBIE and "triggerer" in each.cmdline()
        )
        return triggerer

    def get(self, path: str) -> Any:
        return self.ask("GET", path)

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """A request to the public API."""
        if not self._headers:
            with urllib.request.urlopen(f"{self.url}/auth/token", timeout=10) as answer:
                token = json.load(answer)["access_token"]
            self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/api/v2{path}", data, self._headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.code} {error.read().decode()}") from error

    def until(self, condition: Callable[[], Any], what: str, deadline: float = 90.0) -> None:
        """Wait for a condition."""
        end = time.monotonic() + deadline
        while not condition():
            assert time.monotonic() < end, f"no {what} after {deadline:g} s: {self.log.read_text()[-4000:]}"
            time.sleep(0.3)
