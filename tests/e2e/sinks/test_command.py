"""``mz-orchestration sinks``, as people and monitoring run it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from mz_orchestration.local.materialize.sink_faults import sink_faults

from .conftest import Connection, until

NAMES = ("--only", "watched.*")


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mz_orchestration.cli", "sinks", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@contextmanager
def running(*arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    """A command that does not end by itself."""
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "mz_orchestration.cli", "sinks", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 143
    finally:
        process.kill()
        process.communicate()


def test_the_table(sinks: Connection) -> None:
    done = run(*NAMES)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].split()[:4] == ["NAME", "TYPE", "CLUSTER", "HEALTH"]
    assert [line.split()[:4] for line in lines[1:]] == [
        ["watched.orders_kafka", "kafka", "watched", "healthy"],
        ["watched.orders_lake", "iceberg", "watched", "healthy"],
    ]
    assert run("--sources").stdout == "no sources\n"
    found = json.loads(run(*NAMES, "--type", "iceberg", "--json").stdout)["connectors"]
    assert [each["name"] for each in found] == ["watched.orders_lake"]
    assert found[0]["history"][0]["status"] == "running"


def test_a_check_for_monitoring(sinks: Connection, tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    done = run("check", *NAMES, "--state", state)
    assert done.stdout == "OK - 2 sinks, all well | ok=2 warning=0 critical=0 unknown=0\n"
    assert done.returncode == 0
    assert len(json.loads(state.read_text())["connectors"]) == 2
    kafka = (*NAMES, "--type", "kafka")
    found = json.loads(run(*kafka, "--state", state, "--policy", "idle_after=0.1", "--json").stdout)["connectors"]
    assert [each["verdict"] for each in found] == ["idle"]
    with sink_faults(sinks, every_replica="*", stall_replica="watched.orders_kafka/r2"):
        until(lambda: "DEGRADED" in run("check", *NAMES).stdout.upper())
        assert run("check", *NAMES).returncode == 1
    with sink_faults(sinks, stay_stalled="watched.orders_kafka"):
        done = until(lambda: (found := run("check", *NAMES)).returncode == 2 and found)
        assert done.stdout.startswith("CRITICAL - watched.orders_kafka is stalled (kafka: ")
        assert done.stdout.count("|") == 1
    # Between two runs of cron.
    sinks.execute("DROP SINK watched.orders_lake")
    done = run("check", *NAMES, "--state", state)
    assert done.returncode == 2
    assert "watched.orders_lake is dropped" in done.stdout


def test_a_check_that_cannot_be_made_is_unknown(sinks: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    done = run("check", "--only", "orderz_kafka")
    assert done.returncode == 3
    assert done.stdout.startswith("UNKNOWN - Materialize has no sink or source 'orderz_kafka'. Did you mean")
    done = run("check", "--cluster", "watchd")
    assert (done.returncode, done.stdout) == (3, "UNKNOWN - no sinks fit --only, --cluster and --type\n")
    monkeypatch.setenv("PGPORT", "1")
    done = run("check")
    assert (done.returncode, done.stdout[:10]) == (3, "UNKNOWN - ")


def test_an_explanation(sinks: Connection) -> None:
    with sink_faults(sinks, stay_stalled="watched.orders_kafka"):
        done = until(lambda: "stalled for" in (found := run("explain", "orders_kafka")).stdout and found)
    text = done.stdout
    assert "because     kafka: BrokerTransportFailure" in text
    assert "what to do  Materialize cannot reach the brokers" in text
    assert "replica     r1 online" in text
    assert "history " in text
    done = run("explain", "orders_kafk")
    assert done.returncode == 2
    assert "Did you mean 'orders_kafka'?" in done.stderr


def events(webhook: Any) -> list[tuple[str, str]]:
    return [(alert["event"], alert["verdict"]) for message in webhook.told for alert in message["alerts"]]


def test_a_watch_that_goes_on_knows_whom_it_has_told(sinks: Connection, webhook: Any, tmp_path: Path) -> None:
    addresses, state = tmp_path / "webhooks", tmp_path / "state.json"
    addresses.write_text(webhook.url)
    options = ("--every", "1", "--webhooks", addresses, "--debounce", "1", "--recover-after", "1", "--state", state)
    before = len(events(webhook))

    def told() -> list[tuple[str, str]]:
        return events(webhook)[before:]

    with sink_faults(sinks, stay_stalled="watched.orders_kafka"):
        with running("watch", *NAMES, *options):
            until(lambda: told() == [("problem", "stalled")])
            until(lambda: "stalled" in str(json.loads(state.read_text())["alerts"]))
        assert run("check", *NAMES, "--state", state).returncode == 2
        # Somebody else's sinks in the same file are neither dropped nor forgotten.
        assert run("check", "--only", "watched.orders_lake", "--state", state).returncode == 0
    with running("watch", *NAMES, *options):
        until(lambda: len(told()) == 2)
    assert told()[1][0] == "recovery"


def test_what_could_not_be_delivered_is_told_later(sinks: Connection, webhook: Any, tmp_path: Path) -> None:
    webhook.refuses = True
    addresses = tmp_path / "webhooks"
    addresses.write_text(webhook.url)
    before = len(events(webhook))
    with (
        running("watch", *NAMES, "--every", "1", "--webhooks", addresses, "--debounce", "1") as process,
        sink_faults(sinks, stay_stalled="watched.orders_kafka"),
    ):
        assert process.stderr is not None
        assert "webhook 1 was not told: it answered 404" in process.stderr.readline()
        webhook.refuses = False
        until(lambda: events(webhook)[before:] == [("problem", "stalled")])


def test_watching_tells_webhooks_of_problems_and_recoveries(sinks: Connection, webhook: Any, tmp_path: Path) -> None:
    addresses = tmp_path / "webhooks"
    addresses.write_text(f"# ours\n{webhook.url}\n")
    before = len(events(webhook))
    with running(
        "watch", *NAMES, "--every", "1", "--webhooks", addresses, "--debounce", "1", "--recover-after", "1", "--json"
    ) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["verdict"] == "healthy"
        with sink_faults(sinks, stay_stalled="watched.orders_kafka"):
            until(lambda: events(webhook)[before:] == [("problem", "stalled")])
        until(lambda: len(events(webhook)) == before + 2)
        assert events(webhook)[-1][0] == "recovery"
        assert "watched.orders_kafka is stalled since" in webhook.told[-2]["text"]
        process.send_signal(signal.SIGTERM)
        rest, errors = process.communicate(timeout=20)
    assert '"verdict": "stalled"' in rest
    assert "secret-path" not in rest + errors


def test_metrics_by_file_and_by_endpoint(sinks: Connection, tmp_path: Path) -> None:
    file = tmp_path / "sinks.prom"
    assert run("metrics", *NAMES, "--output", file).returncode == 0
    text = file.read_text()
    assert text.endswith("# EOF\n")
    assert 'name="watched.orders_kafka",kind="sink",type="kafka",cluster="watched"} 0' in text
    assert [path.name for path in tmp_path.iterdir()] == ["sinks.prom"]
    with running("metrics", *NAMES, "--every", "1", "--listen", "127.0.0.1:0") as process:
        assert process.stderr is not None
        url = process.stderr.readline().strip()

        def scraped() -> str:
            with urlopen(url, timeout=10) as answer:
                assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
                return str(answer.read().decode())

        until(lambda: "materialize_watch_up 1" in scraped())
        with sink_faults(sinks, stay_stalled="watched.orders_kafka"):
            until(lambda: 'materialize_connector_health="stalled"} 1' in scraped())


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("metrics", "--listen", "9464"), "--listen: '9464' is not HOST:PORT"),
        (("metrics", "--output", "/nowhere/at/all"), "--output: /nowhere/at/all cannot be written"),
        (("--state", "/nowhere/state"), "--state: /nowhere/state cannot be written"),
        (("watch", "--webhooks", "/nowhere/hooks"), "--webhooks: /nowhere/hooks cannot be read"),
        (("watch", "--debounce", "1e9"), "debounce"),
        (("watch", "--remind-every", "1"), "remind_every"),
        (("--policy", "starting_after"), "--policy: 'starting_after' has no '='"),
        (("explain", "orders_kafka", "--policy", "starting_after=soon"), "policy: starting_after: "),
    ],
)
def test_what_cannot_be_used(sinks: Connection, arguments: tuple[str, ...], text: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert text in done.stderr


def test_a_state_that_is_none(sinks: Connection, tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    for content in ("", "[]", '{"version": 7}'):
        state.write_text(content)
        done = run("--state", state)
        assert done.returncode == 2, content
        assert "Delete it to begin anew" in done.stderr
        assert state.read_text() == content
