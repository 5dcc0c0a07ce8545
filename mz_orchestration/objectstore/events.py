"""What a message about a bucket says was deleted: pure, whoever brought the message.

S3 writes the same fact in different words: straight into a queue, wrapped by SNS, or through EventBridge; MinIO
writes as S3 does. Delivery is at least once, in no order, and sometimes not at all, so a removal only says where to
look.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus

from mz_orchestration.errors import MzOrchestrationError

# Of a versioned bucket, a delete is a marker on top of the versions.
_REMOVED = {"ObjectRemoved:Delete", "ObjectRemoved:DeleteMarkerCreated"}
_TEST_EVENT = "s3:TestEvent"


class MalformedEventError(MzOrchestrationError):
    """A message that is no event of an object store."""


@dataclass(frozen=True, slots=True)
class Removal:
    """One deleted object.

    Attributes:
        bucket: Its bucket.
        key: Its key, as the store knows it.
        sequencer: Orders the events of one key; see `newest`. Empty where the store gives none.
    """

    bucket: str
    key: str
    sequencer: str = ""


def removals(body: str) -> list[Removal]:
    """The objects whose deletion a message reports; none for every other kind of event.

    Raises:
        MalformedEventError: It is not the message of an object store.
    """
    try:
        return _removals(_unwrapped(body))
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise MalformedEventError(
            f"A message is not an event of an object store ({type(error).__name__}): {body[:200]!r}",
            hint="Send nothing but the bucket's events to this queue.",
        ) from error


def is_test_event(body: str) -> bool:
    """Whether it is the message S3 sends when a notification is set up."""
    try:
        message = _unwrapped(body)
    except (TypeError, ValueError, RecursionError):
        return False
    return message.get("Event") == _TEST_EVENT


def newest(found: Iterable[Removal]) -> list[Removal]:
    """One removal per object, the last by its sequencer: duplicates and stragglers wake nobody twice."""
    last: dict[tuple[str, str], Removal] = {}
    for removal in found:
        other = last.setdefault((removal.bucket, removal.key), removal)
        width = max(len(removal.sequencer), len(other.sequencer))
        # Sequencers differ in length and count from the left.
        if removal.sequencer.ljust(width, "0") > other.sequencer.ljust(width, "0"):
            last[(removal.bucket, removal.key)] = removal
    return list(last.values())


def _unwrapped(body: str) -> dict[str, Any]:
    message = json.loads(body)
    if not isinstance(message, dict):
        raise TypeError("not an object")
    if message.get("Type") == "Notification" and "Message" in message:  # SNS, unless it delivers raw
        return _unwrapped(message["Message"])
    return message


def _removals(message: dict[str, Any]) -> list[Removal]:
    if "Records" in message:
        return [
            _removal(record["s3"], quoted=True)
            for record in message["Records"]
            if record["eventName"].removeprefix("s3:") in _REMOVED
        ]
    if "detail-type" in message:
        # Lifecycle rules delete, too, but never the sentinel of an export that has just ended.
        if message["detail-type"] == "Object Deleted" and message["detail"].get("reason") == "DeleteObject":
            return [_removal(message["detail"], quoted=False)]
        return []
    if message.get("Event") == _TEST_EVENT:
        return []
    raise ValueError("neither Records nor detail-type")


def _removal(detail: dict[str, Any], *, quoted: bool) -> Removal:
    bucket, key = detail["bucket"]["name"], detail["object"]["key"]
    if not (isinstance(bucket, str) and isinstance(key, str)):
        raise TypeError("bucket or key is no text")
    return Removal(bucket, unquote_plus(key) if quoted else key, str(detail["object"].get("sequencer") or ""))
