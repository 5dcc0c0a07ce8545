"""The statement log: whole lines, masked secrets."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from mz_orchestration.local.statement_log import StatementLog, mask

MASKED = [
    ("CREATE SECRET s AS 'x'", "CREATE SECRET s AS '***'"),
    ("create secret if not exists a.\"b c\" as decode('x')", "create secret if not exists a.\"b c\" as '***'"),
    ("SELECT 1; ALTER SECRET s AS 'x'; SELECT 2", "SELECT 1; ALTER SECRET s AS '***'"),
    ("CREATE SECRET/**/s/* AS */AS $$x$$", "CREATE SECRET/**/s/* AS */AS '***'"),
    ("ALTER ROLE r PASSWORD 'it''s' VALID", "ALTER ROLE r PASSWORD '***' VALID"),
    ("CREATE USER u PASSWORD = 'p' DEFAULT_ROLE = r", "CREATE USER u PASSWORD = '***' DEFAULT_ROLE = r"),
    (
        "CREATE STAGE s URL='s3://b/' CREDENTIALS=(AWS_KEY_ID='a' AWS_SECRET_KEY='b)c') FILE_FORMAT=(TYPE=CSV)",
        "CREATE STAGE s URL='s3://b/' CREDENTIALS=('***') FILE_FORMAT=(TYPE=CSV)",
    ),
    ("x AWS_SECRET_KEY = 'b' AWS_TOKEN='c' y", "x AWS_SECRET_KEY = '***' AWS_TOKEN='***' y"),
    ("SECRET ACCESS KEY = 'a', SESSION TOKEN 'b', z", "SECRET ACCESS KEY = '***', SESSION TOKEN '***', z"),
    # A backslash may escape the quote, so that the end is not certain.
    ("PASSWORD 'a\\', TOKEN 'b'", "PASSWORD '***'"),
    # Quoted twice: what follows the two quotes still belongs to the secret.
    ("DO $$ BEGIN EXECUTE 'ALTER ROLE r PASSWORD ''x'''; END $$", "DO $$ BEGIN EXECUTE 'ALTER ROLE r PASSWORD '***'"),
    ("PASSWORD 'unfinished", "PASSWORD '***'"),
    ("CREDENTIALS = (AWS_KEY_ID = 'unfinished", "CREDENTIALS = ('***')"),
    ("SECRET ACCESS KEY = SECRET s", "SECRET ACCESS KEY = SECRET s"),
    ("SELECT password FROM t WHERE a = 'b'", "SELECT password FROM t WHERE a = 'b'"),
]


@pytest.mark.parametrize(("sql", "expected"), MASKED)
def test_masking(sql: str, expected: str) -> None:
    assert mask(sql) == expected


def test_lines_of_many_writers_never_mix(tmp_path: Path) -> None:
    path = tmp_path / "log"
    logs = [StatementLog(path, f"server {i}") for i in range(4)]

    def work(log: StatementLog) -> None:
        for i in range(200):
            log.append(f"SELECT '{'ü' * 2000}', {i}", session="1", outcome="ok", tag="SELECT 1", seconds=0.1)

    threads = [threading.Thread(target=work, args=(log,)) for log in logs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == 800
    assert {line["server"] for line in lines} == {f"server {i}" for i in range(4)}
    assert path.stat().st_mode & 0o777 == 0o600


def test_an_error_that_may_repeat_the_secret_is_withheld(tmp_path: Path) -> None:
    log = StatementLog(tmp_path / "log", "s")
    log.append("CREATE SECRET s AS hunter2", session="1", outcome="error", code="42703", error="no column hunter2")
    log.append("SELECT x", session="1", outcome="error", code="42703", error="no column x")
    log.close()
    log.close()
    first, second = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert "hunter2" not in json.dumps(first)
    assert second["error"] == "no column x"


def test_an_error_that_may_repeat_a_bound_value_is_withheld(tmp_path: Path) -> None:
    log = StatementLog(tmp_path / "log", "s")
    log.append("SELECT $1::int", session="1", outcome="error", code="22P02", error="no int: hunter2", bound=True)
    log.close()
    line = json.loads((tmp_path / "log").read_text())
    assert (line["code"], line["error"]) == (
        "22P02",
        "withheld: the text of the error may repeat a value sent with the statement",
    )


def test_text_that_is_no_unicode(tmp_path: Path) -> None:
    log = StatementLog(tmp_path / "log", "s")
    log.append(b"SELECT '\xff'".decode("utf-8", "surrogateescape"), session="1", outcome="ok")
    assert len((tmp_path / "log").read_text().splitlines()) == 1
