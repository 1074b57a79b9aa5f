"""Damaged and senseless configurations: a value or a :class:`PPKDError`, never another exception, never a long wait."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st
from mutations import NAMES, SCALARS, altered, damaged

from ppkd.config import load_config
from ppkd.experiment import Experiment
from ppkd.utils.errors import PPKDError

ROOT = Path(__file__).resolve().parents[2]
PLAIN = load_config(ROOT / "configs/shapes/gfl_r18_160_shapes.yml").to_dict()
SLIM = {**load_config(ROOT / "slim/distill/fgd.yml").to_dict()}
TEXT = (
    (ROOT / "configs/shapes/_base_/optimizer_14e.yml").read_text()
    + """
anchor: &size [160, 160]
TrainReader: &reader
  sample_transforms: [{Resize: {target_size: *size}}, {Decode: {}}]
  <<: {batch_size: 2}
EvalReader: {<<: *reader, batch_size: 1}
"""
)
PIECES = st.sampled_from(
    [
        *("!!python/object/apply:os.system ['true']", "!Resize {}", "!!int x", "!!binary ==", "!!set {a}", "%YAML 9"),
        *("&a [*a]", "&a ", "*a", "<<: [1]", "? [a]: 1", "_BASE_: [x.yml]", "a: 1\n", "---\n", "...\n", "|\n", ">\n"),
        *("- ", ": ", "{", "]", "'", '"', "\\", "\x00", "\ufeff", "\t", "\n  ", "~", "0x", "1e999", ".nan", "-.inf"),
        *("2024-01-01", "1:2:3"),
    ]
)


def loads_or_refuses(path: Path) -> None:
    try:
        Experiment.parse(load_config(path)).check()
    except PPKDError as error:
        assert str(error)


@given(content=damaged(TEXT.encode()))
def test_damaged_bytes(content: bytes, scratch: Path) -> None:
    (scratch / "a.yml").write_bytes(content)
    loads_or_refuses(scratch / "a.yml")


@given(pieces=st.lists(PIECES | st.text(max_size=3), max_size=12))
def test_pieces_of_yaml_in_any_order(pieces: list[str], scratch: Path) -> None:
    (scratch / "a.yml").write_text("".join(pieces), encoding="utf-8", errors="surrogatepass")
    loads_or_refuses(scratch / "a.yml")


@given(content=altered(PLAIN))
def test_senseless_settings(content: Any, scratch: Path) -> None:
    (scratch / "a.yml").write_text(yaml.safe_dump(content), encoding="utf-8", errors="surrogatepass")
    loads_or_refuses(scratch / "a.yml")


@given(content=altered(SLIM))
def test_senseless_settings_of_a_distillation(content: Any, scratch: Path) -> None:
    plain = load_config(ROOT / "configs/shapes/gfl_r18_160_shapes.yml")
    (scratch / "slim.yml").write_text(yaml.safe_dump(content), encoding="utf-8", errors="surrogatepass")
    try:
        Experiment.parse(plain, load_config(scratch / "slim.yml")).check()
    except PPKDError as error:
        assert str(error)


@given(key=st.lists(NAMES | st.sampled_from([*PLAIN, "0", "name"]), max_size=4).map(".".join), value=SCALARS | PIECES)
def test_overrides(key: str, value: Any) -> None:
    try:
        Experiment.parse(load_config(ROOT / "configs/shapes/gfl_r18_160_shapes.yml", [f"{key}={value}"])).check()
    except PPKDError as error:
        assert re.match(r"-o|settings|.+: ", str(error))
