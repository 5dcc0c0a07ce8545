"""What every request to the API passes: the sign-in, the faults in force and the log."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable
from typing import Literal

from starlette.requests import Request
from starlette.responses import Response

from mz_orchestration.local.broken_answers import Lost, Truncated
from mz_orchestration.local.census import answers
from mz_orchestration.local.census.answers import ApiError
from mz_orchestration.local.census.engine import Engine
from mz_orchestration.local.census.faults import Faults, Rules
from mz_orchestration.local.census.request_log import RequestLog

Version = Literal["v1", "v2"]
Handler = Callable[[Request], Awaitable[Response]]


class Gate:
    """Wraps handlers.

    Args:
        engine: Knows which sync a run belongs to.
        rules: What goes wrong on purpose.
        log: Receives a line for each request.
        tokens: What signs in: a workspace's API key for V1, a personal access token for V2.
    """

    def __init__(self, engine: Engine, rules: Rules, log: RequestLog, tokens: dict[Version, str]) -> None:
        self._engine = engine
        self._rules = rules
        self._log = log
        self._tokens = tokens

    def guarded(self, version: Version, handler: Handler) -> Handler:
        """A handler behind the gate."""

        async def answer(request: Request) -> Response:
            path = request.url.path
            fault = self._rules.of_answer(self._sync_of(request), request.method, path) or Faults()
            fails = fault.status is not None or fault.reset
            whole = None if fails and not fault.after else await self._answered(version, handler, request)
            if fault.delay:
                await asyncio.sleep(fault.delay)
            given = _given(request, whole, fault)
            # Written before the answer leaves, so that a client that has its answer finds its request here.
            self._log.append(request.method, path, request.url.query, None if fault.reset else given.status_code)
            return given

        return answer

    async def _answered(self, version: Version, handler: Handler, request: Request) -> Response:
        try:
            self._sign_in(version, request)
            return await handler(request)
        except ApiError as error:
            return answers.refusal(error)

    def _sign_in(self, version: Version, request: Request) -> None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(token.encode(), self._tokens[version].encode()):
            raise ApiError(401, f"the token is missing, wrong, or not of the kind that API {version.upper()} takes")

    def _sync_of(self, request: Request) -> str:
        run = self._engine.runs.get(request.path_params.get("run", 0))
        return str(run.sync_id if run else request.path_params.get("sync", ""))


def _given(request: Request, whole: Response | None, fault: Faults) -> Response:
    if fault.reset:
        return Lost(request)
    if fault.status is not None:
        return answers.failing(fault, fault.status)
    assert whole is not None, "only these two need no work"
    if fault.not_json:
        return answers.for_people()
    return Truncated(request, whole) if fault.truncated else whole
