"""``mz-orchestration local demo``: a pipeline on this machine, from nothing, by the commands a person would type."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from mz_orchestration.cli.output import reporting, say
from mz_orchestration.errors import ReconciliationError

_PIPELINE = """\
name: demo
defaults:
  to: s3://mz-exports/demo/
  connection: local_s3              # Materialize's AWS connection
  stage: DEMO.PUBLIC.MZ_STAGE       # Snowflake's stage over the same bucket
  checks: {min_rows: 1}
exports:                            # three objects, read at one logical timestamp
  - {object: shop.order_lines, consistency_group: orders}
  - {object: shop.order_totals, consistency_group: orders, checks: {max_change: 20%}}
  - {object: shop.customers, consistency_group: orders, format: csv, csv: {header: true}}
loads:                              # two tables, each in its own way
  - {export: shop.order_lines, table: DEMO.PUBLIC.ORDER_LINES}
  - {export: shop.order_totals, table: DEMO.PUBLIC.ORDER_TOTALS, strategy: merge, keys: [order_id]}
syncs:                              # then Census sends the totals on
  - {sync: 1, after: [DEMO.PUBLIC.ORDER_TOTALS]}
"""
# The same figures from both ends: counts, sums, NULL beside the empty string, arrays, JSON, points in time.
_FIGURES = {
    "rows": ("count(*)", "COUNT(*)"),
    "orders": ("count(DISTINCT order_id)", "COUNT(DISTINCT ORDER_ID)"),
    "quantity": ("sum(quantity)", "SUM(QUANTITY)"),
    "net_amount": ("sum(net_amount)", "SUM(NET_AMOUNT)"),
    "notes": ("count(note)", "COUNT(NOTE)"),
    "empty_notes": ("count(*) FILTER (WHERE note = '')", "COUNT_IF(NOTE = '')"),
    "boxes": ("sum(array_length(boxes, 1))", "SUM(ARRAY_SIZE(BOXES))"),
    "attributes": ("count(attributes)", "COUNT(ATTRIBUTES)"),
    "first_added": ("min(added_at)", "MIN(ADDED_AT)"),
    "last_added": ("max(added_at)", "MAX(ADDED_AT)"),
}


def demo(
    dir: Annotated[Path, typer.Option("--dir", help="State folder of the stack.", file_okay=False)] = Path(".mz-local"),
    rows: Annotated[int, typer.Option(min=1, help="Order lines to make.")] = 1_000_000,
    port_base: Annotated[int, typer.Option(min=0, max=65532, help="First port; 0 takes free ones.")] = 0,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the stack up at the end.")] = False,
) -> None:
    """Start the stack, seed it, run a pipeline of exports, loads and a sync, compare both ends, stop."""
    stay = False
    with reporting(as_json=False):
        try:
            _play(dir, rows, port_base, keep)
            stay = keep
        finally:
            if not stay:
                _type(["local", "down", "--dir", str(dir)])


def _play(dir: Path, rows: int, port_base: int, keep: bool) -> None:
    began = time.monotonic()
    where = ["--dir", str(dir)]
    _type(["local", "up", "--detach", "--port-base", str(port_base), *where])
    _type(["local", "seed", "--rows", str(rows), *where])
    _use_environment(dir)
    file = dir / "pipeline.yaml"
    say(f"\n$ cat {shlex.quote(str(file))}", bold="cyan")
    file.write_text(_PIPELINE, encoding="utf-8")
    typer.echo(_PIPELINE, nl=False)
    run = ["pipeline", "run", str(file), "--run-key", "tonight"]
    _type(run)
    _compare()
    say("\nThe same run again finds everything done:", bold="cyan")
    _type(run)
    _type(["explain", "tonight", "--file", str(file)])
    say(f"\nAll of it took {time.monotonic() - began:.0f} s.", bold="green")
    _what_next(dir, kept=keep)


def _type(arguments: list[str]) -> str:
    """Run one of our own commands, letting it print, and return what it printed on standard output."""
    say(f"\n$ {shlex.join(['mz-orchestration', *arguments])}", bold="cyan")
    process = subprocess.Popen(
        [sys.executable, "-m", "mz_orchestration.cli", *arguments], stdout=subprocess.PIPE, text=True
    )
    printed = []
    assert process.stdout is not None
    try:
        for line in process.stdout:
            typer.echo(line, nl=False)
            printed.append(line)
        code = process.wait()
    except BaseException:
        process.terminate()
        process.wait(60)
        raise
    if code:
        raise typer.Exit(code)
    return "".join(printed)


def _use_environment(dir: Path) -> None:
    from mz_orchestration.local.environment import environment
    from mz_orchestration.local.stack import running

    say(f'\n$ eval "$(mz-orchestration local env --dir {shlex.quote(str(dir))})"', bold="cyan")
    os.environ.update(environment(running(dir)))


def _compare() -> None:
    """Print the figures of both ends side by side.

    Raises:
        ReconciliationError: They differ.
    """
    import psycopg
    from psycopg import sql

    from mz_orchestration.snowflake.config import SnowflakeConfig
    from mz_orchestration.snowflake.quoting import Sql, compose, join
    from mz_orchestration.snowflake.session import SnowflakeSession

    say("\nThe same figures from both ends:", bold="cyan")
    theirs = sql.SQL(", ").join(sql.SQL(pair[0]) for pair in _FIGURES.values())
    with psycopg.connect(autocommit=True) as connection:
        statement = sql.SQL("SELECT {} FROM shop.order_lines").format(theirs)
        source: tuple[Any, ...] = connection.execute(statement).fetchone() or ()
    with SnowflakeSession(SnowflakeConfig.from_environment()) as session:
        figures = join(compose("{} AS {}", Sql(pair[1]), Sql(name)) for name, pair in _FIGURES.items())
        row = session.query(compose("SELECT {} FROM DEMO.PUBLIC.ORDER_LINES", figures)).rows[0]
    different = []
    for name, value in zip(_FIGURES, source, strict=True):
        same = value == row[name]
        typer.echo(f"  {name:<12} {value!s:>34} {row[name]!s:>34}  {'same' if same else 'DIFFERENT'}")
        different += [] if same else [name]
    if different:
        raise ReconciliationError(f"Materialize and Snowflake disagree on {', '.join(different)}.")


def _what_next(dir: Path, *, kept: bool) -> None:
    say("What to try next:" if kept else "What to try next, after 'make demo KEEP=1':")
    activate = Path(os.path.relpath(sys.prefix)) / "bin" / "activate"
    for line in (
        f"source {shlex.quote(str(activate))}",
        f'eval "$(mz-orchestration local env --dir {shlex.quote(str(dir))})"',
        "psql -c 'SELECT * FROM shop.order_totals LIMIT 3'",
        "mz-orchestration export shop.order_totals --to s3://mz-exports/try/ --connection local_s3 --dry-run",
        f"mz-orchestration pipeline plan {shlex.quote(str(dir / 'pipeline.yaml'))}",
        "mz-orchestration runs --at s3://mz-exports/demo/",
        "mz-orchestration census list",
        f"tail -n 3 {shlex.quote(str(dir / 'statements.jsonl'))}",
    ):
        say(f"  {line}")
