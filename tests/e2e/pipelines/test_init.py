"""What init writes, run over the local stack: by sh as cron would, and by Dagster. Airflow's is in its own folder."""

from __future__ import annotations

import json
import os
import runpy
import shlex
import subprocess
from pathlib import Path

import dagster as dg
import pytest
import typer
from typer.testing import CliRunner

from mz_orchestration.cli.init import init
from mz_orchestration.local.stack import LocalStack
from mz_orchestration.snowflake.config import SnowflakeConfig
from mz_orchestration.snowflake.quoting import Sql
from mz_orchestration.snowflake.session import SnowflakeSession

FLAGS = "--connection local_s3 --object shop.customers --object shop.order_totals --stage DEMO.PUBLIC.MZ_STAGE --sync 1"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Written by init, for a path that every one of the languages would read as something else."""
    folder = tmp_path / "50% o'$HOME"
    app = typer.Typer()
    app.command()(init)
    arguments = [
        str(folder),
        *shlex.split(FLAGS),
        "--to",
        "s3://mz-exports/init/",
        "--schema",
        "DEMO.PUBLIC",
        "--name",
        "my-init",
    ]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return folder


def sql(stack: LocalStack, statement: str) -> list[dict[str, object]]:
    with SnowflakeSession(SnowflakeConfig.from_environment(stack.environment)) as session:
        return session.query(Sql(statement)).rows


def test_the_line_of_the_crontab(folder: Path, stack: LocalStack) -> None:
    lines = "".join(f"{name}={shlex.quote(value)}\n" for name, value in stack.environment.items())
    (folder / "env").write_text(lines)
    line = (folder / "crontab").read_text().splitlines()[-1].split(" ", 5)[-1].replace("\\%", "%")
    # As little as cron gives.
    environment = {"PATH": "/usr/bin:/bin", "HOME": os.environ["HOME"], "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        ["/bin/sh", "-c", line], env=environment, cwd="/", capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    rows = [sql(stack, f"SELECT COUNT(*) AS N FROM DEMO.PUBLIC.{table}") for table in ("CUSTOMERS", "ORDER_TOTALS")]
    assert all(each[0]["n"] for each in rows)


def test_the_definitions_in_dagster(folder: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_DISABLE_TELEMETRY", "yes")
    defs = runpy.run_path(str(folder / "dagster_defs/my_init.py"))["defs"]
    dg.Definitions.validate_loadable(defs)
    [schedule] = defs.schedules
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("0 2 * * *", "UTC")
    with dg.instance_for_test() as instance:
        result = defs.resolve_job_def("my_init_job").execute_in_process(instance=instance, raise_on_error=False)
    failed = [str(event.event_specific_data) for event in result.all_events if event.is_step_failure]
    assert (failed, result.success) == ([], True)
    assets = {event.asset_key.to_user_string() for event in result.get_asset_materialization_events()}
    assert assets == {
        "exports/shop/customers",
        "exports/shop/order_totals",
        "snowflake/demo/public/customers",
        "snowflake/demo/public/order_totals",
        "census/1",
    }
    checks = [(each.asset_key.path[0], each.check_name) for each in result.get_asset_check_evaluations()]
    assert sorted(checks) == [
        ("census", "records_accepted"),
        *[("exports", "counts_reconciled")] * 2,
        *[("exports", "min_rows")] * 2,
        *[("snowflake", "counts_reconciled")] * 2,
    ]


def test_the_schema_is_that_of_the_file(folder: Path) -> None:
    import jsonschema
    import yaml

    text = (folder / "pipeline.yaml").read_text()
    assert text.startswith("# yaml-language-server: $schema=pipeline.schema.json\n")
    jsonschema.validate(yaml.safe_load(text), json.loads((folder / "pipeline.schema.json").read_text()))
