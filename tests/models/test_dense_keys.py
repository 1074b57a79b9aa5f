"""Names and shapes of the weights of dense detectors are PaddleDetection's, in its order."""

from __future__ import annotations

import pytest
from parity_fill import load_keys

from ppkd.config import load_config
from ppkd.models import build_detector

PUBLISHED = {
    "retinanet_r50_fpn": "retinanet/retinanet_r50_fpn_1x_coco",
    "retinanet_r101_fpn": "retinanet/retinanet_r101_fpn_2x_coco",
    "gfl_r50_fpn": "gfl/gfl_r50_fpn_1x_coco",
    "gfl_r18vd": "gfl/gfl_r18vd_1x_coco",
    "gfl_r34vd": "gfl/gfl_r34vd_1x_coco",
    "gfl_r101vd": "gfl/gfl_r101vd_fpn_mstrain_2x_coco",
    "gfl_r101vd_dcn_OVERRIDE": "gfl/gfl_r101vd_dcn_fpn_mstrain_2x_coco",
    "gflv2_r50_fpn": "gfl/gflv2_r50_fpn_1x_coco",
}


@pytest.mark.parametrize(("name", "path"), PUBLISHED.items())
def test_state_dict_is_the_references(root, name, path):
    state = build_detector(load_config(root / "configs" / f"{path}.yml")).state_dict()
    assert [(key, list(tensor.shape)) for key, tensor in state.items()] == load_keys(name)
