"""Names and shapes of the weights of two-stage detectors are PaddleDetection's, in its order."""

from __future__ import annotations

import pytest
from parity_fill import load_keys

from ppkd.config import load_config
from ppkd.models import build_detector

PUBLISHED = {
    "faster_rcnn_r50_fpn": "faster_rcnn/faster_rcnn_r50_fpn_1x_coco",
    "faster_rcnn_r50_vd_fpn": "faster_rcnn/faster_rcnn_r50_vd_fpn_1x_coco",
    "faster_rcnn_r101_fpn": "faster_rcnn/faster_rcnn_r101_fpn_1x_coco",
    "faster_rcnn_x101_vd_64x4d_fpn": "faster_rcnn/faster_rcnn_x101_vd_64x4d_fpn_1x_coco",
    "faster_rcnn_r50_c4": "faster_rcnn/faster_rcnn_r50_1x_coco",
    "faster_rcnn_dcn_r50_fpn": "dcn/faster_rcnn_dcn_r50_fpn_1x_coco",
    "faster_rcnn_dcn_r101_vd_fpn": "dcn/faster_rcnn_dcn_r101_vd_fpn_1x_coco",
}
RES2NET = "res2net/faster_rcnn_res2net50_vb_26w_4s_fpn_1x_coco"
CASES = [(name, path, []) for name, path in PUBLISHED.items()]
CASES.append(("faster_rcnn_res2net50", RES2NET, []))
CASES.append(("faster_rcnn_res2net101_OVERRIDE", RES2NET, ["Res2Net.depth=101"]))


@pytest.mark.parametrize(("name", "path", "overrides"), CASES)
def test_state_dict_is_the_references(root, name, path, overrides):
    state = build_detector(load_config(root / "configs" / f"{path}.yml", overrides)).state_dict()
    assert [(key, list(tensor.shape)) for key, tensor in state.items()] == load_keys(name)
