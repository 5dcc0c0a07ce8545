"""Airflow's own parts in this process, on connections to a local stack of Materialize and Census."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator

import psycopg
import pytest

from mz_orchestration.local.stack import LocalStack

# Airflow reads its settings when first imported.
if "AIRFLOW_HOME" not in os.environ:
    os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="mz-orchestration-airflow-")
    atexit.register(shutil.rmtree, os.environ["AIRFLOW_HOME"], ignore_errors=True)
os.environ.setdefault("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
os.environ.setdefault("AIRFLOW__USAGE_DATA_COLLECTION__ENABLED", "False")

TABLE = "public.orders"


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    with LocalStack() as running:
        running.start(tmp_path_factory.mktemp("stack"), port_base=0, servers=("s3", "materialize", "census"))
        with connected(running) as session:
            session.execute(f"CREATE TABLE {TABLE} (id int, total numeric(12,2), note text)")
            session.execute(f"INSERT INTO {TABLE} VALUES (1, 10.5, 'first'), (2, 20, NULL), (3, 30, 'third')")
        yield running


def connected(stack: LocalStack) -> psycopg.Connection[object]:
    variables = stack.environment
    return psycopg.connect(
        host=variables["PGHOST"],
        port=variables["PGPORT"],
        user=variables["PGUSER"],
        password=variables["PGPASSWORD"],
        dbname=variables["PGDATABASE"],
        autocommit=True,
    )


@pytest.fixture(autouse=True)
def connections(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The stack's connections, and nothing that libpq or a client would find by itself."""
    found = {name: value for name, value in stack.environment.items() if name.startswith("AIRFLOW_CONN_")}
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    return found
