"""``mz-orchestration sweep-staging``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mz_orchestration.cli.output import print_json, printable, reporting, say, size_text
from mz_orchestration.cli.sweep import age_text, parse_age

if TYPE_CHECKING:
    from mz_orchestration.snowflake.sweep import StagingTable


def sweep_staging(
    schema: Annotated[str, typer.Argument(help="The schema that holds the targets of loads: database.schema.")],
    older_than: Annotated[
        str, typer.Option(help="How long nothing must have happened to a table: 90m, 24h, 7d; longer than loads take.")
    ] = "24h",
    delete: Annotated[bool, typer.Option("--delete", help="Drop them. Without, nothing is changed.")] = False,
    json: Annotated[bool, typer.Option("--json", help="The result as JSON on standard output.")] = False,
) -> None:
    """Show the staging tables that killed and failed loads left in Snowflake, and drop them with --delete.

    A load that is asked for again removes its own; this is for those that nobody asks for any more.
    """
    with reporting(as_json=json):
        from mz_orchestration.snowflake.sweep import sweep_staging as run_sweep

        found = run_sweep(schema, older_than=parse_age(older_than), delete=delete)
        if json:
            print_json({"tables": [table.to_dict() for table in found], "deleted": delete})
        else:
            _report(found, deleted=delete)
    if any(table.problem for table in found):
        raise typer.Exit(3)


def _report(found: list[StagingTable], *, deleted: bool) -> None:
    for table in found:
        age, size = age_text(table.idle_seconds), size_text(table.bytes)
        typer.echo(f"{printable(table.name)}  rows={table.rows}  size={size}  idle={age}")
        if table.problem:
            say(f"error: {table.problem}", bold="red")
    if deleted:
        typer.echo(f"dropped: {sum(table.dropped for table in found)} of {len(found)} staging tables")
        return
    typer.echo(f"to drop: {len(found)} staging tables")
    if found:
        typer.echo("nothing was changed; the same command with --delete does it")
