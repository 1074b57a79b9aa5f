from __future__ import annotations

import logging
import time

import pytest

from ppkd.config import Config
from ppkd.config.parse import parse
from ppkd.utils.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "value"),
    [("5e-6", 5e-6), ("1e-3", 1e-3), ("-2E+3", -2000.0), (".5e1", 5.0), ("1.", 1.0), ("0.", 0.0), ("1.5e-4", 1.5e-4)],
)
def test_floats_follow_yaml_1_2(text: str, value: float) -> None:
    parsed = parse(text, "x.yml")
    assert isinstance(parsed, float)
    assert parsed == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12),
        ("true", True),
        ("null", None),
        ("~", None),
        ("", None),
        ("1e", "1e"),
        ("e5", "e5"),
        ("2024-01-01", "2024-01-01"),
        ("'5e-6'", "5e-6"),
        ("[1, [2]]", (1, (2,))),
    ],
)
def test_other_scalars_are_what_they_look_like(text: str, value: object) -> None:
    parsed = parse(text, "x.yml")
    assert parsed == value
    assert type(parsed) is type(value)


def test_a_tag_names_a_component() -> None:
    parsed = parse("- !PiecewiseDecay\n  gamma: 0.1\n- !Permute {}\n- !Decode\n", "x.yml")
    assert [item.to_dict() for item in parsed] == [
        {"name": "PiecewiseDecay", "gamma": 0.1},
        {"name": "Permute"},
        {"name": "Decode"},
    ]
    assert parsed[0].where("name") == "x.yml:1"
    assert parsed[0].where("gamma") == "x.yml:2"


@pytest.mark.parametrize(
    "text",
    [
        "a: !!python/object/apply:os.system ['true']",
        "a: !!python/name:os.system",
        "a: !<tag:yaml.org,2002:python/object/new:os.system> [x]",
        "a: !os.system {}",
        "a: !Name [1, 2]",
        "a: !Name text",
        "a: !!binary aGk=",
        "a: !!set {x}",
    ],
)
def test_other_tags_are_refused_with_their_line(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^x\.yml:2: the tag .* is refused"):
        parse("first: 1\n" + text, "x.yml")


def test_a_named_component_may_not_be_named_twice() -> None:
    with pytest.raises(ConfigError, match=r"^x\.yml:1: !Resize already names"):
        parse("a: !Resize {name: Pad}", "x.yml")


def test_of_a_repeated_key_the_last_counts_as_in_paddledetection_and_both_lines_are_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING, logger="ppkd.config"):
        parsed = parse("a:\n  b: 1\n  c: 3\n  b: 2\n", "repeated.yml")
    assert parsed["a"].to_dict() == {"b": 2, "c": 3}
    assert parsed["a"].where("b") == "repeated.yml:4"
    assert [record.getMessage() for record in caplog.records] == [
        "repeated.yml:4: the key 'b' stands in repeated.yml:2 too; the last one counts, keep one"
    ]


def test_merge_keys_lie_below_the_mappings_own_keys() -> None:
    parsed = parse("base: &b {x: 1, y: 2}\na:\n  <<: *b\n  y: 3\n", "x.yml")
    assert parsed["a"].to_dict() == {"x": 1, "y": 3}
    assert parsed["a"].where("x") == "x.yml:1"


@pytest.mark.parametrize("merge", ["  <<: [*one, *two]\n", "  <<: *one\n  <<: *two\n"])
def test_of_several_merge_keys_the_first_wins(merge: str) -> None:
    parsed = parse(f"one: &one {{x: 1, y: 2}}\ntwo: &two {{y: 3, z: 4}}\na:\n{merge}", "x.yml")
    assert parsed["a"].to_dict() == {"x": 1, "y": 2, "z": 4}
    assert [parsed["a"].where(key) for key in "xyz"] == ["x.yml:1", "x.yml:1", "x.yml:2"]


def test_anchored_keys_are_known_as_such() -> None:
    parsed = parse("size: &size [4, 4]\nb: *size\nc: 1\n", "x.yml")
    assert [parsed.mark(key).anchor for key in ("size", "c")] == [True, False]
    assert parsed["b"] == (4, 4)


@pytest.mark.parametrize(
    ("text", "line"), [("a: [1,\nb: 2", 2), ("a: b: c", 1), ("a:\n\t- 1", 2), ("? [1]\n: 2", 1), ("a: *unknown", 1)]
)
def test_malformed_yaml_names_the_line(text: str, line: int) -> None:
    with pytest.raises(ConfigError, match=rf"^x\.yml:{line}: "):
        parse(text, "x.yml")


@pytest.mark.parametrize("kind", ["list", "mapping", "merge"])
def test_alias_bombs_are_refused_at_once(kind: str) -> None:
    form = {"list": "[{0}]", "mapping": "{{p: [{0}]}}", "merge": "{{<<: [{0}]}}"}[kind]
    lines = ["a0: &a0 {x: 1}"]
    lines += [f"a{i}: &a{i} " + form.format(", ".join([f"*a{i - 1}"] * 10)) for i in range(1, 12)]
    start = time.perf_counter()
    with pytest.raises(ConfigError, match="expands to more than"):
        parse("\n".join(lines), "x.yml")
    assert time.perf_counter() - start < 10


@pytest.mark.parametrize("text", ["a: &a [*a]", "a: &a {b: *a}", "[" * 5000, "[" * 70 + "]" * 70])
def test_bottomless_nesting_is_an_error_of_the_file(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^x\.yml.*(levels|too deeply)"):
        parse(text, "x.yml")


def test_keys_are_text_whatever_they_look_like() -> None:
    parsed = parse("on: 1\n3: x\n", "x.yml")
    assert isinstance(parsed, Config)
    assert parsed.to_dict() == {"on": 1, "3": "x"}
