"""Statistics are taken at the timestamp of the export, whichever way it is read, and are not lost with the process."""

from __future__ import annotations

import json
from typing import Any, Literal

import psycopg
import pytest

from mz_orchestration.exports.export import run_export
from mz_orchestration.exports.group import run_exports
from mz_orchestration.exports.manifest import Manifest
from mz_orchestration.exports.policy import ExportPolicy
from mz_orchestration.exports.spec import export_spec
from mz_orchestration.exports.statistics import Source
from mz_orchestration.exports.statistics.files import file_statistics
from mz_orchestration.exports.stored_manifest import read_manifest
from mz_orchestration.local.faults import FaultProxy, Match, Reset
from mz_orchestration.local.materialize.faults import copy_faults
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.progress import Event

from .conftest import BASE, Brisk, Spec

Sql = psycopg.Connection[Any]
POLICY = ExportPolicy(statistics=True)


def check(manifest: Manifest, store: ObjectStore) -> None:
    """What Materialize said is what the files hold."""
    assert manifest.statistics is not None
    assert (manifest.statistics.source, manifest.counted) == (Source.MATERIALIZE, manifest.rows)
    assert manifest.statistics.columns == file_statistics(store, manifest, timeout=60).columns
    assert read_manifest(store, manifest.location) == manifest


def test_an_adopted_attempt_keeps_them(spec: Spec, network: FaultProxy, materialize: Sql, store: ObjectStore) -> None:
    with (
        copy_faults(materialize, slow_rows=0.001, target="/lost_statistics/"),
        network.fault(Reset(delay=0.3), match=Match(contains=b"COPY ("), times=1) as cut,
    ):
        result = run_export(
            spec("lost_statistics"), run_key="lost-statistics", store=store, policy=POLICY, clock=Brisk()
        )
    assert (cut.hits, result.adopted, result.manifest.copied) == (1, True, None)
    check(result.manifest, store)


def test_an_attempt_that_began_without_them_says_so(spec: Spec, store: ObjectStore) -> None:
    said: list[Event] = []
    fields = spec("began_without")

    class Killed(BaseException):
        pass

    def die(event: Event) -> None:
        if event.step == "verify":
            raise Killed

    with pytest.raises(Killed):
        run_export(fields, run_key="began-without", store=store, on_event=die)
    result = run_export(fields, run_key="began-without", store=store, policy=POLICY, on_event=said.append)
    assert (result.adopted, result.manifest.statistics) == (True, None)
    assert any("began without statistics" in event.message for event in said)
    assert "statistics" not in json.loads(result.manifest.to_json())


@pytest.mark.parametrize("mode", ["held", "transaction"])
def test_of_several_objects_at_one_timestamp(mode: Literal["held", "transaction"], store: ObjectStore) -> None:
    specs = [export_spec(object=name, to=BASE, connection="local_s3") for name in ("shop.orders", "shop.customers")]
    done = run_exports(specs, run_key=f"statistics-{mode}", mode=mode, store=store, policy=POLICY)
    for export in done.exports:
        assert export.manifest.timestamp == done.timestamp
        check(export.manifest, store)
