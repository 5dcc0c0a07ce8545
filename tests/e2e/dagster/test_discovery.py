"""The component that asks Materialize what there is: state, refreshed and read, and the assets that come of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import dagster as dg
import psycopg
import pytest
from dagster.components.testing.utils import DefsFolderSandbox, create_defs_folder_sandbox

from mz_orchestration.dagster import MaterializeDiscoveryComponent
from mz_orchestration.errors import ConfigurationError, NotFoundError, UnavailableError

Query = Callable[[str], list[dict[str, Any]]]
Component = Callable[..., MaterializeDiscoveryComponent]
EXPORTS = """
name: everything
schemas: [discovered]
resources: environment
export: {to: "s3://mz-exports/discovered/", connection: local_s3, stage: DEMO.PUBLIC.MZ_STAGE}
load_into: {into: DEMO.PUBLIC}
"""


@pytest.fixture
def objects(environment: None) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(autocommit=True) as connection:
        connection.execute("CREATE SCHEMA discovered")
        connection.execute("CREATE TABLE discovered.things (id bigint)")
        connection.execute("INSERT INTO discovered.things VALUES (1), (2)")
        connection.execute("COMMENT ON TABLE discovered.things IS 'All of them.'")
        connection.execute("CREATE VIEW discovered.plain AS SELECT 1 AS one")
        yield connection
        connection.execute("DROP SCHEMA discovered CASCADE")


@pytest.fixture
def sandbox() -> Iterator[DefsFolderSandbox]:
    with create_defs_folder_sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def build(sandbox: DefsFolderSandbox) -> Callable[..., dg.Definitions]:
    """Definitions of the component from its attributes and a state; refreshed first, unless there is to be none."""

    def build(attributes: str, state: Path, *, refresh: bool = True) -> dg.Definitions:
        path = sandbox.defs_folder_path / "found"
        path.mkdir(exist_ok=True)
        text = "\n".join(f"  {line}" for line in dedent(attributes).strip().splitlines())
        cls = MaterializeDiscoveryComponent
        (path / "defs.yaml").write_text(f"type: {cls.__module__}.{cls.__qualname__}\nattributes:\n{text}\n")
        with sandbox.build_component_tree() as tree:
            component = tree.load_component(path)
            assert isinstance(component, MaterializeDiscoveryComponent)
            if refresh:
                asyncio.run(component._write_state_to_path_async(state))
            return component.build_defs_from_state(tree.load_context, state if state.exists() else None)

    return build


def keys(defs: dg.Definitions) -> set[str]:
    return {key.to_user_string() for key in defs.resolve_asset_graph().get_all_asset_keys()}


def test_objects_are_assets_with_what_is_known_of_them(
    objects: psycopg.Connection[Any], build: Callable[..., dg.Definitions], tmp_path: Path
) -> None:
    defs = build("schemas: [discovered]\nresources: environment", tmp_path / "state")
    (spec,) = defs.resolve_all_asset_specs()
    assert spec.key.path == ["materialize", "discovered", "things"]
    assert spec.description == "All of them."
    assert spec.kinds == {"materialize", "table"}
    assert [column.name for column in spec.metadata["dagster/column_schema"].columns] == ["id"]
    # What has been made since is found by the next refresh, and not before.
    objects.execute("CREATE MATERIALIZED VIEW discovered.more AS SELECT count(*) AS n FROM discovered.things")
    attributes = "schemas: [discovered]\nresources: environment\nexclude: ['*.things']"
    assert keys(build(attributes, tmp_path / "state", refresh=False)) == set()
    assert keys(build(attributes, tmp_path / "state")) == {"materialize/discovered/more"}


def test_each_is_exported_and_loaded(
    objects: psycopg.Connection[Any],
    build: Callable[..., dg.Definitions],
    instance: dg.DagsterInstance,
    snowflake: Query,
    tmp_path: Path,
) -> None:
    defs = build(EXPORTS, tmp_path / "state")
    assert keys(defs) == {
        "materialize/discovered/things",
        "exports/discovered/things",
        "snowflake/demo/public/things",
    }
    result = defs.resolve_implicit_global_asset_job_def().execute_in_process(instance=instance)
    assert result.success
    assert snowflake("SELECT COUNT(*) AS N FROM DEMO.PUBLIC.THINGS") == [{"n": 2}]


def test_without_state_there_is_an_error_that_names_the_command(
    environment: None, build: Callable[..., dg.Definitions], tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=r"has not been asked yet.*dg utils refresh-defs-state"):
        build("schemas: [shop]", tmp_path / "state", refresh=False)


@pytest.mark.parametrize("state", ["", "[]", '{"version": 2}', '{"objects": [{"object": "a"}]}'])
def test_a_state_of_another_version(
    environment: None, build: Callable[..., dg.Definitions], tmp_path: Path, state: str
) -> None:
    (tmp_path / "state").write_text(state)
    with pytest.raises(ConfigurationError, match="Refresh it with"):
        build("schemas: [shop]", tmp_path / "state", refresh=False)


def test_what_cannot_be_asked_leaves_the_state_as_it_was(
    environment: None, build: Callable[..., dg.Definitions], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attributes = "schemas: [shop]\nresources: environment"
    before = keys(build(attributes, tmp_path / "state"))
    assert "materialize/shop/orders" in before
    with pytest.raises(NotFoundError, match="no schema 'shp'"):
        build("schemas: [shp]\nresources: environment", tmp_path / "state")
    monkeypatch.setenv("PGPORT", "1")
    with pytest.raises(UnavailableError):
        build(attributes, tmp_path / "state")
    assert keys(build(attributes, tmp_path / "state", refresh=False)) == before


def test_two_that_ask_for_different_things_have_states_of_their_own() -> None:
    def key(**what: Any) -> str:
        return str(MaterializeDiscoveryComponent(**what).defs_state_config.key)

    host = {"host": "a"}
    found = {key(schemas=("a",)), key(schemas=("b",)), key(clusters=("a",)), key(schemas=("a",), materialize=host)}
    assert len(found) == 4
