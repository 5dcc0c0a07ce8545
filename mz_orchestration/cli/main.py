"""The command's entry point."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mz_orchestration import __version__
from mz_orchestration.cli import (
    census,
    demo,
    explain,
    export,
    init,
    load,
    local,
    pipeline,
    runs,
    sinks,
    sweep,
    sweep_staging,
    wait,
)
from mz_orchestration.cli.output import reporting
from mz_orchestration.cli.settings import defaults

app = typer.Typer(
    name="mz-orchestration",
    help="Verified exports from Materialize to object stores and Snowflake, and what comes after.",
    epilog="Exit codes: 0 done; 2 bad input; 3 refused for good; 4 numbers disagree, nothing published; "
    "5 run it again; 130 and 143 interrupted; 1 a bug.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("export")(export.export)
app.command("load")(load.load)
app.add_typer(pipeline.app, name="pipeline")
app.command("explain")(explain.explain)
app.command("init")(init.init)
app.add_typer(census.app, name="census")
app.command("sweep")(sweep.sweep)
app.command("sweep-staging")(sweep_staging.sweep_staging)
app.command("wait")(wait.wait)
app.add_typer(runs.app, name="runs")
app.add_typer(sinks.app, name="sinks")
app.add_typer(local.app, name="local")
local.app.command("demo")(demo.demo)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mz-orchestration {__version__}")
        raise typer.Exit


@app.callback()
def _settings(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(
            help="YAML with defaults for flags, a section per command; by default mz-orchestration.yaml, if there.",
            envvar="MZ_ORCHESTRATION_CONFIG",
            show_default=False,
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    with reporting(as_json=False):
        context.default_map = defaults(config, typer.main.get_group(app))


def main() -> None:
    """Run the command."""
    app()
