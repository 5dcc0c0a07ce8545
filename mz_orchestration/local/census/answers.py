"""The answers of the HTTP endpoints: Census' envelope, its pages, its errors, and answers that go wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from mz_orchestration.local.census.faults import Faults

_MOST_PER_PAGE = 100


class ApiError(Exception):
    """A request is refused; the answer says why.

    Args:
        status: The HTTP status.
        message: For the caller.
    """

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        self.message = message
        super().__init__(message)


def success(data: Any, *, status: str = "success", code: int = 200, **more: Any) -> Response:
    """An answer with data."""
    return JSONResponse({"status": status, "data": data, **more}, code)


def refusal(error: ApiError) -> Response:
    """An error, with the HTTP status repeated in the body."""
    return JSONResponse({"status": error.status, "message": error.message}, error.status)


def now() -> str:
    """The time as the API writes it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def page(request: Request, items: Sequence[Any]) -> Response:
    """One page of a list that is in ascending order of creation.

    Raises:
        ApiError: A parameter is no number.
    """
    number = max(1, _whole(request, "page", 1))
    size = min(_MOST_PER_PAGE, max(1, _whole(request, "per_page", 25)))
    order = request.query_params.get("order", "desc")
    if order not in ("asc", "desc"):
        raise ApiError(422, f"order must be asc or desc, not {order!r}")
    ordered = items if order == "asc" else items[::-1]
    last = max(1, -(-len(items) // size))
    following = number + 1 if number < last else None
    pagination = {
        "total_records": len(items),
        "per_page": size,
        "prev_page": number - 1 if number > 1 else None,
        "page": number,
        "next_page": following,
        "last_page": last,
    }
    address = str(request.url.include_query_params(page=following)) if following else None
    return success(ordered[(number - 1) * size : number * size], pagination=pagination, next=address)


def _whole(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, str(default))
    if not text.isascii() or not text.isdigit():
        raise ApiError(422, f"{name} must be a number, not {text!r}")
    return int(text)


async def body(request: Request) -> dict[str, Any]:
    """The JSON object of a request; an empty body is an empty object.

    Raises:
        ApiError: It is no JSON object.
    """
    raw = await request.body()
    try:
        parsed = json.loads(raw) if raw else {}
    except ValueError:
        raise ApiError(400, "the body is no JSON") from None
    if not isinstance(parsed, dict):
        raise ApiError(400, "the body must be a JSON object")
    return parsed


def failing(fault: Faults, status: int) -> Response:
    """The answer with a fault's status, as a gateway gives it."""
    headers: Mapping[str, str] = {"Retry-After": fault.retry_after} if fault.retry_after else {}
    return JSONResponse({"status": status, "message": "A failure somebody asked for."}, status, headers)


def for_people() -> Response:
    """A page of a proxy, with the status of success."""
    return HTMLResponse("<!DOCTYPE html><html><body><h1>Please sign in to the network</h1></body></html>")
