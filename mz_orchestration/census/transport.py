"""HTTP to Census: one client, whole answers, pauses before a request is sent again."""

from __future__ import annotations

import random as chance
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from mz_orchestration.census.answers import Answer, UnexpectedAnswerError, hide, read, refusal, shown
from mz_orchestration.census.config import CensusConfig
from mz_orchestration.census.retry import BUDGET, delay, read_retry_after
from mz_orchestration.errors import CredentialsError, MzOrchestrationError, UnavailableError
from mz_orchestration.flow import Clock, Flow, call, sleep

T = TypeVar("T")
Query = dict[str, str | int]

# Raised before the first byte of the request has left.
NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
# Whatever keeps an answer from arriving.
LOST = (httpx.HTTPError, httpx.StreamError)

_LARGEST_BODY = 16 * 2**20
_ENDLESS = "the answer does not end"
# Answers that are no answers of Census are asked for again this often: a proxy's page may pass, another API will not.
_ODD_ANSWERS = 3
# Seconds that an interrupted request gets to be answered.
_LAST_WORD = 10.0
_LISTEN_EVERY = 0.2


class Transport:
    """Sends requests, signed with the token; thread-safe.

    Args:
        config: How to reach Census.
        clock: The time to live in.
        note: Told of every pause before a request is sent again.
        random: 0 to 1; replaced in tests.
    """

    def __init__(
        self,
        config: CensusConfig,
        clock: Clock | None = None,
        note: Callable[[str], None] = lambda text: None,
        random: Callable[[], float] = chance.random,
    ) -> None:
        self.config = config
        self.clock = clock or Clock()
        self.note = note
        self.random = random
        secure = config.host.startswith("https:")
        self._http = httpx.Client(
            headers={
                "Authorization": f"Bearer {config.token.get_secret_value()}",
                "Accept": "application/json",
                "Accept-Encoding": "identity",
            },
            # A connection for each request: one that was kept may be gone when a trigger is sent over it, and then
            # nobody knows whether it arrived.
            limits=httpx.Limits(max_keepalive_connections=0),
            timeout=config.timeout,
            follow_redirects=False,
            verify=secure,
            # A proxy named in the environment would be sent the token in the clear.
            trust_env=secure,
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def send(self, method: str, path: str, query: Query, timeout: float | None = None) -> Answer:
        """One request and its whole answer, within twice the time-out, however slowly it drips."""
        timeout = timeout or self.config.timeout
        body = bytearray()
        with _Deadline(2 * timeout) as deadline:
            request: dict[str, Any] = {
                "params": query,
                "timeout": timeout,
                "extensions": {"trace": deadline.trace},
            }
            with self._http.stream(method, self.config.base_url + path, **request) as response:
                # Raw: a compressed body may go on for ever without a byte coming out of it.
                for chunk in response.iter_raw():
                    body += chunk
                    if len(body) > _LARGEST_BODY:
                        raise httpx.ReadError(_ENDLESS)
        return Answer(response.status_code, response.headers, bytes(body))

    def ask(
        self,
        method: str,
        path: str,
        what: str,
        reading: Callable[[dict[str, Any]], T],
        *,
        query: Query | None = None,
        within: float = BUDGET,
        timeout: float | None = None,
    ) -> Flow[T]:
        """Ask for something that may be asked for any number of times.

        Args:
            method: HTTP's.
            path: Below the base address.
            what: What it is about, for errors.
            reading: Makes of the answer's JSON what is wanted.
            query: Parameters.
            within: Seconds for all pauses together.
            timeout: Seconds for each answer.

        Raises:
            MzOrchestrationError: It was refused, or cannot be had within the time.
        """
        pauses = Pauses(self, within)
        odd = 0
        while True:
            answer: Answer | None = None
            try:
                answer = yield from call(self.send, method, path, query or {}, timeout)
                if answer.ok:
                    return reading(read(answer, self.config))
                failure = refusal(answer, self.config, what)
            except UnexpectedAnswerError as error:
                odd += 1
                if odd == _ODD_ANSWERS:
                    raise
                failure = error
            except LOST as error:
                failure = self.unreachable(error)
            yield from pauses.wait(failure, answer)

    def unreachable(self, error: Exception) -> MzOrchestrationError:
        """What a person is told of a request that got no answer."""
        text = shown(hide(str(error), self.config)) or type(error).__name__
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, ssl.SSLCertVerificationError):
                return CredentialsError(
                    f"{self.config.host} does not prove to be Census: {cause.verify_message or text}.",
                    hint="Check CENSUS_URL, and the certificates of this machine (SSL_CERT_FILE).",
                )
            cause = cause.__cause__ or cause.__context__
        return UnavailableError(
            f"{self.config.host} does not answer: {text}.", hint="Check the network, CENSUS_URL and CENSUS_REGION."
        )


class _Deadline:
    """Cuts a request's connection when its time is up.

    The client's own time-outs start again with every byte that arrives.
    """

    def __init__(self, seconds: float) -> None:
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._passed = False

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        # What was cut off may look whole: a body without a length ends with its connection.
        if self._passed and (error is None or (isinstance(error, LOST) and not isinstance(error, NOT_SENT))):
            raise httpx.ReadError(_ENDLESS) from error

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Told by the HTTP client what it does; the last socket it has made is the one it uses."""
        if event.endswith((".connect_tcp.complete", ".start_tls.complete")):
            with self._lock:
                self._socket = info["return_value"].get_extra_info("socket")
                if self._passed:
                    self._shut()

    def _cut(self) -> None:
        with self._lock:
            self._passed = True
            self._shut()

    def _shut(self) -> None:
        if self._socket is not None:
            # It may be closed already, or have become the one below TLS.
            with suppress(OSError):
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


class Pauses:
    """The pauses between the attempts of one request.

    Args:
        transport: Whose clock, chance and listener they use.
        within: Seconds for all of them together.
    """

    def __init__(self, transport: Transport, within: float) -> None:
        self._transport = transport
        self._within = min(within, BUDGET)
        self._began = transport.clock.monotonic()
        self._attempt = 0

    def wait(self, failure: MzOrchestrationError, answer: Answer | None = None) -> Flow[None]:
        """Pause before the next attempt.

        Raises:
            MzOrchestrationError: The failure, if it will not pass, or not within the time there is.
        """
        if not isinstance(failure, UnavailableError):
            raise failure
        transport = self._transport
        after = read_retry_after(answer.headers.get("retry-after"), transport.clock.now()) if answer else None
        pause = delay(self._attempt, after, transport.random())
        if transport.clock.monotonic() - self._began + pause > self._within:
            asked = f" Census asks to be left alone for {after:.0f} s." if after else ""
            failure.hint = failure.hint or f"Run it again later.{asked}"
            raise failure
        self._attempt += 1
        transport.note(f"{failure.message} Asking again in {pause:.0f} s.")
        yield from sleep(pause)


class InFlight:
    """A request in a thread of its own, so that an interrupt of whoever waits for it does not lose its answer.

    Args:
        send: Sends it.
    """

    def __init__(self, send: Callable[[], Answer]) -> None:
        self._future: Future[Answer] = Future()
        self._send = send
        self._begun = False

    def result(self) -> Answer:
        """Send the request and wait for its answer."""
        self._begun = True
        threading.Thread(target=self._work, name="census-trigger", daemon=True).start()
        while not wait([self._future], timeout=_LISTEN_EVERY).done:
            pass
        return self._future.result()

    def late_result(self) -> Answer | None:
        """The answer, if it comes soon; None if it does not, or is an error, or nothing was ever sent."""
        if not self._begun:
            return None
        wait([self._future], timeout=_LAST_WORD)
        return self._future.result() if self._future.done() and self._future.exception() is None else None

    def _work(self) -> None:
        try:
            self._future.set_result(self._send())
        except BaseException as error:
            self._future.set_exception(error)
