"""Flags win over the environment, the environment over the YAML file."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from mz_orchestration.cli.main import app

EXPORT = ["export", "shop.orders", "--dry-run"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "settings.yaml"
    path.write_text("export:\n  to: s3://from-yaml/e/\n  connection: c\n  max-file-size: 32MB\n")
    return path


def output(*arguments: str, **environment: str) -> str:
    result = CliRunner().invoke(app, list(arguments), env=environment)
    assert result.exit_code == 0, result.output
    return result.output


def test_precedence(file: Path) -> None:
    config = ["--config", str(file)]
    assert "s3://from-yaml/e/" in output(*config, *EXPORT)
    assert "MAX FILE SIZE = '32MB'" in output(*config, *EXPORT)
    assert "s3://from-env/e/" in output(*config, *EXPORT, MZ_ORCHESTRATION_TO="s3://from-env/e/")
    assert "s3://from-flag/e/" in output(
        *config, *EXPORT, "--to", "s3://from-flag/e/", MZ_ORCHESTRATION_TO="s3://from-env/e/"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("export:\n  tо: x\n", "unknown key"),
        ("exports: {}\n", "unknown key 'exports'"),
        ("export: [1]\n", "expected names with values"),
        ("a: [\n", "line 2"),
        ("export:\n  run-key: nightly\n", "belongs to a single run"),
        ("export:\n  query: SELECT 1\n", "belongs to a single run"),
    ],
)
def test_mistakes_in_the_file_are_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    result = CliRunner().invoke(app, ["--config", str(path), *EXPORT])
    assert result.exit_code == 2
    assert said in result.output
    assert str(path) in result.output


def test_a_missing_file(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["--config", str(tmp_path / "none.yaml"), *EXPORT])
    assert (result.exit_code, "cannot be read" in result.output) == (2, True)


def test_a_file_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_bytes(b"export:\n  to: \xff\n")
    result = CliRunner().invoke(app, ["--config", str(path), *EXPORT])
    assert (result.exit_code, "not UTF-8" in result.output) == (2, True)


def test_the_csv_option_null_is_not_yamls(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("export:\n  to: s3://bucket/e/\n  connection: c\n  format: csv\n  null: N\n")
    assert "NULL = 'N'" in output("--config", str(path), *EXPORT)


def test_an_empty_run_key_is_refused() -> None:
    result = CliRunner().invoke(app, [*EXPORT, "--to", "s3://bucket/e/", "--connection", "c", "--run-key", ""])
    assert (result.exit_code, "--run-key is empty" in result.output) == (2, True)
