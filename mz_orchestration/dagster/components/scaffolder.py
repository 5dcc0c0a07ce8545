"""``dg scaffold defs``: a commented ``defs.yaml`` that runs, in which every secret comes from the environment."""

from __future__ import annotations

import json
from typing import Any

from dagster import Scaffolder, ScaffoldRequest, scaffold_component
from pydantic import BaseModel, ConfigDict, Field

_OBJECT, _TO, _CONNECTION = "materialize.public.orders", "s3://my-bucket/exports/", "my_aws_connection"

_MATERIALIZE = """\
  materialize:
    host: "{{ env('MZ_HOST') }}"
    user: "{{ env('MZ_USER') }}"
    password: "{{ env('MZ_PASSWORD') }}"
    database: materialize
    sslmode: require
"""

_RESOURCES = (
    "  # Leave these out to use the project's resources of the same names.\n"
    + _MATERIALIZE
    + """\
  # What is left out here is boto3's own to find: environment, profile, role.
  object_store: {}
"""
)

_SNOWFLAKE = """\
  snowflake:
    account: "{{ env('SNOWFLAKE_ACCOUNT') }}"
    user: "{{ env('SNOWFLAKE_USER') }}"
    private_key_file: "{{ env('SNOWFLAKE_PRIVATE_KEY_FILE') }}"
    warehouse: "{{ env('SNOWFLAKE_WAREHOUSE') }}"
"""

_EXPORT = """\
type: %(type)s

attributes:
%(resources)s
  # What goes for every export that does not say otherwise.
  defaults:
    to: %(to)s # each run gets a path of its own below it
    connection: %(connection)s # CREATE CONNECTION ... TO AWS, in Materialize
%(stage)s
  exports:
    - object: %(object)s
      checks: {min_rows: 1} # blocks the load; also max_rows, max_change: 20%%, max_lag: 5m
      # freshness: {fail_window: 26h}
%(load)s
  # syncs:
  #   - {sync: 12345, after: [%(load_name)s]}
  # census: {token: "{{ env('CENSUS_TOKEN') }}", group_id: "{{ env('CENSUS_GROUP_ID') }}"}

  # All of it, in one job. Of a single export, load or sync: the same below it.
  schedule: {cron: "0 2 * * *", timezone: UTC} # default_status: RUNNING starts it without a click

  # What is to be different about the assets: group_name, owners, tags, key_prefix ...
  # translation: {group_name: exports, owners: ["team:data"]}

requirements:
  env:
%(env)s
"""

_LOAD = """
  loads:
    - export: %(object)s
      table: %(table)s # made if it does not exist, published only if all counts agree
      strategy: swap # also overwrite, transaction, append, merge with keys: [id]
"""

_PIPELINE = """\
type: %(type)s

attributes:
  # The file that cron and Airflow run; its ${NAME} come from the environment.
  path: pipeline.yaml

%(resources)s
  schedule: {cron: "0 2 * * *", timezone: UTC} # default_status: RUNNING starts it without a click

requirements:
  env:
%(env)s
"""

_PIPELINE_FILE = """\
# mz-orchestration run pipeline.yaml
name: %(name)s

defaults:
  to: %(to)s
  connection: %(connection)s

exports:
  - object: %(object)s
    checks: {min_rows: 1}
"""

_SINKS = """\
type: %(type)s

attributes:
  sinks: [%(sinks)s]
  sensor:
    debounce: 30 # seconds a sink has to be unwell before its check turns red
    recover_after: 60 # and well before it turns green
    # job: tell_somebody # runs for each problem, with the sink and its verdict as tags
    default_status: RUNNING # STOPPED waits for a click

  # What is to be different about the assets: group_name, owners, tags, key_prefix ...
  # translation: {group_name: sinks, owners: ["team:data"]}

  # Leave this out to use the project's resource of the same name.
%(resources)s
requirements:
  env:
%(env)s
"""

_MATERIALIZE_ENV = ("MZ_HOST", "MZ_USER", "MZ_PASSWORD")
_SNOWFLAKE_ENV = ("SNOWFLAKE_ACCOUNT", "SNOWFLAKE_USER", "SNOWFLAKE_PRIVATE_KEY_FILE", "SNOWFLAKE_WAREHOUSE")


class PipelineParams(BaseModel):
    """What a scaffolded pipeline file begins with."""

    model_config = ConfigDict(extra="forbid")

    object: str = Field(default=_OBJECT, description="Table, source, view or materialized view to export.")
    to: str = Field(default=_TO, description="Folder below which every run gets its own path.")
    connection: str = Field(default=_CONNECTION, description="Materialize's AWS connection.")


class ExportParams(PipelineParams):
    """What a scaffolded component of exports begins with."""

    table: str | None = Field(default=None, description="Snowflake table to load the export into.")
    stage: str | None = Field(default=None, description="Snowflake's external stage that covers the folder.")


class ExportScaffolder(Scaffolder[ExportParams]):
    """Writes ``defs.yaml`` for exports, and for a load where a table is given."""

    @classmethod
    def get_scaffold_params(cls) -> type[ExportParams]:
        """What may be given; Dagster's protocol."""
        return ExportParams

    def scaffold(self, request: ScaffoldRequest[ExportParams]) -> None:
        """Write the file; Dagster's protocol."""
        params = request.params
        values = {
            "object": _quoted(params.object),
            "to": _quoted(params.to),
            "connection": _quoted(params.connection),
            "table": _quoted(params.table or "RAW.PUBLIC.ORDERS"),
        }
        values["load_name"] = values["table"]
        stage = f"    stage: {_quoted(params.stage or 'RAW.PUBLIC.MZ_STAGE')} # CREATE STAGE ... URL = that folder\n"
        load = _LOAD % values
        if params.table is None:
            stage, load = _commented(stage), _commented(load)
        env = (*_MATERIALIZE_ENV, *(_SNOWFLAKE_ENV if params.table is not None else ()))
        resources = _RESOURCES + (_SNOWFLAKE if params.table is not None else _commented(_SNOWFLAKE))
        _write(request, _EXPORT, env, **values, resources=resources, stage=stage, load=load)


class PipelineScaffolder(Scaffolder[PipelineParams]):
    """Writes ``defs.yaml``, and a pipeline file beside it."""

    @classmethod
    def get_scaffold_params(cls) -> type[PipelineParams]:
        """What may be given; Dagster's protocol."""
        return PipelineParams

    def scaffold(self, request: ScaffoldRequest[PipelineParams]) -> None:
        """Write the files; Dagster's protocol."""
        _write(request, _PIPELINE, _MATERIALIZE_ENV, resources=_RESOURCES)
        folder = request.target_path.parent if request.append else request.target_path
        file = folder / "pipeline.yaml"
        # Somebody may have brought theirs.
        if not file.exists():
            values = {name: _quoted(value) for name, value in request.params.model_dump().items()}
            file.write_text(_PIPELINE_FILE % {"name": _quoted(folder.name), **values}, encoding="utf-8")


class SinkParams(BaseModel):
    """What a scaffolded component of sinks begins with."""

    model_config = ConfigDict(extra="forbid")

    sink: str = Field(default="materialize.public.orders_sink", description="A streaming sink to watch.")


class SinkScaffolder(Scaffolder[SinkParams]):
    """Writes ``defs.yaml`` for the health of sinks."""

    @classmethod
    def get_scaffold_params(cls) -> type[SinkParams]:
        """What may be given; Dagster's protocol."""
        return SinkParams

    def scaffold(self, request: ScaffoldRequest[SinkParams]) -> None:
        """Write the file; Dagster's protocol."""
        _write(request, _SINKS, _MATERIALIZE_ENV, sinks=_quoted(request.params.sink), resources=_MATERIALIZE)


def _write(request: ScaffoldRequest[Any], template: str, env: tuple[str, ...], **values: str) -> None:
    if request.scaffold_format == "python":
        scaffold_component(request)
        return
    text = template % {**values, "type": request.type_name, "env": "\n".join(f"    - {name}" for name in env)}
    if request.append:
        with request.target_path.open("a", encoding="utf-8") as file:
            file.write(f"---\n{text}")
        return
    (request.target_path / "defs.yaml").write_text(text, encoding="utf-8")


def _quoted(value: str) -> str:
    # In YAML, too, this is the text and nothing else.
    return json.dumps(value, ensure_ascii=False)


def _commented(text: str) -> str:
    """The lines as a comment, with their indentation inside it."""
    return "".join(f"  # {line[2:]}" if line.strip() else line for line in text.splitlines(keepends=True))
