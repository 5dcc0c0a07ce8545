"""A queue of removal events: Amazon SQS, fed by the bucket, read by long polls.

An event wakes whoever waits for the object; looking decides, and polling goes on beside it, so a lost event costs
nothing but time. A message is deleted only after it was acted on. What happens to which message:

======================================================  ==========================================================
message                                                 what becomes of it
======================================================  ==========================================================
the removal of a sentinel somebody here waits for       deleted after the waits have looked; handed back if they
                                                        could not
the removal of a sentinel nobody here waits for         handed back, for another process; after 5 s the first
                                                        time, doubling; deleted once it is older than any poll
``s3:TestEvent``                                        deleted
other events, other objects, no event at all            reported once and left to the queue's own redrive policy
======================================================  ==========================================================
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

from mz_orchestration.errors import (
    ConfigurationError,
    CredentialsError,
    MzOrchestrationError,
    NotFoundError,
    UnavailableError,
)
from mz_orchestration.flow import in_daemon_thread
from mz_orchestration.objectstore.client import ObjectStoreConfig
from mz_orchestration.objectstore.events import MalformedEventError, Removal, is_test_event, newest, removals

#: Told of a bucket and the key of a sentinel; returns how many waits have looked.
Wake = Callable[[str, str], Awaitable[int]]

_SUFFIX = "-INCOMPLETE"
_LONG_POLL = 20
_BATCH = 10
# While the waits look, nobody else is given the message.
_ACTING = 60
_LONGEST_HAND_BACK = 300
_QUEUE_URL = re.compile(r"https?://[^/\s]+/\S+")
_REGION = re.compile(r"https://(?:sqs\.([a-z0-9-]+)\.amazonaws\.com|([a-z0-9-]+)\.queue\.amazonaws\.com)")
_DENIED = ("AccessDenied", "InvalidClientTokenId", "SignatureDoesNotMatch", "InvalidAccessKeyId", "ExpiredToken")
_MISSING = ("NonExistentQueue", "QueueDoesNotExist", "InvalidAddress")


class RemovalQueue:
    """Reads removal events from an SQS queue and wakes those they concern.

    Args:
        url: The queue's URL.
        config: Credentials and region as for the object store; the region is also read from the URL.
        endpoint_url: For queues that are not Amazon's; None means AWS or ``AWS_ENDPOINT_URL_SQS``.
        unclaimed: What to do with removals that nobody here waits for: ``leave`` them to the other processes that read
            this queue, or ``delete`` them where there are none.
        hand_back: Seconds until a message nobody here can use is shown to others; doubles with each receipt.
        stale_after: Seconds after which an unclaimed removal is of no use: whoever waits has polled since.
        on_problem: Told of messages that cannot be used and of a queue that does not answer.
    """

    def __init__(
        self,
        url: str,
        config: ObjectStoreConfig | None = None,
        *,
        endpoint_url: str | None = None,
        unclaimed: Literal["leave", "delete"] = "leave",
        hand_back: int = 5,
        stale_after: float = 900.0,
        on_problem: Callable[[MzOrchestrationError], None] = lambda error: None,
    ) -> None:
        if not _QUEUE_URL.fullmatch(url):
            raise ConfigurationError(
                f"queue: {url!r} is not the URL of an SQS queue.",
                hint="Write it as https://sqs.<region>.amazonaws.com/<account>/<name>.",
            )
        self.url = url
        self._client = _sqs_client(config or ObjectStoreConfig(), url, endpoint_url)
        self._unclaimed = unclaimed
        self._hand_back = hand_back
        self._stale_after = stale_after
        self._on_problem = on_problem

    async def run(self, wake: Wake) -> None:
        """Read the queue until cancelled.

        Raises:
            CredentialsError: We may not read or delete.
            NotFoundError: There is no such queue.
            MzOrchestrationError: The queue refuses what we ask of it.
        """
        pause = 1.0
        while True:
            try:
                await self.poll_once(wake)
                pause = 1.0
            except UnavailableError as error:
                self._on_problem(error)
                await asyncio.sleep(pause)
                pause = min(60.0, pause * 2)

    async def poll_once(self, wake: Wake, seconds: int = _LONG_POLL) -> int:
        """One long poll, and everything that follows from it; the number of messages it brought.

        Args:
            wake: See `run`.
            seconds: How long to wait for a first message, at most 20.
        """
        messages = await in_daemon_thread(lambda: self._receive(seconds))
        if not messages:
            return 0
        found = {message["MessageId"]: self._read(message) for message in messages}
        concerned = newest(removal for some in found.values() for removal in some)
        answers = await asyncio.gather(*(wake(each.bucket, each.key) for each in concerned), return_exceptions=True)
        claimed: set[tuple[str, str]] = set()
        for removal, answer in zip(concerned, answers, strict=True):
            if isinstance(answer, MzOrchestrationError):
                self._on_problem(answer)
            elif isinstance(answer, BaseException):
                raise answer
            elif answer:
                claimed.add((removal.bucket, removal.key))
        delete: list[dict[str, Any]] = []
        hand_back: list[dict[str, Any]] = []
        for message in messages:
            wanted = found[message["MessageId"]]
            if wanted:
                done = all((removal.bucket, removal.key) in claimed for removal in wanted) or self._is_useless(message)
                (delete if done else hand_back).append(message)
            elif is_test_event(message["Body"]):
                delete.append(message)
        await in_daemon_thread(lambda: self._settle(delete, hand_back))
        return len(messages)

    def _read(self, message: dict[str, Any]) -> list[Removal]:
        """The removed sentinels in a message."""
        body = message["Body"]
        try:
            found = removals(body)
        except MalformedEventError as error:
            found = []
            problem: MzOrchestrationError = error
        else:
            problem = MzOrchestrationError(
                f"A message in {self.url} is not about a sentinel: {body[:200]!r}",
                hint=f"Give the bucket's notification the suffix filter {_SUFFIX[1:]!r} and the events "
                "s3:ObjectRemoved:*.",
            )
        sentinels = [removal for removal in found if removal.key.endswith(_SUFFIX)]
        if not sentinels and _count(message) == 1 and not is_test_event(body):
            self._on_problem(problem)
        return sentinels

    def _is_useless(self, message: dict[str, Any]) -> bool:
        if self._unclaimed == "delete":
            return True
        sent = int(message.get("Attributes", {}).get("SentTimestamp", 0)) / 1000
        return time.time() - sent > self._stale_after

    def _receive(self, seconds: int) -> list[dict[str, Any]]:
        with _explained(self.url, "read"):
            answer = self._client.receive_message(
                QueueUrl=self.url,
                MaxNumberOfMessages=_BATCH,
                WaitTimeSeconds=seconds,
                VisibilityTimeout=_ACTING,
                AttributeNames=["ApproximateReceiveCount", "SentTimestamp"],
            )
        messages: list[dict[str, Any]] = answer.get("Messages", [])
        return messages

    def _settle(self, delete: list[dict[str, Any]], hand_back: list[dict[str, Any]]) -> None:
        with _explained(self.url, "delete messages in"):
            if delete:
                self._client.delete_message_batch(QueueUrl=self.url, Entries=_entries(delete))
            if hand_back:
                entries = _entries(hand_back)
                for entry, message in zip(entries, hand_back, strict=True):
                    doubled = self._hand_back << min(_count(message) - 1, 10)
                    entry["VisibilityTimeout"] = min(_LONGEST_HAND_BACK, doubled)
                self._client.change_message_visibility_batch(QueueUrl=self.url, Entries=entries)


def _entries(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"Id": str(number), "ReceiptHandle": each["ReceiptHandle"]} for number, each in enumerate(messages)]


def _count(message: dict[str, Any]) -> int:
    return max(1, int(message.get("Attributes", {}).get("ApproximateReceiveCount", 1)))


def _sqs_client(config: ObjectStoreConfig, url: str, endpoint_url: str | None) -> Any:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    secrets = {
        name: value.get_secret_value()
        for name in ("aws_secret_access_key", "aws_session_token")
        if (value := getattr(config, name)) is not None
    }
    region = _REGION.match(url)
    try:
        session = boto3.session.Session(
            profile_name=config.profile_name,
            region_name=next(filter(None, region.groups()), None) if region else config.region_name,
            aws_access_key_id=config.aws_access_key_id,
            **secrets,
        )
        return session.client(
            "sqs",
            endpoint_url=endpoint_url,
            config=Config(
                retries={"mode": "standard", "total_max_attempts": 3},
                connect_timeout=10,
                read_timeout=_LONG_POLL + 15,
                user_agent_extra="mz-orchestration",
            ),
        )
    except (BotoCoreError, ValueError) as error:
        raise CredentialsError(
            f"The client of the queue {url} cannot be set up: {error}.",
            hint="Check AWS_REGION, AWS_ENDPOINT_URL_SQS, AWS_PROFILE and the other AWS_* settings.",
        ) from error


@contextmanager
def _explained(url: str, verb: str) -> Iterator[None]:
    """Turn boto3's errors into ours, naming the queue and what was tried."""
    from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, NoCredentialsError

    try:
        yield
    except ClientError as error:
        raise _from_client_error(error.response, url, verb) from error
    except NoCredentialsError as error:
        raise CredentialsError(
            f"No credentials were found to {verb} {url}.",
            hint="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or give the machine a role.",
        ) from error
    except (HTTPClientError, BotoCoreError, OSError) as error:
        raise UnavailableError(f"The queue {url} does not answer: {error}.") from error


def _from_client_error(answer: Any, url: str, verb: str) -> MzOrchestrationError:
    code, text = str(answer["Error"].get("Code", "")), str(answer["Error"].get("Message", ""))
    details = {"code": code, "queue": url}
    status = int(answer["ResponseMetadata"].get("HTTPStatusCode", 500))
    if status in (401, 403) or any(name in code for name in _DENIED):
        return CredentialsError(
            f"We may not {verb} {url}: {code}.",
            hint="The key or role needs sqs:ReceiveMessage, sqs:DeleteMessage and sqs:ChangeMessageVisibility.",
            details=details,
        )
    if any(name in code for name in _MISSING):
        return NotFoundError(
            f"There is no queue at {url}.", hint="Correct the URL, or create the queue.", details=details
        )
    kind = UnavailableError if status >= 500 or "Throttl" in code else MzOrchestrationError
    return kind(f"The queue {url} answered: {code} {text}".rstrip(), details=details)
