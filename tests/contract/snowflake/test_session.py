"""Our session over the real connector."""

from __future__ import annotations

import json
import time
import warnings
from pathlib import Path

import pytest

from mz_orchestration.errors import (
    ConfigurationError,
    CredentialsError,
    LoadError,
    NotFoundError,
    UnavailableError,
)
from mz_orchestration.snowflake.quoting import Sql, compose, literal
from mz_orchestration.snowflake.session import SnowflakeConfig, SnowflakeSession


def session(**change: object) -> SnowflakeSession:
    config = SnowflakeConfig.from_environment().model_copy(update=change)
    return SnowflakeSession(config, query_tag={"run": "it's"})


def test_answers_are_read_by_lower_case_name() -> None:
    with session() as open_session:
        answer = open_session.query(compose("SELECT 1 AS ONE, {} AS TEXT", literal("it's \\ \" é")))
    assert answer.rows == [{"one": 1, "text": "it's \\ \" é"}]
    assert answer.query_id


def test_the_session_is_in_utc_and_tagged() -> None:
    with session() as open_session:
        shown = open_session.query(Sql("SHOW PARAMETERS LIKE '%' IN SESSION")).rows
    values = {row["key"]: row["value"] for row in shown}
    assert values["TIMEZONE"] == "UTC"
    assert json.loads(values["QUERY_TAG"]) == {"run": "it's"}


def test_signing_in_warns_of_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        session().close()


def test_submit_then_result() -> None:
    with session() as open_session:
        query_id = open_session.submit(Sql("SELECT 7 AS SEVEN"))
        deadline = time.monotonic() + 30
        while open_session.is_running(query_id):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        answer = open_session.result(query_id)
    assert (answer.query_id, answer.rows) == (query_id, [{"seven": 7}])


def test_a_submitted_statement_that_fails_raises_its_error() -> None:
    with session() as open_session:
        query_id = open_session.submit(Sql("SELECT * FROM DEMO.PUBLIC.NOT_THERE"))
        deadline = time.monotonic() + 30
        while open_session.is_running(query_id):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        with pytest.raises(NotFoundError, match="NOT_THERE"):
            open_session.result(query_id)


@pytest.mark.parametrize(
    ("statement", "kind", "said"),
    [
        ("SELECT * FROM DEMO.PUBLIC.NOT_THERE", NotFoundError, "NOT_THERE"),
        ("SELEC 1", LoadError, "syntax"),
        ("SELECT 'x'::NUMBER", LoadError, "not recognized"),
    ],
)
def test_errors_by_their_number(statement: str, kind: type[Exception], said: str) -> None:
    with session() as open_session, pytest.raises(kind, match=said):
        open_session.query(Sql(statement))


def test_a_wrong_password_is_refused_and_not_repeated(capfd: pytest.CaptureFixture[str]) -> None:
    from pydantic import SecretStr

    with pytest.raises(CredentialsError) as raised:
        session(password=SecretStr("hunter2-wrong"))
    assert "hunter2" not in str(raised.value) + repr(raised.value.__cause__) + capfd.readouterr().err


def test_a_server_that_is_down_may_be_tried_again() -> None:
    with pytest.raises(UnavailableError):
        session(port=1, login_timeout=5)


def test_no_key_file() -> None:
    with pytest.raises((ConfigurationError, CredentialsError)) as raised:
        session(password=None, private_key_file=str(Path("/nowhere/key.p8")), authenticator="SNOWFLAKE_JWT")
    assert "/nowhere/key.p8" in str(raised.value)
