"""Airflow beside the local stack: ``airflow standalone`` on SQLite, on free ports, with the stack's connections."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mz_orchestration.local.errors import LocalStackError
from mz_orchestration.local.orchestrator import LocalOrchestrator, ask, free_ports
from mz_orchestration.local.state import HOST

_COMPONENTS = ("metadatabase", "scheduler", "triggerer", "dag_processor")


class LocalAirflow(LocalOrchestrator):
    """Airflow's scheduler, triggerer, DAG processor and API as a context manager; leaving it stops them.

    Args:
        home: Becomes ``AIRFLOW_HOME``; made if it does not exist. What is in it is kept, runs and all.
        dags: Folder of DAG files.
        environment: Variables for all its processes, with the connections.
        settings: Airflow's own settings, ``AIRFLOW__SECTION__OPTION``, over those set here.
    """

    title = "Airflow"
    command = ("standalone",)

    def __init__(
        self, home: Path, dags: Path, environment: Mapping[str, str], settings: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(home, environment)
        self._dags = dags.resolve()
        port, worker_logs, triggerer_logs = free_ports(3)
        self.url = f"http://{HOST}:{port}"
        self.environment |= {
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self._dags),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            # Everybody who reaches the port is an administrator: it is bound to this machine only.
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
            "AIRFLOW__API__HOST": HOST,
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(worker_logs),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(triggerer_logs),
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            **(settings or {}),
        }

    def check(self) -> None:
        """Find out whether there are DAGs."""
        if not self._dags.is_dir():
            raise LocalStackError(f"there is no folder of DAGs at {self._dags}")

    def prepare(self) -> None:
        """Airflow makes what it needs."""

    def health(self) -> dict[str, str]:
        """The status of its parts, by their names; empty while the API does not answer."""
        found = ask(f"{self.url}/api/v2/monitor/health")
        if not isinstance(found, dict):
            return {}
        return {name: str((found.get(name) or {}).get("status")) for name in _COMPONENTS}
