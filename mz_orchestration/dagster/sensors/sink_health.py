"""The sensor for streaming sinks: their health as checks, their progress as materializations, from one look a tick."""

# Annotations are not postponed: Dagster reads those of the function inside the builder as they are.
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from dagster import (
    AssetCheckEvaluation,
    AssetKey,
    AssetMaterialization,
    AssetObservation,
    DefaultSensorStatus,
    RunRequest,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    sensor,
)
from pydantic import Field

from mz_orchestration.dagster.assets.sinks import (
    HEALTHY,
    KeyOf,
    check_severity,
    description_of,
    health_metadata,
    healths_by_name,
    missing,
    sink_key,
    sink_names,
)
from mz_orchestration.dagster.resources import BoundResources, MaterializeResource
from mz_orchestration.dagster.sensors.cursor import Cursor, packed, read_cursor
from mz_orchestration.errors import ConfigurationError, UnavailableError

if TYPE_CHECKING:
    from mz_orchestration.sinks.facts import Kind
    from mz_orchestration.sinks.look import Looker
    from mz_orchestration.sinks.policy import HealthPolicy
    from mz_orchestration.sinks.verdict import Health

Event = AssetMaterialization | AssetObservation | AssetCheckEvaluation


class ToldOf(Cursor):
    """What was told of a sink; times in seconds since 1970.

    Attributes:
        verdict: Told of last.
        passed: What its check said last.
        at: When its check was last told.
        advanced: What it had committed when that was told.
        materialized: When that was.
    """

    verdict: str = ""
    passed: bool | None = None
    at: float = 0.0
    advanced: int = 0
    materialized: float = 0.0


class HealthCursor(Cursor):
    """Of the sensor.

    Attributes:
        memory: What the judge remembers.
        alerts: What is remembered of alerts, by id.
        told: What was told, by name.
    """

    version: Literal[1] = 1
    memory: dict[str, Any]
    alerts: dict[str, tuple[float | None, float | None, str, float]] = Field(default_factory=dict)
    told: dict[str, ToldOf] = Field(default_factory=dict)


def build_sink_health_sensor(
    sinks: Sequence[str],
    *,
    name: str = "sink_health",
    kind: "Kind" = "sink",
    policy: "HealthPolicy | None" = None,
    debounce: float = 30.0,
    recover_after: float = 60.0,
    heartbeat: float = 900.0,
    materialize_every: float = 60.0,
    job: Any = None,
    asset_key_of: KeyOf | None = None,
    materialize: MaterializeResource | None = None,
    minimum_interval_seconds: int = 15,
    default_status: DefaultSensorStatus = DefaultSensorStatus.STOPPED,
) -> SensorDefinition:
    """A sensor that tells how sinks are: one query a tick, for all of them.

    It needs the resource ``materialize``, the assets of `build_sink_assets` and the checks of `build_sink_checks`. A
    sink that commits becomes a materialization of its asset, so that freshness and automation see it; one whose health
    is another becomes an observation; its check ``healthy`` turns red once it has been unwell for ``debounce`` seconds,
    and green once it has been well for ``recover_after``.

    Args:
        sinks: ``[[database.]schema.]name`` of each.
        name: Of the sensor.
        kind: ``source`` if they are sources.
        policy: How long what may last.
        debounce: Seconds a sink has to be unwell.
        recover_after: Seconds it has to be well again.
        heartbeat: Seconds after which the check is told again although nothing has changed.
        materialize_every: Seconds between two materializations of a sink that commits all the time.
        job: A job, or its name, that is run for each problem, once, with the sink and its verdict as tags.
        asset_key_of: As for `build_sink_assets`.
        materialize: Resource of this sensor's own, in place of the code location's.
        minimum_interval_seconds: Between two ticks.
        default_status: Whether it runs before somebody has started it.

    Raises:
        ConfigurationError: An argument is wrong.
    """
    from mz_orchestration.sinks.alerts import AlertPolicy
    from mz_orchestration.validation import validated

    names = sink_names(sinks)
    keys = {each: (asset_key_of or sink_key)(each) for each in names}
    alert_policy = validated(AlertPolicy, debounce=debounce, recover_after=recover_after)
    for argument, value in (("heartbeat", heartbeat), ("materialize_every", materialize_every)):
        if value < 0:
            raise ConfigurationError(f"{argument}: {value:g} is not a number of seconds.", hint="Give 0 or more.")
    bound = BoundResources(materialize=materialize)
    lookers = _Lookers(kind, policy)

    @sensor(
        name=name,
        description=f"Tells how {len(names)} {kind}s of Materialize are.",
        minimum_interval_seconds=minimum_interval_seconds,
        default_status=default_status,
        required_resource_keys=bound.keys({"materialize"}),
        job=None if isinstance(job, str) else job,
        job_name=job if isinstance(job, str) else None,
    )
    def health(context: SensorEvaluationContext) -> SensorResult | SkipReason:
        from mz_orchestration.sinks.alerts import AlertState, alerts
        from mz_orchestration.sinks.selection import Selection
        from mz_orchestration.sinks.watch import Judge

        cursor = read_cursor(context, HealthCursor)
        selection = Selection(names, required=False)
        try:
            judge = Judge(policy, selection, cursor.memory if cursor else None)
        except ConfigurationError as error:
            context.log.warning(f"The cursor cannot be read, and the sensor begins anew: {error}")
            cursor, judge = None, Judge(policy, selection)
        looker = lookers.of(bound.resolved("materialize") or context.resources.materialize)
        try:
            look = looker.look()
        except UnavailableError as error:
            # The next tick is soon enough; the cursor stays.
            return SkipReason(f"Materialize could not be asked: {error}")
        step = judge.judge(look)
        states = {each: AlertState(*state) for each, state in cursor.alerts.items()} if cursor else {}
        problems, states = alerts(step.healths, states, alert_policy)
        told = dict(cursor.told) if cursor else {}
        events: list[Event] = []
        healths = healths_by_name(step.healths, names)
        for sink in names:
            found = healths.get(sink)
            if found is None:
                new, told[sink] = _tell_missing(keys[sink], sink, look.at, told.get(sink, ToldOf()), heartbeat)
                events += new
                continue
            state = states.get(found.id)
            unwell = bool(state.told) if state else bool(found.severity)
            new, told[sink] = _tell(keys[sink], found, unwell, told.get(sink, ToldOf()), heartbeat, materialize_every)
            events += new
        requests = [_request(alert.health, alert.since) for alert in problems if alert.kind == "problem"] if job else []
        remembered = {each: (s.bad_since, s.good_since, s.told, s.told_at) for each, s in states.items()}
        text = packed(HealthCursor(memory=judge.memory, alerts=remembered, told=told))
        reason = None if events or requests else f"{len(step.healths)} {kind}s are as they were."
        return SensorResult(asset_events=events, run_requests=requests, cursor=text, skip_reason=reason)

    return health


def _tell(
    key: AssetKey, health: "Health", unwell: bool, told: ToldOf, heartbeat: float, materialize_every: float
) -> tuple[list[Event], ToldOf]:
    """What to tell of a sink after a look, and what to remember of that."""
    now = health.at.timestamp()
    metadata = health_metadata(health)
    events: list[Event] = []
    if health.verdict.value != told.verdict:
        events.append(AssetObservation(key, metadata=metadata))
        told = told.model_copy(update={"verdict": health.verdict.value})
    # What is counted begins anew with a cursor.
    if health.advanced < told.advanced:
        told = told.model_copy(update={"advanced": health.advanced})
    if health.advanced > told.advanced and now - told.materialized >= materialize_every:
        events.append(AssetMaterialization(key, metadata=metadata))
        told = told.model_copy(update={"advanced": health.advanced, "materialized": now})
    if told.passed is unwell or told.passed is None or now - told.at >= heartbeat:
        events.append(
            AssetCheckEvaluation(
                asset_key=key,
                check_name=HEALTHY,
                passed=not unwell,
                severity=check_severity(health),
                description=description_of(health),
                metadata=metadata,
            )
        )
        told = told.model_copy(update={"passed": not unwell, "at": now})
    return events, told


def _tell_missing(key: AssetKey, name: str, at: datetime, told: ToldOf, heartbeat: float) -> tuple[list[Event], ToldOf]:
    """A sink that is not there, or has been told of as dropped, keeps its check red."""
    if told.passed is False and at.timestamp() - told.at < heartbeat:
        return [], told
    result = missing(key, name)
    check = AssetCheckEvaluation(key, HEALTHY, False, metadata={}, description=result.description)
    return [check], told.model_copy(update={"verdict": "missing", "passed": False, "at": at.timestamp()})


def _request(health: "Health", since: datetime) -> RunRequest:
    # The same problem asks for the same run, whoever died between the two.
    return RunRequest(
        run_key=f"{health.id}/{health.verdict}/{since.timestamp():.0f}",
        tags={"materialize/sink": health.name, "materialize/verdict": health.verdict.value},
    )


class _Lookers:
    """The session of the last tick, as long as the settings are the same."""

    def __init__(self, kind: "Kind", policy: "HealthPolicy | None") -> None:
        self._kind = kind
        self._policy = policy
        self._made: tuple[Any, Looker] | None = None

    def of(self, resource: MaterializeResource) -> "Looker":
        """A looker with the settings of a resource."""
        from mz_orchestration.sinks.look import Looker
        from mz_orchestration.sinks.policy import HealthPolicy

        config = resource.config()
        if self._made is None or self._made[0] != config:
            if self._made is not None:
                self._made[1].close()
            window = (self._policy or HealthPolicy()).flap_window
            self._made = config, Looker(config, kind=self._kind, window=window)
        return self._made[1]
