"""The network goes while Materialize copies: the same call finds out what became of the COPY."""

from __future__ import annotations

import math
import threading
from typing import Any

import psycopg
import pytest

from mz_orchestration.errors import ConnectionLostError, VerificationError
from mz_orchestration.exports.export import run_export
from mz_orchestration.exports.policy import ExportPolicy
from mz_orchestration.local.faults import Delay, FaultProxy, HalfClose, Match, Reset
from mz_orchestration.local.materialize.faults import copy_faults
from mz_orchestration.materialize import session
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.runs.record import AttemptState
from mz_orchestration.runs.store import RunStore

from .conftest import Brisk, Spec

COPY = Match(contains=b"COPY (")
Sql = psycopg.Connection[Any]


def test_a_copy_that_runs_on_is_adopted_by_the_same_call(
    spec: Spec, network: FaultProxy, materialize: Sql, store: ObjectStore, order_count: int
) -> None:
    with (
        copy_faults(materialize, slow_rows=0.002, target="/lost_run_on/"),
        network.fault(Reset(delay=0.3), match=COPY, times=1) as cut,
    ):
        result = run_export(spec("lost_run_on"), run_key="lost-run-on", store=store, clock=Brisk())
    assert cut.hits == 1
    assert (result.attempt, result.adopted, result.manifest.rows) == (1, True, order_count)
    assert result.manifest.copied is None
    assert result.manifest.timestamp is not None


def test_a_copy_that_ends_with_its_client_is_done_again_by_the_same_call(
    spec: Spec, network: FaultProxy, materialize: Sql, store: ObjectStore, runs: RunStore, order_count: int
) -> None:
    with (
        copy_faults(materialize, slow_rows=0.02, on_disconnect="cancel", target="/lost_cancelled/", times=1),
        network.fault(Reset(delay=0.3), match=COPY, times=1),
    ):
        result = run_export(spec("lost_cancelled"), run_key="lost-cancelled", store=store, clock=Brisk())
    assert (result.attempt, result.adopted, result.manifest.copied) == (2, False, order_count)
    stored = runs.find("lost_cancelled", "lost-cancelled")
    assert stored is not None
    assert [attempt.state for attempt in stored.record.attempts] == [AttemptState.ABANDONED, AttemptState.SUCCEEDED]


def test_a_server_that_is_away_for_a_while_is_waited_for(
    spec: Spec, network: FaultProxy, materialize: Sql, store: ObjectStore, order_count: int
) -> None:
    def come_back() -> None:
        network.refuse(False)

    class Outage(Brisk):
        pauses = 0

        def sleep(self, seconds: float) -> None:
            self.pauses += 1
            if self.pauses == 3:
                come_back()
            super().sleep(seconds)

    clock = Outage()
    with copy_faults(materialize, slow_rows=0.001, target="/lost_outage/"):
        timer = threading.Timer(0.4, lambda: (network.refuse(True), network.drop_connections()))
        timer.start()
        result = run_export(spec("lost_outage"), run_key="lost-outage", store=store, clock=clock)
    assert clock.pauses >= 3
    assert result.manifest.rows == order_count


def test_a_network_that_keeps_breaking_ends_the_call_with_a_way_on(
    spec: Spec, network: FaultProxy, materialize: Sql, store: ObjectStore, order_count: int
) -> None:
    fields = spec("lost_often")
    with (
        copy_faults(materialize, on_disconnect="cancel", slow_rows=0.02, target="/lost_often/"),
        network.fault(Reset(delay=0.2), match=COPY),
        pytest.raises(ConnectionLostError) as raised,
    ):
        run_export(fields, run_key="lost-often", store=store, clock=Brisk())
    assert raised.value.retryable
    result = run_export(fields, run_key="lost-often", store=store, clock=Brisk())
    assert result.manifest.rows == order_count
    # The fourth COPY may have been through before its cancel reached it: then its files are taken.
    assert result.attempt == (4 if result.adopted else 5)


def test_files_without_an_answer_are_compared_with_the_count_taken_before(
    spec: Spec, network: FaultProxy, materialize: Sql, store: ObjectStore, order_count: int
) -> None:
    """The sentinel went although the statement failed, and nobody heard of the failure."""
    policy = ExportPolicy(count=True)
    fields = spec("lost_failure")
    with (
        copy_faults(
            materialize, sentinel_deleted_though_failed=True, slow_rows=0.002, target="/lost_failure/", times=1
        ),
        network.fault(Reset(delay=0.3), match=COPY, times=1),
        pytest.raises(VerificationError, match=f"a count at the same timestamp found {order_count}"),
    ):
        run_export(fields, run_key="lost-failure", store=store, clock=Brisk(), policy=policy)
    result = run_export(fields, run_key="lost-failure", store=store, clock=Brisk(), policy=policy)
    assert (result.attempt, result.manifest.counted, result.manifest.copied) == (2, order_count, order_count)


def test_a_half_closed_connection_is_ended_by_the_deadline(
    spec: Spec, network: FaultProxy, materialize: Sql, store: ObjectStore, order_count: int
) -> None:
    """Silence without a goodbye; keepalives notice a dead network, the deadline a dead peer."""
    with (
        copy_faults(materialize, slow_rows=0.001, target="/lost_silence/"),
        network.fault(HalfClose(delay=0.1), match=COPY, times=1),
    ):
        result = run_export(spec("lost_silence"), run_key="lost-silence", store=store, clock=Brisk())
    assert result.manifest.rows == order_count


def test_a_peer_that_says_nothing_more_is_given_up(
    spec: Spec, network: FaultProxy, store: ObjectStore, order_count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connected, and then silence: statements that are answered at once have a deadline of their own."""
    monkeypatch.setattr(session, "_STATEMENT_SECONDS", 1.0)
    monkeypatch.setattr(session, "_CLOSE_CANCELS", 1)
    with network.fault(Delay(math.inf, direction="response"), match=Match(contains=b"mz_connections"), times=1):
        result = run_export(spec("silent"), run_key="silent", store=store, clock=Brisk())
    assert result.manifest.rows == order_count


def test_a_lost_answer_to_a_write_of_the_record_is_no_conflict(
    spec: Spec, web: FaultProxy, proxied_store: ObjectStore, order_count: int
) -> None:
    """The store wrote it, the answer got lost, boto3 sent it again: what is in the way is our own."""
    with web.fault(Reset(), match=Match(method="PUT", path=r"/\.runs/"), times=3) as lost:
        result = run_export(spec("lost_answer"), run_key="lost-answer", store=proxied_store)
    assert lost.hits == 3
    assert (result.attempt, result.manifest.rows) == (1, order_count)
