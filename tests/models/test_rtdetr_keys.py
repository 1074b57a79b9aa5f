"""Names and shapes of RT-DETR's weights are PaddleDetection's."""

from __future__ import annotations

import pytest
from parity_fill import load_keys

from ppkd.config import load_config
from ppkd.models import build_detector


@pytest.mark.parametrize("name", ["r18vd", "r34vd", "r50vd", "r101vd", "hgnetv2_l"])
def test_state_dict_is_the_references(root, name):
    path = root / "configs" / "rtdetr" / f"rtdetr_{name}_6x_coco.yml"
    state = build_detector(load_config(path)).state_dict()
    assert {key: list(tensor.shape) for key, tensor in state.items()} == dict(load_keys(f"rtdetr_{name}"))
