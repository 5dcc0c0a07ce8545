from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from mz_orchestration.errors import VerificationError
from mz_orchestration.exports.manifest import DataFile, Manifest, parse_manifest
from mz_orchestration.exports.spec import export_spec
from mz_orchestration.exports.statistics import ColumnStatistics, Source, Statistics
from mz_orchestration.exports.verify_level import VerifyLevel
from mz_orchestration.materialize.types import Column
from mz_orchestration.runs.key import run_key_hash

WHEN = datetime(2026, 11, 22, tzinfo=UTC)


@pytest.fixture
def manifest() -> Manifest:
    return Manifest(
        run_key="nightly",
        attempt=1,
        export="shop.orders",
        object="shop.orders",
        base="s3://bucket/exports/",
        path=f"s3://bucket/exports/shop.orders/20261122T000000Z-{run_key_hash('nightly')[:8]}-01/",
        format="parquet",
        spec_fingerprint="f",
        cluster="quickstart",
        timestamp=1_795_305_600_000,
        verified=VerifyLevel.FOOTERS,
        columns=(Column(name="id", type="integer"),),
        copied=3,
        counted=None,
        rows=3,
        files=(
            DataFile(name="mz-t1-batch-0000-0000.parquet", bytes=10, etag="a", rows=1),
            DataFile(name="mz-t1-batch-0001-0000.parquet", bytes=20, etag="b", rows=2),
        ),
        started_at=WHEN,
        copied_at=WHEN,
        finished_at=WHEN,
        materialize_version="v26.24.0",
        written_by="0.1.0",
    ).hashed()


def test_round_trip(manifest: Manifest) -> None:
    assert parse_manifest(manifest.to_json(), source="m") == manifest
    assert (manifest.size, manifest.location.name) == (30, "_manifest.json")


def parted(base: str, export: str, digit: str = "2") -> dict[str, Any]:
    """Another folder and name that lead to the path of an attempt, and to no record of its run."""
    name = f"{digit}0261122T000000Z-{run_key_hash('nightly')[:8]}-01/"
    return {"base": base, "export": export, "path": f"{base}{export}/{name}"}


def changed(manifest: Manifest, rehash: bool, **change: Any) -> bytes:
    data = {**json.loads(manifest.to_json()), **change}
    if rehash:
        data = json.loads(Manifest.model_construct(**Manifest.model_validate(data).__dict__).hashed().to_json())
    return json.dumps(data).encode()


@pytest.mark.parametrize("change", [{"rows": 4}, {"object": "other"}, {"copied": None}])
def test_a_change_breaks_the_hash(manifest: Manifest, change: dict[str, Any]) -> None:
    with pytest.raises(VerificationError, match="hash does not fit"):
        parse_manifest(changed(manifest, False, **change), source="m")


@pytest.mark.parametrize("change", [{"rows": 4}, {"copied": 2}, {"counted": 2}, {"verified": "listing"}])
def test_numbers_that_contradict_each_other_are_found_behind_a_fitting_hash(
    manifest: Manifest, change: dict[str, Any]
) -> None:
    with pytest.raises(VerificationError, match="contradicts itself"):
        parse_manifest(changed(manifest, True, **change), source="m")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"no", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"{}", "run_key"),
        (b"[]", "not a manifest"),
        (b'{"version": 2}', "version"),
        (b'{"\\ud800": 2}', "surrogates not allowed"),
    ],
)
def test_nonsense(body: bytes, said: str) -> None:
    with pytest.raises(VerificationError, match=said):
        parse_manifest(body, source="m")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"run_key": "other"}, "not the path of an attempt of the run 'other'"),
        ({"base": "s3://bucket/elsewhere/"}, "not the path of an attempt"),
        ({"export": "../../x"}, "export: String should match pattern"),
        ({"export": "shop.orders\n"}, "export: String should match pattern"),
        (parted("s3://bucket/", "exports/shop.orders"), "export: String should match pattern"),
        (parted("s3://bucket/exports/shop", ".orders"), "base: 's3://bucket/exports/shop' is not the folder"),
        (parted("s3://bucket/exports/../", "shop.orders"), "base: '..' in 's3://bucket/exports/../' cannot be part"),
        (parted("s3://bucket/exports/", "shop.orders", "\u0662"), "path: '\u06620261122T"),
        ({"path": "s3://other/exports/shop.orders/x/"}, "not the path of an attempt"),
        ({"columns": [{"name": "a", "type": "secret"}]}, "columns of unknown types: a"),
        ({"columns": [{"name": "a", "type": "text"}, {"name": "a", "type": "text"}]}, "a column is listed twice"),
        ({"columns": [{"name": "a", "type": "numeric", "scale": 2048}]}, "columns.0.scale"),
    ],
)
def test_a_manifest_that_cannot_be_ours(manifest: Manifest, change: dict[str, Any], said: str) -> None:
    data = {**json.loads(manifest.to_json()), **change}
    with pytest.raises(VerificationError, match=re.escape(said)):
        parse_manifest(json.dumps(data), source="m")


@pytest.mark.parametrize("field", ["cluster", "run_key", "object", "sha256"])
def test_half_of_a_surrogate_pair(manifest: Manifest, field: str) -> None:
    body = json.dumps({**json.loads(manifest.to_json()), field: "\ud800"})
    assert r"\ud800" in body
    with pytest.raises(VerificationError, match="surrogates not allowed"):
        parse_manifest(body.encode(), source="m")


@pytest.mark.parametrize("name", ["orders", "shop.orders", '"a/b".".."', '"\u0662 \u00e9"', 'd."x-y".z$1'])
def test_any_export_may_stand_in_a_manifest(manifest: Manifest, name: str) -> None:
    folder = export_spec(object=name, to="s3://bucket/exports/", connection="c").folder_name
    body = changed(manifest, True, **parted("s3://bucket/exports/", folder))
    assert parse_manifest(body, source="m").export == folder


def test_a_file_listed_twice(manifest: Manifest) -> None:
    data = json.loads(manifest.to_json())
    data["files"][1]["name"] = data["files"][0]["name"]
    with pytest.raises(VerificationError, match="a file is listed twice"):
        parse_manifest(json.dumps(data), source="m")


def test_a_name_that_leads_elsewhere_is_refused(manifest: Manifest) -> None:
    data = json.loads(manifest.to_json())
    data["files"][0]["name"] = "../../other/mz-t1-batch-0000-0000.parquet"
    with pytest.raises(VerificationError, match=r"files\.0\.name"):
        parse_manifest(json.dumps(data), source="m")


def test_the_documented_schema_is_the_manifests() -> None:
    """`make schema` writes it anew."""
    documented = Path(__file__).parents[3] / "docs" / "manifest.schema.json"
    assert json.loads(documented.read_text()) == Manifest.json_schema()


def test_a_manifest_fits_the_documented_schema(manifest: Manifest) -> None:
    jsonschema.validate(json.loads(manifest.to_json()), Manifest.json_schema())


def test_a_manifest_without_statistics_is_what_it_was_before_there_were_any(manifest: Manifest) -> None:
    assert "statistics" not in json.loads(manifest.to_json())
    assert manifest.sha256 == "5d97fb777e548a19edd684c38a6245b3f056d701ce803d576532c5d0e7a147f6"


def test_statistics_are_part_of_the_manifest(manifest: Manifest) -> None:
    found = ColumnStatistics(name="id", nulls=0, minimum="1", maximum="3", total="6")
    told = manifest.model_copy(update={"statistics": Statistics(source=Source.MATERIALIZE, columns=(found,))}).hashed()
    assert told.sha256 != manifest.sha256
    assert parse_manifest(told.to_json(), source="m") == told
    jsonschema.validate(json.loads(told.to_json()), Manifest.json_schema())
    data = json.loads(told.to_json())
    data["statistics"]["columns"][0]["name"] = "other"
    with pytest.raises(VerificationError, match="not those of the columns"):
        parse_manifest(json.dumps(data), source="m")
