"""Dagster beside the local stack: ``dagster dev`` on SQLite, on a free port, with the stack's variables."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mz_orchestration.local.errors import LocalStackError
from mz_orchestration.local.orchestrator import LocalOrchestrator, ask, free_ports
from mz_orchestration.local.state import HOST

# Runs get the time to cancel what runs elsewhere; a run that dies gives its place in pools back, which is not so by
# itself; what is typed below is kept once it is there.
_SETTINGS = """\
telemetry: {enabled: false}
freshness: {enabled: true}
run_monitoring:
  enabled: true
  cancel_timeout_seconds: 60
  free_slots_after_run_end_seconds: 60
concurrency:
  pools: {granularity: op, default_limit: 4}
nux: {enabled: false}
"""

_STATUS = """
query {
  instance { daemonHealth { allDaemonStatuses { daemonType required healthy } } }
  workspaceOrError {
    ... on Workspace {
      locationEntries { name loadStatus locationOrLoadError { ... on PythonError { className message } } }
    }
  }
}
"""


class LocalDagster(LocalOrchestrator):
    """Dagster's UI, daemon and code server as a context manager; leaving it stops them.

    Args:
        home: Becomes ``DAGSTER_HOME``; made if it does not exist. What is in it is kept, runs and all.
        module: Module that holds the definitions, importable from ``folder``.
        environment: Variables for all its processes, with those of the stack.
        folder: Where it runs.
    """

    title = "Dagster"
    command = ("dev",)

    def __init__(self, home: Path, module: str, environment: Mapping[str, str], folder: Path | None = None) -> None:
        super().__init__(home, environment)
        self._module = module
        self._folder = (folder or Path.cwd()).resolve()
        (self._port,) = free_ports(1)
        self.url = f"http://{HOST}:{self._port}"
        self.environment |= {
            "DAGSTER_HOME": str(self.home),
            "DAGSTER_DISABLE_TELEMETRY": "yes",
            "PYTHONPATH": str(self._folder),
        }

    @property
    def options(self) -> list[str]:
        """Arguments of the command."""
        place = ["--working-directory", str(self._folder), "--host", HOST, "--port", str(self._port)]
        return ["--module-name", self._module, *place]

    def check(self) -> None:
        """Find out whether there are definitions, and a UI."""
        if importlib.util.find_spec("dagster_webserver") is None:
            raise LocalStackError("Dagster's UI is not installed: pip install dagster-webserver")
        file = self._folder.joinpath(*self._module.split("."))
        if not file.with_suffix(".py").is_file() and not (file / "__init__.py").is_file():
            raise LocalStackError(f"there is no module {self._module} in {self._folder}")

    def prepare(self) -> None:
        """Settings, where there are none yet."""
        file = self.home / "dagster.yaml"
        if not file.exists():
            file.write_text(_SETTINGS)

    def health(self) -> dict[str, str]:
        """The status of its daemons and of its code location; empty while it does not answer.

        Raises:
            LocalStackError: The definitions cannot be loaded, however long one waits.
        """
        found = self.query(_STATUS)
        if found is None:
            return {}
        status = {
            each["daemonType"]: "healthy" if each["healthy"] else "not healthy yet"
            for each in found["instance"]["daemonHealth"]["allDaemonStatuses"]
            if each["required"]
        }
        entries = found["workspaceOrError"].get("locationEntries") or []
        for entry in entries:
            error = entry.get("locationOrLoadError") or {}
            if error.get("className") == "DagsterUserCodeLoadError":
                raise LocalStackError(f"Dagster cannot load {entry['name']}; see {self.log}{self._tail()}")
            loaded = entry["loadStatus"] == "LOADED" and not error
            status[entry["name"]] = "healthy" if loaded else error.get("message") or "loading"
        return status if entries else {}

    def query(self, text: str, **variables: Any) -> dict[str, Any] | None:
        """What the UI's own API answers to a query of GraphQL; None if it does not.

        Args:
            text: The query.
            **variables: Its variables.
        """
        answer = ask(f"{self.url}/graphql", {"query": text, "variables": variables})
        data = answer.get("data") if isinstance(answer, dict) else None
        return data if isinstance(data, dict) else None
