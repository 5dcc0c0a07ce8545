"""Our session over the real connector."""

from __future__ import annotations

import json
import time
import traceback
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from mz_orchestration.errors import (
    ConfigurationError,
    CredentialsError,
    DeadlineError,
    LoadError,
    MzOrchestrationError,
    NotFoundError,
    RunConflictError,
    UnavailableError,
)
from mz_orchestration.snowflake.config import SnowflakeConfig
from mz_orchestration.snowflake.quoting import Sql, compose, literal
from mz_orchestration.snowflake.session import QueryStatus, SnowflakeSession


def session(**change: object) -> SnowflakeSession:
    config = SnowflakeConfig.from_environment().model_copy(update=change)
    return SnowflakeSession(config, query_tag={"run": "it's"})


def waited_for(open_session: SnowflakeSession, query_id: str) -> QueryStatus:
    deadline = time.monotonic() + 30
    while (status := open_session.status(query_id)) is QueryStatus.RUNNING:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return status


@pytest.fixture
def table() -> Iterator[Sql]:
    name = Sql(f"DEMO.PUBLIC.SESSION_{uuid.uuid4().hex[:8].upper()}")
    with session() as owner:
        owner.query(compose("CREATE TABLE {} (A NUMBER)", name))
    yield name
    with session() as owner:
        owner.query(compose("DROP TABLE {}", name))


@pytest.fixture
def locked(table: Sql) -> Iterator[Sql]:
    """A table that another session's transaction holds: who writes into it waits."""
    with session() as holder:
        holder.query(Sql("BEGIN"))
        holder.query(compose("INSERT INTO {} VALUES (0)", table))
        yield table


def test_answers_are_read_by_lower_case_name() -> None:
    with session() as open_session:
        answer = open_session.query(compose("SELECT 1 AS ONE, {} AS TEXT", literal("it's \\ \" é")))
    assert answer.rows == [{"one": 1, "text": "it's \\ \" é"}]
    assert answer.query_id


def test_the_session_depends_on_no_default_of_the_account() -> None:
    with session() as open_session:
        shown = open_session.query(Sql("SHOW PARAMETERS LIKE '%' IN SESSION")).rows
    values = {row["key"]: str(row["value"]).lower() for row in shown}
    assert json.loads(next(row["value"] for row in shown if row["key"] == "QUERY_TAG")) == {"run": "it's"}
    assert {
        "TIMEZONE": "utc",
        "AUTOCOMMIT": "true",
        "ABORT_DETACHED_QUERY": "false",
        "ERROR_ON_NONDETERMINISTIC_MERGE": "true",
        "LOCK_TIMEOUT": "120",
        "STATEMENT_TIMEOUT_IN_SECONDS": "3600",
    }.items() <= values.items()


def test_the_sessions_id_is_snowflakes_own() -> None:
    with session() as open_session:
        [row] = open_session.query(Sql("SELECT CURRENT_SESSION() AS ID")).rows
        assert open_session.session_id == int(row["id"])


def test_signing_in_warns_of_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        session().close()


def test_what_one_session_submits_another_fetches() -> None:
    with session() as first, session() as second:
        query_id = first.submit(Sql("SELECT 7 AS SEVEN"))
        assert waited_for(second, query_id) is QueryStatus.SUCCEEDED
        first.close()
        answer = second.result(query_id)
        # By its id, and without a statement that would have an id of its own.
        assert (answer.query_id, answer.rows) == (query_id, [{"seven": 7}])


def test_a_submitted_statement_that_fails_raises_its_error() -> None:
    with session() as open_session:
        query_id = open_session.submit(Sql("SELECT * FROM DEMO.PUBLIC.NOT_THERE"))
        assert waited_for(open_session, query_id) is QueryStatus.FAILED
        with pytest.raises(NotFoundError, match="NOT_THERE") as raised:
            open_session.result(query_id)
    assert raised.value.details["query_id"] == query_id


def test_another_session_ends_a_statement(locked: Sql) -> None:
    with session() as first, session() as second:
        query_id = first.submit(compose("INSERT INTO {} VALUES (1)", locked))
        assert second.status(query_id) is QueryStatus.RUNNING
        with pytest.raises(UnavailableError, match="has not ended"):
            second.result(query_id)
        assert second.abort(query_id)
        assert waited_for(first, query_id) is QueryStatus.ABORTED
        with pytest.raises(LoadError, match="cancel") as raised:
            first.result(query_id)
        assert raised.value.retryable
        assert not second.abort(query_id)


def test_a_statement_nobody_knows() -> None:
    with session() as open_session:
        assert open_session.status(str(uuid.uuid4())) is QueryStatus.UNKNOWN
        with pytest.raises(ConfigurationError, match="no query id"):
            open_session.status("x' OR 1 = 1")


def test_a_plain_statement_has_a_deadline(locked: Sql) -> None:
    with (
        SnowflakeSession(SnowflakeConfig.from_environment(), query_timeout=1) as open_session,
        pytest.raises(DeadlineError) as raised,
    ):
        open_session.query(compose("INSERT INTO {} VALUES (1)", locked))
    assert raised.value.retryable


def test_a_lock_is_waited_for_no_longer_than_asked(locked: Sql) -> None:
    with (
        SnowflakeSession(SnowflakeConfig.from_environment(), lock_timeout=1) as open_session,
        pytest.raises(RunConflictError, match="lock") as raised,
    ):
        open_session.query(compose("INSERT INTO {} VALUES (1)", locked))
    assert (raised.value.retryable, raised.value.details["errno"]) == (True, 625)


@pytest.mark.parametrize(
    ("statement", "kind", "said"),
    [
        ("SELECT * FROM DEMO.PUBLIC.NOT_THERE", NotFoundError, "NOT_THERE"),
        ("SELEC 1", LoadError, "syntax"),
        ("SELECT 'x'::NUMBER", LoadError, "not recognized"),
    ],
)
def test_errors_by_their_number(statement: str, kind: type[Exception], said: str) -> None:
    with session() as open_session, pytest.raises(kind, match=said) as raised:
        open_session.query(Sql(statement))
    assert isinstance(raised.value, MzOrchestrationError)
    assert raised.value.details["query_id"]
    # Neither the statement nor a value of the data.
    assert statement not in str(raised.value)
    assert "'x'" not in "".join(traceback.format_exception(raised.value))


def test_a_wrong_password_is_refused_and_not_repeated(capfd: pytest.CaptureFixture[str]) -> None:
    from pydantic import SecretStr

    with pytest.raises(CredentialsError) as raised:
        session(password=SecretStr("hunter2-wrong"))
    assert "hunter2" not in str(raised.value) + repr(raised.value.__cause__) + capfd.readouterr().err


def test_a_server_that_is_down_may_be_tried_again() -> None:
    with pytest.raises(UnavailableError):
        session(port=1, login_timeout=5)


def test_no_key_file() -> None:
    with pytest.raises(ConfigurationError) as raised:
        session(password=None, private_key_file=str(Path("/nowhere/key.p8")), authenticator="SNOWFLAKE_JWT")
    assert "/nowhere/key.p8" in str(raised.value)
