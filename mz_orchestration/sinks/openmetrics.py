"""Health in the text format of OpenMetrics, for Prometheus and what reads its format."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from mz_orchestration.sinks.verdict import Health, Verdict

#: What a server says of the text it answers with.
CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


def exposition(healths: Mapping[str, Health], *, up: bool = True) -> str:
    """The text.

    Args:
        healths: By id.
        up: Whether the last look has succeeded.
    """
    each = sorted(healths.values(), key=lambda health: (health.kind, health.name))
    return "".join(f"{line}\n" for line in (*_lines(each, up), "# EOF"))


def _lines(healths: list[Health], up: bool) -> Iterator[str]:
    yield from _family("materialize_watch_up", "gauge", "Whether the last look at Materialize succeeded.", [("", up)])
    yield from _family(
        "materialize_connector_health",
        "stateset",
        "What the health of a sink or source is.",
        [
            (_labels(health, materialize_connector_health=verdict.value), health.verdict is verdict)
            for health in healths
            for verdict in Verdict
        ],
    )
    yield from _family(
        "materialize_connector_severity",
        "gauge",
        "0 ok, 1 warning, 2 critical, 3 unknown.",
        [(_labels(health), int(health.severity)) for health in healths],
    )
    yield from _family(
        "materialize_connector_health_since_timestamp_seconds",
        "gauge",
        "Since when that has been so.",
        [(_labels(health), health.since.timestamp()) for health in healths],
        unit="seconds",
    )
    # No counters: Materialize's go back when a component restarts, and come by replica.
    for name, help_text in (
        ("staged", "Messages or updates written, as Materialize counts."),
        ("committed", "Messages or updates that others can see, as Materialize counts."),
    ):
        values = [(_labels(health), value) for health in healths if (value := getattr(health, name)) is not None]
        yield from _family(f"materialize_connector_{name}", "gauge", help_text, values)
    yield from _family(
        "materialize_connector_lag_seconds",
        "gauge",
        "How far it is behind what it reads.",
        [(_labels(health), health.lag) for health in healths if health.lag is not None],
        unit="seconds",
    )


def _family(
    name: str, kind: str, text: str, values: Iterable[tuple[str, float | bool]], unit: str = ""
) -> Iterator[str]:
    found = list(values)
    if not found:
        return
    yield f"# TYPE {name} {kind}"
    if unit:
        yield f"# UNIT {name} {unit}"
    yield f"# HELP {name} {text}"
    for labels, value in found:
        yield f"{name}{labels} {int(value) if isinstance(value, bool) else value}"


def _labels(health: Health, **more: str) -> str:
    labels = {"id": health.id, "name": health.name, "kind": health.kind, "type": health.type}
    if health.cluster:
        labels["cluster"] = health.cluster
    given = ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in {**labels, **more}.items())
    return f"{{{given}}}"
