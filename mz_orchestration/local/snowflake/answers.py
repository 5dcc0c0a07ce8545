"""The answers of the HTTP endpoints, field by field as the connectors read them."""

from __future__ import annotations

import gzip
import json
import re
import uuid
from typing import Any
from zoneinfo import ZoneInfo

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from mz_orchestration.local.snowflake.bindings import count_placeholders
from mz_orchestration.local.snowflake.results import Result
from mz_orchestration.local.snowflake.running import Query
from mz_orchestration.local.snowflake.session import Session

_TOKEN = re.compile(r'Snowflake Token="([^"]*)"')
_VALIDITY = 4 * 3600
IN_PROGRESS = "333333"
IN_PROGRESS_ASYNC = "333334"


async def body(request: Request) -> dict[str, Any]:
    """The JSON of a request, which may be compressed."""
    raw = await request.body()
    if request.headers.get("content-encoding") == "gzip" or raw[:2] == b"\x1f\x8b":
        raw = gzip.decompress(raw)
    parsed = json.loads(raw) if raw else {}
    return parsed if isinstance(parsed, dict) else {}


def token(request: Request) -> str:
    """The session or master token of a request."""
    match = _TOKEN.search(request.headers.get("authorization", ""))
    return match[1] if match else ""


def success(data: Any) -> Response:
    """An answer with data."""
    return JSONResponse({"data": data, "code": None, "message": None, "success": True, "headers": None})


def failure(code: str, message: str, sqlstate: str | None = None, data: dict[str, Any] | None = None) -> Response:
    """An error; never with an HTTP status of 500, which clients retry."""
    described = {"internalError": False, "errorCode": code, "sqlState": sqlstate, **(data or {})}
    return JSONResponse({"data": described, "code": code, "message": message, "success": False, "headers": None})


def not_renewed() -> Response:
    """The master token is unknown. 5.x reads tokens from any data there is, so there is none."""
    message = "Authentication token has expired. The user must authenticate again."
    return JSONResponse({"data": None, "code": "390114", "message": message, "success": False, "headers": None})


def gone() -> Response:
    """The session is unknown: the client renews it or fails."""
    return failure("390112", "Your session has expired. Please login again.", "08001")


def tokens(session: Session) -> dict[str, Any]:
    """The tokens of a session under the names of every connector."""
    return {
        "token": session.token,
        "sessionToken": session.token,
        "validityInSeconds": _VALIDITY,
        "validityInSecondsST": _VALIDITY,
        "masterToken": session.master_token,
        "masterValidityInSeconds": 4 * _VALIDITY,
        "validityInSecondsMT": 4 * _VALIDITY,
    }


def parameters(session: Session) -> list[dict[str, Any]]:
    """The session's parameters; clients take the time zone of instants from here."""
    return [{"name": name, "value": value} for name, value in session.parameters.items()]


def in_progress(query: Query, code: str) -> Response:
    """The query goes on; its answer is to be fetched later."""
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


def answered(query: Query, result: Result, session: Session) -> dict[str, Any]:
    """The data of a finished query."""
    rowset = result.rowset(ZoneInfo(session.timezone))
    data = {
        "parameters": parameters(session),
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


def monitored(query: Query) -> dict[str, Any]:
    """A query as the monitoring endpoint shows it."""
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


async def unknown(request: Request, _: Exception) -> Response:
    """An endpoint this stand-in does not have."""
    return failure("000002", f"Unsupported endpoint {request.method} {request.url.path}", "0A000")


async def unexpected(request: Request, error: Exception) -> Response:
    """A fault of the stand-in itself."""
    return failure("370001", f"Internal error {uuid.uuid4()}: {type(error).__name__}", "XX000")
