"""What an export would say to Materialize, written without contacting anything.

The statements come from the functions that the run takes them from. What only the run knows stands there as 0 or as
an example, and a comment says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from psycopg import sql

from mz_orchestration.cli.output import printable
from mz_orchestration.exports.paths import MANIFEST_NAME, attempt_location
from mz_orchestration.exports.statements import copy_statement, count_statement, describe_statement, read_statement
from mz_orchestration.exports.statistics.materialize import statistics_statement
from mz_orchestration.materialize import look_ups
from mz_orchestration.runs.key import record_location

if TYPE_CHECKING:
    from mz_orchestration.exports.group_check import Mode
    from mz_orchestration.exports.policy import ExportPolicy
    from mz_orchestration.exports.spec import ExportSpec
    from mz_orchestration.objectstore.location import Location

_UNKNOWN = 0
_HOLDER = "-- in the session that holds the timestamp"


def planned_export(spec: ExportSpec, run_key: str, policy: ExportPolicy) -> Iterator[str]:
    """The statements of a run's first attempt in order, with comments."""
    path = _path(spec, run_key)
    yield "-- the first attempt of a run; of a finished run only the record and the manifest are read"
    yield from _use_cluster(spec)
    yield from _describe(spec)
    yield from _identity()
    yield from _turn(policy)
    yield from _ask_cluster(spec)
    yield from _begin([spec])
    yield from _count(spec, policy)
    yield from _copy(spec, path)
    yield "ROLLBACK;"
    yield from _written(spec, run_key, path)


def planned_group(
    specs: Sequence[ExportSpec], run_key: str, policy: ExportPolicy, mode: Mode, max_parallel: int
) -> Iterator[str]:
    """The statements of several exports at one timestamp, session by session, with comments."""
    from mz_orchestration.exports.group_record import group_location

    held = mode == "held"
    # The group's record holds six digits of chance.
    member = f"{run_key}#1-000000"
    yield "-- the first start of a group; of a finished one only the records and the manifests are read"
    yield "-- a session that holds the timestamp"
    yield from _use_cluster(specs[0])
    yield from _identity()
    yield from _turn(policy)
    yield from _begin(specs)
    yield "-- every 30 seconds, so that the transaction is not ended as idle"
    yield _text(look_ups.SHOW_CLUSTER)
    how = f"up to {max_parallel} at a time on each cluster" if held else "one after another"
    yield f"-- the exports, {how}; their run keys hold a part made by chance, so paths and records are examples"
    for spec in specs:
        path = _path(spec, member)
        yield f"-- {_in_a_line(spec.object)}: a session of its own"
        yield from _use_cluster(spec)
        yield from _describe(spec)
        if held:
            yield from _identity()
        yield from _ask_cluster(spec)
        counts = list(_count(spec, policy))
        if counts:
            yield _HOLDER
            yield from counts
        if held:
            yield "-- in its own session again; AS OF 0 stands for the timestamp that is held"
        elif not counts:
            yield _HOLDER
        yield from _copy(spec, path, as_of=_UNKNOWN if held else None)
        yield from _written(spec, member, path)
    yield _HOLDER
    yield "ROLLBACK;"
    yield f"-- record of the group: {group_location(specs[0].base, run_key)}"


def _use_cluster(spec: ExportSpec) -> Iterator[str]:
    if spec.cluster is not None:
        yield _text(look_ups.use_cluster(spec.cluster))
        yield _text(look_ups.count_clusters(spec.cluster))


def _describe(spec: ExportSpec) -> Iterator[str]:
    yield "-- the columns, by a query that returns no row; then whether the connection is one to AWS"
    yield _text(describe_statement(spec))
    yield _text(look_ups.connection_types(spec.connection))


def _identity() -> Iterator[str]:
    yield "-- how others can find the session, and in which Materialize; 0 stands for its pid"
    yield _text(look_ups.session_of(_UNKNOWN))


def _turn(policy: ExportPolicy) -> Iterator[str]:
    if policy.if_running is not None:
        yield "-- if other runs of the export are written down as unfinished: whether their sessions are still there"


def _ask_cluster(spec: ExportSpec) -> Iterator[str]:
    if spec.cluster is None:
        yield _text(look_ups.SHOW_CLUSTER)


def _begin(specs: Sequence[ExportSpec]) -> Iterator[str]:
    yield "-- a transaction that reads at one logical timestamp, which is written down before the export begins"
    yield _text(look_ups.BEGIN)
    yield _text(read_statement(specs))


def _count(spec: ExportSpec, policy: ExportPolicy) -> Iterator[str]:
    if policy.statistics:
        yield "-- beside the number of rows, for each column how many values it has, the smallest, the largest, the sum"
        yield _text(statistics_statement(spec, []))
    elif policy.count:
        yield _text(count_statement(spec))


def _copy(spec: ExportSpec, path: Location, as_of: int | None = None) -> Iterator[str]:
    yield "-- the export; the path carries the moment the attempt begins"
    for column, type in spec.casts.items():
        yield f"-- {_in_a_line(column)} is cast to {_in_a_line(type)}: all columns are listed in place of the name or *"
    if spec.safe_types:
        yield "-- if the files would lose what a type means (uuid, arrays ...), all columns are listed, with casts"
    if spec.format == "csv":
        yield "-- CSV does not name its columns: all are listed in place of the name or *"
    yield _text(copy_statement(spec, None, str(path), as_of))


def _written(spec: ExportSpec, run_key: str, path: Location) -> Iterator[str]:
    yield f"-- run record: {record_location(spec.base, spec.folder_name, run_key)}"
    yield f"-- manifest, written last: {path.child(MANIFEST_NAME)}"


def _path(spec: ExportSpec, run_key: str) -> Location:
    return attempt_location(spec.base, spec.folder_name, run_key, 1, datetime.now(UTC))


def _text(statement: sql.Composed) -> str:
    return statement.as_string(None) + ";"


def _in_a_line(text: str) -> str:
    """For a comment, which what is behind a line break would not be part of."""
    return printable(text).replace("\n", "\\n")
