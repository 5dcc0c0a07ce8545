"""Two processes finish one run: the manifest is written once, and the record and the store agree on it."""

from __future__ import annotations

import pytest

from mz_orchestration.errors import VerificationError
from mz_orchestration.exports.export import run_export
from mz_orchestration.exports.spec import export_spec
from mz_orchestration.exports.stored_manifest import publish_manifest, read_manifest
from mz_orchestration.objectstore.client import ObjectStore

from .conftest import BASE


def test_the_first_manifest_stays(store: ObjectStore) -> None:
    spec = export_spec(object="shop.customers", to=BASE, connection="local_s3")
    manifest = run_export(spec, run_key="manifest-race", store=store).manifest
    later = manifest.model_copy(update={"finished_at": manifest.started_at}).hashed()
    assert publish_manifest(store, later) == manifest
    assert read_manifest(store, manifest.location) == manifest
    other = manifest.model_copy(update={"run_key": "somebody else's"}).hashed()
    with pytest.raises(VerificationError, match="describes other files"):
        publish_manifest(store, other)
    assert read_manifest(store, manifest.location) == manifest
