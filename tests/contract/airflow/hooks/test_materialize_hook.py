"""The hook under common-sql's own operators and sensors, and by itself."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from typing import Any

import psycopg
import pytest
from airflow.providers.common.sql.hooks.handlers import fetch_one_handler
from airflow.providers.common.sql.operators.sql import (
    SQLCheckOperator,
    SQLColumnCheckOperator,
    SQLExecuteQueryOperator,
    SQLInsertRowsOperator,
    SQLTableCheckOperator,
    SQLThresholdCheckOperator,
    SQLValueCheckOperator,
)
from airflow.providers.common.sql.sensors.sql import SqlSensor
from airflow.sdk import BaseHook

from mz_orchestration.airflow.hooks.materialize import MaterializeHook
from mz_orchestration.airflow.version_compat import AirflowException
from mz_orchestration.errors import (
    ConfigurationError,
    CredentialsError,
    ExportError,
    MzOrchestrationError,
    NotFoundError,
    UnavailableError,
)
from mz_orchestration.local.stack import LocalStack

from .conftest import TABLE, connected

MINE = "materialize_default"


def execute(operator: Any) -> Any:
    return operator.execute({})


@pytest.fixture
def redefine(connections: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Changes fields of the connection."""

    def change(**fields: Any) -> None:
        name = "AIRFLOW_CONN_MATERIALIZE_DEFAULT"
        monkeypatch.setenv(name, json.dumps({**json.loads(connections[name]), **fields}))

    return change


def test_statements_and_their_results() -> None:
    sql = f"SELECT id FROM {TABLE} WHERE id > %(least)s ORDER BY id; SELECT 40 + 2"
    both = SQLExecuteQueryOperator(
        task_id="t", conn_id=MINE, sql=sql, split_statements=True, return_last=False, parameters={"least": 1}
    )
    assert execute(both) == [[(2,), (3,)], [(42,)]]
    last = SQLExecuteQueryOperator(
        task_id="t", conn_id=MINE, sql="SELECT 1; SELECT 40 + 2", split_statements=True, handler=fetch_one_handler
    )
    assert execute(last) == (42,)
    listed = SQLExecuteQueryOperator(
        task_id="t", conn_id=MINE, sql=["SELECT %s::text", "SELECT %s::int + 1"], parameters=[1]
    )
    assert execute(listed) == [[("1",)], [(2,)]]


def test_ddl_takes_autocommit() -> None:
    sql = "SELECT 1; CREATE CLUSTER by_operator (SIZE = '25cc'); SELECT 40 + 2"
    statements = {"task_id": "t", "conn_id": MINE, "sql": sql, "split_statements": True}
    with pytest.raises(ConfigurationError, match=r"transaction.*Run it with autocommit=True") as caught:
        execute(SQLExecuteQueryOperator(**statements))
    assert caught.value.__suppress_context__
    assert execute(SQLExecuteQueryOperator(**statements, autocommit=True)) == [(42,)]
    # Alone in its transaction it is taken, too.
    MaterializeHook().run("DROP CLUSTER by_operator")


def test_rows_are_inserted_in_one_transaction() -> None:
    hook = MaterializeHook()
    hook.run("CREATE TABLE inserted (id int, note text)", autocommit=True)
    rows = [(1, "it's"), (2, None)]
    execute(
        SQLInsertRowsOperator(
            task_id="t", conn_id=MINE, table_name="inserted", schema="public", rows=rows, columns=["id", "note"]
        )
    )
    assert hook.get_records("SELECT id, note FROM inserted ORDER BY id") == rows
    with pytest.raises(psycopg.errors.InvalidTextRepresentation):
        hook.insert_rows("inserted", [(3, "x"), ("y", "z")], target_fields=["id", "note"])
    assert hook.get_first("SELECT count(*) FROM inserted") == (2,)
    hook.run("DROP TABLE inserted", autocommit=True)


def test_columns_are_found_where_nobody_names_them() -> None:
    assert MaterializeHook().dialect.get_column_names(TABLE) == ["id", "total", "note"]
    assert [each["name"] for each in MaterializeHook().get_table_schema("orders", "public")] == ["id", "total", "note"]


@pytest.mark.parametrize(
    ("least", "passes"),
    [(3, True), (4, False)],
)
def test_checks(least: int, passes: bool) -> None:
    checks: list[Any] = [
        SQLColumnCheckOperator(
            task_id="t",
            conn_id=MINE,
            table=TABLE,
            column_mapping={"id": {"distinct_check": {"geq_to": least}, "null_check": {"equal_to": 0}}},
        ),
        SQLTableCheckOperator(
            task_id="t", conn_id=MINE, table=TABLE, checks={"rows": {"check_statement": f"COUNT(*) >= {least}"}}
        ),
        SQLValueCheckOperator(task_id="t", conn_id=MINE, sql=f"SELECT count(*) FROM {TABLE}", pass_value=least),
        SQLCheckOperator(task_id="t", conn_id=MINE, sql=f"SELECT count(*) >= {least} FROM {TABLE}"),
        SQLThresholdCheckOperator(
            task_id="t",
            conn_id=MINE,
            sql=f"SELECT count(*) FROM {TABLE}",
            min_threshold=least,
            max_threshold=f"SELECT 10 + count(*) FROM {TABLE}",
        ),
    ]
    for check in checks:
        if passes:
            execute(check)
        else:
            with pytest.raises(AirflowException):
                execute(check)


def test_a_sensor_waits_for_rows() -> None:
    def sensor(number: int) -> bool:
        sql = f"SELECT count(*) FROM {TABLE} WHERE id = %(number)s"
        return bool(SqlSensor(task_id="t", conn_id=MINE, sql=sql, parameters={"number": number}).poke({}))

    assert (sensor(1), sensor(99)) == (True, False)


def test_statements_that_are_not_to_be_logged(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nor is what psycopg quotes of them; Airflow may have its own way of logging, past the test's."""

    def logged() -> str:
        text = caplog.text + "".join(capfd.readouterr())
        caplog.clear()
        return text

    caplog.set_level(logging.DEBUG)
    wrong = "SELECT wrong, 'hunter22'"
    with pytest.raises(psycopg.Error, match="hunter22"):
        MaterializeHook().run(wrong)
    assert "hunter22" in logged()
    caplog.set_level(logging.INFO)
    quiet = MaterializeHook(log_sql=False)
    quiet.run("CREATE SECRET token AS 'hunter22'", autocommit=True)
    quiet.run("DROP SECRET token", autocommit=True)
    with pytest.raises(MzOrchestrationError) as caught:
        quiet.run(wrong)
    assert "hunter22" not in str(caught.value) + logged()
    assert caught.value.__suppress_context__


def test_the_other_database_and_cluster(stack: LocalStack) -> None:
    with connected(stack) as session:
        session.execute("CREATE CLUSTER by_task (SIZE = '25cc')")
        operator = SQLExecuteQueryOperator(
            task_id="t", conn_id=MINE, sql="SHOW cluster", hook_params={"cluster": "by_task"}
        )
        assert execute(operator) == [("by_task",)]
        hook = MaterializeHook(cluster="by_task")
        with hook.get_sqlalchemy_engine().connect() as engine:
            assert engine.exec_driver_sql("SHOW cluster").scalar() == "by_task"

        async def asynchronously() -> Any:
            async with await hook.aget_conn() as connection:
                return await (await connection.execute("SHOW cluster")).fetchone()

        assert asyncio.run(asynchronously()) == ("by_task",)
        assert asyncio.run(hook.aget_config()) == hook.get_config()
        session.execute("DROP CLUSTER by_task")


def test_cancelling_what_another_session_runs() -> None:
    hook = MaterializeHook()
    for cancel in (hook.cancel, lambda pid: asyncio.run(hook.acancel(pid))):
        ended: list[BaseException] = []
        with hook.get_conn() as victim:

            def work(connection: psycopg.Connection[Any] = victim, ended: list[BaseException] = ended) -> None:
                try:
                    connection.execute("SELECT pg_sleep(60)")
                except psycopg.Error as error:
                    ended.append(error)

            thread = threading.Thread(target=work)
            thread.start()
            pid = victim.info.backend_pid
            deadline = time.monotonic() + 30
            while thread.is_alive() and time.monotonic() < deadline:
                assert cancel(pid)
                thread.join(0.2)
            assert [type(each) for each in ended] == [psycopg.errors.QueryCanceled]


@pytest.mark.parametrize(
    ("fields", "kind", "message"),
    [
        ({"password": "hunter22"}, CredentialsError, "refused the sign-in"),
        ({"port": 1}, UnavailableError, "cannot be reached"),
        ({"extra": {"cluster": "nope"}}, NotFoundError, "unknown cluster 'nope'"),
        ({"extra": {"connect_timeout": "soon"}}, ConfigurationError, "connect_timeout"),
        ({"login": ""}, ConfigurationError, "has no login"),
    ],
)
def test_what_goes_wrong(redefine: Any, fields: dict[str, Any], kind: type[MzOrchestrationError], message: str) -> None:
    redefine(**fields)
    hook = MaterializeHook()
    with pytest.raises(kind, match=message) as blocking:
        hook.get_conn()
    with pytest.raises(kind, match=message) as on_a_loop:
        asyncio.run(hook.aget_conn())
    assert str(blocking.value) == str(on_a_loop.value)
    assert not isinstance(blocking.value, ExportError)
    working, text = hook.test_connection()
    assert not working
    assert message in text
    assert "hunter22" not in text


def test_lineage_names_objects_as_assets_do() -> None:
    operator = SQLExecuteQueryOperator(task_id="t", conn_id=MINE, sql=f"SELECT id FROM {TABLE}")
    lineage = operator.get_openlineage_facets_on_start()
    connection = BaseHook.get_connection(MINE)
    ((dataset,), outputs) = (lineage.inputs, lineage.outputs)
    assert dataset.namespace == f"materialize://{connection.host}:{connection.port}"
    assert dataset.name == f"materialize.{TABLE}"
    assert [each.name for each in dataset.facets["schema"].fields] == ["id", "total", "note"]
    assert not outputs


def test_there_is_no_such_connection() -> None:
    with pytest.raises(ConfigurationError, match="no Airflow connection 'nowhere'"):
        MaterializeHook("nowhere").get_conn()
    with pytest.raises(ConfigurationError, match="no Airflow connection 'nowhere'"):
        asyncio.run(MaterializeHook("nowhere").aget_conn())


def test_the_test_button() -> None:
    hook = BaseHook.get_hook(MINE)
    assert isinstance(hook, MaterializeHook)
    working, text = hook.test_connection()
    assert working
    assert text.startswith("Connected to Materialize v")
