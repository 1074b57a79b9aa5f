"""Detectors whose numbers are relative to other points, anchors or weights are no partners, though shapes agree."""

from __future__ import annotations

import pytest

from ppkd.config import load_config
from ppkd.distill.losses import GID, LD, ClassKD, FeatureImitation, Mimic, OutputL2, YOLOv3FineGrained
from ppkd.models import build_detector
from ppkd.structures import Basis
from ppkd.utils.errors import SpecError

GFL = "gfl_r18_160_shapes"
RETINA = "retinanet_r18_160_shapes"
YOLO = "yolov3_mobilenet_v1_x0.25_160_shapes"
FASTER = "faster_rcnn_r18_160_shapes"


@pytest.fixture(scope="module")
def spec(root):
    def of(name, *overrides):
        return build_detector(load_config(str(root / f"configs/shapes/{name}.yml"), [*overrides])).spec()

    return of


@pytest.mark.parametrize(
    ("name", "override", "loss", "settings", "words"),
    [
        (GFL, "GFLHead.cell_offset=0.5", LD, {}, "box_dist at stride .*points 0 strides.*points 0.5 strides"),
        (GFL, "GFLHead.cell_offset=0.5", OutputL2, {}, "points 0.5 strides"),
        (GFL, "GFLHead.cell_offset=0.5", FeatureImitation, {"region": "gibox"}, "points 0.5 strides"),
        (RETINA, "RetinaHead.anchor_generator.octave_base_scale=3", OutputL2, {}, "anchors of"),
        (RETINA, "RetinaHead.anchor_generator.octave_base_scale=3", ClassKD, {}, "anchors of"),
        (RETINA, "RetinaHead.weights=[1,1,2,2]", OutputL2, {}, "weights 1, 1, 1, 1.*weights 1, 1, 2, 2"),
        (YOLO, "YOLOv3Head.anchors.0=[9,9]", YOLOv3FineGrained, {}, "anchors of .*9 x 9"),
        (YOLO, "YOLOv3Loss.scale_x_y=1.05", YOLOv3FineGrained, {}, "weights 1;.*weights 1.05"),
        (FASTER, "BBoxHead.bbox_weight=[1,1,1,1]", GID, {}, "roi_deltas.*weights 10, 10, 5, 5.*weights 1, 1, 1, 1"),
    ],
)
def test_a_teacher_of_another_basis_is_refused(spec, name, override, loss, settings, words):
    student, teacher = spec(name), spec(name, override)
    assert loss(student, spec(name), **settings).consumes
    with pytest.raises(SpecError, match=words):
        loss(student, teacher, **settings)


def test_pp_yoloe_teaches_gfl_no_distributions_but_features_and_decoded_boxes(spec):
    student, teacher = spec(GFL), spec("ppyoloe_plus_crn_160_shapes")
    for loss in (LD, OutputL2):
        with pytest.raises(SpecError, match=r"box_dist at stride 8 of GFL.*points 0 strides.*PPYOLOE.*0.5 strides"):
            loss(student, teacher)
    for loss in (Mimic, GID, ClassKD):
        assert loss(student, teacher).consumes


def test_levels_are_compared_in_pairs_and_what_is_untold_is_no_reason():
    own = Basis(anchors=(((8.0, 8.0),), ((16.0, 16.0),)))
    other = Basis(anchors=(((16.0, 16.0),),))
    assert own.at(1) == other.at(0)
    assert own.at(0) != other.at(0)
