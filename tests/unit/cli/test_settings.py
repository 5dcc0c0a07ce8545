"""Flags win over the environment, the environment over the YAML file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mz_orchestration.cli.main import app

PAGE = (Path(__file__).parents[3] / "docs/exports.md").read_text()
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


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("timeout: soon", "'timeout': 'soon' is not a number"),
        ("timeout: yes", "'timeout': True is not a number"),
        ("max-parallel: 2.5", "'max-parallel': 2.5 is not a whole number"),
        ("max-parallel: true", "'max-parallel': True is not a whole number"),
        ("count: sure", "'count': 'sure' is not true or false"),
        ("count: 1", "'count': 1 is not true or false"),
        ("cluster: 007", "'cluster': 7 is not text"),
        ("null: no", "'null': False is not text"),
        ("to: [s3://bucket/e/]", "is not text"),
        ("cast: public_id=uuid", "'cast': 'public_id=uuid' is not a list of COLUMN=TYPE, or COLUMN: TYPE line by line"),
        ("cast: [1]", "'cast': [1] is not a list of COLUMN=TYPE"),
        ("cast: {id: 1}", "is not a list of COLUMN=TYPE"),
    ],
)
def test_values_of_another_type_are_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(f"export:\n  {text}\n")
    result = CliRunner().invoke(app, ["--config", str(path), *EXPORT])
    assert result.exit_code == 2
    assert f"{path}: export: " in result.output
    assert said in result.output
    assert "what to do: " in result.output


@pytest.mark.parametrize(
    "cast",
    ["[public_id=uuid, 'total=numeric(38,2)']", "{public_id: uuid, 'total': 'numeric(38,2)'}"],
)
def test_casts_are_a_list_or_a_mapping(tmp_path: Path, cast: str) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(f"export:\n  to: s3://bucket/e/\n  connection: c\n  timeout: 1e4\n  cluster:\n  cast: {cast}\n")
    said = output("--config", str(path), *EXPORT)
    assert "-- public_id is cast to uuid" in said
    assert "-- total is cast to numeric(38,2)" in said


def test_a_second_name_is_a_settings_too(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("export:\n  safe-types: false\n  to: s3://bucket/e/\n  connection: c\n")
    assert "what a type means" not in output("--config", str(path), *EXPORT)


def test_the_file_in_the_documentation_is_read(tmp_path: Path) -> None:
    [shown] = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    path = tmp_path / "settings.yaml"
    path.write_text(shown)
    said = output("--config", str(path), *EXPORT)
    assert "SELECT count(*) FROM" in said
    assert "-- total is cast to numeric(38,2)" in said
