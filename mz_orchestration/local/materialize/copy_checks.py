"""The checks of ``COPY ... TO <expression>``, in Materialize's order; nothing is written before they are through.

What only PostgreSQL can tell (does the relation exist, which types, what is the value of the target) is asked in the
client's own session, so that its search path, role and transaction count.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

from mz_orchestration.local.materialize import arrow_types
from mz_orchestration.local.materialize.arrow_types import ResultColumn
from mz_orchestration.local.materialize.copy_grammar import AsOf, CopyTo
from mz_orchestration.local.materialize.copy_options import (
    csv_options,
    file_format,
    max_file_size,
    parse_target,
    refuse_unsupported,
)
from mz_orchestration.local.materialize.ddl import array
from mz_orchestration.local.materialize.errors import StatementError
from mz_orchestration.local.materialize.exchange import Exchange, Record
from mz_orchestration.local.materialize.job import CsvOptions
from mz_orchestration.local.materialize.store import AwsSettings
from mz_orchestration.local.materialize.tokens import identifier, split

_TEXT_OIDS = frozenset({25, 1043, 1042, 705})
_TIME_OIDS = frozenset({1082, 1114, 1184})
_CHANGING = re.compile(r"\b(now|mz_now|current_timestamp|clock_timestamp|current_date)\b", re.IGNORECASE)
# What depends on more than the data and the timestamp: as functions, and as words of their own.
_UNMATERIALIZABLE_CALLS = frozenset(
    {
        "NOW",
        "CLOCK_TIMESTAMP",
        "STATEMENT_TIMESTAMP",
        "TRANSACTION_TIMESTAMP",
        "CURRENT_DATABASE",
        "CURRENT_SCHEMA",
        "CURRENT_SCHEMAS",
        "CURRENT_SETTING",
        "MZ_ENVIRONMENT_ID",
        "MZ_VERSION",
        "PG_BACKEND_PID",
        "PG_POSTMASTER_START_TIME",
        "VERSION",
    }
)
_UNMATERIALIZABLE_WORDS = frozenset(
    {"CURRENT_DATE", "CURRENT_ROLE", "CURRENT_TIME", "CURRENT_TIMESTAMP", "CURRENT_USER", "LOCALTIME"}
    | {"LOCALTIMESTAMP", "SESSION_USER"}
)
_NO_REPLICAS_HINT = (
    "Use ALTER CLUSTER to adjust the replication factor of the cluster. "
    "Example:`ALTER CLUSTER <cluster-name> SET (REPLICATION FACTOR 1)`"
)


class Admin(Protocol):
    """What the checks ask of the proxy's own connection."""

    async def rows(self, sql: str, *values: object) -> list[tuple[object, ...]]:
        """Run a statement and return its rows."""


@dataclass(frozen=True)
class CheckedCopy:
    """A COPY that may begin.

    Attributes:
        columns: the columns of its query.
        settings: the AWS connection.
        csv: how to write CSV; None for Parquet.
        max_file_size: in bytes.
        bucket: where to write.
        path: below which path there, without slashes at its ends.
        as_of: the timestamp of its AS OF.
    """

    columns: list[ResultColumn]
    settings: AwsSettings
    csv: CsvOptions | None
    max_file_size: int
    bucket: str
    path: str
    as_of: int | None


class CopyChecks:
    """The checks of one statement in one session."""

    def __init__(self, admin: Admin, exchange: Exchange, record: Record) -> None:
        self._admin = admin
        self._exchange = exchange
        self._record = record

    async def run(self, copy: CopyTo) -> CheckedCopy:
        """Check everything.

        Raises:
            StatementError: the statement is refused.
            StatementFailed: PostgreSQL refused it and the client knows.
        """
        if copy.parameter:
            raise StatementError(f"there is no parameter {copy.parameter}", "42P02")
        chosen = file_format(copy.options)
        _check_form(copy)
        columns = await self._columns(copy)
        wanted = None
        if copy.as_of:
            wanted = await self._timestamp(copy.as_of)
            _check_materializable(copy.query)
        name = copy.options.get("AWS CONNECTION")
        if not isinstance(name, tuple):
            raise StatementError("AWS CONNECTION is required for COPY ... TO <expr>")
        settings = await self.connection(name)
        if settings is None:
            raise StatementError("only AWS CONNECTION is supported for COPY ... TO <expr>")
        refuse_unsupported(chosen)
        csv = csv_options(copy.options) if chosen == "csv" else None
        if csv is None:
            _check_types(columns)
        await self._check_target_type(copy)
        size = max_file_size(copy.options)
        bucket, path = parse_target(await self._target(copy))
        # EXPLAIN checks the privileges without reading anything.
        await self._query(f"EXPLAIN {copy.query}")
        await self._check_cluster()
        return CheckedCopy(columns, settings, csv, size, bucket, path, wanted)

    async def connection(self, name: tuple[str, ...]) -> AwsSettings | None:
        """What the named connection holds; None when it is not one to AWS."""
        item = f"mz_local.item({array(name)}, current_schemas(false), 'connection')"
        [[oid]] = await self._query(f"SELECT oid FROM {item}")  # noqa: S608
        rows = await self._admin.rows(
            "SELECT c.type, o.key, coalesce(o.value ->> 'text', convert_from(s.value, 'UTF8'))"
            " FROM mz_local.connections c LEFT JOIN LATERAL jsonb_each(c.options) o ON true"
            " LEFT JOIN mz_local.secrets s ON 'u' || s.oid = o.value ->> 'secret' WHERE c.oid = %s",
            oid,
        )
        if not rows or rows[0][0] != "aws":
            return None
        options = {str(key): str(value) for _, key, value in rows if value is not None}
        return AwsSettings.from_options(f"u{oid}", options)

    async def _query(self, sql: str, *values: str) -> list[list[str | None]]:
        return await self._exchange.query(self._record, sql, *values)

    async def _columns(self, copy: CopyTo) -> list[ResultColumn]:
        described = await self._exchange.describe(self._record, copy.query)
        rows = await self._admin.rows(
            "SELECT t::oid::bigint, format_type(t::oid, NULL) FROM unnest(%s::bigint[]) t",
            sorted({column.oid for column in described}),
        )
        types = {row[0]: str(row[1]) for row in rows}
        required: set[str | None] = set()
        if copy.relation is not None:
            relation = ".".join(identifier(part) for part in copy.relation)
            found = await self._query(
                "SELECT attname FROM pg_catalog.pg_attribute"
                " WHERE attrelid = $1::text::regclass AND attnum > 0 AND attnotnull",
                relation,
            )
            required = {row[0] for row in found}
        return [ResultColumn(c.name, c.oid, c.modifier, types[c.oid], c.name not in required) for c in described]

    async def _timestamp(self, as_of: AsOf) -> int:
        if _CHANGING.search(as_of.expression):
            raise StatementError("calling an unmaterializable function in AS OF or UP TO not yet supported")
        value = f"({as_of.expression}\n)"
        [column] = await self._exchange.describe(self._record, f"SELECT {value}")
        if column.oid in _TIME_OIDS:
            value = f"trunc(extract(epoch FROM {value}::timestamptz) * 1000)"
        [[text]] = await self._query(f"SELECT {value}::text")
        if text is not None and not text.isdecimal():
            [[text]] = await self._query(
                "SELECT CASE WHEN pg_input_is_valid($1, 'timestamptz')"
                " THEN trunc(extract(epoch FROM $1::text::timestamptz) * 1000)::text END",
                text,
            )
        if text is None or not text.isdecimal():
            raise StatementError("AS OF or UP TO should be castable to a (non-null) mz_timestamp value")
        return int(text)

    async def _check_target_type(self, copy: CopyTo) -> None:
        words = [token.keyword for token in copy.target_tokens]
        if "SELECT" in words:
            raise StatementError("COPY TO target does not allow subqueries")
        if "MZ_NOW" in words:
            # The blank at the end is Materialize's.
            raise StatementError("cannot call mz_now in this ")
        [column] = await self._exchange.describe(self._record, f"SELECT ({copy.target}\n)")
        if column.oid not in _TEXT_OIDS:
            [[name]] = await self._query(f"SELECT format_type({column.oid}, NULL)")
            raise StatementError(f"COPY TO target must have type text, not type {name}")

    async def _target(self, copy: CopyTo) -> str:
        [[value]] = await self._query(f"SELECT ({copy.target}\n)::text")
        if value is None:
            raise StatementError("COPY TO target value can not be null")
        return value

    async def _check_cluster(self) -> None:
        [[name, replicas]] = await self._query(
            "SELECT current_setting('mz.cluster'), (SELECT count(*) FROM mz_catalog.mz_cluster_replicas r"
            " WHERE r.cluster_id = mz_local.cluster_id(current_setting('mz.cluster')))"
        )
        if replicas == "0":
            raise StatementError(
                f'CLUSTER "{name}" has no replicas available to service request', "0A000", hint=_NO_REPLICAS_HINT
            )


def _check_form(copy: CopyTo) -> None:
    if copy.subscribe:
        raise StatementError("COPY TO <target> not supported")
    if copy.columns:
        raise StatementError(
            "specifying columns for COPY <table_name> TO commands not yet supported; "
            "use COPY (SELECT...) TO ... instead"
        )
    if copy.ordered:
        raise StatementError("ORDER BY is not supported in SELECT query for COPY statements")


def _check_materializable(query: str) -> None:
    tokens = [token for piece in split(query) for token in piece.tokens]
    for token, following in zip(tokens, [*tokens[1:], None], strict=True):
        called = following is not None and following.text == "("
        if token.keyword in _UNMATERIALIZABLE_WORDS or (called and token.keyword in _UNMATERIALIZABLE_CALLS):
            raise StatementError("unmaterializable function (except `mz_now`) in an AS OF query not yet supported")


def _check_types(columns: list[ResultColumn]) -> None:
    refusals = [text for column in columns if (text := arrow_types.refusal(column))]
    if refusals:
        raise StatementError(
            f"Cannot encode the following columns/types: [{', '.join(_debug(text) for text in refusals)}]"
        )


def _debug(text: str) -> str:
    """A string as Rust's debug format shows it."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
