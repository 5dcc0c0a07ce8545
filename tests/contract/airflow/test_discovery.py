"""What Airflow itself finds out about the provider, in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mz_orchestration import __version__

FORMS = """
import json, sys
from airflow.providers_manager import ProvidersManager

manager = ProvidersManager()
forms = {each.connection_type: each for each in manager.iter_connection_type_hook_ui_metadata()}
fields = manager._connection_form_widgets_from_metadata
behaviours = manager._field_behaviours_from_metadata
answer = {
    kind: {
        "name": forms[kind].hook_name,
        "fields": {each.field_name: each.field["schema"] for name, each in fields.items() if f"__{kind}__" in name},
        "behaviour": behaviours[kind],
    }
    for kind in ("materialize", "census")
}
# The form needs no hook; whoever wants one gets it.
answer["imported"] = [name for name in sys.modules if name.startswith("mz_orchestration.airflow.hooks.")]
answer["hooks"] = {kind: manager.hooks[kind].hook_class_name for kind in ("materialize", "census")}
answer["attributes"] = {kind: manager.hooks[kind].connection_id_attribute_name for kind in ("materialize", "census")}
answer["links"] = [name for name in manager.extra_links_class_names if name.startswith("mz_orchestration.")]
answer["schemes"] = sorted(manager.asset_uri_handlers)
print(json.dumps(answer))
"""


def run(home: Path, *command: str) -> str:
    done = subprocess.run(
        command,
        env={**os.environ, "AIRFLOW_HOME": str(home), "PYTHONWARNINGS": "ignore", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # Anything that Airflow could not import or register.
    assert "mz_orchestration" not in done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return json.loads(run(tmp_path_factory.mktemp("airflow"), sys.executable, "-c", FORMS).splitlines()[-1])


def test_forms_are_known_without_the_hooks(found: Any) -> None:
    assert found["imported"] == ["mz_orchestration.airflow.hooks.forms"]
    materialize, census = found["materialize"], found["census"]
    assert (materialize["name"], census["name"]) == ("Materialize", "Census")
    assert set(materialize["fields"]) == {"cluster", "sslmode", "sslrootcert", "connect_timeout", "console_url"}
    assert set(census["fields"]) == {"api_version", "group_id", "region"}
    assert materialize["fields"]["cluster"]["title"] == "Cluster"
    assert "verify-full" in materialize["fields"]["sslmode"]["enum"]
    assert materialize["behaviour"]["relabeling"] == {"schema": "Database", "login": "User"}
    assert materialize["behaviour"]["placeholders"]["extra__materialize__cluster"] == "quickstart"
    assert census["behaviour"]["hidden_fields"] == ["login"]
    assert census["behaviour"]["relabeling"]["password"] == "Token"


def test_what_is_registered(found: Any) -> None:
    assert found["hooks"] == {
        "materialize": "mz_orchestration.airflow.hooks.materialize.MaterializeHook",
        "census": "mz_orchestration.airflow.hooks.census.CensusHook",
    }
    assert found["attributes"] == {"materialize": "materialize_conn_id", "census": "census_conn_id"}
    assert {name.rpartition(".")[2] for name in found["links"]} == {
        "MaterializeConsoleLink",
        "ExportFolderLink",
        "SnowflakeQueryLink",
        "CensusSyncLink",
    }
    assert "materialize" in found["schemes"]


def test_airflows_own_commands(tmp_path: Path) -> None:
    airflow = str(Path(sys.executable).with_name("airflow"))
    (told,) = json.loads(run(tmp_path, airflow, "providers", "get", "mz-orchestration", "--output", "json"))
    assert told["Provider"] == "mz-orchestration"
    assert told["Version"] == __version__
    value = run(tmp_path, airflow, "config", "get-value", "materialize", "cancel_grace")
    assert float(value.splitlines()[-1]) > 0
