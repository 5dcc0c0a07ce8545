"""The HTTP endpoints the connectors of both majors use."""

from __future__ import annotations

import gzip
import hmac
import json
import re
import uuid
from typing import Any
from zoneinfo import ZoneInfo

from anyio import to_thread
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mz_orchestration.local.snowflake import errors, settings
from mz_orchestration.local.snowflake.account import USER, VERSION, Account
from mz_orchestration.local.snowflake.bindings import count_placeholders
from mz_orchestration.local.snowflake.results import Result
from mz_orchestration.local.snowflake.running import Queries, Query
from mz_orchestration.local.snowflake.session import Session

_TOKEN = re.compile(r'Snowflake Token="([^"]*)"')
_VALIDITY = 4 * 3600
# 4.x fetches an asynchronous result by selecting from it; the answer is the stored one, types and all.
_RESULT_SCAN = re.compile(r"\s*select \* from table\(result_scan\('([0-9a-f-]{36})'\)\)\s*;?\s*\Z", re.IGNORECASE)
_IN_PROGRESS = "333333"
_IN_PROGRESS_ASYNC = "333334"
_ANSWER_WITHIN = 20.0


class Endpoints:
    """Requests in, answers out; the work is done by `Queries`."""

    def __init__(self, account: Account, queries: Queries, password: str) -> None:
        self._account = account
        self._queries = queries
        self._password = password

    def application(self) -> Starlette:
        """The ASGI application."""
        post, get = ["POST"], ["GET"]
        return Starlette(
            routes=[
                Route("/session/v1/login-request", self.login, methods=post),
                Route("/session/token-request", self.renew, methods=post),
                Route("/session/heartbeat", self.heartbeat, methods=post),
                Route("/session", self.logout, methods=["POST", "DELETE"]),
                Route("/queries/v1/query-request", self.query, methods=post),
                Route("/queries/v1/abort-request", self.abort_request, methods=post),
                Route("/queries/{id}/abort-request", self.abort_query, methods=post),
                Route("/queries/{id}/result", self.result, methods=get),
                Route("/monitoring/queries/{id}", self.monitor, methods=get),
                Route("/monitoring/queries//{id}", self.monitor, methods=get),
                Route("/telemetry/send", self.swallow, methods=post),
                Route("/telemetry/send/sessionless", self.swallow, methods=post),
                Route("/local/faults", self.faults, methods=["POST", "DELETE"]),
            ],
            exception_handlers={404: _unknown, 405: _unknown, Exception: _unexpected},
        )

    async def login(self, request: Request) -> Response:
        """Open a session for user LOCAL."""
        data = (await _body(request)).get("data", {})
        authenticator = str(data.get("AUTHENTICATOR") or "SNOWFLAKE").upper()
        given = str(data.get("PASSWORD") or "")
        right = hmac.compare_digest(given.encode(), self._password.encode())
        if str(data.get("LOGIN_NAME", "")).upper() != USER or not right or authenticator != "SNOWFLAKE":
            return _failure("390100", "Incorrect username or password was specified.", "08001")
        session = self._account.login(USER)
        query = request.query_params
        try:
            for name, value in (data.get("SESSION_PARAMETERS") or {}).items():
                settings.set_parameter(session, str(name).upper(), value)
        except errors.SnowflakeError as error:
            self._account.logout(session.token)
            return _failure(error.code, error.message, error.sqlstate)
        self._enter(session, query.get("databaseName"), query.get("schemaName"))
        warehouse = query.get("warehouse")
        session.warehouse = warehouse.upper() if warehouse else "COMPUTE_WH"
        session.role = (query.get("roleName") or session.role).upper()
        return _success(
            {
                **_tokens(session),
                "idToken": None,
                "idTokenValidityInSeconds": 0,
                "remMeToken": None,
                "remMeValidityInSeconds": 0,
                "displayUserName": USER,
                "serverVersion": VERSION,
                "firstLogin": False,
                "healthCheckInterval": 45,
                "sessionId": session.id,
                "parameters": _parameters(session),
                "sessionInfo": {
                    "databaseName": session.context.database,
                    "schemaName": session.context.schema,
                    "warehouseName": session.warehouse,
                    "roleName": session.role,
                },
            }
        )

    def _enter(self, session: Session, database: str | None, schema: str | None) -> None:
        """Take the database and schema of the login where they exist; others are left unset, as there."""
        if not database:
            return
        catalog = self._account.catalog
        with catalog.lock:
            found = catalog.databases.get(database.strip('"') if '"' in database else database.upper())
            if found is None:
                return
            session.context.database = found.name
            wanted = (schema.strip('"') if '"' in schema else schema.upper()) if schema else "PUBLIC"
            session.context.schema = wanted if wanted in found.schemas else None

    async def renew(self, request: Request) -> Response:
        """Exchange the master token for a new session token."""
        session = self._account.renew(_token(request))
        if session is None:
            return _failure("390114", "Authentication token has expired. The user must authenticate again.")
        return _success({**_tokens(session), "sessionId": session.id})

    async def heartbeat(self, request: Request) -> Response:
        """Keep-alive."""
        return _success(None) if self._session(request) else _gone()

    async def logout(self, request: Request) -> Response:
        """End the session."""
        await to_thread.run_sync(self._account.logout, _token(request))
        return _success(None)

    async def query(self, request: Request) -> Response:
        """Run a statement, at once or in the background."""
        session = self._session(request)
        if session is None:
            return _gone()
        body = await _body(request)
        sql = str(body.get("sqlText", ""))
        if (scanned := _RESULT_SCAN.match(sql)) and (earlier := self._queries.get(scanned[1])):
            return await self._answer(earlier, session)
        for name, value in (body.get("parameters") or {}).items():
            if name.upper() == "QUERY_TAG":
                settings.set_parameter(session, "QUERY_TAG", value)
        request_id = request.query_params.get("requestId", "")
        describe_only = body.get("describeOnly") is True
        query = self._queries.submit(session, sql, request_id, body.get("bindings"), describe_only)
        if body.get("asyncExec"):
            return _in_progress(query, _IN_PROGRESS_ASYNC)
        return await self._answer(query, session)

    async def result(self, request: Request) -> Response:
        """The answer of an earlier query, waited for."""
        session, query = self._session(request), self._queries.get(request.path_params["id"])
        if session is None:
            return _gone()
        if query is None:
            return _failure("000709", f"Statement {request.path_params['id']} not found", "02000")
        return await self._answer(query, session)

    async def _answer(self, query: Query, session: Session) -> Response:
        finished = await to_thread.run_sync(query.done.wait, _ANSWER_WITHIN, abandon_on_cancel=True)
        if not finished:
            return _in_progress(query, _IN_PROGRESS)
        return await to_thread.run_sync(_finished, query, session)

    async def monitor(self, request: Request) -> Response:
        """The state of a query, for those who poll."""
        query = self._queries.get(request.path_params["id"])
        return _success({"queries": [_monitored(query)] if query is not None else []})

    async def abort_request(self, request: Request) -> Response:
        """Abort by the request that started the query."""
        body = await _body(request)
        return self._abort(self._queries.by_request(str(body.get("requestId", ""))))

    async def abort_query(self, request: Request) -> Response:
        """Abort by query id."""
        return self._abort(self._queries.get(request.path_params["id"]))

    def _abort(self, query: Query | None) -> Response:
        if query is None or query.done.is_set():
            return _failure("000605", "Identified SQL statement is not currently executing.", "02000")
        query.statement.abort()
        return _success(None)

    async def swallow(self, request: Request) -> Response:
        """Telemetry ends here."""
        await request.body()
        return _success("Log Received")

    async def faults(self, request: Request) -> Response:
        """Make the next COPY answers lie about their rows; DELETE makes them honest again."""
        if request.method == "DELETE":
            self._account.faults.set(0, 0)
            return JSONResponse({"times": 0})
        body = await _body(request)
        delta, times = body.get("copy_rows_loaded_delta"), body.get("times", 1)
        if not isinstance(delta, int) or not isinstance(times, int):
            return JSONResponse({"error": "copy_rows_loaded_delta and times must be whole numbers"}, 400)
        self._account.faults.set(delta, times)
        return JSONResponse({"copy_rows_loaded_delta": delta, "times": times})

    def _session(self, request: Request) -> Session | None:
        return self._account.session(_token(request))


async def _body(request: Request) -> dict[str, Any]:
    raw = await request.body()
    if request.headers.get("content-encoding") == "gzip" or raw[:2] == b"\x1f\x8b":
        raw = gzip.decompress(raw)
    parsed = json.loads(raw) if raw else {}
    return parsed if isinstance(parsed, dict) else {}


def _token(request: Request) -> str:
    match = _TOKEN.search(request.headers.get("authorization", ""))
    return match[1] if match else ""


def _success(data: Any) -> Response:
    return JSONResponse({"data": data, "code": None, "message": None, "success": True, "headers": None})


def _failure(code: str, message: str, sqlstate: str | None = None, data: dict[str, Any] | None = None) -> Response:
    described = {"internalError": False, "errorCode": code, "sqlState": sqlstate, **(data or {})}
    return JSONResponse({"data": described, "code": code, "message": message, "success": False, "headers": None})


def _gone() -> Response:
    return _failure("390112", "Your session has expired. Please login again.", "08001")


def _tokens(session: Session) -> dict[str, Any]:
    return {
        "token": session.token,
        "sessionToken": session.token,
        "validityInSeconds": _VALIDITY,
        "validityInSecondsST": _VALIDITY,
        "masterToken": session.master_token,
        "masterValidityInSeconds": 4 * _VALIDITY,
        "validityInSecondsMT": 4 * _VALIDITY,
    }


def _parameters(session: Session) -> list[dict[str, Any]]:
    return [{"name": name, "value": value} for name, value in session.parameters.items()]


def _in_progress(query: Query, code: str) -> Response:
    return JSONResponse(
        {
            "data": {
                "queryId": query.id,
                "getResultUrl": f"/queries/{query.id}/result",
                "queryAbortsAfterSecs": 300,
                "progressDesc": None,
            },
            "code": code,
            "message": "Query execution in progress. Asynchronous execution requested.",
            "success": True,
        }
    )


def _finished(query: Query, session: Session) -> Response:
    if query.error is not None:
        error = query.error
        described = {
            "queryId": query.id, "age": 0, "line": -1, "pos": -1,
            "type": "COMPILATION" if error.message.startswith("SQL compilation") else "EXECUTION",
        }  # fmt: skip
        return _failure(error.code, error.message, error.sqlstate, described)
    assert query.result is not None
    return _success(_answered(query, query.result, session))


def _answered(query: Query, result: Result, session: Session) -> dict[str, Any]:
    rowset = result.rowset(ZoneInfo(session.timezone))
    data = {
        "parameters": _parameters(session),
        "rowtype": result.rowtype(),
        "rowset": rowset,
        "total": len(rowset),
        "returned": len(rowset),
        "queryId": query.id,
        "sqlState": "00000",
        "databaseProvider": None,
        "finalDatabaseName": session.context.database,
        "finalSchemaName": session.context.schema,
        "finalWarehouseName": session.warehouse,
        "finalRoleName": session.role,
        "numberOfBinds": count_placeholders(query.statement.sent),
        "arrayBindSupported": True,
        "statementTypeId": result.kind,
        "version": 1,
        "queryResultFormat": "json",
        "queryContext": {"entries": []},
    }
    stats = result.stats()
    return {**data, "stats": stats} if stats else data


def _monitored(query: Query) -> dict[str, Any]:
    ended = query.ended if query.ended is not None else query.started
    return {
        "id": query.id,
        "status": query.status,
        "state": query.status,
        "sqlText": "",
        "startTime": int(query.started * 1000),
        "endTime": int(ended * 1000),
        "totalDuration": int((ended - query.started) * 1000),
        "warehouseName": query.statement.session.warehouse or "",
        "sessionId": query.statement.session.id,
        "errorCode": query.error.code if query.error else "",
        "errorMessage": query.error.message if query.error else "",
    }


async def _unknown(request: Request, _: Exception) -> Response:
    return _failure("000002", f"Unsupported endpoint {request.method} {request.url.path}", "0A000")


async def _unexpected(request: Request, error: Exception) -> Response:
    return _failure("370001", f"Internal error {uuid.uuid4()}: {type(error).__name__}", "XX000")
