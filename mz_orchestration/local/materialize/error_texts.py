"""PostgreSQL's errors about names and privileges in Materialize's words."""

from __future__ import annotations

import re

from mz_orchestration.local.materialize.copy_checks import Admin
from mz_orchestration.local.materialize.postgres import DATABASE

_UNKNOWN_RELATION = re.compile(r'(?:relation|table|view|materialized view|index|sequence) "(.+)" does not exist')
_UNKNOWN_SCHEMA = re.compile(r'schema "(.+)" does not exist')
_OTHER_DATABASE = re.compile(r'cross-database references are not implemented: "?([^".]+)"?\.?.*')
_DENIED = re.compile(r"permission denied for (table|view|materialized view|relation|schema) (.+)")


class ErrorTexts:
    """Rewrites the errors of one session."""

    def __init__(self, admin: Admin, user: str) -> None:
        self._admin = admin
        self._user = user

    async def rewrite(self, fields: dict[str, str]) -> dict[str, str]:
        """The fields of an ErrorResponse as Materialize would send them."""
        code, message = fields.get("C"), fields.get("M", "")
        if code == "42P01" and (found := _UNKNOWN_RELATION.fullmatch(message)):
            return {**fields, "C": "XX000", "M": await self._unknown_item(found[1])}
        if code == "3F000" and (found := _UNKNOWN_SCHEMA.fullmatch(message)):
            return {**fields, "C": "XX000", "M": f"unknown schema '{found[1]}'"}
        if code == "0A000" and (found := _OTHER_DATABASE.fullmatch(message)):
            return {**fields, "C": "XX000", "M": f"unknown database '{found[1]}'"}
        if code == "42501" and (found := _DENIED.fullmatch(message)):
            return {**fields, **await self._denied(found[1], found[2])}
        return fields

    async def _unknown_item(self, name: str) -> str:
        parts = name.split(".")
        if len(parts) > 1:
            rows = await self._admin.rows("SELECT to_regnamespace(quote_ident(%s)) IS NULL", parts[-2])
            if rows[0][0]:
                return f"unknown schema '{parts[-2]}'"
        return f"unknown catalog item '{name}'"

    async def _denied(self, kind: str, name: str) -> dict[str, str]:
        if kind == "schema":
            full, needs, shown = f"{DATABASE}.{name}", "USAGE", "SCHEMA"
        else:
            # PostgreSQL does not say in which schema.
            rows = await self._admin.rows("SELECT mz_local.full_name(%s)", name.split("."))
            full, needs = str(rows[0][0]), "SELECT"
            shown = "TABLE" if kind == "relation" else kind.upper()
        return {
            "M": f'permission denied for {shown} "{full}"',
            "D": f"The '{self._user}' role needs {needs} privileges on {shown} \"{full}\"",
        }
