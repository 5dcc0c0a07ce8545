"""What to do about a verdict: from Materialize's guide, and from what its errors and statuses mean.

The guide sends people to a column ``reason`` of ``mz_sink_statuses``; there is none: the text is in ``error`` and
``details``.
"""

from __future__ import annotations

from collections.abc import Iterable

from mz_orchestration.sinks.verdict import Verdict

# By what an error says; the first that fits.
_BY_ERROR = (
    (
        ("broker transport", "all brokers", "connection refused", "resolve", "timed out", "timeout"),
        "Materialize cannot reach the brokers: check that they are up, and the address, the tunnel and the network "
        "policy of the connection (VALIDATE CONNECTION).",
    ),
    (
        ("authentication", "sasl", "ssl", "certificate"),
        "The brokers refuse the sign-in: check the secrets of the connection (ALTER SECRET, VALIDATE CONNECTION).",
    ),
    (
        ("authorization", "not authorized", "access denied", "accessdenied", "forbidden"),
        "A right is missing: a sink needs to write to its topic, to the progress topic and to its transactional ids, "
        "or to the table of the catalog.",
    ),
    (
        ("progress topic",),
        "Look at the progress topic: it must have one partition and no retention. A new sink may say this once.",
    ),
    (
        ("unknown topic", "does not exist", "not found"),
        "What the sink writes to is gone: make it again, or let Materialize do so by making the sink anew.",
    ),
    (
        ("schema registry", "incompatible", "subject"),
        "The schema registry refuses the schema: look at the subject's compatibility.",
    ),
)

_ADVICE = {
    Verdict.STARTING_TOO_LONG: (
        "Look at the memory of its cluster: a sink loads a whole snapshot when it starts. A larger cluster helps if "
        "replicas run out of memory; if they do not, contact Materialize's support."
    ),
    Verdict.STALLED: (
        "As a rule its configuration, or that of what it writes to, is wrong. Mend what the error names: Materialize "
        "tries again by itself."
    ),
    Verdict.FLAPPING: (
        "It fails again after each restart. Mend what the error names: Materialize tries again by itself."
    ),
    Verdict.DEGRADED: "Another replica does the work. Mend what the error names before that one fails, too.",
    Verdict.NOT_COMMITTING: (
        "What it writes to keeps Materialize from committing: look at the transaction coordinator and the rights on "
        "transactional ids of Kafka, or at the commits of the catalog, and at error and details in "
        "mz_internal.mz_sink_statuses."
    ),
    Verdict.NOT_MOVING: (
        "It may have to be scaled up: look at CPU and memory of its cluster. If those are idle, give it a new replica, "
        "and contact Materialize's support."
    ),
    Verdict.PAUSED: "ALTER CLUSTER … SET (REPLICATION FACTOR 1) gives its cluster a replica.",
    Verdict.DROPPED: "If nobody meant to drop it, make it again; a Kafka sink then writes its snapshot anew.",
    Verdict.UNKNOWN: "Look into mz_internal.mz_sink_status_history, and update mz-orchestration.",
}


def advice_for(verdict: Verdict, kind: str, type: str, error: str | None, hints: Iterable[str] = ()) -> str:
    """What to do, in a sentence or some.

    Args:
        verdict: What the health is.
        kind: ``sink`` or ``source``.
        type: Such as ``kafka``.
        error: As Materialize has it.
        hints: What Materialize itself suggests.

    Returns:
        The advice; empty where nothing needs to be done.
    """
    general = _ADVICE.get(verdict, "")
    if not general:
        return ""
    text = general.replace("sink", kind) if kind != "sink" else general
    low = (error or "").lower()
    special = next((advice for words, advice in _BY_ERROR if any(word in low for word in words)), "")
    if verdict in (Verdict.STALLED, Verdict.FLAPPING, Verdict.DEGRADED) and special:
        text = special
    told = [f"Materialize suggests: {hint.rstrip('.')}." for hint in hints]
    return " ".join([text, *told])
