"""Asking for a sentinel, hundreds of times a second: HEAD with a fraction of the work.

boto3 takes 1.4 ms of processor time for a HEAD, most of it to build, sign and read. An address that was signed once
serves for minutes, and sending it takes 0.4 ms. Only "it is still there" is believed from such an answer. Every other
one is asked for again by boto3, which decides, and tries again, as everywhere; a store that does not take signed
addresses is asked by boto3 alone from then on.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.objectstore.location import Location

_VALID = 600
_USED = 0.8 * _VALID
# Of these answers the store itself, and not the object, is the cause.
_NEVER = {301, 307, 400, 401, 403, 405, 501}


@dataclass(slots=True)
class SignedHead:
    """The address of a sentinel, and when it was signed; filled in when first needed."""

    sentinel: Location | None = None
    url: str = ""
    at: float = 0.0


class Heads:
    """Asks one store whether sentinels are there; used by several threads."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        store.client.meta.events.register(
            "choose-signer.s3.HeadObject", _keep_version_4, unique_id="mz-orchestration-heads"
        )
        # Its connections, certificates and proxies; botocore has no public name for it.
        self._session: Any = getattr(getattr(store.client, "_endpoint", None), "http_session", None)

    def is_there(self, sentinel: Location, signed: SignedHead) -> bool:
        """Whether the sentinel is there.

        Raises:
            CredentialsError: We may not look, which never means that it is gone.
            UnavailableError: The store does not answer.
        """
        session = self._session
        if session is not None and self._status(session, sentinel, signed) == 200:
            return True
        return self._store.head(sentinel) is not None

    def _status(self, session: Any, sentinel: Location, signed: SignedHead) -> int:
        from botocore.awsrequest import AWSPreparedRequest
        from botocore.exceptions import BotoCoreError, HTTPClientError

        now = time.monotonic()
        try:
            if signed.sentinel != sentinel or now - signed.at > _USED:
                signed.url = self._store.client.generate_presigned_url(
                    "head_object", Params={"Bucket": sentinel.bucket, "Key": sentinel.key}, ExpiresIn=_VALID
                )
                signed.sentinel, signed.at = sentinel, now
            no_headers: Any = {}
            request = AWSPreparedRequest("HEAD", signed.url, no_headers, None, False)
            status: int = session.send(request).status_code
        except (BotoCoreError, HTTPClientError, OSError):
            return 0
        if status in _NEVER:
            self._session = None
        return status


def _keep_version_4(signature_version: str, **_: Any) -> Any:
    """Unless told otherwise, boto3 signs addresses in a way that newer buckets refuse."""
    return "s3v4-query" if signature_version == "v4-query" else None
