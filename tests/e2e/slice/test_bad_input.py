"""Bad input: a clear error that names the field and the way out, the right exit code, and nothing half done."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import boto3
import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from mz_orchestration.errors import CredentialsError, UnavailableError
from mz_orchestration.exports.manifest import Manifest, parse_manifest
from mz_orchestration.materialize.connection import MaterializeConfig, connect
from mz_orchestration.materialize.session import Session
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.objectstore.location import Location, parse_folder, parse_location
from mz_orchestration.runs.key import record_location

from .conftest import BASE, STAGE, Command, Query


def nothing_below(store: ObjectStore, base: str) -> bool:
    return store.list_objects(parse_folder(base, field="base")) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["shop.nothing"], "unknown catalog item"),
        (["nowhere.orders"], "unknown schema"),
        (["bad name"], "is not a name"),
        (["q", "--query", "SELECT * FROM shop.orders LIMIT 5"], "Wrap it"),
        (["q", "--query", "SELECT * FROM shop.orders ORDER BY id"], "Wrap it"),
        (["q", "--query", "SELECT nothing FROM shop.orders"], "nothing"),
        (["q", "--raw-types", "--query", "SELECT interval '1 day' AS pause, id FROM shop.orders"], "pause (interval)"),
        (["shop.orders", "--cast", "nothing=text"], "nothing"),
        (["shop.orders", "--cast", "id=text; DROP TABLE x"], "DROP TABLE x"),
        (["shop.orders", "--cast", "id"], "COLUMN=TYPE"),
        (["shop.orders", "--cast", "id=text", "--cast", "id=text"], "'id' twice"),
        (["shop.orders", "shop.customers", "--cast", "id=text"], "OBJECT.COLUMN=TYPE"),
        (["shop.orders", "--verify", "deeply"], "'deeply'"),
        (["shop.orders", "--if-running", "panic"], "'panic'"),
        (["shop.orders", "--left-behind", "panic"], "'panic'"),
        (["shop.orders", "shop.customers", "--consistency", "luck"], "'luck'"),
        (["shop.orders", "shop.orders"], "Named twice: shop.orders"),
        (["a", "b", "--query", "SELECT 1"], "--query goes with one name"),
        (["q", "--query", "SELECT id, public_id AS id FROM shop.orders"], "'id'"),
        (["shop.orders", "--format", "json"], "'json'"),
        (["shop.orders", "--max-file-size", "1MB"], "16MB to 4GB"),
        (["shop.orders", "--delimiter", ";"], "format=csv only"),
        (["shop.orders", "--timeout", "0"], "timeout"),
        (["shop.orders", "--cluster", "nope"], "unknown cluster 'nope'"),
    ],
)
def test_export(command: Command, store: ObjectStore, arguments: list[str], said: str) -> None:
    base = "s3://mz-exports/bad-input/"
    done = command.export(*arguments, to=base)
    assert said in done.stderr
    assert "error:" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode == 2, done.stderr
    assert nothing_below(store, base)


def test_an_unknown_connection(command: Command, store: ObjectStore) -> None:
    base = "s3://mz-exports/bad-connection/"
    done = command("export", "shop.orders", "--to", base, "--connection", "nope")
    assert done.returncode == 2
    assert "no connection 'nope'" in done.stderr
    assert nothing_below(store, base)


@pytest.mark.parametrize(
    ("to", "said"),
    [
        ("s3://mz-exports", "without a folder"),
        ("s3://no-such-bucket/a/", "bucket 'no-such-bucket' does not exist"),
        ("exports/", "not an object-store URL"),
    ],
)
def test_places(command: Command, to: str, said: str) -> None:
    done = command.export("shop.orders", to=to)
    assert said in done.stderr
    assert done.returncode == 2


def test_a_path_that_is_not_empty(command: Command, store: ObjectStore, materialize: psycopg.Connection[Any]) -> None:
    """Somebody writes into the very path of an attempt: refused by Materialize, and the next attempt has its own."""
    from datetime import UTC, datetime

    from mz_orchestration.errors import ExportError
    from mz_orchestration.exports.export import run_export
    from mz_orchestration.exports.paths import attempt_location
    from mz_orchestration.exports.spec import export_spec
    from mz_orchestration.flow import Clock

    class Stopped(Clock):
        def now(self) -> datetime:
            return datetime(2026, 11, 22, tzinfo=UTC)

    spec = export_spec(object="shop.orders", to=BASE, connection="local_s3")
    taken = attempt_location(spec.base, spec.folder_name, "not-empty", 1, Stopped().now())
    store.put(taken.child("something"), b"x")
    with pytest.raises(ExportError, match="not empty, contains 1 objects") as raised:
        run_export(spec, run_key="not-empty", store=store, clock=Stopped())
    assert raised.value.retryable
    assert run_export(spec, run_key="not-empty", store=store, clock=Stopped()).attempt == 2


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ({"PGPASSWORD": "wrong-secret"}, 3, "refused the sign-in"),
        ({"PGPORT": "1"}, 5, "cannot be reached"),
        ({"AWS_SECRET_ACCESS_KEY": "wrong-secret"}, 3, "SignatureDoesNotMatch"),
        ({"AWS_ACCESS_KEY_ID": "AKIAWRONG"}, 3, "InvalidAccessKeyId"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, 5, "did not answer"),
    ],
)
def test_export_with_a_server_down_or_wrong_credentials(
    command: Command, change: dict[str, str], code: int, said: str
) -> None:
    done = command.export("shop.orders", "--run-key", f"wrong-{said}", **change)
    assert said in done.stderr
    assert done.returncode == code
    assert "wrong-secret" not in done.stderr + done.stdout


def test_an_empty_password_is_not_filled_from_the_environment(environment: dict[str, str]) -> None:
    """Whoever names the host must not be handed the password of the machine that connects."""
    config = MaterializeConfig(password=SecretStr(""))
    with pytest.raises((CredentialsError, UnavailableError), match="password"):
        connect(config)
    with connect(MaterializeConfig()) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_copy_whose_thread_cannot_start_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with Session() as session:
        monkeypatch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="new thread"):
            session.copy_to(sql.SQL("SELECT 1").format(), timeout=30)
        # Nothing is left that a cancel would have to repeat itself for.
        assert session.cancel()


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ({"SNOWFLAKE_PASSWORD": "wrong-secret"}, 3, "Incorrect username or password"),
        ({"SNOWFLAKE_PORT": "1", "SNOWFLAKE_LOGIN_TIMEOUT": "5"}, 5, "cannot be reached"),
        ({"SNOWFLAKE_ACCOUNT": ""}, 2, "SNOWFLAKE_ACCOUNT is not set"),
    ],
)
def test_load_with_a_server_down_or_wrong_credentials(
    command: Command, manifest: Manifest, change: dict[str, str], code: int, said: str
) -> None:
    url = str(manifest.location)
    done = command("load", url, "--stage", STAGE, "--table", "DEMO.PUBLIC.NEVER", **change)
    assert said in done.stderr
    assert done.returncode == code, done.stderr
    assert "wrong-secret" not in done.stderr + done.stdout


@pytest.fixture
def manifest(command: Command, store: ObjectStore, request: pytest.FixtureRequest) -> Manifest:
    """A fresh verified export of its own."""
    result = command.exported("shop.orders", "--run-key", request.node.name)
    body, _ = store.get(parse_location(result["manifest"], field="manifest"))
    return parse_manifest(body, source="manifest")


def rewritten(store: ObjectStore, manifest: Manifest, rehash: bool, change: Callable[[Any], None]) -> str:
    """Put a changed manifest in place of the true one, and its record out of the way."""
    data = json.loads(manifest.to_json())
    change(data)
    if rehash:
        data = json.loads(Manifest.model_validate(data).hashed().to_json())
    store.put(manifest.location, json.dumps(data).encode())
    return str(manifest.location)


def grow_file(data: Any) -> None:
    data["files"][0]["bytes"] += 1


def rename_file(data: Any) -> None:
    data["files"][0]["name"] = "mz-t9-batch-9999-0000.parquet"


def add_row(data: Any) -> None:
    data["files"][0]["rows"] += 1
    data["rows"] += 1
    data["copied"] += 1


def forget_file(data: Any) -> None:
    gone = data["files"].pop()
    data["rows"] -= gone["rows"]
    data["copied"] -= gone["rows"]


@pytest.mark.parametrize("record", [True, False], ids=["with record", "record gone"])
@pytest.mark.parametrize("rehash", [True, False], ids=["rehashed", "not rehashed"])
@pytest.mark.parametrize("change", [grow_file, rename_file, add_row, forget_file])
def test_a_changed_manifest_is_refused(
    command: Command,
    store: ObjectStore,
    snowflake: Query,
    manifest: Manifest,
    change: Callable[[Any], None],
    rehash: bool,
    record: bool,
) -> None:
    if not record:
        # The store and the footers alone must tell.
        where = record_location(parse_folder(manifest.base, field=""), manifest.export, manifest.run_key)
        boto3.client("s3").delete_object(Bucket=where.bucket, Key=where.key)
    url = rewritten(store, manifest, rehash, change)
    done = command.load(url, "DEMO.PUBLIC.FORGED")
    assert done.returncode == 4, done.stderr
    assert "manifest" in done.stderr
    assert snowflake("SELECT * FROM DEMO.INFORMATION_SCHEMA.TABLES WHERE TABLE_NAME LIKE 'FORGED%'") == []


def test_files_that_are_gone(command: Command, store: ObjectStore, manifest: Manifest) -> None:
    boto3.client("s3").delete_object(Bucket=manifest.folder.bucket, Key=manifest.folder.key + manifest.files[0].name)
    done = command.load(str(manifest.location), "DEMO.PUBLIC.GONE")
    assert done.returncode == 4
    assert f"{manifest.files[0].name} is gone" in done.stderr


def test_a_file_overwritten_by_something_else_is_noticed(
    command: Command, store: ObjectStore, manifest: Manifest
) -> None:
    at = Location(manifest.folder.bucket, manifest.folder.key + manifest.files[0].name)
    body, _ = store.get(at)
    store.put(at, body[:-1] + b"X")
    done = command.load(str(manifest.location), "DEMO.PUBLIC.AGAIN")
    assert done.returncode == 4
    assert "not a complete Parquet file" in done.stderr


@pytest.mark.parametrize(
    ("url", "code", "said"),
    [
        ("s3://mz-exports/tests/nothing/_manifest.json", 2, "no object at"),
        ("nothing.json", 2, "not an object-store URL"),
    ],
)
def test_a_manifest_that_is_not_there(command: Command, url: str, code: int, said: str) -> None:
    done = command.load(url, "DEMO.PUBLIC.T")
    assert said in done.stderr
    assert done.returncode == code


def test_stages(command: Command, snowflake: Query, manifest: Manifest) -> None:
    url = str(manifest.location)
    snowflake(
        "CREATE OR REPLACE STAGE DEMO.PUBLIC.ELSEWHERE URL = 's3://mz-exports/other/' "
        "STORAGE_INTEGRATION = " + snowflake("SHOW STAGES IN SCHEMA DEMO.PUBLIC")[0]["storage_integration"]
    )
    elsewhere = command.load(url, "DEMO.PUBLIC.T", stage="DEMO.PUBLIC.ELSEWHERE")
    assert "does not cover" in elsewhere.stderr
    assert elsewhere.returncode == 2
    missing = command.load(url, "DEMO.PUBLIC.T", stage="DEMO.PUBLIC.NOPE")
    assert "NOPE" in missing.stderr
    assert missing.returncode == 2
    bad = command.load(url, "DEMO.PUBLIC.T", stage="a b")
    assert "stage: 'a b' is not a name" in bad.stderr
    assert bad.returncode == 2


def test_a_target_with_other_columns_is_left_alone(command: Command, snowflake: Query, manifest: Manifest) -> None:
    snowflake("CREATE OR REPLACE TABLE DEMO.PUBLIC.OTHER (ID VARCHAR, EXTRA NUMBER)")
    snowflake("INSERT INTO DEMO.PUBLIC.OTHER VALUES ('kept', 1)")
    done = command.load(str(manifest.location), "DEMO.PUBLIC.OTHER")
    assert done.returncode == 2
    lines = [" ".join(line.split()) for line in done.stderr.splitlines()]
    assert "~ ID VARCHAR in the table, the export needs NUMBER(38,0)" in lines
    assert "- EXTRA NUMBER(38,0) in the table, not in the export" in lines
    assert "+ STATUS VARCHAR missing in the table" in lines
    assert snowflake("SELECT ID FROM DEMO.PUBLIC.OTHER") == [{"id": "kept"}]


@pytest.mark.parametrize("option", [("--null", "NULL"), ("--escape", "\\"), ("--quote", "|")])
def test_csv_that_snowflake_would_read_differently_is_refused(command: Command, option: tuple[str, str]) -> None:
    result = command.exported("shop.orders", "--format", "csv", *option, "--run-key", f"csv-{option}")
    done = command.load(result["manifest"], "DEMO.PUBLIC.CSV_NULL")
    assert done.returncode == 2
    assert "without loss" in done.stderr


def test_a_numeric_that_snowflake_would_round_is_refused(command: Command) -> None:
    query = "SELECT 1.123456789012345::numeric AS n"
    result = command.exported("loose", "--query", query, "--format", "csv", "--raw-types")
    done = command.load(result["manifest"], "DEMO.PUBLIC.LOOSE")
    assert done.returncode == 2
    assert "would round these numeric columns: n" in done.stderr


def test_a_copied_manifest_is_refused(command: Command, store: ObjectStore, manifest: Manifest) -> None:
    elsewhere = parse_location("s3://mz-exports/tests/copies/_manifest.json", field="")
    store.put(elsewhere, manifest.to_json())
    done = command.load(str(elsewhere), "DEMO.PUBLIC.COPIED")
    assert done.returncode == 4
    assert f"belongs at {manifest.location}" in done.stderr


def test_a_run_key_used_for_something_else(command: Command) -> None:
    assert command.export("shop.orders", "--run-key", "taken").returncode == 0
    done = command.export("shop.orders", "--run-key", "taken", "--format", "csv")
    assert done.returncode == 2
    assert "used for a different export" in done.stderr
    assert "format: 'parquet' then, 'csv' now" in done.stderr


def test_an_unknown_run(command: Command) -> None:
    done = command("runs", "show", "nobody", "--at", BASE)
    assert done.returncode == 2
    assert "no run 'nobody'" in done.stderr
