"""The HTTP endpoints the connectors of both majors use."""

from __future__ import annotations

import hmac
import re

from anyio import to_thread
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mz_orchestration.local.snowflake import answers, errors, settings
from mz_orchestration.local.snowflake.account import USER, VERSION, Account
from mz_orchestration.local.snowflake.running import Queries, Query
from mz_orchestration.local.snowflake.session import Session

# 4.x fetches an asynchronous result by selecting from it; the answer is the stored one, types and all.
_RESULT_SCAN = re.compile(r"\s*select \* from table\(result_scan\('([0-9a-f-]{36})'\)\)\s*;?\s*\Z", re.IGNORECASE)
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
            exception_handlers={404: answers.unknown, 405: answers.unknown, Exception: answers.unexpected},
        )

    async def login(self, request: Request) -> Response:
        """Open a session for user LOCAL."""
        data = (await answers.body(request)).get("data", {})
        authenticator = str(data.get("AUTHENTICATOR") or "SNOWFLAKE").upper()
        given = str(data.get("PASSWORD") or "")
        right = hmac.compare_digest(given.encode(), self._password.encode())
        if str(data.get("LOGIN_NAME", "")).upper() != USER or not right or authenticator != "SNOWFLAKE":
            return answers.failure("390100", "Incorrect username or password was specified.", "08001")
        session = self._account.login(USER)
        query = request.query_params
        try:
            for name, value in (data.get("SESSION_PARAMETERS") or {}).items():
                settings.set_parameter(session, str(name).upper(), value)
        except errors.SnowflakeError as error:
            self._account.logout(session.token)
            return answers.failure(error.code, error.message, error.sqlstate)
        self._enter(session, query.get("databaseName"), query.get("schemaName"))
        warehouse = query.get("warehouse")
        session.warehouse = warehouse.upper() if warehouse else "COMPUTE_WH"
        session.role = (query.get("roleName") or session.role).upper()
        return answers.success(
            {
                **answers.tokens(session),
                "idToken": None,
                "idTokenValidityInSeconds": 0,
                "remMeToken": None,
                "remMeValidityInSeconds": 0,
                "displayUserName": USER,
                "serverVersion": VERSION,
                "firstLogin": False,
                "healthCheckInterval": 45,
                "sessionId": session.id,
                "parameters": answers.parameters(session),
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
        session = self._account.renew(answers.token(request))
        if session is None:
            return answers.not_renewed()
        return answers.success({**answers.tokens(session), "sessionId": session.id})

    async def heartbeat(self, request: Request) -> Response:
        """Keep-alive."""
        return answers.success(None) if self._session(request) else answers.gone()

    async def logout(self, request: Request) -> Response:
        """End the session."""
        await to_thread.run_sync(self._account.logout, answers.token(request))
        return answers.success(None)

    async def query(self, request: Request) -> Response:
        """Run a statement, at once or in the background."""
        session = self._session(request)
        if session is None:
            return answers.gone()
        body = await answers.body(request)
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
            return answers.in_progress(query, answers.IN_PROGRESS_ASYNC)
        return await self._answer(query, session)

    async def result(self, request: Request) -> Response:
        """The answer of an earlier query, waited for."""
        session, query = self._session(request), self._queries.get(request.path_params["id"])
        if session is None:
            return answers.gone()
        if query is None:
            return answers.failure("000709", f"Statement {request.path_params['id']} not found", "02000")
        return await self._answer(query, session)

    async def _answer(self, query: Query, session: Session) -> Response:
        finished = await to_thread.run_sync(query.done.wait, _ANSWER_WITHIN, abandon_on_cancel=True)
        if not finished:
            return answers.in_progress(query, answers.IN_PROGRESS)
        return await to_thread.run_sync(self._finished, query, session)

    def _finished(self, query: Query, session: Session) -> Response:
        error = query.error
        try:
            if error is None:
                return answers.success(answers.answered(query, self._account.result(query.id), session))
        except errors.SnowflakeError as gone:
            error = gone
        kind = "COMPILATION" if error.message.startswith("SQL compilation") else "EXECUTION"
        described = {"queryId": query.id, "age": 0, "line": -1, "pos": -1, "type": kind}
        return answers.failure(error.code, error.message, error.sqlstate, described)

    async def monitor(self, request: Request) -> Response:
        """The state of a query, for those who poll."""
        if self._session(request) is None:
            return answers.gone()
        query = self._queries.get(request.path_params["id"])
        return answers.success({"queries": [answers.monitored(query)] if query is not None else []})

    async def abort_request(self, request: Request) -> Response:
        """Abort by the request that started the query."""
        body = await answers.body(request)
        return self._abort(request, self._queries.by_request(str(body.get("requestId", ""))))

    async def abort_query(self, request: Request) -> Response:
        """Abort by query id."""
        return self._abort(request, self._queries.get(request.path_params["id"]))

    def _abort(self, request: Request, query: Query | None) -> Response:
        if self._session(request) is None:
            return answers.gone()
        if query is None or query.done.is_set():
            return answers.failure("000605", "Identified SQL statement is not currently executing.", "02000")
        query.statement.abort()
        return answers.success(None)

    async def swallow(self, request: Request) -> Response:
        """Telemetry ends here."""
        await request.body()
        return answers.success("Log Received")

    async def faults(self, request: Request) -> Response:
        """Make the next COPY answers lie about their rows; DELETE makes them honest again."""
        if request.method == "DELETE":
            self._account.faults.set(0, 0)
            return JSONResponse({"times": 0})
        body = await answers.body(request)
        delta, times = body.get("copy_rows_loaded_delta"), body.get("times", 1)
        if not isinstance(delta, int) or not isinstance(times, int):
            return JSONResponse({"error": "copy_rows_loaded_delta and times must be whole numbers"}, 400)
        self._account.faults.set(delta, times)
        return JSONResponse({"copy_rows_loaded_delta": delta, "times": times})

    def _session(self, request: Request) -> Session | None:
        return self._account.session(answers.token(request))
