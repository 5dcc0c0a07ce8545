"""The token endpoint of the stand-in's identity provider: OAuth client credentials, over plain HTTP on this machine."""

from __future__ import annotations

import base64
import binascii
from urllib.parse import parse_qs, unquote_plus

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from mz_orchestration.local.snowflake.json_web_tokens import Issuer
from mz_orchestration.local.snowflake.sign_in import AUDIENCES
from mz_orchestration.local.snowflake.users import USER, Users

_LIFETIME = 600


class TokenEndpoint:
    """Tokens for whoever knows the stack's password.

    The client's id becomes the token's subject, so it is the login name of a user (OAuth) or the subject of one's
    workload identity. Beside what OAuth knows, ``lifetime`` (seconds, also negative) and ``audience`` may be given.
    """

    def __init__(self, users: Users, issuer: Issuer) -> None:
        self._users = users
        self._issuer = issuer

    async def __call__(self, request: Request) -> Response:
        """Answer a request for a token."""
        form = {name: values[-1] for name, values in parse_qs((await request.body()).decode()).items()}
        client = _client(request) or (form.get("client_id", ""), form.get("client_secret", ""))
        password = self._users.find(USER).password
        known = password is not None and await to_thread.run_sync(password.matches, client[1])
        if not client[0] or not known:
            return _error("invalid_client", 401)
        if form.get("grant_type") != "client_credentials":
            return _error("unsupported_grant_type", 400)
        try:
            lifetime = int(form.get("lifetime", _LIFETIME))
        except ValueError:
            return _error("invalid_request", 400)
        audiences = [form["audience"]] if "audience" in form else list(AUDIENCES)
        scope = form.get("scope")
        token = await to_thread.run_sync(self._issuer.issue, client[0], audiences, lifetime, scope)
        answer = {"access_token": token, "token_type": "Bearer", "expires_in": lifetime, "scope": scope}
        return JSONResponse({name: value for name, value in answer.items() if value is not None})


def _client(request: Request) -> tuple[str, str] | None:
    """The client's id and secret in the header that RFC 6749 asks for."""
    kind, _, credentials = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "basic":
        return None
    try:
        name, _, secret = base64.b64decode(credentials, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return unquote_plus(name), unquote_plus(secret)


def _error(error: str, status: int) -> Response:
    return JSONResponse({"error": error}, status)
