"""Staging tables that nobody will come back for: of loads that were killed or failed and never asked for again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from mz_orchestration.errors import ConfigurationError, MzOrchestrationError
from mz_orchestration.flow import Clock, Flow, call, run
from mz_orchestration.snowflake import statements
from mz_orchestration.snowflake.config import SnowflakeConfig
from mz_orchestration.snowflake.job import session_opener
from mz_orchestration.snowflake.names import is_staging_name
from mz_orchestration.snowflake.quoting import identifier, parse_name
from mz_orchestration.snowflake.session import SnowflakeSession, require_connector


@dataclass(frozen=True, slots=True)
class StagingTable:
    """A staging table.

    Attributes:
        name: Qualified and quoted.
        rows: What it holds.
        bytes: How much of that Snowflake bills.
        idle_seconds: Since it was changed last.
        dropped: It has been dropped now.
        problem: Why it could not be.
    """

    name: str
    rows: int
    bytes: int
    idle_seconds: float
    dropped: bool = False
    problem: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The table as JSON-ready data."""
        return asdict(self)


def sweep_staging(
    schema: str,
    *,
    older_than: timedelta = timedelta(hours=24),
    delete: bool = False,
    snowflake: SnowflakeConfig | None = None,
    clock: Clock | None = None,
) -> list[StagingTable]:
    """Find the staging tables of a schema that nothing has happened to for a while, and drop them if told to.

    A load that waits longer than that for one COPY INTO would lose its table and fail, so allow more than loads take.

    Args:
        schema: ``database.schema``.
        older_than: How long.
        delete: Drop them; otherwise nothing is changed.
        snowflake: How to sign in; ``SNOWFLAKE_*`` by default.
        clock: The time to live in.

    Raises:
        ConfigurationError: ``schema`` is not one, or the settings are wrong.
    """
    parts = parse_name(schema, field="schema")
    if len(parts) != 2:
        raise ConfigurationError(f"schema: {schema!r} is not a schema.", hint="Write database.schema.")
    require_connector()
    clock = clock or Clock()
    opener = session_opener(snowflake or SnowflakeConfig.from_environment())
    return run(_sweep((parts[0], parts[1]), older_than, delete, opener, clock), clock)


def _sweep(
    schema: tuple[str, str],
    older_than: timedelta,
    delete: bool,
    opener: Callable[[dict[str, str]], SnowflakeSession],
    clock: Clock,
) -> Flow[list[StagingTable]]:
    session = yield from call(opener, {"sweep": ".".join(schema)})
    found: list[StagingTable] = []
    try:
        listed = yield from call(session.query, statements.list_staging(schema))
        for row in listed.rows:
            changed: datetime = row["last_altered"]
            idle = clock.now() - changed
            if not is_staging_name(row["table_name"]) or idle < older_than:
                continue
            name = (*schema, row["table_name"])
            problem = ""
            if delete:
                try:
                    yield from call(session.query, statements.drop(name))
                except MzOrchestrationError as error:
                    problem = error.message
            found.append(
                StagingTable(
                    name=identifier(*name),
                    rows=int(row["row_count"] or 0),
                    bytes=int(row["bytes"] or 0),
                    idle_seconds=round(idle.total_seconds(), 1),
                    dropped=delete and not problem,
                    problem=problem,
                )
            )
    finally:
        yield from call(session.close)
    return found
