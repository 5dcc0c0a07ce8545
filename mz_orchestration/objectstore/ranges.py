"""Ends of many objects of one bucket, read at a rate that boto3 does not reach.

Thousands of files are verified by a few kilobytes each, and boto3 spends more than a millisecond of CPU on a request,
building again what is the same in all of them. So boto3 reads the first, finding endpoint, addressing, region and
credentials its own way; the requests behind it repeat that one, signed anew, on connections of ``http.client``. This
path knows one answer, the range that was asked for, of the version that was asked for: whatever else happens is left
to boto3, with its retries, redirects and errors. So is everything where boto3 goes through a proxy, shows a client
certificate, does not check the server's, or signs in a way that is not reproduced here to the last digit.
"""

from __future__ import annotations

import ssl
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from os.path import isdir
from types import TracebackType
from typing import Any
from urllib.parse import SplitResult, quote, urlsplit

from mz_orchestration.objectstore.client import ObjectInfo, ObjectStore, content_range
from mz_orchestration.objectstore.location import Location
from mz_orchestration.objectstore.signing import authorization, signed_by

_EVENTS = ("before-sign.s3.GetObject", "before-send.s3.GetObject")
# What differs from one request to the next, or is made of what does.
_VARYING = {"authorization", "range", "if-match", "x-amz-date", "x-amz-security-token"}
_PARTIAL_CONTENT = 206


@dataclass(frozen=True, slots=True)
class _Route:
    """How boto3 reaches the objects of a bucket."""

    base: SplitResult  # the URL up to the key
    signer: Any  # botocore's RequestSigner
    version: str
    region: str
    service: str
    signed: dict[str, str]  # headers that all requests share, by lower-case name
    unsigned: dict[str, str]
    connect_timeout: float
    read_timeout: float
    tls: ssl.SSLContext | None

    def request(self, file: ObjectInfo, start: int) -> tuple[str, dict[str, str]]:
        """Path and headers of a request for the bytes of a file from ``start`` on."""
        # Asked for each time, so that credentials which expire are renewed.
        keys = self.signer.get_auth_instance(self.service, self.region, self.version).credentials
        path = self.base.path + _quoted(file.key)
        headers = {
            **self.signed,
            "range": f"bytes={start}-{file.size - 1}",
            "if-match": f'"{file.etag}"',
            "x-amz-date": datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ"),
        }
        if keys.token:
            headers["x-amz-security-token"] = keys.token
        signature = authorization(path, headers, keys.access_key, keys.secret_key, self.region, self.service)
        return path, {**headers, **self.unsigned, "authorization": signature}

    def connect(self) -> HTTPConnection:
        host, port = self.base.hostname or "", self.base.port
        if self.tls is None:
            connection = HTTPConnection(host, port, timeout=self.connect_timeout)
        else:
            connection = HTTPSConnection(host, port, timeout=self.connect_timeout, context=self.tls)
        connection.connect()
        connection.sock.settimeout(self.read_timeout)
        return connection


class TailReader:
    """Reads the ends of objects of one bucket; for many threads at once.

    Args:
        store: Where they lie.
        bucket: Any location in their bucket.
    """

    def __init__(self, store: ObjectStore, bucket: Location) -> None:
        self._store = store
        self._bucket = bucket
        self._route: _Route | None = None
        self._learnt = self._proved = False
        self._learning = threading.Lock()
        self._idle: deque[HTTPConnection] = deque()
        # boto3 keeps as many connections and throws away, with a warning, each one above.
        config: Any = store.client.meta.config
        self._by_boto3 = threading.BoundedSemaphore(config.max_pool_connections)

    def __enter__(self) -> TailReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._idle:
            self._idle.pop().close()

    def read(self, file: ObjectInfo, length: int) -> bytes:
        """The last ``length`` bytes of an object, or all of a smaller one, provided it is still the one listed.

        Raises:
            VerificationError: Another object lies under the name.
            NotFoundError: None does.
        """
        if not self._learnt:
            with self._learning:
                if not self._learnt:
                    return self._first(file, length)
        route = self._route
        if route is not None and file.size:
            found = _get(route, self._idle, file, max(0, file.size - length))
            if found is not None:
                self._proved = True
                return found
            if not self._proved:
                # Not this store, or not now: to go on asking twice for each file would only add to its load.
                self._route = None
        return self._slow(file, length)

    def _slow(self, file: ObjectInfo, length: int) -> bytes:
        at = Location(self._bucket.bucket, file.key, self._bucket.scheme)
        with self._by_boto3:
            return self._store.get_tail(at, file.size, length, file.etag)

    def _first(self, file: ObjectInfo, length: int) -> bytes:
        """Read an object by boto3, and learn from how it does that."""
        from botocore.exceptions import BotoCoreError

        seen: dict[str, Any] = {}

        def look(request: Any, **more: Any) -> None:
            # The client is shared: somebody else may be reading at the same time.
            if request.url.endswith(_quoted(file.key)):
                seen.update(more, request=request)

        events = self._store.client.meta.events
        name = f"mz-orchestration-{id(self)}-"
        for event in _EVENTS:
            events.register(event, look, unique_id=name + event)
        try:
            return self._slow(file, length)
        finally:
            for event in _EVENTS:
                events.unregister(event, unique_id=name + event)
            if seen:
                # Some of what is looked at is not documented; its absence must not stand in the way of reading.
                with suppress(AttributeError, KeyError, TypeError, ValueError, OSError, BotoCoreError):
                    self._route = _route(self._store.client, seen, file.key)
                self._learnt = True


def _get(route: _Route, idle: deque[HTTPConnection], file: ObjectInfo, start: int) -> bytes | None:
    """The bytes, if that is what the store answers with."""
    from botocore.exceptions import BotoCoreError, ClientError

    connection: HTTPConnection | None = None
    try:
        path, headers = route.request(file, start)
        try:
            connection = idle.pop()
        except IndexError:
            connection = route.connect()
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        if answer.status != _PARTIAL_CONTENT or answer.length != file.size - start:
            return None
        said = answer.getheader("ETag", "").strip('"'), answer.getheader("Content-Range")
        if said != (file.etag, content_range(start, file.size)):
            return None
        body = answer.read()
        if not answer.will_close:
            idle.append(connection)
            connection = None
        return body
    except (OSError, HTTPException, BotoCoreError, ClientError):
        # The last two where credentials are due and cannot be renewed.
        return None
    finally:
        if connection is not None:
            connection.close()


def _route(client: Any, seen: dict[str, Any], key: str) -> _Route | None:
    """The way a request took, if others can take it without boto3."""
    request, signer, version = seen["request"], seen["request_signer"], seen["signature_version"]
    base = urlsplit(request.url.removesuffix(_quoted(key)))
    session = client._endpoint.http_session
    plain = base.scheme == "http"
    if session._proxy_config.proxy_url_for(request.url) or session._cert_file or not (plain or session._verify):
        return None
    sent = {name.lower(): _text(value) for name, value in request.headers.items()}
    scope, names = signed_by(sent["authorization"])
    signed = {"host": base.netloc, **{name: value for name, value in sent.items() if name in names}}
    _, _, region, service, _ = scope.split("/")
    keys = signer.get_auth_instance(service, region, version).credentials
    path = urlsplit(request.url).path
    if sent["authorization"] != authorization(path, signed, keys.access_key, keys.secret_key, region, service):
        return None
    return _Route(
        base=base,
        signer=signer,
        version=version,
        region=region,
        service=service,
        signed={name: value for name, value in signed.items() if name not in _VARYING},
        # What boto3 says of its own attempt does not hold for others.
        unsigned={
            name: value
            for name, value in sent.items()
            if name not in signed and name not in _VARYING and not name.startswith("amz-sdk-")
        },
        connect_timeout=client.meta.config.connect_timeout,
        read_timeout=client.meta.config.read_timeout,
        tls=None if plain else _tls(session._verify),
    )


def _tls(verify: Any) -> ssl.SSLContext:
    """botocore's own settings and trusted certificates; it leaves the name to urllib3, here it is the context's."""
    from botocore.httpsession import create_urllib3_context, get_cert_path

    context: ssl.SSLContext = create_urllib3_context()
    context.check_hostname = True
    trusted: Any = get_cert_path(verify)
    if isdir(trusted):
        context.load_verify_locations(capath=trusted)
    else:
        context.load_verify_locations(cafile=trusted)
    return context


def _quoted(key: str) -> str:
    """A key as boto3 writes it in a URL."""
    return quote(key, safe="/~")


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value
