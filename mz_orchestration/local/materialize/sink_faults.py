"""What goes wrong with sinks and sources on purpose, settable while the server runs: the latest settings count.

Faults name sinks by a part of their name with the schema's, several separated by commas, ``*`` for all. What is to
happen once (drop, counters_reset, reboot) happens at the next tick and is not kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

import psycopg
from psycopg.types.json import Jsonb
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mz_orchestration.local.errors import LocalStackError
from mz_orchestration.local.materialize.faults import conninfo_of
from mz_orchestration.local.state import State

Seconds = Annotated[float, Field(ge=0, le=86400)]

#: What happens once, to the sinks named; a reboot is Materialize's own and needs no names.
ACTS = ("drop", "counters_reset", "reboot")


class SinkFaults(BaseModel):
    """The switches; without arguments all is well.

    Attributes:
        stall: These run for a moment, have an error, start again, and so on.
        stay_stalled: These have an error, and do not start again.
        stall_replica: The same on one replica: ``sink/replica``.
        flap: These run, have an error, start and run again, more slowly than with ``stall``.
        stuck_starting: These never get beyond starting.
        commit_stall: These stage and do not commit, and say that they run.
        freeze: These say that they run, and do nothing.
        replica_loss: Replicas that are offline, as ``cluster/replica``: out of memory. Nobody tells of what ran there.
        every_replica: These sinks run on all replicas of their cluster. Materialize runs a sink on one, the first, and
            sources that generate load on all.
        reset_on_restart: The counters of these begin anew with each start.
        error: The text of errors, behind the namespace.
        hint: The hint of errors; empty for none.
        publish_every: Seconds between two reports of the counters.
        starting_seconds: Seconds a start takes.
        broken_seconds: Seconds an error lasts, and with ``flap`` the time between two.
        tick: Seconds between two moments in the life of sinks.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    stall: str = ""
    stay_stalled: str = ""
    stall_replica: str = ""
    flap: str = ""
    stuck_starting: str = ""
    commit_stall: str = ""
    freeze: str = ""
    replica_loss: str = ""
    every_replica: str = ""
    reset_on_restart: str = ""
    error: str | None = None
    hint: str | None = None
    publish_every: Seconds = 60.0
    starting_seconds: Seconds = 1.0
    broken_seconds: Seconds = 5.0
    tick: Annotated[float, Field(gt=0, le=60)] = 0.5

    @classmethod
    def parse(cls, values: Mapping[str, object]) -> SinkFaults:
        """Read switches by name; text is converted.

        Raises:
            LocalStackError: a name or a value is unknown.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            [first, *_] = error.errors()
            name = str(first["loc"][0])
            if first["type"] == "extra_forbidden":
                raise LocalStackError(
                    f"there is no fault {name!r} of sinks.", hint=f"Known are: {', '.join([*cls.model_fields, *ACTS])}."
                ) from None
            raise LocalStackError(f"{name}={first['input']}: {first['msg'][0].lower()}{first['msg'][1:]}.") from None

    def set_ones(self) -> dict[str, object]:
        """The switches that differ from all being well."""
        return self.model_dump(mode="json", exclude_defaults=True)


def set_sink_faults(connection: psycopg.Connection[Any], faults: SinkFaults) -> None:
    """Replace what is set.

    Args:
        connection: To the stand-in.
        faults: What is to go wrong from now on.
    """
    connection.execute("INSERT INTO mz_local.sink_faults (settings) VALUES (%s)", [Jsonb(faults.set_ones())])


def get_sink_faults(connection: psycopg.Connection[Any]) -> SinkFaults:
    """What is set.

    Args:
        connection: To the stand-in.
    """
    row = connection.execute("SELECT settings FROM mz_local.sink_faults ORDER BY id DESC LIMIT 1").fetchone()
    return SinkFaults() if row is None else SinkFaults.parse(row[0])


def act_on_sinks(connection: psycopg.Connection[Any], act: str, names: str = "*") -> None:
    """Let something happen once, at the next tick.

    Args:
        connection: To the stand-in.
        act: ``drop`` sinks; ``counters_reset``: counters begin anew; ``reboot``: as when Materialize itself restarts.
        names: Of which sinks, as in `SinkFaults`.

    Raises:
        LocalStackError: There is no such act.
    """
    if act not in ACTS:
        raise LocalStackError(f"there is no act {act!r} on sinks.", hint=f"Known are: {', '.join(ACTS)}.")
    connection.execute("INSERT INTO mz_local.sink_acts (act, names) VALUES (%s, %s)", [act, names])


@contextmanager
def sink_faults(connection: psycopg.Connection[Any], **settings: Any) -> Iterator[SinkFaults]:
    """While inside, these are set beside what was; afterwards, what was set before.

    Args:
        connection: To the stand-in.
        settings: The attributes of `SinkFaults`.
    """
    before = get_sink_faults(connection)
    faults = SinkFaults.parse({**before.set_ones(), **settings})
    set_sink_faults(connection, faults)
    try:
        yield faults
    finally:
        set_sink_faults(connection, before)


def adjust_sink_faults(state: State, changes: Mapping[str, object], *, clear: bool) -> SinkFaults:
    """Add to what is set in a running stack.

    Args:
        state: The stack.
        changes: Switches by name, as `SinkFaults.parse` takes them, and acts with the names of sinks.
        clear: Forget first what was set.

    Returns:
        What is set now.

    Raises:
        LocalStackError: Materialize does not run here or does not answer, or a name or a value is unknown.
    """
    where = conninfo_of(state)
    try:
        with psycopg.connect(where, autocommit=True, connect_timeout=10) as connection:
            before = SinkFaults() if clear else get_sink_faults(connection)
            switches = {name: value for name, value in changes.items() if name not in ACTS}
            faults = SinkFaults.parse({**before.set_ones(), **switches})
            if clear or switches:
                set_sink_faults(connection, faults)
            for name, value in changes.items():
                if name in ACTS:
                    act_on_sinks(connection, name, str(value))
    except psycopg.Error as error:
        raise LocalStackError(
            f"Materialize did not take the faults: {error.diag.message_primary or error}. "
            f"Its log: {state.servers['materialize'].log}"
        ) from error
    return faults
