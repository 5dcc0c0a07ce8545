"""What is wrong with a ``defs.yaml`` is told with the file and line."""

from __future__ import annotations

from collections.abc import Callable

import pytest

# The attributes begin in line 3.
START = """\
defaults: {to: "s3://exports/dagster/", connection: aws}
resources: environment
exports:
  - {object: shop.orders}
"""


@pytest.mark.parametrize(
    ("attributes", "line", "texts"),
    [
        pytest.param("  - objct: shop.x", 7, ["attributes.exports.1.objct", "Extra inputs"], id="unknown-in-a-list"),
        pytest.param("  - object: shop.x\n    checks:\n      min_row: 1", 9, ["exports.1.checks.min_row"], id="nested"),
        pytest.param("extra: 1", 7, ["attributes.extra"], id="unknown"),
        pytest.param(
            "  - object: shop.x\n    format: orc", 8, ["exports.1.format", "'parquet' or 'csv'"], id="literal"
        ),
        pytest.param("materialize:\n  port: many", 8, ["materialize.port", "valid integer"], id="number"),
        pytest.param("translation: {group: x}", 7, ["translation.group"], id="translation"),
        pytest.param("  - 1", 7, ["exports.1"], id="no-mapping"),
    ],
)
def test_what_dg_check_yaml_would_have_said(
    refusal: Callable[[str], str], attributes: str, line: int, texts: list[str]
) -> None:
    told = refusal(START + attributes)
    assert f"defs.yaml:{line}" in told
    assert all(text in told for text in texts), told


@pytest.mark.parametrize(
    ("attributes", "told"),
    [
        pytest.param(
            "  - object: shop.x\n    checks: {min_rows: 3, max_rows: 2}",
            "defs.yaml:8: exports[1].checks: min_rows 3 is more than max_rows 2.",
            id="fields-of-one-model",
        ),
        pytest.param(
            "  - object: shop.x\n    query: SELECT 1",
            "defs.yaml:7: exports[1]: give either object or query.",
            id="planning",
        ),
        pytest.param(
            "  - object: shop.x\n    to: s3://x/",
            "defs.yaml:8: exports[1].to: 'x' is not a bucket name. Write it as s3://bucket/folder/.",
            id="planning-one-field",
        ),
        pytest.param(
            "loads:\n  - {export: shop.ordrs, table: T, stage: S}",
            "defs.yaml:8: loads[0].export: there is no export 'shop.ordrs'; did you mean 'shop.orders'?",
            id="unknown-name",
        ),
        pytest.param(
            "  - object: shop.orders",
            "defs.yaml:7: exports[1].object: 'shop.orders' is the name of another part already",
            id="repeated",
        ),
        pytest.param("name: has spaces", "defs.yaml:7: name: String should match pattern", id="name"),
        pytest.param(
            "schedule: {cron: 61 * * * *}",
            "defs.yaml:7: schedule: '61 * * * *' in 'UTC'",
            id="cron",
        ),
        pytest.param(
            "schedule: {cron: '@daily', timezone: Mars/Olympus}",
            "defs.yaml:7: schedule: '@daily' in 'Mars/Olympus'",
            id="timezone",
        ),
        pytest.param(
            "freshness: {fail_window: 1h, deadline_cron: '@daily'}",
            "defs.yaml:7: freshness: give either fail_window, or deadline_cron with lower_bound_delta.",
            id="freshness-both",
        ),
        pytest.param(
            "freshness: {fail_window: 1h, timezone: UTC}",
            "defs.yaml:7: freshness: timezone belongs to deadline_cron.",
            id="freshness-mixed",
        ),
        pytest.param(
            "freshness: {fail_window: 1s}", "fail_window cannot be less than 1 minute", id="freshness-of-dagsters"
        ),
        pytest.param(
            "  - object: shop.x\n    automation_condition: egaer",
            "defs.yaml:8: exports[1].automation_condition: 'egaer' is no condition; write eager,",
            id="condition",
        ),
        pytest.param(
            "automation_condition: on_cron(every day)",
            "defs.yaml:7: automation_condition: 'every day' in 'UTC'",
            id="condition-cron",
        ),
        pytest.param(
            "partitions_def: {type: static, partition_keys: [a]}",
            "defs.yaml:7: partitions_def: ",
            id="partitions",
        ),
        pytest.param(
            "  - object: shop.x\n    translation: {key: exports/shop/orders}",
            "defs.yaml:8: exports[1].translation: 'shop.orders' and 'shop.x' would both be the asset "
            "exports/shop/orders",
            id="collision",
        ),
        pytest.param(
            "  - object: shop.x\ntranslation: {key: one}",
            "defs.yaml:8: translation: 'shop.orders' and 'shop.x' would both be the asset one",
            id="collision-of-all",
        ),
        pytest.param(
            "snowflake:\n  password: 1234567",
            "defs.yaml:8: snowflake.password: Input should be a valid string.",
            id="secret-that-is-no-text",
        ),
        pytest.param(
            "  - object: shop.x\n    to: \"{{ env('NOWHERE') }}\"",
            "defs.yaml:8: exports[1].to: Environment variable NOWHERE is not set",
            id="variable",
        ),
        pytest.param(
            '  - object: shop.x\n    to: "{{ env.NOWHERE }}"',
            "defs.yaml:8: exports[1].to: the environment variable NOWHERE is not set, and '{{ env.NOWHERE }}' silently "
            "is nothing then; set it, and write {{ env('NOWHERE') }}, which says so.",
            id="variable-silently",
        ),
        pytest.param(
            '  - object: shop.x\n    to: "s3://{{ env.NOWHERE }}/x"',
            "defs.yaml:8: exports[1].to: the environment variable NOWHERE is not set",
            id="variable-in-text",
        ),
        pytest.param(
            "materialize:\n  password: '{{ env.NOWHERE }}'",
            "defs.yaml:8: materialize.password: the environment variable NOWHERE is not set",
            id="secret-silently",
        ),
        pytest.param(
            "translation: {group_name: \"{{ env('NOWHERE') }}\"}",
            "defs.yaml:7: translation: Environment variable NOWHERE is not set",
            id="variable-in-translation",
        ),
        pytest.param(
            "translation: {group_name: '{{ nothing }}'}",
            "defs.yaml:7: translation: UndefinedError: 'nothing' not found in scope",
            id="template",
        ),
    ],
)
def test_what_only_loading_can_tell(refusal: Callable[[str], str], attributes: str, told: str) -> None:
    text = refusal(START + attributes)
    assert told in text, text
    assert "1234567" not in text


def test_everything_is_told_at_once(refusal: Callable[[str], str]) -> None:
    told = refusal(
        START
        + """\
  - {object: shop.x, automation_condition: maybe}
  - {object: shop.y, to: "{{ env.NOWHERE }}"}
schedule: {cron: sometimes}
"""
    )
    assert told.startswith("defs.yaml: 3 things are wrong.\n")
    assert [line.split(":")[1] for line in told.splitlines()[1:]] == ["7", "8", "9"]


def test_values_from_the_environment_are_not_shown(
    refusal: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOLDER", "gs://somewhere-private/")
    told = refusal(START + "  - object: shop.x\n    to: \"{{ env('FOLDER') }}\"\n    format: \"{{ env('FOLDER') }}\"")
    assert "defs.yaml:9: exports[1].format: Input should be 'parquet' or 'csv'" in told
    assert "somewhere-private" not in told


def test_a_default_for_a_variable_is_nobodys_mistake(load: Callable[..., tuple[object, object]]) -> None:
    load(START + "pool: \"{{ env.NOWHERE or 'exports' }}\"\n")
