"""What a pipeline would do, written without contacting anything: the graph, then every statement and request."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from mz_orchestration.pipelines.planning import (
    UNKNOWN_MANIFEST,
    CheckNode,
    ExportNode,
    GroupNode,
    LoadNode,
    Node,
    Plan,
    RetentionNode,
    SyncNode,
    select,
)
from mz_orchestration.pipelines.record import node_run_key

if TYPE_CHECKING:
    from mz_orchestration.pipelines.check_spec import ChecksSpec
    from mz_orchestration.pipelines.spec import NotificationsSpec

# A path carries the moment its attempt begins; the plan of a run is always the same.
_MOMENT = re.compile(r"/[0-9]{8}T[0-9]{6}Z-(?=[0-9a-f]{8}-[0-9]{2}/)")
_MANIFEST = "the manifest that the export writes"


def plan_lines(plan: Plan, run_key: str, only: Sequence[str]) -> Iterator[str]:
    """The plan of a run, line by line.

    Args:
        plan: The pipeline's.
        run_key: The run's.
        only: The parts that are asked for; all where there are none.

    Raises:
        ConfigurationError: There is no such part, or a statement cannot be written.
    """
    nodes = select(plan, only)
    yield f"pipeline {plan.spec.name}, run key {run_key}, at most {plan.spec.defaults.concurrency} at a time"
    yield from _graph(nodes)
    for node in nodes:
        yield ""
        yield f"== {node.name}"
        for line in _statements(node, plan, run_key):
            yield _MOMENT.sub("/<moment>-", line)
    yield from _notifications(plan.spec.notifications)


def _graph(nodes: Sequence[Node]) -> Iterator[str]:
    width = max(len(node.name) for node in nodes)
    for number, node in enumerate(nodes, 1):
        if isinstance(node, RetentionNode):
            after = "  after all others"
        else:
            after = f"  after {', '.join(node.needs)}" if node.needs else ""
        members = f"  ({', '.join(member.item for member in node.members)})" if isinstance(node, GroupNode) else ""
        yield f"  {number:>3}  {node.name:<{width}}{members}{after}".rstrip()


def _statements(node: Node, plan: Plan, run_key: str) -> Iterator[str]:
    from mz_orchestration.cli.dry_run import planned_export, planned_group

    match node:
        case ExportNode():
            yield from planned_export(node.spec, node_run_key(plan.spec.name, run_key, node.item), node.policy)
        case GroupNode():
            specs = [member.spec for member in node.members]
            key = node_run_key(plan.spec.name, run_key, node.item)
            yield from planned_group(specs, key, node.members[0].policy, "held", node.max_parallel)
        case CheckNode():
            yield from _checks(node)
        case LoadNode():
            yield from _load(node)
        case SyncNode():
            yield from _sync(node)
        case RetentionNode():
            yield from _retention(node)


def _checks(node: CheckNode) -> Iterator[str]:
    for name, value in _wanted(node.export.checks):
        yield f"-- {name}: {value:.15g}" + {"max_change": " of the last run that passed", "max_lag": " seconds"}.get(
            name, ""
        )
    if node.export.checks.max_lag is not None and node.export.source is not None:
        yield f"-- asks mz_internal.mz_wallclock_global_lag how far {node.export.source}, or what it reads, lags behind"


def _wanted(checks: ChecksSpec) -> Iterator[tuple[str, float]]:
    for name in type(checks).model_fields:
        value = getattr(checks, name)
        if value is not None:
            yield name, value


def _load(node: LoadNode) -> Iterator[str]:
    from mz_orchestration.snowflake.dry_run import planned_statements

    for line in planned_statements(node.spec, None):
        # The place of the manifest is known once the export has run.
        yield line.replace(UNKNOWN_MANIFEST, _MANIFEST)


def _sync(node: SyncNode) -> Iterator[str]:
    sync = node.spec.sync
    yield "-- requests to Census"
    yield f"GET /syncs/{sync}"
    yield f"GET /syncs/{sync}/sync_runs?page=1&per_page=100&order=desc"
    if node.spec.on_overlap == "wait":
        yield "-- and while one of them is active, GET /sync_runs/<its id>"
    elif node.spec.on_overlap == "attach":
        yield "-- one that is active is taken; otherwise"
    yield f"POST /syncs/{sync}/trigger" + ("?force_full_sync=true" if node.spec.full else "")
    yield "GET /sync_runs/<the run's id>  -- until it has ended"
    limits = [
        f"{what}: " + ", ".join(f"at most {limit:.15g}{unit}" for limit, unit in pairs if limit is not None)
        for what, pairs in (
            ("rejected", ((node.spec.failed_limit, ""), (node.spec.max_failed_ratio, " of those processed"))),
            ("invalid", ((node.spec.invalid_limit, ""), (node.spec.max_invalid_ratio, " of the source's"))),
        )
    ]
    yield f"-- records {'; '.join(limits)}"


def _retention(node: RetentionNode) -> Iterator[str]:
    young = "" if node.spec.keep_for is None else f", and those younger than {node.spec.keep_for:.15g} seconds"
    yield f"-- of each export, the newest {node.spec.keep_last} finished runs are kept{young}"
    for base in dict.fromkeys(str(export.spec.base) for export in node.exports):
        yield f"-- looks at the run records below {base}; deletes files by their manifests, then the records"


def _notifications(spec: NotificationsSpec) -> Iterator[str]:
    if spec.webhooks or spec.heartbeat:
        yield ""
        yield "== afterwards"
    for hook in spec.webhooks:
        yield f"-- POST to a webhook (its address is a secret) on {', '.join(hook.on)}"
    if spec.heartbeat:
        yield "-- GET of the heartbeat (its address is a secret) after a run that ended well"
