"""Hooks without a server: what they take from connections and callers, and what they do not."""

from __future__ import annotations

import json
import sys
from types import ModuleType
from typing import Any

import pytest
from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService
from airflow.providers.common.sql.operators.sql import BaseSQLOperator

from mz_orchestration.airflow.get_provider_info import get_provider_info
from mz_orchestration.airflow.hooks.census import CensusHook
from mz_orchestration.airflow.hooks.materialize import MaterializeHook

CONNECTION = {"conn_type": "materialize", "host": "mz.example.com", "login": "me", "password": "hunter22"}


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch) -> Any:
    def define(conn_id: str = "mine", **fields: Any) -> None:
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps({**CONNECTION, **fields}))

    return define


def test_extras_that_are_not_ours_reach_nothing(connection: Any) -> None:
    """common-sql's operators hand every extra of a connection to the hook's constructor."""
    connection(
        extra={
            "cluster": "exports",
            "connection": {"host": "elsewhere.example.com"},
            "insert_statement_format": "DROP TABLE {} -- {} {}",
            "options": "-c search_path=theirs",
            "service": "other",
            "sqlalchemy_scheme": "mysql",
            "placeholder": "?",
        }
    )
    hook = BaseSQLOperator.get_hook("mine")
    assert isinstance(hook, MaterializeHook)
    config = hook.get_config().model_dump(exclude_none=True, exclude={"password"})
    assert config == {
        "host": "mz.example.com",
        "port": 6875,
        "user": "me",
        "database": "materialize",
        "cluster": "exports",
        "connect_timeout": 10,
    }
    assert hook.connection.host == "mz.example.com"
    assert hook.insert_statement_format == "INSERT INTO {} {} VALUES ({})"
    assert (hook.placeholder, hook.dialect_name) == ("%s", "default")
    assert hook.connection_extra == {"cluster": "exports"}


def test_a_dag_may_choose_database_and_cluster(connection: Any) -> None:
    connection(schema="theirs", extra={"cluster": "theirs"})
    hook = BaseSQLOperator(
        task_id="t", conn_id="mine", database="mine", hook_params={"cluster": "exports", "log_sql": False}
    ).get_db_hook()
    assert isinstance(hook, MaterializeHook)
    config = hook.get_config()
    assert (config.database, config.cluster, hook.log_sql) == ("mine", "exports", False)


def test_sqlalchemy_is_told_as_much_as_psycopg(connection: Any) -> None:
    extra = {"sslmode": "verify-full", "sslrootcert": "/ca.pem", "cluster": "my exports", "connect_timeout": 3}
    connection(schema="shop", extra=extra)
    hook = MaterializeHook("mine")
    engine = hook.get_sqlalchemy_engine()
    arguments = engine.dialect.create_connect_args(engine.url)[1]
    assert {name: arguments[name] for name in ("host", "port", "dbname", "user", "password")} == {
        "host": "mz.example.com",
        "port": 6875,
        "dbname": "shop",
        "user": "me",
        "password": "hunter22",
    }
    assert (arguments["sslmode"], arguments["sslrootcert"]) == ("verify-full", "/ca.pem")
    assert arguments["options"] == "--cluster=my\\ exports"
    assert int(arguments["connect_timeout"]) == 3
    assert "hunter22" not in str(engine.url)


def test_a_connection_without_a_token(connection: Any) -> None:
    connection(conn_type="census", password="")
    working, message = CensusHook("mine").test_connection()
    assert not working
    assert "has no password" in message


def test_nobody_answers(connection: Any) -> None:
    connection(host="127.0.0.1", port=1)
    working, message = MaterializeHook("mine").test_connection()
    assert not working
    assert "cannot be reached" in message
    assert "hunter22" not in message


def test_extras_of_census_that_are_not_ours(connection: Any) -> None:
    extra = {"group_id": "g", "url": "https://elsewhere.example.com", "token": "theirs", "timeout": 1}
    connection(conn_type="census", host="census.example.com", password="token", extra=extra)
    with CensusHook("mine").get_conn() as client:
        config = client.api.config
    assert (config.host, config.group_id, config.timeout) == ("https://census.example.com", "g", 30)
    assert config.token.get_secret_value() == "token"


@pytest.mark.parametrize("hook", [MaterializeHook, CensusHook])
def test_the_form_of_older_versions_is_the_same(hook: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those put these very stand-ins into wtforms to learn of the fields."""
    wtforms, validators = ModuleType("wtforms"), ModuleType("wtforms.validators")
    wtforms.StringField = HookMetaService.MockStringField  # type: ignore[attr-defined]
    wtforms.IntegerField = HookMetaService.MockIntegerField  # type: ignore[attr-defined]
    validators.Optional = HookMetaService.MockOptional  # type: ignore[attr-defined]
    validators.any_of = HookMetaService.MockEnum  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wtforms", wtforms)
    monkeypatch.setitem(sys.modules, "wtforms.validators", validators)
    (declared,) = (
        each for each in get_provider_info()["connection-types"] if each["connection-type"] == hook.conn_type
    )
    widgets = {name: field.param.dump() for name, field in hook.get_connection_form_widgets().items()}
    assert set(widgets) == set(declared["conn-fields"])
    for name, field in declared["conn-fields"].items():
        assert widgets[name]["schema"]["title"] == field["label"]
        assert widgets[name]["description"] == field["description"]
        assert widgets[name]["schema"]["type"] == field["schema"]["type"]
        assert widgets[name]["schema"].get("enum") == field["schema"].get("enum")
    assert hook.get_ui_field_behaviour() == {
        "hidden_fields": declared["ui-field-behaviour"]["hidden-fields"],
        "relabeling": declared["ui-field-behaviour"]["relabeling"],
        "placeholders": declared["ui-field-behaviour"]["placeholders"],
    }
    assert hook.hook_name == declared["hook-name"]
