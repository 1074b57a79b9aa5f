"""Every YOLOv3's state dict has the reference's names and shapes in its order: published weights fit as they are."""

from __future__ import annotations

import pytest
from parity_fill import load_keys

PUBLISHED = {
    "yolov3_mobilenet_v1": "yolov3_mobilenet_v1_270e_coco",
    "yolov3_mobilenet_v1_voc": "yolov3_mobilenet_v1_270e_voc",
    "yolov3_r34": "yolov3_r34_270e_coco",
    "yolov3_r50vd_dcn": "yolov3_r50vd_dcn_270e_coco",
    "yolov3_darknet53": "yolov3_darknet53_270e_coco",
}


@pytest.mark.parametrize("model", PUBLISHED)
def test_state_dict_is_the_references(model, published):
    state = published(PUBLISHED[model]).state_dict()
    assert [(name, list(tensor.shape)) for name, tensor in state.items()] == load_keys(model)
