"""Assets for streaming sinks, which Materialize keeps going, and the check that they are well."""

# Annotations are not postponed: Dagster reads those of the function inside the builder as they are.
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Unpack

from dagster import (
    AssetCheckExecutionContext,
    AssetCheckResult,
    AssetChecksDefinition,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetKey,
    AssetSpec,
    MetadataValue,
    multi_asset_check,
)

from mz_orchestration.dagster.assets.attributes import AssetAttributes, with_attributes
from mz_orchestration.dagster.keys import asset_key, plain_name, refuse_collisions
from mz_orchestration.dagster.resources import BoundResources, MaterializeResource
from mz_orchestration.errors import ConfigurationError

if TYPE_CHECKING:
    from mz_orchestration.sinks.facts import Kind
    from mz_orchestration.sinks.policy import HealthPolicy
    from mz_orchestration.sinks.verdict import Health

#: The check of each sink.
HEALTHY = "healthy"

KeyOf = Callable[[str], AssetKey]


def sink_key(name: str) -> AssetKey:
    """The key of a sink's asset: ``materialize/<schema>/<name>``, as that of every other object there.

    Args:
        name: ``[[database.]schema.]name``.

    Raises:
        ConfigurationError: It is no name.
    """
    from mz_orchestration.materialize.names import parse_object_name

    try:
        return asset_key("materialize", parse_object_name(name))
    except ValueError as error:
        raise ConfigurationError(f"sinks: {error}.") from error


def sink_names(sinks: Sequence[str]) -> tuple[str, ...]:
    """The names of sinks, which differ.

    Raises:
        ConfigurationError: There is none, one is a pattern, or one is named twice.
    """
    names = tuple(sinks) if not isinstance(sinks, str) else ()
    if not names or len(set(names)) < len(names):
        raise ConfigurationError(f"sinks: {sinks!r}: name one sink at least, in a list, and none twice.")
    for name in names:
        if "*" in name:
            raise ConfigurationError(
                f"sinks: {name!r} is a pattern, and assets have names.", hint="List the sinks one by one."
            )
    return names


def build_sink_assets(
    sinks: Sequence[str], *, asset_key_of: KeyOf | None = None, **attributes: Unpack[AssetAttributes]
) -> list[AssetSpec]:
    """External assets for sinks: what `build_sink_health_sensor` tells of.

    Args:
        sinks: ``[[database.]schema.]name`` of each.
        asset_key_of: Says which asset a sink is; ``materialize/<schema>/<name>`` by default.
        **attributes: Of all these assets, except for ``key``.

    Raises:
        ConfigurationError: An argument is wrong, or two sinks would be one asset.
    """
    names = sink_names(sinks)
    key_of = asset_key_of or sink_key
    specs = [
        with_attributes(
            AssetSpec(
                key_of(name),
                description=f"The sink {name} of Materialize.",
                kinds={"materialize"},
                metadata={"dagster/storage_kind": "materialize"},
            ),
            attributes,
        )
        for name in names
    ]
    refuse_collisions(specs, names)
    return specs


def build_sink_checks(
    sinks: Sequence[str],
    *,
    name: str = "sink_health_checks",
    kind: "Kind" = "sink",
    policy: "HealthPolicy | None" = None,
    asset_key_of: KeyOf | None = None,
    materialize: MaterializeResource | None = None,
) -> AssetChecksDefinition:
    """The check ``healthy`` of each sink: declared for `build_sink_health_sensor`, and executed, a look of its own.

    It needs the resource ``materialize``. One look tells what statuses tell; whether a sink moves is for the sensor to
    say, which has looked before.

    Args:
        sinks: As for `build_sink_assets`.
        name: Of the op.
        kind: ``source`` if they are sources.
        policy: How long what may last.
        asset_key_of: As for `build_sink_assets`.
        materialize: Resource of these checks' own, in place of the code location's.

    Raises:
        ConfigurationError: An argument is wrong.
    """
    names = sink_names(sinks)
    key_of = asset_key_of or sink_key
    by_key = {key_of(each): each for each in names}
    bound = BoundResources(materialize=materialize)

    @multi_asset_check(
        name=plain_name(name),
        specs=[
            AssetCheckSpec(HEALTHY, asset=key, description="It runs, moves and commits, or has nothing to do.")
            for key in by_key
        ],
        can_subset=True,
        required_resource_keys=bound.keys({"materialize"}),
    )
    def look(context: AssetCheckExecutionContext) -> Iterator[AssetCheckResult]:
        from mz_orchestration.dagster.errors import as_dagster_errors
        from mz_orchestration.sinks.look import Looker
        from mz_orchestration.sinks.policy import HealthPolicy
        from mz_orchestration.sinks.watch import Judge

        with as_dagster_errors(context.op_execution_context):
            resource = bound.resolved("materialize") or context.op_execution_context.resources.materialize
            wanted = {check.asset_key for check in context.selected_asset_check_keys}
            window = (policy or HealthPolicy()).flap_window
            with Looker(resource.config(), kind=kind, window=window) as looker:
                healths = healths_by_name(Judge(policy).judge(looker.look()).healths, names)
            for key in sorted(wanted):
                health = healths.get(by_key[key])
                yield (
                    missing(key, by_key[key])
                    if health is None
                    else AssetCheckResult(
                        asset_key=key,
                        check_name=HEALTHY,
                        passed=not health.severity,
                        severity=check_severity(health),
                        description=description_of(health),
                        metadata=health_metadata(health),
                    )
                )

    return look


def missing(key: AssetKey, name: str) -> AssetCheckResult:
    """The result of the check of a sink that is not there."""
    return AssetCheckResult(
        asset_key=key, check_name=HEALTHY, passed=False, description=f"Materialize has no sink {name!r}."
    )


def healths_by_name(healths: Any, names: Sequence[str]) -> "dict[str, Health]":
    """Healths by the name that was asked for, be it with the schema or without.

    Args:
        healths: By id.
        names: Those asked for.
    """
    from mz_orchestration.sinks.selection import endings

    # One that was made anew under the name of one that is gone counts for more.
    ordered = sorted(healths.values(), key=lambda each: each.verdict != "dropped")
    by_ending = {ending: health for health in ordered for ending in endings(health.name)}
    return {name: by_ending[name] for name in names if name in by_ending}


def check_severity(health: "Health") -> AssetCheckSeverity:
    """Warnings warn, all else that is bad is an error."""
    from mz_orchestration.sinks.verdict import Severity

    return AssetCheckSeverity.WARN if health.severity is Severity.WARNING else AssetCheckSeverity.ERROR


def description_of(health: "Health") -> str:
    """What a check shows: the verdict, why, and what to do."""
    return " ".join(part for part in (f"{health.verdict}.", health.because, health.advice) if part)


def health_metadata(health: "Health") -> dict[str, Any]:
    """A health as metadata; numbers are plotted."""
    found: dict[str, Any] = {f"materialize/{name}": value for name, value in health.to_metadata().items()}
    found["materialize/since"] = MetadataValue.timestamp(health.since)
    found["materialize/at"] = MetadataValue.timestamp(health.at)
    return found
