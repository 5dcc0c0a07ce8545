"""The one query that a look is, for all sinks or all sources, and its rows as facts.

Whatever there is of a connector comes in one row, lists as JSON, so a look is one round trip and of one moment. The
relations are catalog, so Materialize answers on its own cluster for that. They are declared unstable by the vendor:
columns are asked for by name, and what is missing from a row (statistics before the first report, frontiers of what
does not run) is not known rather than zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from psycopg import sql

from mz_orchestration.materialize.names import format_object_name
from mz_orchestration.sinks.facts import ConnectorFacts, Counters, Kind, Look, Replica, StatusEvent

_HISTORY = """
    SELECT h.{id} AS id, jsonb_agg(jsonb_build_object(
               'at', extract(epoch FROM h.occurred_at), 'status', h.status, 'replica', h.replica_id,
               'error', h.error, 'details', h.details)) AS events
      FROM (
            (SELECT DISTINCT ON ({id}, replica_id) {id}, replica_id, occurred_at, status, error, details
               FROM mz_internal.{history} ORDER BY {id}, replica_id, occurred_at DESC)
            UNION
            (SELECT {id}, replica_id, occurred_at, status, error, details
               FROM mz_internal.{history} WHERE occurred_at > now() - {window}::interval)
           ) h
     GROUP BY h.{id}"""

_REPLICAS = """
    SELECT r.cluster_id, jsonb_agg(jsonb_build_object(
               'id', r.id, 'name', r.name, 'online', q.online, 'reason', q.reason,
               'changed', extract(epoch FROM q.changed))) AS replicas
      FROM mz_catalog.mz_cluster_replicas r
      LEFT JOIN (SELECT replica_id, bool_and(status = 'online') AS online, max(reason) AS reason,
                        max(updated_at) AS changed
                   FROM mz_internal.mz_cluster_replica_statuses GROUP BY replica_id) q ON q.replica_id = r.id
     GROUP BY r.cluster_id"""

_HYDRATION = """
    SELECT object_id, jsonb_object_agg(replica_id, hydrated) AS hydrated
      FROM mz_internal.mz_hydration_statuses WHERE replica_id IS NOT NULL GROUP BY object_id"""

# Counts are text: they are wider than numbers in JSON are everywhere. A commit interval has to look like one: a cast
# that failed, of whatever somebody has written into a sink's definition, would keep all sinks from being looked at.
_SINKS = """
SELECT m.at, s.id, o.database_name, o.database_name = current_database(), o.schema_name, o.name, s.type, c.name,
       t.status, t.last_status_change_at, t.error, t.details, e.events, n.counters, r.replicas, y.hydrated,
       f.write_frontier::text, i.write_frontier::text, jsonb_build_array(d.schema_name, d.name),
       extract(epoch FROM l.local_lag),
       extract(epoch FROM (regexp_match(s.create_sql, {interval}, 'i'))[1]::interval)
  FROM (SELECT now() AS at) m
  LEFT JOIN mz_catalog.mz_sinks s ON s.id LIKE 'u%'
  LEFT JOIN mz_internal.mz_object_fully_qualified_names o ON o.id = s.id
  LEFT JOIN mz_catalog.mz_clusters c ON c.id = s.cluster_id
  LEFT JOIN mz_internal.mz_sink_statuses t ON t.id = s.id
  LEFT JOIN ({history}) e ON e.id = s.id
  LEFT JOIN (SELECT id, jsonb_object_agg(coalesce(replica_id, ''), jsonb_build_object(
                        'staged', messages_staged::text, 'committed', messages_committed::text,
                        'staged_bytes', bytes_staged::text, 'committed_bytes', bytes_committed::text)) AS counters
               FROM mz_internal.mz_sink_statistics GROUP BY id) n ON n.id = s.id
  LEFT JOIN ({replicas}) r ON r.cluster_id = s.cluster_id
  LEFT JOIN ({hydration}) y ON y.object_id = s.id
  LEFT JOIN mz_internal.mz_frontiers f ON f.object_id = s.id
  LEFT JOIN mz_internal.mz_materialization_lag l ON l.object_id = s.id
  LEFT JOIN mz_internal.mz_frontiers i ON i.object_id = l.slowest_local_input_id
  LEFT JOIN mz_internal.mz_object_fully_qualified_names d ON d.id = l.slowest_local_input_id
"""

_INTERVAL = (
    "COMMIT INTERVAL *=? *'((?:[0-9]{1,6}(?:[.][0-9]{1,3})? *"
    "(?:ms|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?) *)+|[0-9]{1,4}(?::[0-9]{2}){1,2})'"
)

# A source reads what lies outside: its position is an offset there.
_SOURCES = """
SELECT m.at, s.id, o.database_name, o.database_name = current_database(), o.schema_name, o.name, s.type, c.name,
       t.status, t.last_status_change_at, t.error, t.details, e.events, n.counters, r.replicas, y.hydrated,
       p.committed::text, p.known::text, NULL, NULL, NULL
  FROM (SELECT now() AS at) m
  LEFT JOIN (mz_catalog.mz_sources s JOIN mz_internal.mz_source_statuses t ON t.id = s.id) ON s.id LIKE 'u%'
  LEFT JOIN mz_internal.mz_object_fully_qualified_names o ON o.id = s.id
  LEFT JOIN mz_catalog.mz_clusters c ON c.id = s.cluster_id
  LEFT JOIN ({history}) e ON e.id = s.id
  LEFT JOIN (SELECT id, jsonb_object_agg(coalesce(replica_id, ''), jsonb_build_object(
                        'staged', updates_staged::text, 'committed', updates_committed::text)) AS counters
               FROM mz_internal.mz_source_statistics GROUP BY id) n ON n.id = s.id
  LEFT JOIN (SELECT id, max(offset_committed) AS committed, max(offset_known) AS known
               FROM mz_internal.mz_source_statistics GROUP BY id) p ON p.id = s.id
  LEFT JOIN ({replicas}) r ON r.cluster_id = s.cluster_id
  LEFT JOIN ({hydration}) y ON y.object_id = s.id
"""


def look_statement(kind: Kind, window: float) -> sql.Composed:
    """The query of a look.

    Args:
        kind: ``sink`` for all sinks, ``source`` for all sources.
        window: Seconds of history to bring along, beside the newest event of each replica.
    """
    identifier, history = ("sink_id", "mz_sink_status_history")
    if kind == "source":
        identifier, history = ("source_id", "mz_source_status_history")
    return sql.SQL(_SINKS if kind == "sink" else _SOURCES).format(
        interval=sql.Literal(_INTERVAL),
        history=sql.SQL(_HISTORY).format(
            id=sql.Identifier(identifier), history=sql.Identifier(history), window=sql.Literal(f"{window:.0f} seconds")
        ),
        replicas=sql.SQL(_REPLICAS),
        hydration=sql.SQL(_HYDRATION),
    )


def read_look(kind: Kind, rows: Sequence[Sequence[Any]]) -> Look:
    """The facts in the rows of a look.

    Args:
        kind: Of the query.
        rows: Its answer; one at least, which tells the time.
    """
    facts = [_facts(kind, row) for row in rows if row[1] is not None]
    return Look(rows[0][0], {each.id: each for each in facts})


def _facts(kind: Kind, row: Sequence[Any]) -> ConnectorFacts:
    (_, identifier, database, own, schema, name, type_, cluster, status, since, error, details, *more) = row
    events, counters, replicas, hydrated, position, input_position, read, lag, interval = more
    parts = [schema, name] if own or database is None else [database, schema, name]
    return ConnectorFacts(
        id=identifier,
        name=format_object_name(parts),
        kind=kind,
        type=type_ or "",
        cluster=cluster,
        status=status or "created",
        since=since,
        error=error,
        hints=_hints(details),
        events=tuple(sorted(map(_event, events or ()), key=lambda each: each.at, reverse=True)),
        counters={replica: _counters(each) for replica, each in (counters or {}).items()},
        replicas=tuple(_replicas(replicas or (), hydrated or {})),
        position=None if position is None else int(position),
        input_position=None if input_position is None else int(input_position),
        input=None if not read or read[1] is None else format_object_name([part for part in read if part]),
        lag=None if lag is None else float(lag),
        commit_interval=None if interval is None else float(interval),
    )


def _event(event: Mapping[str, Any]) -> StatusEvent:
    at = datetime.fromtimestamp(float(event["at"]), UTC)
    return StatusEvent(at, event["status"], event["replica"], event["error"], _hints(event["details"]))


def _hints(details: Any) -> tuple[str, ...]:
    """The documentation says ``hint``; there is ``hints``, a list."""
    found = details.get("hints") if isinstance(details, dict) else None
    return tuple(str(hint) for hint in found) if isinstance(found, list) else ()


def _counters(values: Mapping[str, str | None]) -> Counters:
    def number(name: str) -> int | None:
        return None if (text := values.get(name)) is None else int(text)

    return Counters(number("staged") or 0, number("committed") or 0, number("staged_bytes"), number("committed_bytes"))


def _replicas(replicas: Iterable[Mapping[str, Any]], hydrated: Mapping[str, bool]) -> Iterable[Replica]:
    for each in sorted(replicas, key=lambda replica: str(replica["name"])):
        changed = each["changed"]
        yield Replica(
            id=each["id"],
            name=each["name"],
            online=each["online"],
            reason=each["reason"],
            changed=None if changed is None else datetime.fromtimestamp(float(changed), UTC),
            hydrated=hydrated.get(each["id"]),
        )
