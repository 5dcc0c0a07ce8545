"""What a notification says: the JSON document of a webhook, with a text that chat programs show as it is.

Error texts come from other systems: what would mention everybody in a channel, break a line or never end is made
harmless.
"""

from __future__ import annotations

import shlex
from typing import Any

from mz_orchestration.pipelines.record import NodeEntry, PipelineRecord, PipelineState
from mz_orchestration.pipelines.spec import Event
from mz_orchestration.webhooks.texts import clean, cut, defused

_LONGEST_TEXT = 3500
_TOLD = 5
_MOST_NODES = 200
_WORDS: dict[Event, str] = {"failure": "failed", "recovery": "works again", "success": "succeeded"}


def events_of(state: PipelineState, previous: PipelineState | None) -> tuple[Event, ...]:
    """What a run that ended so is, the rarest first.

    Args:
        state: How it ended.
        previous: How the one before it ended; None where nobody knows.
    """
    if state is PipelineState.FAILED:
        return ("failure",)
    if state is not PipelineState.SUCCEEDED:
        return ()
    return ("recovery", "success") if previous is PipelineState.FAILED else ("success",)


def document(record: PipelineRecord, event: Event) -> dict[str, Any]:
    """The document that is posted: ``text`` for people, the rest for machines."""
    failed = [_failure(node) for node in record.failed[:_MOST_NODES]]
    again = _again(record)
    return {
        "text": _text(record, event, failed, again),
        "pipeline": record.pipeline,
        "run_key": clean(record.run_key),
        "state": str(record.state),
        "event": event,
        "failed": failed,
        "nodes": [
            {"name": clean(node.name), "state": str(node.state), "line": clean(node.line)}
            for node in record.nodes[:_MOST_NODES]
        ],
        "again": again,
    }


def _failure(node: NodeEntry) -> dict[str, str]:
    error = node.error or {}
    return {"name": clean(node.name), **{part: clean(str(error.get(part, ""))) for part in ("message", "hint")}}


def _text(record: PipelineRecord, event: Event, failed: list[dict[str, str]], again: str) -> str:
    sentences = [f"{record.pipeline} {clean(record.run_key)} {_WORDS[event]}."]
    for each in failed[:_TOLD]:
        sentences.append(" ".join(part for part in (f"{each['name']}: {each['message']}", each["hint"]) if part))
    if len(record.failed) > _TOLD:
        sentences.append(f"{len(record.failed) - _TOLD} more failed.")
    text = defused(cut(" ".join(sentences), _LONGEST_TEXT))
    return f"{text} Again: {defused(again)}" if again and event == "failure" else text


def _again(record: PipelineRecord) -> str:
    """The command that does what is left; empty where the pipeline was made in Python."""
    if not record.file:
        return ""
    only = [part for name in record.only for part in ("--only", name)]
    # Whole, or it would do something else.
    return shlex.join(["mz-orchestration", "pipeline", "run", record.file, "--run-key", record.run_key, *only])
