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
    "faster_rcnn_dcn_r50_fpn": "dcn/faster_rcnn_dcn_r50_fpn_1x_coco",
    "faster_rcnn_dcn_r101_vd_fpn": "dcn/faster_rcnn_dcn_r101_vd_fpn_1x_coco",
}


@pytest.mark.parametrize(("name", "path"), PUBLISHED.items())
def test_state_dict_is_the_references(root, name, path):
    state = build_detector(load_config(root / "configs" / f"{path}.yml")).state_dict()
    assert [(key, list(tensor.shape)) for key, tensor in state.items()] == load_keys(name)
