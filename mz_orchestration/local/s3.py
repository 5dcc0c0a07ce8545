"""The S3 server of the local stack: moto's server as one process that writes down every request.

Run as ``python -m mz_orchestration.local.s3``. It answers S3, STS and IAM (and SQS) on one port, keeps objects in
memory and temporary files, prints one JSON line when it listens, and ends on SIGTERM, SIGINT or when its standard
input ends, which is how it learns that whoever started it is gone.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from mz_orchestration.local import s3_access
from mz_orchestration.local.state import REGION, AccessKey

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

_CREDENTIAL = re.compile(r"Credential=([A-Za-z0-9]+)/")
_SIGNED = re.compile(r"AWS4-HMAC-SHA256 Credential=[^/,]+/\d{8}/[^/,]+/[^/,]+/aws4_request,\s*SignedHeaders=.+")


class RequestLog:
    """WSGI middleware that appends one JSON line per request.

    Query parameters are written by name only and headers not at all, so neither presigned signatures nor
    session tokens reach the file. The line is written before the response leaves, so a client that has its answer
    finds its request in the file.

    Args:
        app: The application to call.
        path: The file to append to.
    """

    def __init__(self, app: WsgiApp, path: Path) -> None:
        self._app = app
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Call the application and write the line when it starts to respond."""
        received = datetime.now(UTC)

        def logged_start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            self._append(environ, received, status)
            return start_response(status, headers, exc_info)

        return self._app(environ, logged_start)

    def _append(self, environ: dict[str, Any], received: datetime, status: str) -> None:
        signer = _CREDENTIAL.search(environ.get("HTTP_AUTHORIZATION", ""))
        query = parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True)
        entry = {
            "at": received.isoformat(timespec="milliseconds"),
            "method": environ.get("REQUEST_METHOD", ""),
            # WSGI hands the path over as latin-1.
            "path": environ.get("PATH_INFO", "").encode("latin-1", "replace").decode("utf-8", "replace"),
            "query": sorted({name for name, _ in query}),
            "status": int(status.split(" ", 1)[0]),
            "access_key_id": signer.group(1) if signer else None,
        }
        # One write on an O_APPEND descriptor: lines of parallel requests never mix.
        os.write(self._fd, (json.dumps(entry, ensure_ascii=False) + "\n").encode())


class SignedRequestsOnly:
    """WSGI middleware that refuses requests without a signature in the header, as a private bucket does.

    moto's check of grants trips over them, which would reach the client as a server error and be retried.
    Presigned addresses are among them.

    Args:
        app: The application to call.
    """

    _BODY = (
        b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code>'
        b"<Message>Access Denied</Message></Error>"
    )

    def __init__(self, app: WsgiApp) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Call the application if the request is signed."""
        if _SIGNED.match(environ.get("HTTP_AUTHORIZATION", "")):
            return self._app(environ, start_response)
        head = environ.get("REQUEST_METHOD") == "HEAD"
        start_response("403 Forbidden", [("Content-Type", "application/xml"), ("Connection", "close")])
        return [b"" if head else self._BODY]


def serve(host: str, port: int, requests: Path, *, bucket: str | None, region: str) -> None:
    """Serve until a signal or the end of standard input.

    The environment variable ``MZ_LOCAL_S3_KEYS`` holds the users' access keys as JSON; without it every signed request
    is allowed.

    Args:
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
        requests: File that receives one line per request.
        bucket: A bucket to create first.
        region: Region of the bucket and the users.
    """
    from moto.moto_server.werkzeug_app import (
        DomainDispatcherApplication,
        MotoRequestHandler,
        create_backend_app,
    )
    from werkzeug.serving import make_server

    class Handler(MotoRequestHandler):  # type: ignore[misc]
        # Small answers must not wait for the acknowledgement of the headers.
        disable_nagle_algorithm = True

        def log_request(self, code: Any = "-", size: Any = "-") -> None:
            """Leave access lines to the request log."""

    if bucket is not None:
        s3_access.create_bucket(bucket, region)
    if keys := os.environ.get("MZ_LOCAL_S3_KEYS"):
        s3_access.enforce({user: AccessKey(**pair) for user, pair in json.loads(keys).items()}, region)
    app = RequestLog(SignedRequestsOnly(DomainDispatcherApplication(create_backend_app)), requests)
    server = make_server(host, port, app, threaded=True, request_handler=Handler)
    # A client that keeps its connection open must not hold up the stop.
    server.daemon_threads = True  # type: ignore[attr-defined]
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    threading.Thread(target=_watch_stdin, args=(stop,), daemon=True).start()
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    print(json.dumps({"ready": True, "port": server.server_port}), flush=True)
    while not stop.wait(3600):
        pass
    server.shutdown()
    # Worker threads may sit in a read; objects spooled to disk are anonymous files and go with the process.
    os._exit(0)


def _watch_stdin(stop: threading.Event) -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    stop.set()


def main(argv: list[str] | None = None) -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m mz_orchestration.local.s3", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free port")
    parser.add_argument("--requests", type=Path, required=True, help="JSON lines, one per request")
    parser.add_argument("--bucket", help="a bucket to create first")
    parser.add_argument("--region", default=REGION)
    arguments = parser.parse_args(argv)
    serve(arguments.host, arguments.port, arguments.requests, bucket=arguments.bucket, region=arguments.region)


if __name__ == "__main__":
    main()
