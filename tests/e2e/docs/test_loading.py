"""What docs/loading.md shows is true: its Python runs, its output is a load's, what it names is there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from typer.core import TyperGroup
from typer.main import get_group

from mz_orchestration.cli.main import app
from mz_orchestration.errors import ConfigurationError
from mz_orchestration.exports.export import run_export
from mz_orchestration.exports.manifest import Manifest
from mz_orchestration.exports.policy import ExportPolicy
from mz_orchestration.exports.spec import export_spec
from mz_orchestration.flow import run
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.snowflake.checks import column_checks
from mz_orchestration.snowflake.config import SnowflakeConfig
from mz_orchestration.snowflake.ledger import LEDGER
from mz_orchestration.snowflake.load import run_load
from mz_orchestration.snowflake.quoting import Sql
from mz_orchestration.snowflake.schema import LINEAGE, Layout, SchemaChanges
from mz_orchestration.snowflake.session import SnowflakeSession
from mz_orchestration.snowflake.sign_in import SignIn
from mz_orchestration.snowflake.spec import Checks, Clear, Strategy, load_spec

PAGE = (Path(__file__).parents[3] / "docs/loading.md").read_text()
STAGE = "DEMO.PUBLIC.MZ_STAGE"
ORDERS = "SELECT order_id, status, placed_at, net_amount AS total FROM shop.order_totals"
Query = Callable[[str], list[dict[str, Any]]]

# What the page writes behind an option, by the option.
VALUES: dict[str, type[StrEnum]] = {
    "strategy": Strategy,
    "clear": Clear,
    "layout": Layout,
    "schema-changes": SchemaChanges,
    "checks": Checks,
}


def block(mark: str, language: str = "text") -> str:
    [found] = re.findall(rf"<!-- {mark} -->\n```{language}\n(.*?)```", PAGE, re.DOTALL)
    return str(found)


def exported(run_key: str, query: str, *, statistics: bool = False, **fields: Any) -> Manifest:
    spec = export_spec(object="orders", query=query, to="s3://mz-exports/docs/", connection="local_s3", **fields)
    return run_export(spec, run_key=run_key, policy=ExportPolicy(statistics=statistics)).manifest


@pytest.fixture
def snowflake(environment: dict[str, str]) -> Query:
    def query(statement: str) -> list[dict[str, Any]]:
        with SnowflakeSession(SnowflakeConfig.from_environment()) as session:
            return session.query(Sql(statement)).rows

    return query


def test_the_python_runs(environment: dict[str, str]) -> None:
    url = str(exported("loading", ORDERS).location)
    program = f"manifest_url = {url!r}\n{block('executed by tests', 'python')}"
    done = subprocess.run(
        [sys.executable, "-c", program], env=dict(os.environ), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    target, rows = done.stdout.rsplit(maxsplit=1)
    assert target == '"DEMO"."PUBLIC"."ORDER_TOTALS_BY_KEY"'
    assert int(rows) > 0


def test_the_diff_is_what_a_load_says(snowflake: Query) -> None:
    snowflake("CREATE TABLE DEMO.PUBLIC.ORDERS (ORDER_ID NUMBER, STATUS VARCHAR, PLACED_AT TIMESTAMP_NTZ, OLD DATE)")
    manifest = exported("diff", ORDERS)
    with pytest.raises(ConfigurationError) as caught:
        run_load(load_spec(manifest=str(manifest.location), stage=STAGE, table="DEMO.PUBLIC.ORDERS"))
    assert caught.value.message.splitlines()[1:] == block("diff").splitlines()


def test_the_finding_is_what_a_check_says(store: ObjectStore, snowflake: Query) -> None:
    rows = "SELECT id, total::numeric(12,2) AS total FROM (VALUES (1, 5.5), (2, 7.25), (3, 30)) AS v (id, total)"
    manifest = exported("finding", rows, statistics=True)
    run_load(load_spec(manifest=str(manifest.location), stage=STAGE, table="DEMO.PUBLIC.FINDING", checks="columns"))
    snowflake("UPDATE DEMO.PUBLIC.FINDING SET TOTAL = 7.26 WHERE ID = 2")
    with SnowflakeSession(SnowflakeConfig.from_environment()) as session:
        found = run(column_checks(manifest, ("DEMO", "PUBLIC", "FINDING"), session, store))
    assert found == block("finding").splitlines()


def test_every_command_and_option_is_there() -> None:
    root = get_group(app)
    commands = [words for words in spans() if words[0] == "mz-orchestration" or words[0] in root.commands]
    named = [*commands, *(["load", *words] for words in spans() if words[0].startswith("--"))]
    used: set[str] = set()
    for words in named:
        command, rest = find_command(root, words)
        known = {option for each in command.params for option in (*each.opts, *each.secondary_opts)}
        options = {word for word in rest if word.startswith("--")}
        assert options <= known, f"{' '.join(words)}: no {options - known}"
        if command.name == "load":
            used |= options
        for option, value in pairwise(rest):
            if option.removeprefix("--") in VALUES:
                VALUES[option.removeprefix("--")](value)
    parameters = {option for each in root.commands["load"].params for option in each.opts}
    elsewhere = {"--stage", "--table", "--dry-run", "--json", "--quiet", "-q", "manifest"}
    assert parameters - elsewhere <= used


def test_every_strategy_has_a_row_and_every_lineage_column_its_name() -> None:
    assert re.findall(r"^\| `(\w+)`[^|]*\|", PAGE, re.MULTILINE) == [strategy.value for strategy in Strategy]
    assert re.findall(r"`(_MZ_\w+)`", PAGE) == [column.name for column in LINEAGE]
    assert f"`{LEDGER}`" in PAGE


def test_every_setting_and_way_to_sign_in_is_there() -> None:
    [section] = re.findall(r"^## Signing in\n(.*?)The role needs", PAGE, re.MULTILINE | re.DOTALL)
    named = set(re.findall(r"[A-Z_]{4,}", " ".join(re.findall(r"`([^`]+)`", section)))) - {"SNOWFLAKE_"}
    settings = {f"{(field.alias or name).upper()}" for name, field in SnowflakeConfig.model_fields.items()}
    ways = {way.value for way in SignIn}
    assert named <= settings | ways | {"PRIVATE_KEY_PASSPHRASE"}
    # The other two follow from the key and the password.
    assert ways - named == {SignIn.KEY_PAIR.value, SignIn.PASSWORD.value}


def spans() -> list[list[str]]:
    """What the page has as code within a line, and the commands of its shell, in words."""
    lines = re.findall(r"^\$ (.*?)(?:\s+#.*)?$", PAGE, re.MULTILINE)
    text = re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL)
    return [shlex.split(code) for code in [*lines, *re.findall(r"`([^`]+)`", text)] if "'" not in code]


def find_command(root: TyperGroup, words: list[str]) -> tuple[Any, list[str]]:
    command: Any = root
    rest = words[1:] if words[0] == "mz-orchestration" else words
    while isinstance(command, TyperGroup):
        command, rest = command.commands[rest[0]], rest[1:]
    return command, rest
