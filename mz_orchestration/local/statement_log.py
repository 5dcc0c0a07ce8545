"""What clients sent to the stack's SQL servers and how it ended: one JSON line a statement, secrets masked.

Both SQL servers append to the same file, so a line is written with a single ``write`` on a descriptor opened
for appending: lines of two processes never mix.
"""

from __future__ import annotations

import json
import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

Outcome = Literal["ok", "error", "cancelled"]

HIDDEN = "'***'"

_GAP = r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/)*"
_ASSIGN = rf"{_GAP}(?:=>?{_GAP})?"
_IDENT = r'(?:"(?:[^"]|"")*"|[\w$]+)'

_SECRET_STATEMENT = re.compile(
    rf"\b(?:CREATE|ALTER){_GAP}SECRET\b{_GAP}(?:IF{_GAP}(?:NOT{_GAP})?EXISTS{_GAP})?"
    rf"{_IDENT}(?:{_GAP}\.{_GAP}{_IDENT})*{_GAP}AS\b",
    re.IGNORECASE | re.DOTALL,
)
_VALUE_FOLLOWS = re.compile(
    rf"(?:\b(?:AWS_SECRET_KEY|AWS_TOKEN|AWS_SECRET_ACCESS_KEY|AWS_SESSION_TOKEN|AZURE_SAS_TOKEN)"
    rf"|\bSECRET{_GAP}ACCESS{_GAP}KEY|\bSESSION{_GAP}TOKEN|\bPASSWORD)\b{_ASSIGN}(?=[Ee]?'|\$\w*\$)",
    re.IGNORECASE | re.DOTALL,
)
_CREDENTIALS = re.compile(rf"\bCREDENTIALS\b{_ASSIGN}\(", re.IGNORECASE | re.DOTALL)
# A backslash may or may not escape, depending on the dialect: such a literal does not match and hides the rest.
_LITERAL = re.compile(r"[Ee]?'[^'\\]*(?:''[^'\\]*)*'|\$(\w*)\$.*?\$\1\$", re.DOTALL)
# A literal that goes on after its end is quoted twice, as in EXECUTE 'ALTER ROLE r PASSWORD ''x'''.
_GOES_ON = re.compile(r"[\w'$\\]")
_IN_PARENTHESES = re.compile(r"(?:[^()'\\]|'[^'\\]*(?:''[^'\\]*)*')*\)", re.DOTALL)


def mask(sql: str) -> str:
    """The statement with every secret value replaced by ``'***'``.

    Where the end of a secret is not certain, all that follows is hidden: better too much than too little.
    """
    secret = _SECRET_STATEMENT.search(sql)
    tail = ""
    if secret:
        # The value is an expression of any shape, so nothing after AS may stay.
        sql, tail = sql[: secret.end()], f" {HIDDEN}"
    sql = _mask_values(sql, _VALUE_FOLLOWS, _LITERAL, HIDDEN)
    return _mask_values(sql, _CREDENTIALS, _IN_PARENTHESES, f"{HIDDEN})") + tail


def _mask_values(sql: str, lead: re.Pattern[str], value: re.Pattern[str], replacement: str) -> str:
    parts: list[str] = []
    at = 0
    while found := lead.search(sql, at):
        parts.append(sql[at : found.end()])
        parts.append(replacement)
        end = value.match(sql, found.end())
        if end is None or _GOES_ON.match(sql, end.end()):
            return "".join(parts)
        at = end.end()
    parts.append(sql[at:])
    return "".join(parts)


class StatementLog:
    """Appends statements and their outcomes to a file of JSON lines."""

    def __init__(self, path: Path, server: str) -> None:
        """Open ``path`` for appending.

        Args:
            path: the file, made when missing, readable by its owner only.
            server: which server writes here, for example ``materialize``.
        """
        self._server = server
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def append(
        self,
        sql: str,
        *,
        session: str,
        outcome: Outcome,
        tag: str | None = None,
        code: str | None = None,
        error: str | None = None,
        seconds: float | None = None,
        bound: bool = False,
    ) -> None:
        """Write one line; the text is masked here, so callers pass it as the client sent it.

        Args:
            sql: the statement.
            session: in which session of the server.
            outcome: how it ended.
            tag: what the server says of its success.
            code: the code of the error.
            error: the text of the error.
            seconds: how long it took.
            bound: whether the client sent values beside the text, which an error may repeat.
        """
        masked = mask(sql)
        if error is not None and (bound or masked != sql):
            secret = "a value sent with the statement" if masked == sql else "a secret of the statement"
            error = f"withheld: the text of the error may repeat {secret}"
        line = {
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "server": self._server,
            "session": session,
            "sql": masked,
            "outcome": outcome,
            "tag": tag,
            "code": code,
            "error": error,
            "seconds": None if seconds is None else round(seconds, 6),
        }
        os.write(self._fd, (json.dumps(line, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace"))

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
