"""What the facts of a look mean, given what is remembered of those before: pure functions of values.

Status alone is not enough: Materialize says ``running`` of a sink whose commits fail and of one that hangs, one replica
that runs hides another that does not, and most errors end in a restart, so that a broken sink is ``running`` half the
time. Movement alone is not enough either: a sink with nothing to do stands still. So movement is compared with that of
what the connector reads, and all clocks start anew with every restart.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

from mz_orchestration.sinks.advice import advice_for
from mz_orchestration.sinks.facts import ConnectorFacts, Look, Replica, StatusEvent
from mz_orchestration.sinks.memory import PUBLISHED_EVERY, Memory, moved
from mz_orchestration.sinks.policy import HealthPolicy
from mz_orchestration.sinks.verdict import Health, Verdict

# Documented as one more way to say stalled; present versions do not produce it.
_STALLED = ("stalled", "failed")
_REMEMBERED_STALLS = 20
# Seconds within which errors of several replicas are one.
_ONE_ERROR = 5.0


def judge_all(
    look: Look, memories: Mapping[str, Memory], policy: HealthPolicy | None = None
) -> tuple[dict[str, Health], dict[str, Memory]]:
    """Judge all connectors of a look, and those that are gone since the one before.

    Args:
        look: What is there now.
        memories: From the look before, by id; empty at the first.
        policy: How long what may last.

    Returns:
        Health by id, and what to remember for the next look. What is gone is told of once, and forgotten.
    """
    policy = policy or HealthPolicy()
    healths: dict[str, Health] = {}
    remembered: dict[str, Memory] = {}
    for identifier, facts in look.connectors.items():
        healths[identifier], remembered[identifier] = judge(facts, memories.get(identifier), look.at, policy)
    for identifier in memories.keys() - look.connectors.keys():
        healths[identifier] = gone(identifier, memories[identifier], look.at)
    return healths, remembered


def gone(identifier: str, memory: Memory, at: datetime) -> Health:
    """The health of a connector that the catalog does not list any more.

    Args:
        identifier: Its id.
        memory: What is remembered of it.
        at: The present moment.
    """
    return Health(
        id=identifier,
        name=memory.name,
        kind="source" if memory.kind == "source" else "sink",
        type=memory.type,
        cluster=memory.cluster,
        verdict=Verdict.DROPPED,
        since=at,
        at=at,
        evidence=(f"The catalog has no {memory.kind} with the id {identifier} any more.",),
        advice=advice_for(Verdict.DROPPED, memory.kind, memory.type, None),
        advanced=memory.advanced,
    )


def judge(
    facts: ConnectorFacts, memory: Memory | None, at: datetime, policy: HealthPolicy | None = None
) -> tuple[Health, Memory]:
    """Judge one connector.

    Args:
        facts: What the look says of it.
        memory: From the look before; None at the first.
        at: When the look was, by Materialize's clock.
        policy: How long what may last.

    Returns:
        Its health, and what to remember for the next look.
    """
    policy = policy or HealthPolicy()
    now = at.timestamp()
    memory = _noted(facts, memory, now, policy)
    verdict, since, evidence = next(_findings(facts, memory, now, policy))
    if memory.verdict == verdict:
        # A verdict that rests on movement begins when that ended; one that goes on began when it was first said.
        since = min(since, memory.since)
    memory = replace(memory, verdict=verdict.value, since=since)
    still = memory.published is None or now - memory.published > 2.5 * PUBLISHED_EVERY
    health = Health(
        id=facts.id,
        name=facts.name,
        kind=facts.kind,
        type=facts.type,
        cluster=facts.cluster,
        verdict=verdict,
        since=datetime.fromtimestamp(since, UTC),
        at=at,
        status=facts.status,
        error=facts.error,
        evidence=tuple(evidence),
        advice=advice_for(verdict, facts.kind, facts.type, next(iter(_last_error(facts)), None), facts.hints),
        staged=sum(each.staged for each in facts.counters.values()) if facts.counters else None,
        committed=sum(each.committed for each in facts.counters.values()) if facts.counters else None,
        advanced=memory.advanced,
        staged_rate=0.0 if still and memory.staged_rate is not None else memory.staged_rate,
        committed_rate=0.0 if still and memory.committed_rate is not None else memory.committed_rate,
        lag=facts.lag,
    )
    return health, memory


def _noted(facts: ConnectorFacts, memory: Memory | None, now: float, policy: HealthPolicy) -> Memory:
    """What is remembered, with what this look adds."""
    if memory is None:
        memory = Memory(name=facts.name, first_seen=now, looked=now)
    memory = moved(memory, facts.counters, now)
    if facts.position != memory.position:
        memory = replace(memory, position=facts.position, position_moved=now)
    if facts.input_position != memory.input_position:
        memory = replace(memory, input_position=facts.input_position, input_moved=now)
    begun = [event.at.timestamp() for event in facts.events if event.status == "running"]
    unready = memory.unready_since
    if facts.status == "running":
        unready = None
    elif unready is None or any(each > unready for each in begun):
        # It ran in between: what it does now began after that.
        unready = _since(facts, now)
    known = {*memory.stalls, *(event.at.timestamp() for event in facts.events if event.status in _STALLED)}
    return replace(
        memory,
        name=facts.name,
        kind=facts.kind,
        type=facts.type,
        cluster=facts.cluster,
        looked=now,
        unready_since=unready,
        stalls=tuple(_together(each for each in known if now - each <= policy.flap_window))[-_REMEMBERED_STALLS:],
    )


_Finding = tuple[Verdict, float, list[str]]


def _findings(facts: ConnectorFacts, memory: Memory, now: float, policy: HealthPolicy) -> Iterator[_Finding]:
    """What may be said of a connector, what matters most first; there is always something."""
    since = _since(facts, now)
    if facts.status == "dropped":
        yield Verdict.DROPPED, since, ["Materialize says dropped."]
    if facts.status == "paused" or (facts.status == "created" and facts.cluster and not facts.replicas):
        yield Verdict.PAUSED, since, [f"Its cluster {facts.cluster or ''} has no replica.".replace("  ", " ")]
    if _flaps(facts, memory.stalls, now, policy):
        evidence = [f"{len(memory.stalls)} errors within {_span(now - memory.stalls[0])}."]
        yield Verdict.FLAPPING, memory.stalls[0], [*evidence, *_last_error(facts)]
    if facts.status in _STALLED:
        yield Verdict.STALLED, since, _last_error(facts) or [f"Materialize says {facts.status} without an error."]
    down = [each for each in facts.replicas if _is_down(each, now, policy)]
    if down and len(down) == len(facts.replicas):
        yield Verdict.STALLED, max(_changed(each, now) for each in down), [_down(each) for each in down]
    if facts.status in ("created", "starting"):
        began = min(since, memory.unready_since if memory.unready_since is not None else since)
        late = now - began > policy.starting_after
        evidence = [f"It has been {facts.status} for {_span(now - began)}.", *(_down(each) for each in down)]
        yield (Verdict.STARTING_TOO_LONG if late else Verdict.STARTING), began, evidence
    if facts.status == "running":
        yield from _of_running(facts, memory, now, policy, down)
    yield Verdict.UNKNOWN, since, [f"Materialize says {facts.status!r}, which this version does not know."]


def _of_running(
    facts: ConnectorFacts, memory: Memory, now: float, policy: HealthPolicy, down: list[Replica]
) -> Iterator[_Finding]:
    since = _since(facts, now)
    # No clock runs longer than it has been running, or looked at.
    start = max(since, memory.first_seen)
    committed_moved = max(memory.committed_moved or start, start)
    staged_moved = max(memory.staged_moved or start, start)
    # A sink runs on one of the replicas, and of the others nobody says anything.
    if {each.hydrated for each in facts.replicas} - {None} == {False}:
        began = max(start, staged_moved)
        late = now - began > policy.hydrating_after
        evidence = [f"It reads its snapshot, without progress for {_span(now - began)}."]
        yield (Verdict.STARTING_TOO_LONG if late else Verdict.STARTING), since, evidence
    interval = facts.commit_interval or 0.0
    if staged_moved - committed_moved > policy.commit_after + interval:
        evidence = [f"What it stages grows, and nothing has been committed for {_span(now - committed_moved)}."]
        yield Verdict.NOT_COMMITTING, committed_moved, evidence
    position_moved = max(memory.position_moved or start, start)
    input_moved = max(memory.input_moved or start, start)
    behind = facts.position is not None and facts.input_position is not None and facts.position < facts.input_position
    if behind and input_moved - position_moved > policy.stuck_after + interval:
        reads = facts.input or "what it reads"
        evidence = [f"It has not moved for {_span(now - position_moved)}, and {reads} has."]
        if facts.lag is not None:
            evidence.append(f"It is {_span(facts.lag)} behind.")
        yield Verdict.NOT_MOVING, position_moved, evidence
    stalled = list(_masked(facts))
    if stalled or down:
        evidence = [f"On {_replica_name(facts, event.replica)}: {event.error or event.status}" for event in stalled]
        moments = [event.at.timestamp() for event in stalled] + [_changed(each, now) for each in down]
        yield Verdict.DEGRADED, min(moments), [*evidence, *(_down(each) for each in down)]
    # What is staged waits for the commit that its interval allows.
    quiet = max(committed_moved, staged_moved)
    if now - quiet > policy.idle_after + interval:
        keeps_up = "keeps up with what it reads" if facts.position is not None else "nobody says what it reads"
        yield Verdict.IDLE, quiet, [f"It runs, {keeps_up}, and has had nothing to commit for {_span(now - quiet)}."]
    yield Verdict.HEALTHY, since, ["It runs." if facts.counters else "It runs, and there are no statistics yet."]


def _flaps(facts: ConnectorFacts, stalls: tuple[float, ...], now: float, policy: HealthPolicy) -> bool:
    """Many errors of late, and it has not been running for twice as long as it ever did between two of them."""
    if len(stalls) < policy.flap_count:
        return False
    longest = max(after - before for before, after in pairwise(stalls))
    return facts.status != "running" or now - _since(facts, now) <= max(policy.flap_settle, 2 * longest)


def _together(moments: Iterable[float]) -> Iterator[float]:
    """Replicas have one error a moment after each other: that is one."""
    last = -math.inf
    for moment in sorted(moments):
        if moment - last > _ONE_ERROR:
            last = moment
            yield moment


def _masked(facts: ConnectorFacts) -> Iterator[StatusEvent]:
    """The newest events of replicas that have an error while another one runs."""
    present = {each.id for each in facts.replicas}
    newest: dict[str, StatusEvent] = {}
    for event in facts.events:
        if event.replica is not None:
            newest.setdefault(event.replica, event)
    for replica, event in newest.items():
        if event.status in _STALLED and replica in present:
            yield event


def _since(facts: ConnectorFacts, now: float) -> float:
    return now if facts.since is None else min(facts.since.timestamp(), now)


def _changed(replica: Replica, now: float) -> float:
    return now if replica.changed is None else replica.changed.timestamp()


def _is_down(replica: Replica, now: float, policy: HealthPolicy) -> bool:
    return replica.online is False and now - _changed(replica, now) > policy.offline_after


def _down(replica: Replica) -> str:
    return f"Its replica {replica.name} is down" + (f": {replica.reason}." if replica.reason else ".")


def _replica_name(facts: ConnectorFacts, identifier: str | None) -> str:
    return next((each.name for each in facts.replicas if each.id == identifier), identifier or "a replica")


def _last_error(facts: ConnectorFacts) -> list[str]:
    error = facts.error or next((event.error for event in facts.events if event.error), None)
    return [error] if error else []


def _span(seconds: float) -> str:
    """A time for people, such as ``3 min``."""
    if seconds < 120:
        return f"{max(seconds, 0):.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
