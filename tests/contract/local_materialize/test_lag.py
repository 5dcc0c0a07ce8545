"""Lag by the stand-in's ``mz_wallclock_global_lag``: what holds data has one, plain views have those they read."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mz_orchestration.errors import NotFoundError
from mz_orchestration.local.errors import LocalStackError
from mz_orchestration.local.materialize.faults import Faults, copy_faults
from mz_orchestration.materialize.connection import MaterializeConfig
from mz_orchestration.materialize.lag import Lag, find_lags
from mz_orchestration.materialize.session import Session

from .conftest import PASSWORD, StandIn

_OBJECTS = """
CREATE SCHEMA lags;
CREATE TABLE lags.orders (id bigint);
CREATE TABLE lags.customers (id bigint);
CREATE MATERIALIZED VIEW lags.totals AS SELECT count(*) AS n FROM lags.orders;
CREATE VIEW lags.inner_view AS SELECT o.id FROM lags.orders o JOIN lags.customers c ON c.id = o.id;
CREATE VIEW lags.outer_view AS SELECT n, (SELECT count(*) FROM lags.inner_view) AS m FROM lags.totals;
CREATE VIEW lags.constant AS SELECT 1 AS one
"""


@pytest.fixture(scope="module")
def with_objects(server: StandIn) -> Iterator[StandIn]:
    with server.connect() as admin:
        for statement in _OBJECTS.split(";"):
            admin.execute(statement)
        yield server
        admin.execute("DROP SCHEMA lags CASCADE")


@pytest.fixture
def session(with_objects: StandIn, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    monkeypatch.setenv("PGHOST", "127.0.0.1")
    monkeypatch.setenv("PGPORT", str(with_objects.port))
    monkeypatch.setenv("PGUSER", "materialize")
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    monkeypatch.setenv("PGDATABASE", "materialize")
    with Session(MaterializeConfig()) as opened:
        yield opened


def test_what_holds_data_is_listed_by_itself(session: Session) -> None:
    assert find_lags(session, "lags.orders") == [Lag("lags.orders", 1.0)]
    assert find_lags(session, "materialize.lags.TOTALS") == [Lag("lags.totals", 1.0)]


def test_a_plain_view_lags_as_what_it_reads_through_other_views(session: Session, with_objects: StandIn) -> None:
    with with_objects.connect() as admin, copy_faults(admin, lag=600, lag_of="lags.customers"):
        assert find_lags(session, "lags.outer_view") == [
            Lag("lags.customers", 600.0),
            Lag("lags.orders", 1.0),
            Lag("lags.totals", 1.0),
        ]
        assert find_lags(session, "lags.totals") == [Lag("lags.totals", 1.0)]
    assert find_lags(session, "lags.inner_view")[0].seconds == 1.0


def test_what_materialize_does_not_list_comes_first_and_is_unknown(session: Session, with_objects: StandIn) -> None:
    with with_objects.connect() as admin, copy_faults(admin, lag="unknown", lag_of="lags.orders"):
        assert find_lags(session, "lags.inner_view") == [Lag("lags.orders", None), Lag("lags.customers", 1.0)]


def test_constants_do_not_lag(session: Session) -> None:
    assert find_lags(session, "lags.constant") == []


def test_a_name_without_schema_is_looked_up_along_the_search_path(session: Session, with_objects: StandIn) -> None:
    with with_objects.connect() as admin:
        admin.execute("CREATE TABLE orders_here (id bigint)")
        try:
            assert find_lags(session, "orders_here") == [Lag("public.orders_here", 1.0)]
        finally:
            admin.execute("DROP TABLE orders_here")


@pytest.mark.parametrize("name", ["lags.missing", "orders", "elsewhere.lags.orders"])
def test_a_missing_object_is_named(session: Session, name: str) -> None:
    with pytest.raises(NotFoundError, match=name):
        find_lags(session, name)


@pytest.mark.parametrize("value", ["soon", -1])
def test_a_lag_that_is_none_is_refused(value: object) -> None:
    with pytest.raises(LocalStackError, match="lag=600") as raised:
        Faults.parse({"lag": value})
    assert "lag=" in raised.value.message
