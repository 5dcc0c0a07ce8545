"""Stages as the local Snowflake describes and lists them, read by what judges the real one's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

import pytest

from mz_orchestration.errors import ConfigurationError, NotFoundError
from mz_orchestration.exports.export import run_export
from mz_orchestration.exports.manifest import Manifest
from mz_orchestration.exports.spec import export_spec
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.objectstore.location import Location
from mz_orchestration.snowflake.config import SnowflakeConfig
from mz_orchestration.snowflake.quoting import Sql, compose, identifier, literal
from mz_orchestration.snowflake.session import SnowflakeSession
from mz_orchestration.snowflake.stage_store import check_store
from mz_orchestration.snowflake.stages import (
    StageFacts,
    endpoint_statement,
    judge_probe,
    path_below_stage,
    probe_statement,
    stage_facts,
    with_endpoint,
)
from mz_orchestration.snowflake.statements import describe_stage

BASE = "s3://mz-exports/stages/"
NAME = ("DEMO", "PUBLIC", "it's a stage")


@pytest.fixture
def session() -> Iterator[SnowflakeSession]:
    with SnowflakeSession(SnowflakeConfig.from_environment()) as opened:
        yield opened


@pytest.fixture
def manifest() -> Manifest:
    fields = {"object": "shop.customers", "to": BASE, "connection": "local_s3"}
    return run_export(export_spec(**fields), run_key="stages").manifest


def created(session: SnowflakeSession, url: str, options: Sql) -> StageFacts:
    """A stage made for the test, as Snowflake describes it."""
    session.query(compose("CREATE OR REPLACE STAGE {} URL = {} {}", identifier(*NAME), literal(url), options))
    return stage_facts(session.query(describe_stage(NAME)).rows, NAME)


def keys() -> Sql:
    return compose(
        "CREDENTIALS = (AWS_KEY_ID = {} AWS_SECRET_KEY = {})",
        literal(os.environ["AWS_ACCESS_KEY_ID"]),
        literal(os.environ["AWS_SECRET_ACCESS_KEY"]),
    )


def probe(session: SnowflakeSession, stage: StageFacts, manifest: Manifest) -> None:
    """What a load does before it makes anything."""
    path = path_below_stage(stage, manifest)
    host = SnowflakeConfig.from_environment().host
    assert check_store(stage, store_endpoint=os.environ["AWS_ENDPOINT_URL"], snowflake_host=host) == []
    stored = ObjectStore().head(manifest.location)
    assert stored is not None
    rows = session.query(probe_statement(NAME, path, manifest)).rows
    judge_probe(rows, stage, manifest, stored)


@pytest.mark.parametrize("url", ["s3://mz-exports/", BASE])
def test_a_stage_with_an_integration(session: SnowflakeSession, manifest: Manifest, url: str) -> None:
    theirs = ("DEMO", "PUBLIC", "MZ_STAGE")
    name = stage_facts(session.query(describe_stage(theirs)).rows, theirs).integration
    assert name is not None
    stage = created(session, url, compose("STORAGE_INTEGRATION = {}", identifier(name)))
    assert (stage.url, stage.integration, stage.has_credentials) == (url, name, False)
    probe(session, stage, manifest)


@pytest.mark.parametrize("url", ["s3://mz-exports", "s3://mz-exports/stages"])
def test_a_stage_with_keys_and_no_slash(session: SnowflakeSession, manifest: Manifest, url: str) -> None:
    stage = created(session, url, keys())
    assert (stage.url, stage.integration, stage.has_credentials) == (url, None, True)
    probe(session, stage, manifest)


def test_a_stage_for_google(session: SnowflakeSession, manifest: Manifest) -> None:
    session.query(
        Sql(
            "CREATE OR REPLACE STORAGE INTEGRATION STAGES_GCS TYPE = EXTERNAL_STAGE STORAGE_PROVIDER = 'GCS' "
            "ENABLED = TRUE STORAGE_ALLOWED_LOCATIONS = ('gcs://mz-exports/')"
        )
    )
    stage = created(session, "gcs://mz-exports/", Sql("STORAGE_INTEGRATION = STAGES_GCS"))
    assert (stage.scheme, stage.integration) == ("gcs", "STAGES_GCS")
    probe(session, stage, manifest)


def test_a_stage_for_other_stores(session: SnowflakeSession, manifest: Manifest) -> None:
    stage = created(session, "s3compat://mz-exports/", compose("ENDPOINT = 'store.localhost' {}", keys()))
    assert (stage.scheme, stage.endpoint, stage.has_credentials) == ("s3compat", "store.localhost", True)
    shown = session.query(endpoint_statement(NAME)).rows
    assert with_endpoint(replace(stage, endpoint=None), shown, NAME) == stage
    probe(session, stage, manifest)
    with pytest.raises(ConfigurationError, match="only a private network knows"):
        check_store(stage, store_endpoint="https://store.localhost", snowflake_host="xy12345.snowflakecomputing.com")


def test_a_stage_at_the_manifests_own_folder(session: SnowflakeSession, manifest: Manifest) -> None:
    stage = created(session, manifest.path, keys())
    assert path_below_stage(stage, manifest) == ""
    probe(session, stage, manifest)


def test_a_stage_beside_the_folder(session: SnowflakeSession, manifest: Manifest) -> None:
    stage = created(session, "s3://mz-exports/stage", keys())
    with pytest.raises(ConfigurationError, match="same letters"):
        path_below_stage(stage, manifest)


def test_a_manifest_that_snowflake_does_not_see(session: SnowflakeSession, manifest: Manifest) -> None:
    stage = created(session, "s3://mz-exports/", keys())
    elsewhere = manifest.model_copy(
        update={"base": "s3://mz-exports/other/", "path": manifest.path.replace("stages", "other")}
    )
    stored = ObjectStore().head(manifest.location)
    assert stored is not None
    path = path_below_stage(stage, elsewhere)
    rows = session.query(probe_statement(NAME, path, elsewhere)).rows
    with pytest.raises(NotFoundError, match="sees no s3://mz-exports/other/"):
        judge_probe(rows, stage, elsewhere, stored)


def test_a_manifest_that_was_replaced(session: SnowflakeSession, manifest: Manifest) -> None:
    store, at = ObjectStore(), manifest.location
    copy = Location(at.bucket, at.key.replace("stages/", "replaced/", 1))
    changed = manifest.model_copy(
        update={"base": "s3://mz-exports/replaced/", "path": manifest.path.replace("/stages/", "/replaced/")}
    )
    stored = store.head(at)
    assert stored is not None
    store.put(copy, b" " * stored.size)
    stage = created(session, "s3://mz-exports/", keys())
    rows = session.query(probe_statement(NAME, path_below_stage(stage, changed), changed)).rows
    with pytest.raises(ConfigurationError, match="sees another"):
        judge_probe(rows, stage, changed, stored)
