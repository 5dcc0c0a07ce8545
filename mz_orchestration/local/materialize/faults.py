"""What goes wrong on purpose in the stand-in's ``COPY ... TO 's3://...'``, settable while the server runs.

The settings lie in a table the SQL user may write, so that tests, people and other processes change them over an
ordinary connection. Each COPY reads them when its checks are through. A restarted server has none, and gives its
statements transient ids from ``t1`` on again, as Materialize does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, Literal

import psycopg
from psycopg.types.json import Jsonb
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mz_orchestration.local.environment import MATERIALIZE_DATABASE, MATERIALIZE_USER
from mz_orchestration.local.errors import LocalStackError
from mz_orchestration.local.state import HOST, State

_CONNECT_SECONDS = 10
_LONGEST = 3600.0
_LONGEST_LAG = 365 * 86400.0

Connection = psycopg.Connection[Any]
Seconds = float


class Faults(BaseModel):
    """The switches; without arguments all is well.

    Attributes:
        on_disconnect: what becomes of a COPY whose client is lost; read when that happens. ``run_on``, as present
            versions do, or ``cancel``, as older ones did.
        sentinel_deleted_though_failed: files of the first worker are written, the other workers fail: the sentinel is
            deleted and the client gets an error.
        partial_files: so many files become visible, then the COPY fails with an upload left unfinished.
        restart_same_id: the replica restarts once, after the first file: all is written again under the same names.
        preflight_delay: seconds between the look into the path and the sentinel.
        cancel_lost_in_preflight: the same, and whatever cancels the statement in this time has no effect.
        slow_rows: seconds every row takes; a COPY is held up by a minute at most.
        sentinel_delay: seconds between the last file and the deletion of the sentinel.
        second_replica: seconds after success another replica writes the same files once more: the same rows, other
            bytes and ETags.
        fail_with: the COPY fails with this text, right after the sentinel was put; with ``partial_files`` or
            ``sentinel_deleted_though_failed`` it is the text of their error.
        target: only a COPY whose target contains this text is concerned.
        lag: seconds that objects lag behind the clock by ``mz_wallclock_global_lag``; ``unknown``: it does not list
            them, as it does not list new ones. A second by default.
        lag_of: only objects whose name with the schema's contains this text lag so.
        times: only so many COPYs are concerned, counted from when the faults were set.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    on_disconnect: Literal["run_on", "cancel"] = "run_on"
    sentinel_deleted_though_failed: bool = False
    partial_files: int | None = Field(default=None, ge=0)
    restart_same_id: bool = False
    preflight_delay: Seconds = Field(default=0.0, ge=0, le=_LONGEST)
    cancel_lost_in_preflight: Seconds = Field(default=0.0, ge=0, le=_LONGEST)
    slow_rows: Seconds = Field(default=0.0, ge=0, le=_LONGEST)
    sentinel_delay: Seconds = Field(default=0.0, ge=0, le=_LONGEST)
    second_replica: Seconds | None = Field(default=None, ge=0, le=_LONGEST)
    fail_with: str = ""
    target: str = ""
    lag: Annotated[Seconds, Field(ge=0, le=_LONGEST_LAG)] | Literal["unknown"] | None = None
    lag_of: str = ""
    times: int | None = Field(default=None, ge=1)

    @classmethod
    def parse(cls, values: Mapping[str, object]) -> Faults:
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
                    f"there is no fault {name!r} of Materialize.", hint=f"Known are: {', '.join(cls.model_fields)}."
                ) from None
            raise LocalStackError(
                f"{name}={first['input']}: {first['msg'][0].lower()}{first['msg'][1:]}.",
                hint=f"For example: {name}={_EXAMPLES[name]}",
            ) from None

    def set_ones(self) -> dict[str, object]:
        """The switches that differ from all being well."""
        return self.model_dump(mode="json", exclude_defaults=True)


_EXAMPLES = {
    "on_disconnect": "cancel",
    "sentinel_deleted_though_failed": "true",
    "partial_files": "1",
    "restart_same_id": "true",
    "preflight_delay": "2.5",
    "cancel_lost_in_preflight": "2.5",
    "slow_rows": "0.001",
    "sentinel_delay": "2.5",
    "second_replica": "1",
    "fail_with": "'a text'",
    "target": "nightly/",
    "lag": "600",
    "lag_of": "shop.orders",
    "times": "1",
}


def set_faults(where: str | Connection, faults: Faults) -> None:
    """Replace what is set.

    Args:
        where: the stand-in: how to connect, empty for what ``PG*`` variables say; or an open connection.
        faults: what is to go wrong from now on.
    """
    with _connected(where) as connection:
        connection.execute("INSERT INTO mz_local.faults (settings) VALUES (%s)", [Jsonb(faults.set_ones())])


def clear_faults(where: str | Connection) -> None:
    """Let all be well again."""
    set_faults(where, Faults())


def get_faults(where: str | Connection) -> Faults:
    """What is set."""
    with _connected(where) as connection:
        row = connection.execute(LATEST).fetchone()
    return Faults() if row is None else Faults.parse(row[1])


def adjust_faults(state: State, changes: Mapping[str, object], *, clear: bool) -> Faults:
    """Add to what is set in a running stack.

    Args:
        state: the stack.
        changes: switches by name, as :meth:`Faults.parse` takes them.
        clear: forget first what was set.

    Returns:
        What is set now.

    Raises:
        LocalStackError: Materialize does not run here or does not answer, or a name or a value is unknown.
    """
    where = conninfo_of(state)
    try:
        before = Faults() if clear else get_faults(where)
        faults = Faults.parse({**before.set_ones(), **changes})
        if clear or changes:
            set_faults(where, faults)
    except psycopg.Error as error:
        raise LocalStackError(
            f"Materialize did not take the faults: {error.diag.message_primary or error}. "
            f"Its log: {state.servers['materialize'].log}"
        ) from error
    return faults


def conninfo_of(state: State) -> str:
    """How to connect to the Materialize of a running stack.

    Args:
        state: The stack.

    Raises:
        LocalStackError: It was started without.
    """
    if "materialize" not in state.servers:
        raise LocalStackError("this stack was started without Materialize, so nothing can go wrong there.")
    return psycopg.conninfo.make_conninfo(
        host=HOST,
        port=state.servers["materialize"].port,
        user=MATERIALIZE_USER,
        password=state.secrets.materialize_password,
        dbname=MATERIALIZE_DATABASE,
    )


LATEST = "SELECT id, settings FROM mz_local.faults ORDER BY id DESC LIMIT 1"


@contextmanager
def copy_faults(where: str | Connection = "", **settings: Any) -> Iterator[Faults]:
    """While inside, these faults are set; afterwards, what was set before.

    Args:
        where: as for :func:`set_faults`.
        settings: the attributes of :class:`Faults`.
    """
    before, faults = get_faults(where), Faults.parse(settings)
    set_faults(where, faults)
    try:
        yield faults
    finally:
        set_faults(where, before)


@contextmanager
def _connected(where: str | Connection) -> Iterator[Connection]:
    if not isinstance(where, str):
        yield where
        return
    with psycopg.connect(where, autocommit=True, connect_timeout=_CONNECT_SECONDS) as connection:
        yield connection
