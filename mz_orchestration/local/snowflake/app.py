"""The HTTP endpoints the connectors of both majors use."""

from __future__ import annotations

import re
from typing import Any

from anyio import to_thread
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mz_orchestration.local.broken_answers import Lost, Truncated
from mz_orchestration.local.snowflake import answers, errors, settings
from mz_orchestration.local.snowflake.account import ACCOUNT, VERSION, Account
from mz_orchestration.local.snowflake.faults import InvalidFaultError, take_idle_limit
from mz_orchestration.local.snowflake.json_web_tokens import Issuer
from mz_orchestration.local.snowflake.oauth import TokenEndpoint
from mz_orchestration.local.snowflake.running import Queries, Query
from mz_orchestration.local.snowflake.session import Session
from mz_orchestration.local.snowflake.sign_in import SignedIn, SignIn
from mz_orchestration.local.snowflake.transactions import IDLE_LIMIT

# 4.x fetches an asynchronous result by selecting from it; the answer is the stored one, types and all.
_RESULT_SCAN = re.compile(r"\s*select \* from table\(result_scan\('([0-9a-f-]{36})'\)\)\s*;?\s*\Z", re.IGNORECASE)
_ANSWER_WITHIN = 20.0


class Endpoints:
    """Requests in, answers out; the work is done by `Queries`."""

    def __init__(self, account: Account, queries: Queries) -> None:
        self._account = account
        self._queries = queries
        issuer = Issuer()
        self._sign_in = SignIn(ACCOUNT, account.users, issuer)
        self._tokens = TokenEndpoint(account.users, issuer)

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
                Route("/local/faults", self.faults, methods=["GET", "POST", "DELETE"]),
                Route("/local/oauth/token", self._tokens.__call__, methods=post),
            ],
            exception_handlers={404: answers.unknown, 405: answers.unknown, Exception: answers.unexpected},
        )

    async def login(self, request: Request) -> Response:
        """Open a session for whom the credentials prove."""
        data = (await answers.body(request)).get("data", {})
        return await to_thread.run_sync(self._login, data, dict(request.query_params))

    def _login(self, data: dict[str, Any], query: dict[str, str]) -> Response:
        try:
            signed_in = self._sign_in.user(data)
            role = self._role(signed_in, query.get("roleName"))
        except errors.SnowflakeError as error:
            return answers.failure(error.code, error.message, error.sqlstate)
        session = self._account.login(signed_in.user.name)
        try:
            for name, value in (data.get("SESSION_PARAMETERS") or {}).items():
                settings.set_parameter(session, str(name).upper(), value)
        except errors.SnowflakeError as error:
            self._account.logout(session.token)
            return answers.failure(error.code, error.message, error.sqlstate)
        self._enter(session, query.get("databaseName"), query.get("schemaName"))
        warehouse = query.get("warehouse") or signed_in.user.default_warehouse
        # One that does not exist is no error until something needs it.
        known = warehouse is not None and warehouse.upper() in self._account.catalog.warehouses
        session.warehouse = warehouse.upper() if warehouse and known else None
        session.role = role
        return answers.success(
            {
                **answers.tokens(session),
                "idToken": None,
                "idTokenValidityInSeconds": 0,
                "remMeToken": None,
                "remMeValidityInSeconds": 0,
                "displayUserName": signed_in.user.name,
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

    def _role(self, signed_in: SignedIn, wanted: str | None) -> str:
        """The role of a new session: the one asked for, if the user has it and the credentials allow it."""
        user = signed_in.user
        default = signed_in.role or user.default_role
        catalog = self._account.catalog
        with catalog.lock:
            granted = catalog.hierarchy.of_user(user.name)
            if not wanted:
                return default if default in granted else "PUBLIC"
            role = wanted.strip('"') if '"' in wanted else wanted.upper()
            if role not in catalog.roles:
                raise _no_role("390189", role, "does not exist or not authorized")
            if role not in granted or signed_in.role not in (None, role):
                raise _no_role("390186", role, "is not granted to this user")
            return role

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
        if (scanned := _RESULT_SCAN.match(sql)) and (earlier := self._queries.get(scanned[1], session.user)):
            return await self._answer(earlier, session)
        parameters = {str(name).upper(): value for name, value in (body.get("parameters") or {}).items()}
        query = self._queries.submit(
            session,
            sql,
            request.query_params.get("requestId", ""),
            body.get("bindings"),
            describe_only=body.get("describeOnly") is True,
            tag=parameters.get("QUERY_TAG"),
        )
        if query is None:
            return answers.gone()
        if body.get("asyncExec"):
            answer = answers.in_progress(query, answers.IN_PROGRESS_ASYNC)
        else:
            answer = await self._answer(query, session)
        return await self._struck(answer, query, request)

    async def _struck(self, answer: Response, query: Query, request: Request) -> Response:
        """The answer, or what the faults in force make of it."""
        if self._account.faults.strike("answers_lost", query.statement.sent):
            # Lost after the statement has done its work, not before.
            await to_thread.run_sync(query.done.wait, _ANSWER_WITHIN, abandon_on_cancel=True)
            return Lost(request)
        if self._account.faults.strike("truncated", query.statement.sent):
            return Truncated(request, answer)
        return answer

    async def result(self, request: Request) -> Response:
        """The answer of an earlier query, waited for."""
        session = self._session(request)
        if session is None:
            return answers.gone()
        query = self._queries.get(request.path_params["id"], session.user)
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
                return answers.success(answers.answered(query, self._account.result(query.id, query.user), session))
        except errors.SnowflakeError as gone:
            error = gone
        kind = "COMPILATION" if error.message.startswith("SQL compilation") else "EXECUTION"
        described = {"queryId": query.id, "age": 0, "line": -1, "pos": -1, "type": kind}
        return answers.failure(error.code, error.message, error.sqlstate, described)

    async def monitor(self, request: Request) -> Response:
        """The state of a query, for those who poll."""
        session = self._session(request)
        if session is None:
            return answers.gone()
        query = self._queries.get(request.path_params["id"], session.user)
        return answers.success({"queries": [answers.monitored(query)] if query is not None else []})

    async def abort_request(self, request: Request) -> Response:
        """Abort by the request that started the query."""
        session, body = self._session(request), await answers.body(request)
        if session is None:
            return answers.gone()
        return self._abort(self._queries.by_request(str(body.get("requestId", "")), session.user))

    async def abort_query(self, request: Request) -> Response:
        """Abort by query id, from any session of the user."""
        session = self._session(request)
        if session is None:
            return answers.gone()
        return self._abort(self._queries.get(request.path_params["id"], session.user))

    def _abort(self, query: Query | None) -> Response:
        if query is None or query.done.is_set():
            return answers.failure("000605", "Identified SQL statement is not currently executing.", "02000")
        query.statement.abort()
        return answers.success(None)

    async def swallow(self, request: Request) -> Response:
        """Telemetry ends here."""
        await request.body()
        return answers.success("Log Received")

    async def faults(self, request: Request) -> Response:
        """Add faults; GET shows them, DELETE ends them all."""
        faults, transactions = self._account.faults, self._account.transactions
        if request.method == "DELETE":
            faults.clear()
            transactions.idle_limit = IDLE_LIMIT
        elif request.method == "POST":
            try:
                body = await answers.body(request)
                limit = take_idle_limit(body)
                faults.change(body, more=limit is not None)
            except (InvalidFaultError, ValueError) as error:
                return JSONResponse({"error": str(error)}, 400)
            if limit is not None:
                transactions.idle_limit = limit
        return JSONResponse({**faults.shown(), "idle_transaction_seconds": transactions.idle_limit})

    def _session(self, request: Request) -> Session | None:
        return self._account.session(answers.token(request))


def _no_role(code: str, role: str, why: str) -> errors.SnowflakeError:
    return errors.SnowflakeError(
        code,
        "08004",
        f"Role '{role}' specified in the connect string {why}. Contact your local system administrator, or attempt to "
        "login with another role, e.g. PUBLIC.",
    )
