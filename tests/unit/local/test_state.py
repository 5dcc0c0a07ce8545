"""The state folder: who holds it, what others may read."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from mz_orchestration.local.errors import AlreadyRunning, LocalStackError
from mz_orchestration.local.state import AccessKey, Folder, Secrets, State

HOLDER = """
import sys, pathlib
from mz_orchestration.local.state import Folder
with Folder(pathlib.Path(sys.argv[1])).hold():
    print("held", flush=True)
    sys.stdin.read()
"""


def state() -> State:
    return State(supervisor_pid=1, started_at="now", servers={}, secrets=Secrets.random(("developer",)))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    created = Folder(tmp_path / "mz")
    created.create()
    return created


def test_the_holder_is_known_until_it_ends_however_it_ends(folder: Folder) -> None:
    assert folder.holder() is None
    command = [sys.executable, "-c", HOLDER, str(folder.path)]
    for end in ("close", "kill"):
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
            assert holder.stdout is not None
            assert holder.stdin is not None
            holder.stdout.readline()
            assert folder.holder() == holder.pid
            with pytest.raises(AlreadyRunning) as refused, folder.hold():
                pass
            assert refused.value.pid == holder.pid
            assert str(folder.path) in str(refused.value)
            holder.stdin.close() if end == "close" else holder.kill()
        assert folder.holder() is None
    with folder.hold():
        assert folder.holder() == os.getpid()


def test_state_comes_back_only_while_the_folder_is_held(folder: Folder) -> None:
    written = state()
    with folder.hold():
        assert folder.read() is None
        folder.write(written)
        assert folder.read() == written
        assert stat.S_IMODE(folder.state_file.stat().st_mode) == 0o600
    assert folder.state_file.exists()
    assert folder.read() is None
    folder.clear()
    assert not folder.state_file.exists()


def test_a_foreign_state_file_is_an_error_that_names_it(folder: Folder) -> None:
    with folder.hold():
        folder.state_file.write_text('{"supervisor_pid": "x"}')
        with pytest.raises(LocalStackError, match=r"state\.json: not a state file this version wrote"):
            folder.read()


def test_the_token_stays_with_the_folder(folder: Folder) -> None:
    assert folder.token() is None
    with folder.hold() as token:
        assert len(token) == 32
        folder.clear()
    with folder.hold() as again:
        assert again == token == folder.token()
    assert Folder(folder.path.parent / "other").token() is None


def test_clear_keeps_the_servers_folders_and_the_log_files(folder: Folder) -> None:
    kept = folder.path / "materialize" / "where"
    kept.parent.mkdir()
    for file in (kept, folder.supervisor_log, folder.log("s3"), folder.statements, folder.s3_requests):
        file.write_text("x")
    folder.clear()
    assert kept.exists()
    assert folder.supervisor_log.read_text() == folder.log("s3").read_text() == ""
    assert not any(file.exists() for file in (folder.statements, folder.s3_requests))


def test_a_link_and_its_target_are_the_same_folder(folder: Folder, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(folder.path)
    assert Folder(link).path == folder.path


def test_secrets_do_not_show() -> None:
    secrets = Secrets.random(("developer", "materialize"))
    assert len({key.access_key_id for key in secrets.access_keys.values()}) == 2
    hidden = [secrets.materialize_password, secrets.snowflake_password]
    hidden += [key.secret_access_key for key in secrets.access_keys.values()]
    assert not any(text in repr(secrets) + str(secrets) for text in hidden)
    assert AccessKey.random().access_key_id.startswith("AKIA")
