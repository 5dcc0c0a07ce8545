"""The same by the bucket's own events: a tick reads an SQS queue, and lists nothing but the paths that events name.

A message is deleted only once Dagster's own records show that its export was told of: the tick that brings it first
tells of it and hands the message back; the one that sees it again finds the event, and deletes it. So nothing is lost
with a daemon that dies between the end of a tick and the storing of what came of it.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from dagster import SensorEvaluationContext, SensorResult, SkipReason

from mz_orchestration.errors import MzOrchestrationError

if TYPE_CHECKING:
    from mz_orchestration.dagster.resources import ObjectStoreResource
    from mz_orchestration.dagster.sensors.export_completion import _Telling
    from mz_orchestration.exports.watch.arrivals import ArrivalPolicy
    from mz_orchestration.objectstore.location import Location

# Seconds that a tick waits for a first message: a tick holds a thread of the code server.
_WAIT = 1


def by_queue(
    context: SensorEvaluationContext,
    telling: _Telling,
    base: Location,
    policy: ArrivalPolicy,
    url: str,
    resource: ObjectStoreResource,
    *,
    hand_back: int,
) -> SensorResult | SkipReason:
    """One tick.

    Args:
        context: The sensor's.
        telling: Tells of exports.
        base: The watched folder.
        policy: When an export counts as complete.
        url: The queue's.
        resource: The store's, whose credentials are the queue's.
        hand_back: Seconds until a message is shown again.

    Raises:
        MzOrchestrationError: The queue refuses, or there is none.
    """
    problems: list[MzOrchestrationError] = []
    read = asyncio.run(_read(telling, base, policy, url, resource, hand_back, problems.append))
    for problem in problems:
        context.log.warning(str(problem))
    reason = f"{read} messages in {url}, no export that is not known."
    return SensorResult(
        asset_events=telling.events,
        run_requests=telling.requests,
        skip_reason=None if telling.events or telling.requests else reason,
    )


async def _read(
    telling: _Telling,
    base: Location,
    policy: ArrivalPolicy,
    url: str,
    resource: ObjectStoreResource,
    hand_back: int,
    on_problem: Any,
) -> int:
    from mz_orchestration.dagster.sensors.export_completion import is_ours
    from mz_orchestration.exports.watch.arrival import Arrival, judge_path
    from mz_orchestration.exports.watch.wait import list_attempt
    from mz_orchestration.flow import in_daemon_thread
    from mz_orchestration.objectstore.location import Location
    from mz_orchestration.objectstore.queue import RemovalQueue

    async def wake(bucket: str, key: str) -> int:
        if bucket != base.bucket or not key.startswith(base.key):
            return 0  # others read the queue, too
        folder = Location(bucket, key, base.scheme).parent
        objects = await in_daemon_thread(partial(list_attempt, telling.store, folder))
        found = judge_path(folder, objects, datetime.now(UTC), base)
        if not isinstance(found, Arrival):
            return 1  # it failed and was swept away, or another one runs there, and will have an event of its own
        if found.manifest is None and (policy.require == "manifest" or is_ours(found)):
            return 0  # it is not verified yet
        return int(telling.tell(found))

    host = urlsplit(url)
    amazon = (host.hostname or "").endswith((".amazonaws.com", ".amazonaws.com.cn"))
    queue = await in_daemon_thread(
        lambda: RemovalQueue(
            url,
            resource.store_config(),
            endpoint_url=None if amazon else f"{host.scheme}://{host.netloc}",
            hand_back=hand_back,
            stale_after=policy.abandoned_after,
            on_problem=on_problem,
        )
    )
    read = 0
    while not telling.time_is_up:
        found = await queue.poll_once(wake, _WAIT)
        read += found
        if not found:
            break
    return read
