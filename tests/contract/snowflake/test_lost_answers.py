"""Answers that are lost between Snowflake and the connector, under whichever major of it this environment holds."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator

import pytest

from mz_orchestration.errors import (
    ConfigurationError,
    CredentialsError,
    DeadlineError,
    MzOrchestrationError,
    UnavailableError,
)
from mz_orchestration.local.faults import Answer, FaultProxy, Match, Reset, Truncate
from mz_orchestration.snowflake.config import SnowflakeConfig
from mz_orchestration.snowflake.quoting import Sql, compose
from mz_orchestration.snowflake.session import QueryStatus, SnowflakeSession

INSERT = Match(path="/queries/v1/query-request", contains=b"INSERT INTO")
SIGN_IN = Match(path="/session/v1/login-request")
RESULT = Match(method="GET", path="/queries/[^/]+/result")

Statement = Callable[[SnowflakeSession, Sql], object]


def run(session: SnowflakeSession, statement: Sql) -> object:
    return session.query(statement)


def submit(session: SnowflakeSession, statement: Sql) -> object:
    return session.result(finished(session, session.submit(statement)))


def finished(session: SnowflakeSession, query_id: str) -> str:
    while session.status(query_id) is QueryStatus.RUNNING:
        pass
    return query_id


def refusal(code: str, message: str) -> Answer:
    body = {"data": None, "code": code, "message": message, "success": False, "headers": None}
    return Answer(200, body=json.dumps(body), content_type="application/json")


@pytest.fixture
def proxy(environment: dict[str, str]) -> Iterator[FaultProxy]:
    with FaultProxy((environment["SNOWFLAKE_HOST"], int(environment["SNOWFLAKE_PORT"]))) as before:
        yield before


@pytest.fixture
def config(proxy: FaultProxy) -> SnowflakeConfig:
    return SnowflakeConfig.from_environment().model_copy(update={"host": proxy.host, "port": proxy.port})


@pytest.fixture
def direct() -> Iterator[SnowflakeSession]:
    """A session that goes past the proxy."""
    with SnowflakeSession(SnowflakeConfig.from_environment()) as session:
        yield session


@pytest.fixture
def insert(direct: SnowflakeSession) -> Iterator[Sql]:
    table = Sql(f"DEMO.PUBLIC.LOST_{uuid.uuid4().hex[:8].upper()}")
    direct.query(compose("CREATE TABLE {} (A NUMBER)", table))
    yield compose("INSERT INTO {} VALUES (1)", table)
    direct.query(compose("DROP TABLE {}", table))


def inserted(direct: SnowflakeSession, insert: Sql) -> int:
    table = Sql(str(insert).split()[2])
    [row] = direct.query(compose("SELECT COUNT(*) AS N FROM {}", table)).rows
    return int(row["n"])


def asked(proxy: FaultProxy, path: str) -> int:
    return sum(request.path == path for request in proxy.requests)


@pytest.mark.parametrize("how", [run, submit])
def test_a_statement_whose_answer_is_lost_runs_once(
    how: Statement, proxy: FaultProxy, config: SnowflakeConfig, direct: SnowflakeSession, insert: Sql
) -> None:
    with SnowflakeSession(config) as session, proxy.fault(Reset(), match=INSERT, times=1) as fault:
        how(session, insert)
    assert fault.hits == 1
    assert inserted(direct, insert) == 1


@pytest.mark.parametrize("how", [run, submit])
def test_an_answer_that_breaks_off_leaves_the_outcome_unknown(
    how: Statement, proxy: FaultProxy, config: SnowflakeConfig, direct: SnowflakeSession, insert: Sql
) -> None:
    with SnowflakeSession(config) as session, proxy.fault(Truncate(20), match=INSERT) as fault:
        before = asked(proxy, "/queries/v1/query-request")
        with pytest.raises(UnavailableError) as raised:
            how(session, insert)
        assert asked(proxy, "/queries/v1/query-request") == before + 1
        # The work is done all the same, which is why nobody may simply do it again.
        deadline = time.monotonic() + 10
        while inserted(direct, insert) == 0:
            assert time.monotonic() < deadline
    assert fault.hits == 1
    assert (raised.value.retryable, raised.value.details["outcome"]) == (True, "unknown")
    assert "INSERT" not in str(raised.value)
    assert inserted(direct, insert) == 1


def test_an_answer_that_never_comes_leaves_the_outcome_unknown(
    proxy: FaultProxy, config: SnowflakeConfig, direct: SnowflakeSession, insert: Sql
) -> None:
    with (
        SnowflakeSession(config, query_timeout=2) as session,
        proxy.fault(Reset(), match=INSERT),
        pytest.raises((UnavailableError, DeadlineError)) as raised,
    ):
        session.query(insert)
    assert (raised.value.retryable, raised.value.details["outcome"]) == (True, "unknown")
    assert inserted(direct, insert) == 1


def test_a_session_that_cannot_be_renewed(proxy: FaultProxy, config: SnowflakeConfig, insert: Sql) -> None:
    gone = refusal("390114", "Authentication token has expired. The user must authenticate again.")
    with (
        SnowflakeSession(config) as session,
        proxy.fault(gone, match=Match(path="/queries/v1/query-request|/session/token-request")),
        pytest.raises(UnavailableError, match="session has ended") as raised,
    ):
        session.query(insert)
    assert (raised.value.retryable, raised.value.details["outcome"]) == (True, "unknown")


def test_a_result_whose_answer_breaks_off_is_fetched_again(proxy: FaultProxy, config: SnowflakeConfig) -> None:
    with SnowflakeSession(config) as session:
        query_id = finished(session, session.submit(Sql("SELECT 7 AS SEVEN")))
        with proxy.fault(Truncate(20), match=RESULT), pytest.raises(UnavailableError) as raised:
            session.result(query_id)
        assert raised.value.details["query_id"] == query_id
        assert "outcome" not in raised.value.details
        assert session.result(query_id).rows == [{"seven": 7}]


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        (Answer(403), ConfigurationError, "HTTP 403.*SNOWFLAKE_ACCOUNT"),
        (Answer(404), ConfigurationError, "HTTP 404.*SNOWFLAKE_ACCOUNT"),
        (Reset(), UnavailableError, "cannot be reached"),
        (refusal("390432", "Network policy is required."), CredentialsError, "network policy: set one"),
        (refusal("390422", "Incoming request is not allowed."), CredentialsError, "Add this machine's address"),
        (refusal("390144", "JWT token is invalid. [1]"), CredentialsError, "RSA_PUBLIC_KEY"),
        (refusal("390201", "The requested warehouse does not exist or not authorized."), CredentialsError, "warehouse"),
        (refusal("399999", "Something new."), CredentialsError, "Something new"),
    ],
)
def test_no_sign_in(
    answer: Answer | Reset, kind: type[MzOrchestrationError], said: str, proxy: FaultProxy, config: SnowflakeConfig
) -> None:
    with proxy.fault(answer, match=SIGN_IN), pytest.raises(kind, match=said) as raised:
        SnowflakeSession(config.model_copy(update={"login_timeout": 2}))
    assert raised.value.retryable is (kind is UnavailableError)


@pytest.mark.parametrize("running", [True, False])
def test_a_session_that_keeps_running_logs_out_only_when_nothing_runs(
    running: bool, proxy: FaultProxy, config: SnowflakeConfig, direct: SnowflakeSession, insert: Sql
) -> None:
    if running:
        direct.query(Sql("BEGIN"))
        direct.query(insert)
    session = SnowflakeSession(config, keep_running=True)
    query_id = session.submit(insert)
    if not running:
        finished(session, query_id)
    session.close()
    assert asked(proxy, "/session") == (0 if running else 1)
    if running:
        direct.query(Sql("COMMIT"))
    assert direct.status(finished(direct, query_id)) is QueryStatus.SUCCEEDED
    assert inserted(direct, insert) == (2 if running else 1)
