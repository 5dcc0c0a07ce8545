"""What the catalog says there is: by schema, by cluster, with names, columns and comments."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mz_orchestration.errors import ConfigurationError, NotFoundError
from mz_orchestration.materialize.catalog import find_objects
from mz_orchestration.materialize.connection import MaterializeConfig
from mz_orchestration.materialize.session import Session

from .conftest import PASSWORD, StandIn

_OBJECTS = """
CREATE CLUSTER nightly (SIZE = '25cc');
CREATE SCHEMA found;
CREATE TABLE found.orders (id bigint NOT NULL, at timestamptz);
CREATE VIEW found."Plain View" AS SELECT id FROM found.orders;
CREATE MATERIALIZED VIEW found.totals IN CLUSTER nightly AS SELECT count(*) AS n FROM found.orders;
CREATE SCHEMA found_not;
CREATE TABLE found_not.orders (id bigint);
COMMENT ON TABLE found.orders IS 'Every order; once.';
COMMENT ON COLUMN found.orders.id IS 'Not the table''s own'
"""


@pytest.fixture(scope="module")
def with_objects(server: StandIn) -> Iterator[StandIn]:
    with server.connect() as admin:
        # The only semicolon inside a statement is that of a comment.
        for statement in _OBJECTS.replace("order; once", "order, once").split(";"):
            admin.execute(statement)
        yield server
        admin.execute("DROP SCHEMA found CASCADE")
        admin.execute("DROP SCHEMA found_not CASCADE")
        admin.execute("DROP CLUSTER nightly")


@pytest.fixture
def session(with_objects: StandIn) -> Iterator[Session]:
    config = MaterializeConfig(
        host="127.0.0.1", port=with_objects.port, user="materialize", password=PASSWORD, database="materialize"
    )
    with Session(config) as opened:
        yield opened


def test_the_objects_of_a_schema(session: Session) -> None:
    plain, orders, totals = find_objects(session, schemas=["found"])
    assert (plain.object, plain.kind, plain.cluster) == ('found."Plain View"', "view", None)
    assert (orders.object, orders.kind, orders.comment) == ("found.orders", "table", "Every order, once.")
    assert orders.columns == (("id", "bigint"), ("at", "timestamp with time zone"))
    assert (totals.object, totals.kind, totals.cluster) == ("found.totals", "materialized-view", "nightly")
    assert find_objects(session, schemas=["materialize.FOUND"]) == [plain, orders, totals]


def test_the_objects_that_a_cluster_maintains(session: Session) -> None:
    assert [each.object for each in find_objects(session, clusters=["nightly"])] == ["found.totals"]
    assert find_objects(session, schemas=["found_not"], clusters=["nightly"]) == []


def test_kinds_and_the_systems_own_objects(session: Session) -> None:
    assert [each.object for each in find_objects(session, schemas=["found"], kinds=["table"])] == ["found.orders"]
    everything = {each.object for each in find_objects(session)}
    assert {"found.orders", "found_not.orders"} <= everything
    assert not [name for name in everything if "mz_" in name or "pg_" in name]


@pytest.mark.parametrize(
    ("what", "error", "text"),
    [
        ({"schemas": ["foudn"]}, NotFoundError, "no schema 'foudn'. Did you mean 'found'?"),
        ({"schemas": ["other.found"]}, NotFoundError, r"no schema 'other\.found'"),
        ({"clusters": ["nihgtly"]}, NotFoundError, "no cluster 'nihgtly'. Did you mean 'nightly'?"),
        ({"schemas": ["a b"]}, ConfigurationError, "schemas: 'a b' is not a name"),
        ({"schemas": ["a.b.c"]}, ConfigurationError, "too many parts"),
        ({"kinds": ["sink"]}, ConfigurationError, "kinds: sink cannot be exported"),
    ],
)
def test_what_is_not_there(session: Session, what: dict[str, list[str]], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        find_objects(session, **what)  # type: ignore[arg-type]
