"""One run of a pipeline at a time, whatever became of the others' processes and clocks."""

from __future__ import annotations

import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta

import pytest

from mz_orchestration.errors import AlreadyRunningError, DeadlineError, RunConflictError
from mz_orchestration.flow import Clock, run
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.objectstore.location import Location, parse_folder
from mz_orchestration.pipelines import lease as leases
from mz_orchestration.pipelines.lease import (
    EXPIRES,
    PATIENCE,
    HeldLease,
    IfRunning,
    Lease,
    lease_location,
    read_lease,
    take_lease,
)

BASE = parse_folder("s3://mz-exports/leases/", field="base")


class Waiting(Clock):
    """A clock on which waiting costs nothing; ``then`` happens at the moments given, in seconds since its start."""

    def __init__(self, then: dict[float, object] | None = None) -> None:
        self.passed = 0.0
        self._then = dict(then or {})

    def now(self) -> datetime:
        # Years away from the owner's clock: nobody may compare the two.
        return datetime(2031, 5, 5, tzinfo=UTC) + timedelta(seconds=self.passed)

    def monotonic(self) -> float:
        return self.passed

    def sleep(self, seconds: float) -> None:
        self.passed += seconds
        for moment in sorted(self._then):
            if moment <= self.passed:
                happens = self._then.pop(moment)
                assert callable(happens)
                happens()


def take(
    store: ObjectStore, name: str, *, run_key: str = "second", policy: IfRunning = "fail", clock: Clock | None = None
) -> HeldLease:
    clock = clock or Waiting()
    said: list[str] = []
    held = run(take_lease(store, BASE, name, run_key, policy, clock, said.append), clock)
    assert len(said) <= 1
    return held


def elsewhere(store: ObjectStore, name: str, *, released: bool = False) -> HeldLease:
    """A lease taken on another machine."""
    lease = Lease(
        run_key="first",
        owner="0" * 16,
        host="other",
        process=7,
        machine="another",
        began="1",
        taken_at=datetime(2020, 1, 1, tzinfo=UTC),
        released=released,
    )
    at = lease_location(BASE, name)
    return HeldLease(store, at, lease, store.put(at, lease.model_dump_json().encode(), create=True))


def test_a_free_lease_is_taken_and_released(store: ObjectStore) -> None:
    held = take(store, "free")
    held.beat()
    held.release()
    lease, _ = read_lease(store, lease_location(BASE, "free"))
    assert lease is not None
    assert (lease.run_key, lease.beat, lease.released) == ("second", 1, True)
    assert take(store, "free", run_key="third").lease.run_key == "third"


@pytest.mark.parametrize("policy", ["fail", "skip"])
def test_a_beat_shows_that_the_owner_lives(store: ObjectStore, policy: IfRunning) -> None:
    name = f"beats_{policy}"
    first = elsewhere(store, name)
    clock = Waiting({10: first.beat})
    with pytest.raises(AlreadyRunningError, match=r"'first' of beats_.* process 7 on other") as raised:
        take(store, name, policy=policy, clock=clock)
    assert raised.value.retryable
    assert clock.passed < EXPIRES


def test_an_owner_that_falls_silent_is_succeeded(store: ObjectStore) -> None:
    first = elsewhere(store, "silent")
    clock = Waiting()
    assert take(store, "silent", clock=clock).lease.run_key == "second"
    assert clock.passed >= EXPIRES
    with pytest.raises(RunConflictError, match="taken over"):
        first.beat()
    first.release()  # too late, and without harm
    lease, _ = read_lease(store, lease_location(BASE, "silent"))
    assert lease is not None
    assert not lease.released


def test_a_beat_starts_the_silence_anew(store: ObjectStore) -> None:
    first = elsewhere(store, "slow")
    beats: dict[float, object] = {moment: first.beat for moment in (50.0, 100.0, 150.0)}
    clock = Waiting(beats)
    take(store, "slow", policy="wait", clock=clock)
    assert clock.passed >= 150 + EXPIRES - 2


def test_waiting_ends_with_the_release(store: ObjectStore) -> None:
    first = elsewhere(store, "released")
    clock = Waiting({30: first.release})
    take(store, "released", policy="wait", clock=clock)
    assert clock.passed < 40


def test_waiting_has_an_end(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "PATIENCE", 100.0)
    first = elsewhere(store, "endless")
    clock = Waiting({float(moment): first.beat for moment in range(10, 200, 10)})
    with pytest.raises(DeadlineError, match="did not end"):
        take(store, "endless", policy="wait", clock=clock)
    assert 100 <= clock.passed < PATIENCE


def test_a_killed_process_of_this_machine_is_not_waited_for(store: ObjectStore, environment: dict[str, str]) -> None:
    script = (
        "import os, signal, sys\n"
        "from mz_orchestration.flow import Clock, run\n"
        "from mz_orchestration.objectstore.client import ObjectStore\n"
        "from mz_orchestration.objectstore.location import parse_folder\n"
        "from mz_orchestration.pipelines.lease import take_lease\n"
        f"base = parse_folder({str(BASE)!r}, field='base')\n"
        "run(take_lease(ObjectStore(), base, 'killed', 'first', 'fail', Clock(), print))\n"
        "print('taken', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "taken\n"
        clock = Waiting()
        with pytest.raises(AlreadyRunningError, match=f"process {owner.pid}"):
            take(store, "killed", clock=clock)
        assert clock.passed == 0, "a process of this machine is looked for, not waited for"
        owner.kill()
        owner.wait()
        assert take(store, "killed", clock=clock).lease.run_key == "second"
        assert clock.passed == 0


def test_of_several_that_come_together_one_gets_it(store: ObjectStore) -> None:
    elsewhere(store, "race", released=True)
    got: list[HeldLease] = []
    refused: list[AlreadyRunningError] = []
    barrier, one_at_a_time = threading.Barrier(4), threading.Lock()

    class Lively(Waiting):
        def sleep(self, seconds: float) -> None:
            with one_at_a_time:
                for held in got:
                    held.beat()

    def contend(number: int) -> None:
        barrier.wait()
        try:
            got.append(take(store, "race", run_key=str(number), clock=Lively()))
        except AlreadyRunningError as error:
            refused.append(error)

    threads = [threading.Thread(target=contend, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (len(got), len(refused)) == (1, 3)


def test_what_is_no_lease_is_replaced_after_its_silence(store: ObjectStore) -> None:
    at: Location = lease_location(BASE, "rubbish")
    store.put(at, b"not a lease")
    assert take(store, "rubbish").lease.run_key == "second"
