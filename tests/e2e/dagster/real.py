"""A real Dagster, its parts processes of their own, for tests that end what it runs; spoken to as its UI does."""

from __future__ import annotations

import json
import re
import time
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import psutil

from mz_orchestration.local.dagster import LocalDagster
from mz_orchestration.local.stack import LocalStack

PROJECT = Path(__file__).parents[3]
MODULE = "tests.e2e.dagster.real_assets"
ENDED = ("SUCCESS", "FAILURE", "CANCELED")

_LAUNCH = """
mutation ($params: ExecutionParams!) {
  launchRun(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}
"""
_AGAIN = """
mutation ($params: ReexecutionParams!) {
  launchRunReexecution(reexecutionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
  }
}
"""
_TERMINATE = """
mutation ($run: String!) {
  terminateRun(runId: $run) { __typename ... on TerminateRunFailure { message } ... on PythonError { message } }
}
"""
_RUN = "query ($run: ID!) { runOrError(runId: $run) { ... on Run { status rootRunId tags { key value } } } }"
_EVENTS = """
query ($run: ID!) {
  logsForRun(runId: $run) { ... on EventConnection { events { __typename ... on MessageEvent { message } } } }
}
"""
_MATERIALIZATIONS = """
query ($key: AssetKeyInput!) {
  assetOrError(assetKey: $key) {
    ... on Asset {
      assetMaterializations(limit: 50) {
        runId
        metadataEntries {
          label
          ... on IntMetadataEntry { intValue }
          ... on TextMetadataEntry { text }
          ... on UrlMetadataEntry { url }
        }
      }
    }
  }
}
"""
_CHECKS = """
query ($key: AssetKeyInput!) {
  assetNodeOrError(assetKey: $key) {
    ... on AssetNode {
      assetChecksOrError {
        ... on AssetChecks {
          checks { name blocking executionForLatestMaterialization { runId status evaluation { success } } }
        }
      }
    }
  }
}
"""
_CHECK_EXECUTIONS = """
query ($key: AssetKeyInput!, $check: String!) {
  assetCheckExecutions(assetKey: $key, checkName: $check, limit: 50) { evaluation { success description } }
}
"""
_SENSOR = """
query ($selector: SensorSelector!) {
  sensorOrError(sensorSelector: $selector) {
    ... on Sensor {
      id
      sensorState {
        status
        runs { runId status }
        ticks(limit: 100) { status skipReason runIds cursor error { message } }
      }
    }
  }
}
"""
_STOP_SENSOR = """
mutation ($id: String!) { stopSensor(id: $id) { __typename ... on PythonError { message } } }
"""
_START_SENSOR = """
mutation ($selector: SensorSelector!) {
  startSensor(sensorSelector: $selector) { __typename ... on PythonError { message } }
}
"""


class RealDagster(LocalDagster):
    """Dagster with what tests ask of it.

    Args:
        folder: An empty one.
        stack: The systems its resources lead to.
    """

    def __init__(self, folder: Path, stack: LocalStack) -> None:
        super().__init__(folder / "dagster", MODULE, stack.environment, PROJECT)

    @property
    def _repository(self) -> dict[str, str]:
        return {"repositoryName": "__repository__", "repositoryLocationName": MODULE}

    def launch(self, *assets: str) -> str:
        """Materialize assets by their keys, as the button does; the id of the run."""
        selection = [_key(asset) for asset in assets]
        return self._launched({"jobName": "__ASSET_JOB", "assetSelection": selection, **self._repository})

    def launch_job(self, name: str) -> str:
        return self._launched({"jobName": name, **self._repository})

    def _launched(self, selector: dict[str, Any]) -> str:
        answer = self.ask(_LAUNCH, params={"selector": selector, "runConfigData": {}})["launchRun"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        return str(answer["run"]["runId"])

    def go_on(self, run: str) -> str:
        """Re-execute a run from its failure; the id of the next."""
        params = {"parentRunId": run, "strategy": "FROM_FAILURE"}
        answer = self.ask(_AGAIN, params=params)["launchRunReexecution"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        return str(answer["run"]["runId"])

    def terminate(self, run: str) -> None:
        answer = self.ask(_TERMINATE, run=run)["terminateRun"]
        assert answer["__typename"] == "TerminateRunSuccess", answer

    def status(self, run: str) -> str:
        return str(self.ask(_RUN, run=run)["runOrError"]["status"])

    def wait_for(self, run: str, states: Iterable[str] = ENDED, deadline: float = 90.0) -> str:
        """Wait until a run is in one of the states, and say in which."""
        self.until(lambda: self.status(run) in states, f"{run} in {states}", deadline)
        return self.status(run)

    def events(self, run: str) -> list[str]:
        """Kinds and messages of what happened in a run."""
        found = self.ask(_EVENTS, run=run)["logsForRun"]["events"]
        return [f"{event['__typename']} {event.get('message', '')}" for event in found]

    def kill_run(self, run: str) -> None:
        """Kill what carries out a run with -9, with its steps, as the end of a machine does."""
        (pid,) = {
            int(found[1]) for event in self.events(run) if (found := re.search(r"parent process \(pid: (\d+)", event))
        }
        worker = psutil.Process(pid)
        for each in (worker, *worker.children(recursive=True)):
            each.kill()

    def materialization(self, asset: str, run: str) -> dict[str, Any]:
        """What an asset's page shows of what a run has made."""
        found = self.ask(_MATERIALIZATIONS, key=_key(asset))["assetOrError"]["assetMaterializations"]
        (entries,) = [each["metadataEntries"] for each in found if each["runId"] == run]
        values = ("intValue", "text", "url")
        return {each["label"]: next((each[name] for name in values if name in each), None) for each in entries}

    def checks(self, asset: str) -> dict[str, dict[str, Any]]:
        """The checks of an asset by name: whether they block, and how the last of them ended in which run."""
        checks = self.ask(_CHECKS, key=_key(asset))["assetNodeOrError"]["assetChecksOrError"]["checks"]
        return {check.pop("name"): check for check in checks}

    def check_results(self, asset: str, check: str) -> list[dict[str, Any]]:
        """What a check has said, the newest first: success and description."""
        found = self.ask(_CHECK_EXECUTIONS, key=_key(asset), check=check)["assetCheckExecutions"]
        return [each["evaluation"] for each in found if each["evaluation"] is not None]

    def start_sensor(self, name: str) -> None:
        answer = self.ask(_START_SENSOR, selector={"sensorName": name, **self._repository})["startSensor"]
        assert answer["__typename"] == "Sensor", answer

    def stop_sensor(self, name: str) -> None:
        found = self.ask(_SENSOR, selector={"sensorName": name, **self._repository})["sensorOrError"]
        answer = self.ask(_STOP_SENSOR, id=found["id"])["stopSensor"]
        assert answer["__typename"] == "StopSensorMutationResult", answer

    def sensor(self, name: str) -> dict[str, Any]:
        """Its ticks, the newest first, and its runs."""
        found = self.ask(_SENSOR, selector={"sensorName": name, **self._repository})["sensorOrError"]
        state: dict[str, Any] = found["sensorState"]
        failed = [tick["error"]["message"] for tick in state["ticks"] if tick["error"]]
        assert not failed, failed
        return state

    def ask(self, text: str, **variables: Any) -> dict[str, Any]:
        """The data of an answer that has no errors."""
        body = json.dumps({"query": text, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            found = json.load(answer)
        assert "errors" not in found, found["errors"]
        data: dict[str, Any] = found["data"]
        return data

    def until(self, condition: Callable[[], Any], what: str, deadline: float = 90.0) -> None:
        """Wait for a condition."""
        end = time.monotonic() + deadline
        while not condition():
            assert time.monotonic() < end, f"no {what} after {deadline:g} s: {self.log.read_text()[-4000:]}"
            time.sleep(0.3)


def _key(asset: str) -> dict[str, list[str]]:
    return {"path": asset.split("/")}
