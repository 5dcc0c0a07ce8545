"""The files that ``mz-orchestration init`` writes, from the answers it got.

Whatever came from outside is quoted by what knows the language it goes into: YAML's own writer, ``repr``, ``shlex``.
"""

from __future__ import annotations

import glob
import json
import keyword
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mz_orchestration.cli.cron_expression import CronExpression
from mz_orchestration.errors import ConfigurationError

RUNNERS = ("cron", "airflow", "dagster")
PIPELINE_FILE = "pipeline.yaml"
SCHEMA_FILE = "pipeline.schema.json"
# cron takes no longer command; Debian's and cronie's limits are around this.
_LONGEST_COMMAND = 990
_RUN_KEY = "date -u +%Y-%m-%dT%H:%M"


@dataclass(frozen=True)
class Answers:
    """What is to be set up.

    Attributes:
        folder: Where the files go, as an absolute path.
        tables: The Snowflake table of each object, in the same order; empty without loads.
        command: What runs the command line.
        user: Whom systemd is to run it as; None for root.
    """

    folder: Path
    name: str
    to: str
    connection: str
    objects: tuple[str, ...]
    together: bool
    stage: str | None
    tables: tuple[str, ...]
    syncs: tuple[str, ...]
    schedule: CronExpression
    runners: tuple[str, ...]
    command: tuple[str, ...]
    user: str | None


def render(answers: Answers) -> dict[str, str]:
    """The files' texts by their paths below the folder.

    Raises:
        ConfigurationError: A file cannot be written so that it means what was asked for.
    """
    from mz_orchestration.pipelines.reading import pipeline_schema

    files = {
        PIPELINE_FILE: pipeline_file(answers),
        SCHEMA_FILE: json.dumps(pipeline_schema(), indent=2, ensure_ascii=False) + "\n",
    }
    module = module_name(answers.name)
    if "cron" in answers.runners:
        files |= {
            "crontab": crontab(answers),
            f"systemd/{answers.name}.service": service(answers),
            f"systemd/{answers.name}.timer": timer(answers),
        }
    if "airflow" in answers.runners:
        files[f"dags/{module}.py"] = dag_file(answers)
    if "dagster" in answers.runners:
        files[f"dagster_defs/{module}.py"] = dagster_file(answers)
    if set(answers.runners) & {"cron", "dagster"}:
        files["env.example"] = environment_file(answers)
    return files


def module_name(name: str) -> str:
    """The name of the pipeline as that of a Python module which stands in no other's way."""
    module = name.replace("-", "_")
    taken = sys.stdlib_module_names | {"airflow", "dagster", "mz_orchestration"}
    if module[0].isdigit() or keyword.iskeyword(module) or module in taken:
        return f"pipeline_{module}"
    return module


def pipeline_file(answers: Answers) -> str:
    """The pipeline."""
    return "\n".join(_pipeline_lines(answers)) + "\n"


def _pipeline_lines(answers: Answers) -> Iterator[str]:
    yield f"# yaml-language-server: $schema={SCHEMA_FILE}"
    yield "# What is exported, checked, loaded and synced. Credentials come from the environment, never from this file."
    yield f"#   mz-orchestration pipeline validate {PIPELINE_FILE}     every mistake, with its line"
    yield f"#   mz-orchestration pipeline plan {PIPELINE_FILE}         every statement; contacts nothing"
    yield f"name: {_yaml(answers.name)}"
    yield ""
    yield "defaults:"
    yield "  # Every run gets paths of its own below; its records lie here, too."
    yield f"  to: {_yaml(answers.to)}"
    yield "  # Materialize's AWS connection."
    yield f"  connection: {_yaml(answers.connection)}"
    if answers.stage is not None:
        yield "  # Snowflake's external stage that covers the folder."
        yield f"  stage: {_yaml(answers.stage)}"
    yield "  # Parts that run at a time."
    yield "  concurrency: 4"
    yield "  checks:"
    yield "    # An export without rows is loaded nowhere. Also: max_rows, max_change: 50%, max_lag: 10m."
    yield "    min_rows: 1"
    yield ""
    yield "exports:"
    for name in answers.objects:
        yield f"  - object: {_yaml(name)}"
        if answers.together:
            yield f"    consistency_group: {_yaml(answers.name)}  # all of it is read at one logical timestamp"
    if answers.tables:
        yield ""
        yield "loads:"
        for name, table in zip(answers.objects, answers.tables, strict=True):
            yield f"  - export: {_yaml(name)}"
            yield f"    table: {_yaml(table)}"
            yield "    strategy: swap  # or overwrite, transaction, append, or merge with keys: [id]"
    if answers.syncs:
        yield ""
        yield "syncs:"
        for sync in answers.syncs:
            yield f"  - sync: {_yaml(sync)}"
            yield "    after:"
            yield from (f"      - {_yaml(name)}" for name in answers.tables or answers.objects)
    yield ""
    yield "# Which export files of earlier runs stay; without this, all do."
    yield "# retention: {keep_last: 7, keep_for: 14d}"
    yield ""
    yield "# Who is told when 'mz-orchestration pipeline run' ends."
    yield "# notifications:"
    yield "#   webhooks:"
    yield '#     - {url: "${SLACK_WEBHOOK}", on: [failure, recovery]}'
    yield '#   heartbeat: "${HEARTBEAT_URL}"'


def crontab(answers: Answers) -> str:
    """The line for cron."""
    folder = shlex.quote(str(answers.folder))
    command = f"cd {folder} && set -a && . ./env && set +a && exec {_run(answers, '--quiet')}"
    line = _cron_escaped(command)
    if len(line) > _LONGEST_COMMAND:
        raise ConfigurationError(
            f"The command for cron would be {len(line)} characters long, and cron takes {_LONGEST_COMMAND}.",
            hint="Choose a folder with a shorter path, or leave cron out of --for.",
        )
    return f"""\
# Add to 'crontab -e'. Copy env.example to env and fill it in first. cron mails what is printed: failures only.
# The time is the machine's own; the run key is the minute of the start, in UTC. A run that failed is gone on with under
# its key, which is in the mail:  mz-orchestration pipeline run {PIPELINE_FILE} --run-key 2026-01-31T02:00
{answers.schedule.text} {line}
"""


def service(answers: Answers) -> str:
    """The unit that runs the pipeline."""
    # Only this directive takes patterns, and would take a bracket in the path for one.
    environment = _specifiers(glob.escape(str(answers.folder / "env")))
    user = f"User={answers.user}\n" if answers.user is not None else ""
    return f"""\
# Copy env.example to env and fill it in, then:
#   sudo systemctl link "$PWD"/systemd/{answers.name}.service "$PWD"/systemd/{answers.name}.timer
#   sudo systemctl enable --now {answers.name}.timer
# A run that failed is gone on with under its key, which is in the journal:
#   mz-orchestration pipeline run {PIPELINE_FILE} --run-key 2026-01-31T02:00
[Unit]
Description=mz-orchestration pipeline {answers.name}
Wants=network-online.target
After=network-online.target
# Tell somebody when a run fails, by a unit of your own:
#OnFailure=notify@%n.service

[Service]
Type=oneshot
{user}WorkingDirectory={_specifiers(str(answers.folder))}
EnvironmentFile={environment}
ExecStart=/bin/sh -c {_systemd_quoted("exec " + _run(answers, "--log-format logfmt"))}
# When it is stopped, it first cancels what runs remotely.
KillMode=mixed
TimeoutStopSec=5min
NoNewPrivileges=true
PrivateTmp=true
ProtectSystem=full
ProtectControlGroups=true
ProtectKernelTunables=true
RestrictSUIDSGID=true
LockPersonality=true
"""


def timer(answers: Answers) -> str:
    """When the unit is run."""
    calendar = "\n".join(f"OnCalendar={each} UTC" for each in answers.schedule.calendar)
    return f"""\
[Unit]
Description=mz-orchestration pipeline {answers.name}

[Timer]
{calendar}
# A run that was missed while the machine was off is made up for.
Persistent=true

[Install]
WantedBy=timers.target
"""


def dag_file(answers: Answers) -> str:
    """The DAG."""
    return f'''\
"""The pipeline {answers.name} in Airflow: one task for each of its parts.

It reads {PIPELINE_FILE} one folder up, and needs the connections materialize_default and aws_default, for loads
snowflake_default, for syncs census_default. Everything can be retried: what is done is not done again.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from mz_orchestration.airflow.pipelines import dag_from_pipeline

dag = dag_from_pipeline(
    Path(__file__).resolve().parents[1] / "{PIPELINE_FILE}",
    schedule={_python(answers.schedule.text)},  # UTC
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    default_args={{"retries": 3, "retry_delay": timedelta(minutes=5)}},
    tags=["materialize"],
)
'''


def dagster_file(answers: Answers) -> str:
    """The code location."""
    resources = ["MaterializeResource", "ObjectStoreResource"]
    resources += ["SnowflakeResource"] if answers.tables else []
    resources += ["CensusResource"] if answers.syncs else []
    keys = {"ObjectStoreResource": "object_store"}
    given = "\n".join(
        f'        "{keys.get(each, each.removesuffix("Resource").lower())}": {each}(),' for each in resources
    )
    names = "\n".join(f"    {each}," for each in [*sorted(resources), "build_pipeline_assets"])
    job = _python(f"{re.sub(r'[^A-Za-z0-9_]', '_', answers.name)}_job")
    return f'''\
"""The pipeline {answers.name} in Dagster: one asset for each export, load and sync.

It reads {PIPELINE_FILE} one folder up. Resources without settings leave all to the environment variables that
env.example names; give them as EnvVar where they are called otherwise.
"""

from __future__ import annotations

from pathlib import Path

from dagster import Definitions, ScheduleDefinition, define_asset_job

from mz_orchestration.dagster import (
{names}
)

assets = build_pipeline_assets(Path(__file__).resolve().parents[1] / "{PIPELINE_FILE}")
job = define_asset_job({job})

defs = Definitions(
    assets=assets,
    jobs=[job],
    schedules=[
        ScheduleDefinition(job=job, cron_schedule={_python(answers.schedule.text)}, execution_timezone="UTC"),
    ],
    resources={{
{given}
    }},
)
'''


def environment_file(answers: Answers) -> str:
    """The variables that credentials come from."""
    parts = {
        "Materialize; or a password in ~/.pgpass": [
            "PGHOST",
            "PGPORT",
            "PGUSER",
            "PGPASSWORD",
            "PGDATABASE",
        ],
        "The object store; a role or profile of the machine will do as well": [
            "AWS_REGION",
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_ENDPOINT_URL",
        ],
    }
    if answers.tables:
        names = ("ACCOUNT", "USER", "PASSWORD", "PRIVATE_KEY_FILE", "ROLE", "WAREHOUSE", "DATABASE", "SCHEMA")
        parts["Snowflake; a password, or a key, or a token"] = [f"SNOWFLAKE_{name}" for name in names]
    if answers.syncs:
        parts["Census"] = ["CENSUS_API_TOKEN", "CENSUS_GROUP_ID"]
    lines = [
        "# Copy to env, take away the # of what you need, and write NAME='value', which sh and systemd read alike.",
        "# Then: chmod 600 env, and keep it out of version control.",
    ]
    for title, variables in parts.items():
        lines += ["", f"# {title}", *(f"#{name}=" for name in variables)]
    return "\n".join(lines) + "\n"


def _run(answers: Answers, flags: str) -> str:
    """The command in the shell's words; the run key is made when it runs."""
    run = f"{shlex.join(answers.command)} pipeline run {PIPELINE_FILE}"
    return f'{run} --if-running skip {flags} --run-key "$({_RUN_KEY})"'


def _yaml(value: str) -> str:
    """A scalar; what would be a reference to a variable is its own text."""
    import yaml

    text = re.sub(r"\$\{", "$${", value)
    if re.fullmatch(r"0|[1-9][0-9]{0,17}", text):
        return text
    [line] = yaml.safe_dump([text], default_flow_style=True, allow_unicode=True, width=10**6).splitlines()
    return line[1:-1]


def _python(text: str) -> str:
    quoted = repr(text)
    return quoted if '"' in text or "\\" in quoted else f'"{quoted[1:-1]}"'


def _cron_escaped(command: str) -> str:
    """cron ends a command at a percent sign that has no backslash, and counts backslashes in pairs."""
    # A backslash of the command itself, within single quotes as shlex has it, must not be taken for that one.
    return command.replace("\\%", "\\''%").replace("%", "\\%")


def _systemd_quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return f'"{_specifiers(escaped)}"'


def _specifiers(text: str) -> str:
    return text.replace("%", "%%")
