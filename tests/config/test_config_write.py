"""A configuration written as yaml loads again as an equal one, and says where each key is from."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ppkd.config import Config, check, load_config
from ppkd.config.value import OVERRIDE, freeze
from ppkd.config.write import to_yaml

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted([*(ROOT / "configs").glob("*/*.yml"), *(ROOT / "slim").rglob("*.yml")])
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.sampled_from(
        [
            "5e-6",
            "yes",
            "~",
            "null",
            "0x1F",
            "a: b",
            "a #b",
            "- a",
            "!Name",
            "&a",
            "*a",
            "[",
            "2024-01-01",
            "<<",
            "=",
            "1_0",
        ]
    )
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=8
)


def shape(value):
    """Values with their types and tags: 1, 1.0 and true are three things."""
    if isinstance(value, Config):
        return ("config", value.tagged, {key: shape(item) for key, item in value.items()})
    if isinstance(value, tuple):
        return [shape(item) for item in value]
    return (type(value).__name__, value)


def again(cfg, tmp_path):
    file = tmp_path / "config.yml"
    file.write_text(to_yaml(cfg), encoding="utf-8")
    return load_config(file)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_file_loads_again_as_an_equal_one(path, tmp_path):
    cfg = load_config(path, ["seed=7"])
    loaded = again(cfg, tmp_path)
    assert shape(loaded) == shape(cfg)
    assert list(loaded) == list(cfg)
    assert again(loaded, tmp_path).to_dict() == cfg.to_dict()


@pytest.mark.parametrize("path", [path for path in FILES if path.parent.name in ("retinanet", "ppyoloe", "yolov3")][:6])
def test_what_was_accepted_is_accepted_again(path, tmp_path, root, monkeypatch):
    monkeypatch.chdir(root)
    check(load_config(path))
    check(again(load_config(path), tmp_path))


@given(st.dictionaries(st.text(), VALUES, max_size=4))
def test_any_value_survives(tmp_path_factory, values):
    values.pop("_BASE_", None)
    cfg = freeze(values)
    assert shape(again(cfg, tmp_path_factory.mktemp("any"))) == shape(cfg)


def test_numbers_that_are_none_survive(tmp_path):
    loaded = again(freeze({"a": math.nan, "b": math.inf, "c": -math.inf}), tmp_path)
    assert math.isnan(loaded["a"]) and (loaded["b"], loaded["c"]) == (math.inf, -math.inf)


def test_tags_and_anchors_survive_and_origins_are_told(tmp_path):
    base = tmp_path / "base.yml"
    base.write_text("shared: &shared {size: [1, 2]}\nTrainReader:\n  steps:\n  - !Flip {prob: 0.5}\n  - Permute: {}\n")
    file = tmp_path / "a.yml"
    file.write_text("_BASE_: base.yml\nepoch: 3\nhead: !Head {}\n")
    cfg = load_config(file, ["TrainReader.batch_size=8"])
    text = to_yaml(cfg)
    assert text.splitlines()[1:] == [
        f"shared: &a0  # {base}:1",
        f"  size: [1, 2]  # {base}:1",
        f"TrainReader:  # {base}:2",
        f"  steps:  # {base}:3",
        "    - !Flip",
        f"      prob: 0.5  # {base}:4",
        f"    - Permute: {{}}  # {base}:5",
        f"  batch_size: 8  # {OVERRIDE}",
        f"epoch: 3  # {file}:2",
        f"head: !Head {{}}  # {file}:3",
    ]
    loaded = again(cfg, tmp_path)
    assert shape(loaded) == shape(cfg)
    assert loaded.mark("shared").anchor and not loaded.mark("epoch").anchor
