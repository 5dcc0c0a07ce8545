"""An endpoint for Prometheus: what the last look found, however often somebody asks."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from mz_orchestration.cli.output import say
from mz_orchestration.errors import ConfigurationError
from mz_orchestration.sinks.openmetrics import CONTENT_TYPE, exposition
from mz_orchestration.sinks.watch import Watch

# Seconds.
_SILENCE = 30.0


def serve(watch: Watch, listen: str) -> None:
    """Answer at ``/metrics`` while the watch goes on; ends with an interrupt only.

    Args:
        watch: What to tell of.
        listen: ``HOST:PORT``.

    Raises:
        ConfigurationError: Nothing can be opened there.
    """
    host, _, port = listen.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise ConfigurationError(f"--listen: {listen!r} is not HOST:PORT.", hint="Write it as 127.0.0.1:9464.")
    page = _Page()
    try:
        server = ThreadingHTTPServer((host.strip("[]"), int(port)), _handler(page))
    except OSError as error:
        raise ConfigurationError(f"--listen: {listen} cannot be opened: {error.strerror}.") from error
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    say(f"http://{host}:{server.server_port}/metrics")
    try:
        for step in watch.steps():
            if step.error is None:
                page.text = exposition(step.healths)
            else:
                # What was seen before the connection was lost must not look like the present.
                page.text = exposition({}, up=False)
                say(f"warning: {step.error}", bold="yellow")
    finally:
        server.shutdown()
        server.server_close()


class _Page:
    text = exposition({}, up=False)


def _handler(page: _Page) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        # Whoever connects and says nothing holds a thread for so long.
        timeout = _SILENCE

        def do_GET(self) -> None:
            if self.path.partition("?")[0] != "/metrics":
                self.send_error(404)
                return
            body = page.text.encode()
            self.send_response(200)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: scrapes are no news."""

    return Handler
