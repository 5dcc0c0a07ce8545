"""The HTTP endpoints of both versions of the API, and those of the stand-in itself below ``/local``."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mz_orchestration.local.census import answers
from mz_orchestration.local.census.answers import ApiError
from mz_orchestration.local.census.engine import Engine
from mz_orchestration.local.census.faults import InvalidFaultError, Rules
from mz_orchestration.local.census.gate import Gate, Handler, Version
from mz_orchestration.local.census.runs import Run
from mz_orchestration.local.census.sources import KINDS
from mz_orchestration.local.census.syncs import Sync
from mz_orchestration.local.environment import CENSUS_GROUP


class Endpoints:
    """Requests in, answers out; the work is done by `Engine`.

    Args:
        engine: The syncs and their runs.
        rules: What goes wrong on purpose.
        gate: What requests to the API pass.
    """

    def __init__(self, engine: Engine, rules: Rules, gate: Gate) -> None:
        self._engine = engine
        self._rules = rules
        self._gate = gate

    def application(self) -> Starlette:
        """The ASGI application."""
        routes = [
            Route("/local/faults", self.faults, methods=["GET", "POST", "DELETE"]),
            Route("/local/destinations/{name}", self.destination, methods=["GET", "POST"]),
            Route("/local/sources", self.connect, methods=["POST"]),
            *self._routes("v1", "/destinations"),
            *self._routes("v2", "/activations"),
        ]
        return Starlette(routes=routes, exception_handlers={404: _unknown, 405: _unknown})

    def _routes(self, version: Version, destinations: str) -> list[Route]:
        handlers: list[tuple[str, str, Handler]] = [
            ("GET", "/syncs", self.list_syncs),
            ("POST", "/syncs", self.create_sync),
            ("GET", "/syncs/{sync:int}", self.show_sync),
            ("PATCH", "/syncs/{sync:int}", self.change_sync),
            ("POST", "/syncs/{sync:int}/trigger", self.trigger),
            ("GET", "/syncs/{sync:int}/sync_runs", self.list_runs),
            ("GET", "/sync_runs/{run:int}", self.show_run),
            ("POST", "/sync_runs/{run:int}/cancel", self.cancel),
            ("GET", "/sources", self.list_sources),
            ("GET", destinations, self.list_destinations),
        ]
        return [
            Route(f"/api/{version}{path}", self._gate.guarded(version, handler), methods=[method])
            for method, path, handler in handlers
        ]

    async def list_syncs(self, request: Request) -> Response:
        """A page of syncs."""
        _group(request)
        return answers.page(request, [self._shown(sync) for sync in self._engine.syncs.values()])

    async def create_sync(self, request: Request) -> Response:
        """Create a sync."""
        sync = await self._engine.create(await answers.body(request))
        return answers.success({"sync_id": sync.id}, status="created", code=201)

    async def show_sync(self, request: Request) -> Response:
        """One sync."""
        return answers.success(self._shown(self._sync(request)))

    async def change_sync(self, request: Request) -> Response:
        """Change settings of a sync."""
        sync = self._sync(request)
        await self._engine.change(sync, await answers.body(request))
        return answers.success(self._shown(sync), status="updated")

    async def trigger(self, request: Request) -> Response:
        """Start a run; an active one is no reason to refuse, here or there. What counts is the query, not the body."""
        sync = self._sync(request)
        await answers.body(request)
        asked = request.query_params.get("force_full_sync", "false")
        if asked not in ("true", "false"):
            raise ApiError(422, f"force_full_sync must be true or false, not {asked!r}")
        run = self._engine.trigger(sync, full=asked == "true")
        return answers.success({"sync_run_id": run.id})

    async def list_runs(self, request: Request) -> Response:
        """A page of the runs of a sync."""
        return answers.page(request, [run.shown() for run in self._engine.runs_of(self._sync(request))])

    async def show_run(self, request: Request) -> Response:
        """One run."""
        return answers.success(self._run(request).shown())

    async def cancel(self, request: Request) -> Response:
        """Cancel an active run. The API documents no other answers than 200 and 404, so one that is over gets 404."""
        run = self._run(request)
        if not run.active:
            raise ApiError(404, f"sync run {run.id} is not running")
        self._engine.cancel(run)
        return answers.success({}, status="cancelled")

    async def list_sources(self, request: Request) -> Response:
        """A page of sources."""
        _group(request)
        sources = self._engine.sources.values()
        return answers.page(
            request, [{"id": each.id, "name": each.name, "label": each.name, "type": each.type} for each in sources]
        )

    async def list_destinations(self, request: Request) -> Response:
        """A page of destinations, which V2 calls activations and gives ids that are text."""
        _group(request)
        there = self._engine.destination
        id = str(there.id) if _version(request) == "v2" else there.id
        return answers.page(request, [{"id": id, "name": there.name, "type": "braze"}])

    async def faults(self, request: Request) -> Response:
        """Add to a rule; GET and an empty object show them all, DELETE and ``clear`` forget them first."""
        try:
            changes = await answers.body(request)
            if request.method == "DELETE" or changes.pop("clear", False) is True:
                self._rules.clear()
            if changes:
                self._rules.change(changes)
        except (ApiError, InvalidFaultError) as error:
            return JSONResponse({"error": str(error)}, 400)
        return JSONResponse({"rules": self._rules.shown()})

    async def connect(self, request: Request) -> Response:
        """Make sources known: port and password of each by its type."""
        try:
            connected = [KINDS[type](**where) for type, where in (await answers.body(request)).items()]
        except (ApiError, KeyError, TypeError) as error:
            return JSONResponse({"error": f"sources must be ports and passwords by type: {error}"}, 400)
        self._engine.sources.update((source.id, source) for source in connected)
        return JSONResponse({"sources": sorted(self._engine.sources)})

    async def destination(self, request: Request) -> Response:
        """What has arrived, of one ``object`` or of all; POST says what fields must look like from now on."""
        there = self._engine.destination
        if request.path_params["name"].lower() != there.name.lower():
            return JSONResponse({"error": f"there is only {there.name}"}, 404)
        if request.method == "POST":
            try:
                there.require((await answers.body(request)).get("rules", {}))
            except (ApiError, AttributeError, TypeError, re.error) as error:
                return JSONResponse({"error": f"rules must be regular expressions by field: {error}"}, 400)
        records = await asyncio.to_thread(there.records, request.query_params.get("object"))
        return JSONResponse({"name": there.name, "count": len(records), "records": records})

    def _sync(self, request: Request) -> Sync:
        id: int = request.path_params["sync"]
        if (sync := self._engine.syncs.get(id)) is None:
            raise ApiError(404, f"there is no sync {id}")
        return sync

    def _run(self, request: Request) -> Run:
        id: int = request.path_params["run"]
        if (run := self._engine.runs.get(id)) is None:
            raise ApiError(404, f"there is no sync run {id}")
        return run

    def _shown(self, sync: Sync) -> dict[str, Any]:
        return sync.shown(working=self._engine.working(sync))


def _version(request: Request) -> str:
    return request.url.path.split("/")[2]


def _group(request: Request) -> None:
    """V2 lists what is in a group.

    Raises:
        ApiError: The group is missing or unknown. What Census answers for an unknown one is not documented; an empty
            list would hide the mistake from whoever tests with this stand-in.
    """
    if _version(request) != "v2":
        return
    group = request.query_params.get("group_id")
    if not group:
        raise ApiError(422, "group_id is missing")
    if group != CENSUS_GROUP:
        raise ApiError(404, f"there is no group {group}")


async def _unknown(request: Request, _: Exception) -> Response:
    """An address this stand-in does not have."""
    return answers.refusal(ApiError(404, f"there is no {request.method} {request.url.path}"))
