"""Starting and ending a stack: in order, by signals, and after every way of being killed."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mz_orchestration.local.errors import AlreadyRunning, LocalStackError, NotRunning
from mz_orchestration.local.servers import SERVERS
from mz_orchestration.local.stack import LocalStack, listening, running, start_detached, stop
from mz_orchestration.local.state import Folder

from .conftest import CLI, Foreground, eventually, gone, kill_all, processes_of, run


def test_up_status_env_down(folder: Path) -> None:
    up = run("up", "--dir", str(folder), "--port-base", "0", "--detach")
    assert up.returncode == 0, up.stderr
    state = running(folder)
    assert set(state.servers) == set(SERVERS)
    for name, server in state.servers.items():
        assert f"127.0.0.1:{server.port}" in up.stdout
        assert listening(server), name

    status = json.loads(run("status", "--json", "--dir", str(folder)).stdout)
    assert status["running"] is True
    assert status["pid"] == state.supervisor_pid
    assert {s["name"]: s["port"] for s in status["servers"]} == {n: s.port for n, s in state.servers.items()}
    assert all(s["listening"] for s in status["servers"])
    assert str(state.servers["s3"].port) in run("status", "--dir", str(folder)).stdout

    lines = run("env", "--dir", str(folder)).stdout
    script = f"{lines}exec {sys.executable} -c 'import json, os; print(json.dumps(dict(os.environ)))'"
    seen = json.loads(subprocess.run(["sh", "-c", script], capture_output=True, check=True, env={}).stdout)
    variables = json.loads(run("env", "--json", "--dir", str(folder)).stdout)
    assert {name: seen[name] for name in variables} == variables
    assert variables["PGPORT"] == str(state.servers["materialize"].port)

    down = run("down", "--dir", str(folder))
    assert (down.returncode, down.stdout) == (0, "Stopped.\n")
    assert processes_of(folder) == []
    assert gone(state.supervisor_pid)
    assert not (folder / "state.json").exists()
    assert (folder / "logs" / "s3.log").exists()


def test_secrets_are_private_and_new_each_time(folder: Path) -> None:
    seen = []
    for _ in range(2):
        state = start_detached(folder, port_base=0, servers=("s3",))
        assert stat.S_IMODE((folder / "state.json").stat().st_mode) == 0o600
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        secrets = {key.secret_access_key for key in state.secrets.access_keys.values()}
        secrets |= {state.secrets.materialize_password, state.secrets.snowflake_password}
        secrets |= {state.secrets.census_token, state.secrets.census_workspace_key}
        assert not any(secret in repr(state) for secret in secrets)
        for pid in (*processes_of(folder), state.supervisor_pid):
            command = Path(f"/proc/{pid}/cmdline").read_text()
            assert not any(secret in command for secret in secrets)
        for file in (*folder.rglob("*.log"), *folder.rglob("*.jsonl")):
            text = file.read_text()
            assert not any(secret in text for secret in secrets), file
        seen.append(secrets)
        assert stop(folder) is True
    assert seen[0].isdisjoint(seen[1])


def test_down_and_status_and_env_without_a_stack(folder: Path) -> None:
    for _ in range(2):
        down = run("down", "--dir", str(folder))
        assert down.returncode == 0
        assert "Not running" in down.stdout
    assert not folder.exists()
    for command in ("status", "env"):
        answer = run(command, "--dir", str(folder))
        assert answer.returncode == 1
        assert answer.stdout == ""
        assert "up --dir" in answer.stderr
    answer = run("status", "--json", "--dir", str(folder))
    assert answer.returncode == 1
    assert json.loads(answer.stdout)["running"] is False


def test_a_second_up_says_that_it_is_running(folder: Path) -> None:
    state = start_detached(folder, port_base=0, servers=("s3",))
    for arguments in ((), ("--detach",)):
        second = run("up", "--dir", str(folder), "--port-base", "0", *arguments)
        assert second.returncode == 1
        for part in ("already running", str(state.supervisor_pid), "local status", "local down"):
            assert part in second.stderr
    assert running(folder) == state
    assert listening(state.servers["s3"])


def test_of_several_ups_at_once_one_wins(folder: Path) -> None:
    command = [sys.executable, "-m", "mz_orchestration.local.supervisor", "--dir", str(folder)]
    starts = [
        subprocess.Popen(
            [*command, "--port-base", "0", "--servers", "s3"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(4)
    ]
    words = []
    for start in starts:
        assert start.stdout is not None
        words.append(json.loads(start.stdout.readline()))
    assert sorted(next(iter(word)) for word in words) == ["failed", "failed", "failed", "ready"]
    assert len(processes_of(folder)) == 1
    stop(folder)
    for start in starts:
        start.wait(30)
        assert start.stdout is not None
        start.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_a_stack_in_the_foreground(
    foreground: Callable[..., Foreground], folder: Path, number: signal.Signals
) -> None:
    up = foreground()
    up.wait_until_up()
    assert len(processes_of(folder)) >= len(SERVERS)
    assert up.send(number) == 0, up.text()
    assert processes_of(folder) == []
    with pytest.raises(NotRunning):
        running(folder)


@pytest.mark.parametrize("delay", [0.3, 0.8, 1.5])
def test_a_signal_during_the_start_leaves_nothing(
    foreground: Callable[..., Foreground], folder: Path, delay: float
) -> None:
    up = foreground()
    eventually(lambda: (folder / "lock").exists() and (folder / "lock").read_text() != "", "lock")
    time.sleep(delay)
    up.send(signal.SIGINT)
    assert processes_of(folder) == []
    assert not (folder / "state.json").exists()


def test_down_during_the_start_leaves_nothing(foreground: Callable[..., Foreground], folder: Path) -> None:
    up = foreground()
    eventually(lambda: (folder / "lock").exists() and (folder / "lock").read_text() != "", "lock")
    assert stop(folder) is True
    up.process.wait(30)
    assert processes_of(folder) == []


def test_a_stack_whose_starter_was_killed_is_never_half_there(folder: Path) -> None:
    starter = subprocess.Popen(
        [*CLI, "up", "--dir", str(folder), "--port-base", "0", "--detach"], stdout=subprocess.DEVNULL
    )
    eventually(lambda: processes_of(folder) != [], "a server has started")
    starter.kill()
    starter.wait()
    eventually(lambda: processes_of(folder) == [] and Folder(folder).holder() is None, "the stack ends", 60)
    assert not (folder / "state.json").exists()


def test_servers_end_when_their_supervisor_is_killed(foreground: Callable[..., Foreground], folder: Path) -> None:
    up = foreground()
    up.wait_until_up()
    up.send(signal.SIGKILL)
    eventually(lambda: processes_of(folder) == [], "the servers end by themselves")
    with pytest.raises(NotRunning):
        running(folder)


def test_up_after_everything_was_killed(folder: Path) -> None:
    state = start_detached(folder, port_base=0)
    kill_all(folder, state.supervisor_pid)
    again = start_detached(folder, port_base=0)
    assert all(listening(server) for server in again.servers.values())
    assert stop(folder) is True


def test_down_after_everything_was_killed(folder: Path) -> None:
    state = start_detached(folder, port_base=0)
    record = folder / "materialize" / "postgres.json"
    root = Path(json.loads(record.read_text())["root"])
    kill_all(folder, state.supervisor_pid)
    assert root.is_dir()
    stop(folder)
    assert not root.exists()
    assert not record.exists()


def test_up_ends_leftovers_that_do_not_end_by_themselves(folder: Path) -> None:
    state = start_detached(folder, port_base=0, servers=("s3",))
    os.kill(state.servers["s3"].pid, signal.SIGSTOP)
    os.kill(state.supervisor_pid, signal.SIGKILL)
    eventually(lambda: gone(state.supervisor_pid), "the supervisor is gone")
    said: list[str] = []
    start_detached(folder, port_base=0, servers=("s3",), say=said.append)
    assert said == [f"Stopped 1 processes an earlier run had left in {folder}."]
    assert gone(state.servers["s3"].pid)


def test_processes_of_another_folder_are_left_alone(folder: Path, tmp_path: Path) -> None:
    with LocalStack() as other:
        other.start(tmp_path / "other", servers=("s3",))
        start_detached(folder, port_base=0, servers=("s3",))
        assert stop(folder) is True
        assert listening(other.state.servers["s3"])


def test_a_server_that_dies_brings_the_stack_down(foreground: Callable[..., Foreground], folder: Path) -> None:
    up = foreground()
    up.wait_until_up()
    os.kill(running(folder).servers["s3"].pid, signal.SIGKILL)
    assert up.process.wait(60) == 1
    assert "S3 ended unexpectedly (signal 9" in up.text()
    assert str(folder / "logs" / "s3.log") in up.text()
    assert processes_of(folder) == []


@pytest.mark.parametrize("detach", [(), ("--detach",)])
def test_a_taken_port_is_named(folder: Path, detach: tuple[str, ...]) -> None:
    # Below the ports that the system gives out, of which the neighbour may be somebody's.
    port = random.Random().randrange(20_000, 30_000)
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        up = run("up", "--dir", str(folder), "--port-base", str(port - 1), *detach)
    assert up.returncode == 1
    assert f"port {port} (S3) is taken" in up.stderr
    assert "--port-base 0" in up.stderr
    assert processes_of(folder) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    up = run("up", "--dir", str(tmp_path / "file" / "below"), "--detach")
    assert up.returncode == 1
    assert f"--dir {tmp_path}/file/below: cannot use this folder" in up.stderr


def test_leaving_the_context_stops_the_stack_also_after_an_error(folder: Path) -> None:
    def use(stack: LocalStack) -> None:
        with stack:
            stack.start(folder, servers=("s3",))
            with pytest.raises(AlreadyRunning):
                LocalStack().start(folder)
            raise RuntimeError("of the caller")

    stack = LocalStack()
    with pytest.raises(RuntimeError, match="of the caller"):
        use(stack)
    assert processes_of(folder) == []
    with pytest.raises(LocalStackError, match="not started"):
        _ = stack.environment
