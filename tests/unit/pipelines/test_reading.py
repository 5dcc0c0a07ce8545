"""Pipeline files: every mistake is found, with its line, its field and the way out."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mz_orchestration.errors import ConfigurationError, NotFoundError
from mz_orchestration.pipelines.document import LARGEST
from mz_orchestration.pipelines.planning import Plan, plan_pipeline
from mz_orchestration.pipelines.reading import parse_pipeline, read_pipeline

FILE = """\
name: nightly
defaults:
  to: s3://bucket/nightly/
  connection: aws
  stage: DB.S.STAGE
  concurrency: 4
exports:
  - object: shop.orders
    consistency_group: g
  - object: shop.lines
    consistency_group: g
    checks: {min_rows: 1, max_lag: 5m}
  - name: germans
    object: shop.customers
    where: country = 'DE'
loads:
  - export: shop.orders
    table: DB.S.ORDERS
  - {export: germans, table: DB.S.GERMANS, strategy: merge, keys: [id]}
syncs:
  - sync: 12
    after: [DB.S.GERMANS]
retention: {keep_last: 3, keep_for: 14d}
notifications:
  webhooks:
    - url: https://hooks.example.com/abc
      on: [failure, success]
"""


def parse(text: str, **environment: str) -> Plan:
    return parse_pipeline(text, source="p.yaml", environment=environment)


def refused(text: str, **environment: str) -> str:
    with pytest.raises(ConfigurationError) as raised:
        parse(text, **environment)
    return raised.value.message


def test_a_file_is_a_plan() -> None:
    plan = parse(FILE)
    assert [node.name for node in plan.nodes] == [
        "group g",
        "export germans",
        "check shop.lines",
        "load DB.S.ORDERS",
        "load DB.S.GERMANS",
        "sync 12",
        "retention",
    ]
    assert plan.exports[1].checks.max_lag == 300
    assert plan.spec.retention is not None
    assert plan.spec.retention.keep_for == 14 * 86400
    assert plan.spec.notifications.webhooks[0].on == ("failure", "success")


MISTAKES = [
    # what is changed, into what, line, what is said
    ("name: nightly", "name: night ly", 1, "name: String should match"),
    ("name: nightly", "nme: nightly", 1, "nme: there is no such field; did you mean 'name'?"),
    ("name: nightly", "nme: nightly", 1, "'name' is missing"),
    ("name: nightly", "name: 2026", 1, "name: expected text; put it in quotes (got 2026)"),
    ("  to: s3://bucket/nightly/", "", 4, "defaults: 'to' is missing"),
    ("s3://bucket/nightly/", "bucket/nightly", 3, "defaults.to: "),
    ("s3://bucket/nightly/", "s3://bucket/../x/", 3, "defaults.to: "),
    ("  connection: aws", "  connection: a.b.c.d", 4, "defaults.connection: "),
    ("concurrency: 4", "concurrency: four", 6, "defaults.concurrency: Input should be a valid integer"),
    ("concurrency: 4", "concurrency: 0", 6, "greater than or equal to 1 (got 0)"),
    ("concurrency: 4", "concurency: 4", 6, "did you mean 'concurrency'?"),
    ("  - object: shop.orders", "  - objct: shop.orders", 8, "exports[0].objct: there is no such field; did you mean"),
    ("  - object: shop.orders", "  - query: SELECT 1", 8, "exports[0].name: a query needs a name"),
    ("  - object: shop.orders", "  - {object: a.b, query: SELECT 1}\n  - object: shop.orders", 8, "give either"),
    ("  - object: shop.orders", "  - {format: csv}\n  - object: shop.orders", 8, "exports[0]: object is missing"),
    ("  - object: shop.orders", "  - object: a.b.c.d", 8, "exports[0].object: "),
    ("  - object: shop.orders", "  - {object: a.b, format: xml}\n  - object: shop.orders", 8, "'parquet' or 'csv'"),
    (
        "  - object: shop.orders",
        "  - {object: a.b, csv: {header: true}}\n  - object: shop.orders",
        8,
        "format=csv only",
    ),
    ("  - object: shop.orders", "  - {object: a.b, max_file_size: 1MB}\n  - object: shop.orders", 8, "outside 16MB"),
    ("  - object: shop.orders", "  - {object: a.b, timeout: 5 years}\n  - object: shop.orders", 8, "not a duration"),
    (
        "consistency_group: g\n  - object: shop.lines",
        "consistency_group: g\n  - object: shop.orders",
        11,
        "Named twice",
    ),
    ("{min_rows: 1, max_lag: 5m}", "{min_rows: -1}", 12, "exports[1].checks.min_rows: "),
    ("{min_rows: 1, max_lag: 5m}", "{min_rows: 9, max_rows: 8}", 12, "min_rows 9 is more than max_rows 8"),
    ("{min_rows: 1, max_lag: 5m}", "{max_change: lots}", 12, "'lots' is not a share; write 0.2 or 20%"),
    ("{min_rows: 1, max_lag: 5m}", "{max_lag: 5 minutes}", 12, "is not a duration; write seconds, or 90s, 15m"),
    (
        "{min_rows: 1, max_lag: 5m}",
        "{min_row: 1}",
        12,
        "exports[1].checks.min_row: there is no such field; did you mean",
    ),
    ("{min_rows: 1, max_lag: 5m}", "yes", 12, "exports[1].checks: "),
    ("where: country = 'DE'", "where: country = 'DE", 15, "exports[2].where: the query holds a ' that is never closed"),
    ("where: country = 'DE'", "where: true) OR (true", 15, "never opened"),
    ("where: country = 'DE'", "where: true; DROP TABLE x", 15, "without a semicolon"),
    ("where: country = 'DE'", "where: true LIMIT 5", 15, "LIMIT"),
    ("export: shop.orders", "export: shop.order", 17, "loads[0].export: there is no export 'shop.order'; did you mean"),
    ("table: DB.S.ORDERS", "table: A.B.C.D", 18, "loads[0].table: "),
    ("strategy: merge", "strategy: upsert", 19, "loads[1].strategy: Input should be 'swap'"),
    ("keys: [id]", "keys: []", 19, "loads[1]: strategy 'merge' needs keys"),
    (", strategy: merge, keys: [id]", ", keys: [id]", 19, "mean nothing to strategy 'swap'"),
    ("table: DB.S.GERMANS", "table: DB.S.ORDERS", 19, "loads[1].table: 'DB.S.ORDERS' is the name of another part"),
    ("sync: 12", "sync: twelve!", 21, "syncs[0].sync: "),
    ("after: [DB.S.GERMANS]", "after: [DB.S.GERMAN]", 22, "syncs[0].after[0]: there is no export or load"),
    ("after: [DB.S.GERMANS]", "max_failed_ratio: 120%", 22, "syncs[0].max_failed_ratio: "),
    ("keep_last: 3", "keep_last: 0", 23, "retention.keep_last: "),
    ("keep_for: 14d", "keep_for: 14 days", 23, "retention.keep_for: "),
    ("https://hooks.example.com/abc", "hooks.example.com/SECRET", 26, "this is not an http(s) address"),
    ("[failure, success]", "[failure, sucess]", 27, "notifications.webhooks[0].on[1]: "),
    ("[failure, success]", "[]", 27, "notifications.webhooks[0].on: "),
    ("retention: {", "retenton: {", 23, "retenton: there is no such field; did you mean 'retention'?"),
    ("retention: {", "name: twice\nretention: {", 23, "'name' is given twice, first in line 1"),
    ("retention: {", "\tretention: {", 23, "this is not YAML"),
    ("retention: {", "---\nretention: {", 24, "a second document begins here"),
    ("name: nightly", "name: !!python/name:os.system nightly", 1, "means nothing here"),
    ("name: nightly", "name: !!bool yes", 1, "name: the tag 'tag:yaml.org,2002:bool' means nothing here"),
    ("retention: {", "retention: !!python/object:os.x {", 23, "retention: the tag "),
    ("[failure, success]", "!!python/tuple [failure]", 27, "notifications.webhooks[0].on: the tag "),
    ("concurrency: 4", "concurrency:", 6, "defaults.concurrency: it has no value; give one, or leave the line out"),
    ("concurrency: 4", "concurrency: 0o17", 6, "should be a valid integer, unable to parse string as an integer (got"),
    ("concurrency: 4", "concurrency: " + "9" * 5000, 6, "defaults.concurrency: this number is too long"),
    ("name: nightly", "name: 12e03", 1, "name: expected text; put it in quotes"),
    ("name: nightly", "name: true", 1, "name: expected text; put it in quotes (got True)"),
    ("retention: {", "retention: [{", 24, "this is not YAML"),
    ("retention: {keep_last: 3, keep_for: 14d}", "retention: [3]", 23, "retention: expected fields with values"),
    ("after: [DB.S.GERMANS]", "after: DB.S.GERMANS", 22, "syncs[0].after: expected a list"),
    ("retention: {", "<<: 12\nretention: {", 23, "'<<' takes fields from an alias such as *name"),
    ("where: country = 'DE'", 'where: "\\x1b[31m\'"', 15, "exports[2].where: "),
    ("retention: {", '"\\x1b[31m": 1\nretention: {', 23, "\\x1b[31m: there is no such field"),
    ("retention: {", "\x07: 1\nretention: {", 23, "this is not YAML: special characters are not allowed"),
    (
        "    - url: https://hooks.example.com/abc\n      on: [failure, success]",
        "    - https://SECRET.example.com",
        26,
        "notifications.webhooks[0]: expected fields with values.",
    ),
    ("name: nightly", "name: ${NAME}", 1, "the environment variable NAME is not set"),
    ("name: nightly", "name: ${EMPTY}", 1, "the environment variable EMPTY is empty"),
    ("name: nightly", "name: ${1A}", 1, "is no name of a variable"),
    ("{keep_last: 3, keep_for: 14d}", "{keep_last: ${N}}", 23, "put a value with ${...} in quotes"),
]


@pytest.mark.parametrize(("old", "new", "line", "said"), MISTAKES, ids=[f"{m[2]}:{m[3][:40]}" for m in MISTAKES])
def test_a_mistake_is_pointed_at(old: str, new: str, line: int, said: str) -> None:
    assert FILE.count(old) >= 1
    message = refused(FILE.replace(old, new, 1), EMPTY="")
    found = [each for each in message.splitlines() if said in each]
    assert found, message
    assert any(each.startswith(f"p.yaml:{line}: ") for each in found), message
    assert "SECRET" not in message


def test_all_mistakes_are_told_at_once_from_the_top_down() -> None:
    text = FILE.replace("concurrency: 4", "concurency: 4").replace("keep_last: 3", "keep_lst: 3")
    lines = refused(text).splitlines()
    assert lines[0] == "p.yaml: 2 things are wrong."
    assert [line.split(":")[1] for line in lines[1:]] == ["6", "23"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "p.yaml:1: the file is empty"),
        ("# nothing\n", "p.yaml:1: the file is empty"),
        ("- a\n", "expected names with values"),
        ("just words", "expected names with values"),
        ("a: [", "this is not YAML"),
        ("a: " + "[" * 5000, "p.yaml:1: this is not YAML: it is nested too deeply"),
        ("\n" + "- " * 5000, "p.yaml:2: this is not YAML: it is nested too deeply"),
        ("a:\n" + "- 1\n" * 50_000, "this is not YAML: it holds too much"),
        ('a: "\\UFFFFFFFF"', "a character or a number that does not exist"),
        ('"\\ud800": 1', "unable to parse raw data as a unicode string"),
        ("&a {<<: *a}", "'name' is missing"),
        ("x" * (2 << 20), "larger than 1 MiB"),
        ("a: &a [*a]", "aliases make this too large"),
        ("a: &a [1]\n" + "".join(f"b{i}: &b{i} [{'*a,' * 9}*a]\n" for i in range(3)), "there is no such field"),
        ("? [a, b]\n: c\n", "a name must be a single word"),
        ("name: n\ndefaults: {to: s3://bucket/f/, connection: c}\n", "there is nothing to do"),
    ],
)
def test_what_is_no_pipeline_says_so(text: str, said: str) -> None:
    assert said in refused(text)


def test_a_bomb_of_aliases_is_refused_soon() -> None:
    bomb = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9))
    assert "aliases make this too large" in refused(bomb)


def test_nor_do_merges_of_merges_grow() -> None:
    wide = "a0: &a0 {x: 1}\n" + "".join(
        f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 30)
    )
    assert "a29: there is no such field" in refused(wide)
    long = "".join(f"a{i}: &a{i} {{<<: *a{i - 1}, k{i}: 1}}\n" for i in range(1, 400))
    assert "aliases make this too large" in refused("a0: &a0 {}\n" + long)
    inside = ", ".join(["&a0 {}", *(f"&a{i} {{<<: *a{i - 1}}}" for i in range(1, 1500))])
    assert "merge keys make this too deep" in refused(f"{{<<: {{k: [{inside}]}}, k: 1, m: *a1499}}")


def test_references_come_from_the_environment_and_stay_there() -> None:
    text = FILE.replace("concurrency: 4", "concurrency: ${N}").replace("s3://bucket/", "s3://${BUCKET}/")
    plan = parse(text.replace("country = 'DE'", "note = '$${N}'"), N="7", BUCKET="other")
    assert plan.spec.defaults.concurrency == 7
    assert plan.exports[0].spec.to == "s3://other/nightly/"
    assert "'${N}'" in (plan.exports[2].spec.query or "")
    assert "${N}" in parse(text.replace("DE'", "${X}'"), N="7", BUCKET="other", X="${N}").exports[2].spec.query  # type: ignore[operator]


def test_what_comes_from_the_environment_is_not_shown() -> None:
    message = refused(FILE.replace("concurrency: 4", "concurrency: ${N}"), N="hunter2")
    assert "p.yaml:6: defaults.concurrency: " in message
    assert "hunter2" not in message
    url = refused(FILE.replace("https://hooks.example.com/abc", "${URL}"), URL="ftp://hunter2")
    assert "hunter2" not in url
    assert "hunter2" not in repr(
        parse(FILE.replace("https://hooks.example.com/abc", "${URL}"), URL="http://hunter2").spec
    )


@pytest.mark.parametrize(
    ("old", "new", "value", "said"),
    [
        ("concurrency: 4", "concurrency: ${V}", "hunter2", "p.yaml:6: defaults.concurrency: "),
        ("keep_for: 14d", 'keep_for: "${V}"', "hunter2", "p.yaml:23: retention.keep_for: '${V}' is not a duration"),
        ("table: DB.S.ORDERS", "table: ${V}", "A.B.C.hunter2", "p.yaml:18: loads[0].table: "),
        ("s3://bucket/", "s3://${V}/../", "hunter2", "p.yaml:3: defaults.to: "),
        ("where: country = 'DE'", "where: ${V}", "hunter2 = 'open", "p.yaml:15: exports[2].where: "),
        ("export: shop.orders", "export: ${V}", "hunter2", "loads[0].export: there is no export '${V}'; there are"),
        ("name: germans", "name: ${V}", "hunter2", "loads[1].export: there is no export 'germans'; there are"),
        ("sync: 12", "sync: ${V}", "hunter2!", "p.yaml:21: syncs[0].sync: "),
        ("https://hooks.example.com/abc", "${V}", "ftp://hunter2", "this is not an http(s) address"),
    ],
)
def test_no_refusal_shows_the_environment(old: str, new: str, value: str, said: str) -> None:
    message = refused(FILE.replace(old, new, 1), V=value)
    assert said in message
    assert "hunter2" not in message


def test_numbers_come_from_the_environment_too() -> None:
    text = FILE.replace("max_lag: 5m", 'max_lag: "${LAG}", max_change: "${CHANGE}"')
    checks = parse(text, LAG="90", CHANGE="0.25").exports[1].checks
    assert (checks.max_lag, checks.max_change) == (90, 0.25)


def test_a_mapping_that_overrides_what_it_merges_may_be_used_again() -> None:
    text = """\
name: n
defaults: {to: s3://bucket/f/, connection: c}
exports:
  - {object: a.a, checks: &base {min_rows: 1, max_rows: 9}}
  - {object: a.b, checks: &more {<<: *base, max_rows: 5}}
  - {object: a.c, checks: *more}
  - {object: a.d, checks: {<<: [*more, *base]}}
"""
    assert [export.checks.max_rows for export in parse(text).exports] == [9, 5, 5, 5]
    assert "p.yaml:5: exports[2].checks.max_rows: " in refused(text.replace("max_rows: 5", "max_rows: many"))


def test_anchors_and_merge_keys_keep_their_lines() -> None:
    text = """\
name: n
defaults: {to: s3://bucket/f/, connection: c}
exports:
  - &one
    object: a.b
    cluster: big
    timeout: wrong
  - <<: *one
    object: a.c
    timeout: 5m
"""
    assert refused(text).splitlines() == [refused(text)]
    assert "p.yaml:7: exports[0].timeout" in refused(text)
    plan = parse(text.replace("wrong", "1m"))
    assert (plan.exports[1].spec.cluster, plan.exports[1].spec.timeout) == ("big", 300)


def test_yaml_of_today_is_read() -> None:
    text = FILE.replace("name: nightly", 'name: "no"').replace("country = 'DE'", "on")
    plan = parse("\ufeff".encode().decode("utf-8-sig") + text)
    assert plan.spec.name == "no"
    assert "WHERE (on" in (plan.exports[2].spec.query or "")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="There is no pipeline file") as raised:
        read_pipeline(tmp_path / "missing.yaml")
    assert "init" in raised.value.hint
    with pytest.raises(ConfigurationError, match="cannot be read: Is a directory"):
        read_pipeline(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"name: ok\nnote: \xe4\n")
    with pytest.raises(ConfigurationError, match=r"latin\.yaml:2: this is not UTF-8"):
        read_pipeline(tmp_path / "latin.yaml")
    (tmp_path / "large.yaml").write_bytes(b"#" + "é".encode() * LARGEST)
    with pytest.raises(ConfigurationError, match=r"large\.yaml:1: the file is larger than 1 MiB"):
        read_pipeline(tmp_path / "large.yaml")
    (tmp_path / "bom.yaml").write_bytes(b"\xef\xbb\xbf" + FILE.encode())
    assert read_pipeline(tmp_path / "bom.yaml", environment={}).spec.name == "nightly"


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet=st.sampled_from("ab:- \n\t{}[]&*!|>'\"#%@`,?0.1~$<\\x00é"), max_size=60))
def test_nothing_but_a_clear_refusal_comes_of_rubbish(text: str) -> None:
    for whole in (text, FILE.replace("country = 'DE'", text), FILE.replace("  concurrency: 4\n", text)):
        message = _complaint(whole)
        assert message == "" or message.startswith("p.yaml:")


def _complaint(text: str) -> str:
    try:
        parse(text)
    except ConfigurationError as error:
        return error.message
    return ""


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=80))
def test_nor_of_bytes(tmp_path_factory: pytest.TempPathFactory, body: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "bytes.yaml"
    path.write_bytes(body)
    with pytest.raises(ConfigurationError):
        read_pipeline(path, environment={})


def test_python_and_yaml_make_the_same_plan() -> None:
    plan = parse(FILE)
    assert plan_pipeline(plan.spec) == plan
