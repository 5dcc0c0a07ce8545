"""``mz-orchestration pipeline``: run, plan and check a pipeline file."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from mz_orchestration.cli.commands import pipeline_command
from mz_orchestration.cli.output import print_json, printable, reporting, say, worst_exit_code
from mz_orchestration.cli.pipeline_view import LogFormat, view
from mz_orchestration.errors import AlreadyRunningError, ConfigurationError, NotFoundError

if TYPE_CHECKING:
    from mz_orchestration.pipelines.lease import IfRunning
    from mz_orchestration.pipelines.planning import Plan
    from mz_orchestration.pipelines.record import PipelineRecord

app = typer.Typer(help="Run a pipeline file: exports, checks, loads and syncs.", no_args_is_help=True)

File = Annotated[Path, typer.Argument(metavar="FILE", help="A pipeline file in YAML.")]
Only = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="NAME", help="An export, load or sync, with all that it needs. Repeatable."),
]
RunKey = Annotated[
    str | None,
    typer.Option("--run-key", help="Names the run: the same key again does what is left; by default a new one."),
]


@app.command(
    epilog="Exit codes: 0 all done, or skipped; 2 the file or the settings are wrong; 3 something was refused for "
    "good; 4 numbers disagree or a check failed; 5 run it again; 130 and 143 interrupted. Of several failures, the "
    "first of 4, 3, 2, 5 counts."
)
def run(
    file: File,
    run_key: RunKey = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Take the key, and --only, of the newest run of this pipeline, which has not succeeded."
        ),
    ] = False,
    only: Only = None,
    if_running: Annotated[
        str,
        typer.Option(
            help="While another run of this pipeline is in progress: fail (5), skip this one (0), or wait for it.",
            metavar="fail|skip|wait",
        ),
    ] = "fail",
    log_format: Annotated[
        LogFormat, typer.Option(help="Progress on standard error; table is text where there is no terminal.")
    ] = LogFormat.TABLE,
    json: Annotated[bool, typer.Option("--json", help="The record of the run as JSON on standard output.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, and only failures at the end.")] = False,
) -> None:
    """Run a pipeline, or what an earlier run of the same key left of it."""
    from mz_orchestration.pipelines.planning import select
    from mz_orchestration.pipelines.reading import read_pipeline

    with reporting(as_json=json):
        policy = _policy(if_running)
        plan = read_pipeline(file)
        key = _given_key(run_key, resume=resume)
        if resume:
            left = _left(plan)
            key, only = left.run_key, only or list(left.only)
        names = [node.name for node in select(plan, only or ())]
    shown = view(log_format, pipeline=plan.spec.name, run_key=key, names=names, quiet=quiet or json)
    if not quiet and log_format in (LogFormat.TABLE, LogFormat.TEXT):
        say(f"pipeline {plan.spec.name}  run key {key}")
    again = pipeline_command(str(file), key, only or ())
    with reporting(as_json=json, again=again):
        from mz_orchestration.pipelines.run import run_pipeline

        try:
            with shown.shown():
                record = run_pipeline(
                    plan,
                    run_key=key,
                    only=only or (),
                    if_running=policy,
                    on_event=shown.step,
                    on_node=shown.node,
                    on_warning=shown.warn,
                    file=str(file),
                )
        except AlreadyRunningError as error:
            if policy != "skip":
                raise
            say(f"skipped: {error.message}")
            if json:
                print_json({"skipped": error.message})
            return
    if json:
        print_json(record.model_dump(mode="json"))
    elif not quiet:
        _report(record)
    if record.state != "succeeded":
        shown.ended(record, again)
        raise typer.Exit(worst_exit_code([node.error for node in record.failed if node.error]))


@app.command()
def plan(file: File, run_key: RunKey = None, only: Only = None) -> None:
    """Print the graph, and every statement in order; contacts nothing."""
    from mz_orchestration.cli.pipeline_plan import plan_lines
    from mz_orchestration.pipelines.reading import read_pipeline

    with reporting(as_json=False):
        for line in plan_lines(read_pipeline(file), run_key or "RUN_KEY", tuple(only or ())):
            typer.echo(printable(line))


@app.command()
def validate(files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Pipeline files in YAML.")]) -> None:
    """Say what is wrong with pipeline files: file, line, field; contacts nothing."""
    from mz_orchestration.pipelines.reading import read_pipeline

    wrong = False
    for file in files:
        try:
            spec = read_pipeline(file).spec
        except ConfigurationError as error:
            wrong = True
            say(f"error: {error.message}", bold="red")
            if error.hint:
                say(f"  what to do: {error.hint}")
            continue
        parts = [(len(spec.exports), "export"), (len(spec.loads), "load"), (len(spec.syncs), "sync")]
        counted = ", ".join(f"{count} {name}{'' if count == 1 else 's'}" for count, name in parts if count)
        typer.echo(f"{file}: ok ({counted})")
    if wrong:
        raise typer.Exit(2)


@app.command()
def schema(
    output: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="Write it there; printed by default.")] = None,
) -> None:
    """Print the JSON schema of pipeline files, for editors."""
    import json as encoder

    from mz_orchestration.pipelines.reading import pipeline_schema

    with reporting(as_json=False):
        text = encoder.dumps(pipeline_schema(), indent=1) + "\n"
        if output is None:
            typer.echo(text, nl=False)
            return
        try:
            output.write_text(text, encoding="utf-8")
        except OSError as error:
            raise ConfigurationError(
                f"{output} cannot be written: {error.strerror}.", hint="Give another path."
            ) from error
        typer.echo(f"written: {output}; in a pipeline file: # yaml-language-server: $schema={output.name}")


@app.command()
def runs(
    file: File,
    limit: Annotated[int, typer.Option(help="How many, newest first.", min=1)] = 20,
    json: Annotated[bool, typer.Option("--json", help="As JSON on standard output.")] = False,
) -> None:
    """List the runs of a pipeline written down last."""
    from mz_orchestration.pipelines.nodes import base_of
    from mz_orchestration.pipelines.reading import read_pipeline
    from mz_orchestration.pipelines.store import PipelineStore

    with reporting(as_json=json):
        from mz_orchestration.objectstore.client import ObjectStore

        spec = read_pipeline(file)
        records = PipelineStore(ObjectStore(), base_of(spec)).recent(spec.spec.name, limit)
        if json:
            print_json({"runs": [record.model_dump(mode="json") for record in records]})
        elif records:
            _print_table(records)
        else:
            typer.echo(f"no runs of {spec.spec.name} below {base_of(spec)}")


def _policy(text: str) -> IfRunning:
    from mz_orchestration.pipelines.lease import IfRunning

    policies: tuple[IfRunning, ...] = get_args(IfRunning)
    for policy in policies:
        if policy == text:
            return policy
    raise ConfigurationError(f"--if-running: {text!r} is not fail, skip or wait.", hint="Give one of these.")


def _given_key(run_key: str | None, *, resume: bool) -> str:
    """The run key asked for, or a new one."""
    if run_key is not None and resume:
        raise ConfigurationError("--run-key and --resume both name a run.", hint="Give one of them.")
    if run_key is not None and not run_key.strip():
        raise ConfigurationError("--run-key is empty.", hint="Is the variable behind it set?")
    return run_key or f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


def _left(plan: Plan) -> PipelineRecord:
    """The newest run, if it has not succeeded.

    Raises:
        NotFoundError: It has, or there is none.
    """
    from mz_orchestration.objectstore.client import ObjectStore
    from mz_orchestration.pipelines.nodes import base_of
    from mz_orchestration.pipelines.store import PipelineStore

    # An older one is not taken: what it would load is older than what is there.
    for record in PipelineStore(ObjectStore(), base_of(plan)).recent(plan.spec.name, 1):
        if record.state != "succeeded":
            return record
    raise NotFoundError(
        f"The last run of {plan.spec.name} has succeeded, or there is none: nothing to resume.",
        hint="Leave --resume out to start a new run.",
    )


def _report(record: PipelineRecord) -> None:
    for node in record.nodes:
        if node.state == "succeeded":
            again = "  (done before)" if node.repeated else ""
            typer.echo(printable(f"{node.name}: {node.line}{again}"))


def _print_table(records: list[PipelineRecord]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    colors = {"succeeded": "green", "failed": "red", "running": "yellow", "interrupted": "yellow"}
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("RUN KEY", "STATE", "FAILED", "SECONDS", "UPDATED (UTC)"):
        table.add_column(heading, justify="right" if heading == "SECONDS" else "left", overflow="fold")
    for record in records:
        failed = Text(printable(", ".join(node.name for node in record.failed)))
        took = "" if record.finished_at is None else f"{(record.finished_at - record.created_at).total_seconds():.0f}"
        state = Text(record.state, style=colors[record.state])
        table.add_row(Text(printable(record.run_key)), state, failed, took, f"{record.updated_at:%Y-%m-%d %H:%M:%S}")
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, 200)  # in a log, a folded run key cannot be copied
    console.print(table)
