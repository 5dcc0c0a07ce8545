"""What the target has had already: whether a manifest has to be loaded at all."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from mz_orchestration.exports.manifest import Manifest
from mz_orchestration.flow import Flow, call
from mz_orchestration.runs.record import LoadEntry, LoadState
from mz_orchestration.snowflake import ledger, statements
from mz_orchestration.snowflake.ledger import LedgerFacts
from mz_orchestration.snowflake.plan import LoadPlan
from mz_orchestration.snowflake.session import SnowflakeSession
from mz_orchestration.snowflake.spec import LoadSpec, Strategy


class Standing(Enum):
    """What the target holds of a manifest."""

    ABSENT = "absent"
    PUBLISHED = "published"
    CHANGED = "changed"  # published, and changed by somebody since
    SUPERSEDED = "superseded"  # published, and another manifest since
    OLDER = "older"  # never published, and the target holds what was exported later


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at the target and its ledger found.

    Attributes:
        standing: What the target holds of the manifest.
        facts: What the ledger says.
    """

    standing: Standing
    facts: LedgerFacts


def look_at_target(
    spec: LoadSpec, plan: LoadPlan, manifest: Manifest, earlier: LoadEntry | None, session: SnowflakeSession
) -> Flow[Look]:
    """Find out what the target has had; two statements where there is a ledger.

    A load that ended between its publish and its row in the ledger is written down first, from the table's mark.

    Args:
        spec: The load.
        plan: The target as found.
        manifest: What is to be loaded.
        earlier: What the run record knows of a load into this target.
        session: To ask with.
    """
    if plan.found is None:
        return Look(Standing.ABSENT, LedgerFacts())
    mark, created = plan.found.mark, plan.found.created
    unfinished = earlier.load if earlier is not None and earlier.state is not LoadState.SUCCEEDED else ""
    known = LedgerFacts()
    if plan.has_ledger:
        asked = ledger.read(plan.ledger, plan.label, manifest, created=created, mark=mark, load=unfinished)
        known = ledger.facts((yield from call(session.query, asked)).rows)
    if mark is not None and not known.mark_known:
        if not plan.has_ledger:
            yield from call(session.query, ledger.create(plan.ledger))
        yield from call(session.query, ledger.insert_marked(plan.ledger, plan.label, mark, created=created))
        known = replace(
            known,
            had=known.had + (mark.manifest == manifest.sha256),
            latest=mark.manifest,
            mark_known=True,
            load_known=known.load_known or mark.load == unfinished,
        )
    # The mark speaks for the rows also where the table is a clone that has taken another's place.
    has = known.had > 0 or (mark is not None and mark.manifest == manifest.sha256)
    if mark is not None and known.latest is None:
        known = replace(known, latest=mark.manifest)
    return Look((yield from _standing(spec, plan, manifest, known, session, has=has)), known)


def is_older(spec: LoadSpec, manifest: Manifest, known: LedgerFacts) -> bool:
    """Whether the target has had what was exported later, which this manifest would set back."""
    if spec.again or spec.strategy is Strategy.APPEND or known.newest is None:
        return False
    return known.newest > ledger.exported_at(manifest)


def _standing(
    spec: LoadSpec,
    plan: LoadPlan,
    manifest: Manifest,
    known: LedgerFacts,
    session: SnowflakeSession,
    *,
    has: bool,
) -> Flow[Standing]:
    if spec.again and not known.load_known:
        return Standing.ABSENT
    if not has:
        return Standing.OLDER if is_older(spec, manifest, known) else Standing.ABSENT
    if known.latest != manifest.sha256:
        return Standing.SUPERSEDED
    if spec.strategy.replaces:
        counted = yield from call(session.query, statements.count_rows(plan.table))
        if int(counted.rows[0]["n"]) != manifest.rows:
            return Standing.CHANGED
    return Standing.PUBLISHED
