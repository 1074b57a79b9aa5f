"""PaddleDetection's distillation of PP-YOLOE+ against the numbers of its own loss on the same tensors.

The numbers are from ``ppdet/slim/distill_loss.py``: values, and gradients along random directions, of tensors drawn
from the same seeds. Parameters are drawn by their level and name. CWD's are without the 1e-5 that PaddleDetection adds
to its probabilities before the logarithm, which is not the paper's and changes the value here by 2 in a thousand.
"""

from __future__ import annotations

import json

import numpy as np
import paddle
import pytest
from parity_fill import FOLDER, fill

from ppkd.config import load_config
from ppkd.distill import Progress
from ppkd.distill.build import build_losses
from ppkd.distill.losses import DistillPPYOLOELoss
from ppkd.distill.paddledetection import own_form
from ppkd.distill.side import Side
from ppkd.models.assigners.cell_targets import RatedTargets
from ppkd.models.assigners.place_targets import PlaceTargets
from ppkd.structures import Basis, DetectorSpec, Entry, LevelSpec, Record
from ppkd.structures.boxes import decode_distances
from ppkd.structures.truth import Truth
from ppkd.utils.errors import SpecError

KNOWN = json.loads((FOLDER / "ppyoloe_distill.json").read_text())
CLASSES, BINS, SIZES, STRIDES = 4, 5, (8, 4, 2), (8, 16, 32)
PLACES = sum(size * size for size in SIZES)
CHANNELS = (16, 12, 8)
NOTHING = {"cls_weight": 0.0, "box_weight": 0.0, "dfl_weight": 0.0, "kd_weight": 0.0}
SETTINGS = {
    "published": {},
    "default": {"kd_weight": 0.0},
    "class": {**NOTHING, "cls_weight": 1.0},
    "iou": {**NOTHING, "box_weight": 1.0},
    "dfl": {**NOTHING, "dfl_weight": 1.0},
    "kd": {**NOTHING, "kd_weight": 20000.0},
    "empty": {},
}


def head_spec(activation="sigmoid", offset=0.5):
    def levels(numbers):
        return tuple(LevelSpec(numbers, stride, 1) for stride in STRIDES)

    entries = {
        "cls_logits": Entry("class", "grid", levels(CLASSES), activation=activation),
        "box_dist": Entry("box", "grid", levels(4 * BINS), coding="distribution", basis=Basis(offset=offset)),
    }
    return DetectorSpec("PPYOLOE", CLASSES, entries, frozenset(["assign", "boxes"]))


def decoded(record):
    """Corner boxes of cells whose points are their centres, level by level."""
    boxes = []
    for level, size, stride in zip(record["box_dist"], SIZES, STRIDES, strict=True):
        centres = np.stack(np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5), -1).reshape(-1, 2)
        sides = level.flatten(3).reshape([2, 4, BINS, -1]).transpose([0, 3, 1, 2])
        distances = (paddle.nn.functional.softmax(sides, axis=-1) * paddle.arange(BINS, dtype="float32")).sum(axis=-1)
        boxes.append(decode_distances(paddle.to_tensor(centres.astype("float32")), distances) * stride)
    return boxes


def head_side(seed, targets=None):
    """A record of random numbers, the seed's."""
    rng = np.random.default_rng(seed)
    numbers = {
        name: [rng.normal(mean, deviation, (2, 1, width, size, size)).astype("float32") for size in SIZES]
        for name, mean, deviation, width in (("cls_logits", -1, 2, CLASSES), ("box_dist", 0, 1.5, 4 * BINS))
    }
    leaves = {name: [paddle.to_tensor(one, stop_gradient=False) for one in levels] for name, levels in numbers.items()}
    return Side(Record(head_spec(), leaves), {"boxes": decoded}, targets)


def places(share):
    rng = np.random.default_rng(9)
    positive = rng.random((2, PLACES)) < share
    return positive, (positive * rng.uniform(0.1, 1, positive.shape)).astype("float32")


def rated(share):
    """Targets in which about that ``share`` of the cells answers for a box, with random ratings."""
    positive, rating = places(share)
    given = {
        "labels": paddle.to_tensor(np.where(positive, 1, CLASSES)),
        "positive": paddle.to_tensor(positive.astype("float32")),
        "box": paddle.zeros([2, PLACES], "int64"),
        "rating": paddle.to_tensor(rating),
    }
    empty = paddle.zeros([0])
    return RatedTargets(**given, sizes=(64, 16, 4), points=empty, anchors=empty, boxes=empty, truth=truth())


def truth():
    corners = np.float32([[[8, 8, 60, 50], [30, 20, 90, 92], [0, 0, 0, 0]], [[50, 40, 120, 110], [0] * 4, [0] * 4]])
    boxes = [paddle.to_tensor(one[one.sum(axis=1) > 0]) for one in corners]
    classes = [paddle.zeros([len(one)], "int64") for one in boxes]
    return Truth.of({"gt_bbox": boxes, "gt_class": classes, "im_shape": paddle.full([2, 2], 128.0)})


def flat(levels):
    return np.concatenate([level.reshape([2, level.shape[2], -1]).numpy() for level in levels], 2).transpose(0, 2, 1)


@pytest.mark.parametrize("case", SETTINGS)
def test_predictions_have_paddledetections_numbers(case):
    student, teacher = head_side(0, rated(0.0 if case == "empty" else 0.2)), head_side(1)
    loss = DistillPPYOLOELoss(head_spec(), head_spec(), **SETTINGS[case])
    value = loss(student, teacher, truth(), Progress())
    value.backward()
    expected = KNOWN["logits"][case]
    # The logarithms that kd subtracts agree in their first three digits, so that float32 keeps four of the difference.
    assert value.item() == pytest.approx(expected["value"], rel=5e-5 if case in ("published", "kd") else 2e-6)
    rng = np.random.default_rng(5)
    for name, along in zip(("cls_logits", "box_dist"), expected["along"], strict=True):
        gradient = flat([level.grad for level in student.record[name]]).astype("float64")
        found = (gradient * rng.normal(0, 1, gradient.shape)).sum()
        assert found == pytest.approx(along, rel=2e-5, abs=1e-7)
    assert all(level.grad is None for levels in teacher.record.tensors.values() for level in levels)


def test_without_ratings_a_cell_is_rated_by_the_overlap_of_its_box():
    positive, _ = places(0.2)
    targets = rated(0.2)
    plain = PlaceTargets(targets.labels, targets.positive, targets.box)
    loss = DistillPPYOLOELoss(head_spec(), head_spec(), **{**NOTHING, "box_weight": 1.0})
    student, teacher = head_side(0, plain), head_side(1)
    own, other = (np.concatenate([level.numpy() for level in decoded(one.record)], 1) for one in (student, teacher))
    boxes = truth().boxes.numpy()[:, 0]
    total = weights = 0.0
    for image, place in np.argwhere(positive):
        weight, _ = overlaps(own[image, place], boxes[image])
        shared, beyond = overlaps(own[image, place], other[image, place])
        total += weight * (1 - shared + beyond)
        weights += weight
    assert loss(student, teacher, truth(), Progress()).item() == pytest.approx(total / weights, rel=1e-5)


def overlaps(a, b):
    """Intersection over union, and the part of the enclosing box that neither covers."""
    shared = np.prod(np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None))
    union = np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared
    around = np.prod(np.maximum(a[2:], b[2:]) - np.minimum(a[:2], b[:2]))
    return shared / union, (around - union) / around


def test_other_points_and_activations_are_refused():
    with pytest.raises(SpecError, match=r"DistillPPYOLOELoss: box_dist at stride 8 of PPYOLOE is relative to"):
        DistillPPYOLOELoss(head_spec(), head_spec(offset=0.0))
    with pytest.raises(SpecError, match="DistillPPYOLOELoss"):
        DistillPPYOLOELoss(head_spec("softmax"), head_spec("softmax"))


THEIRS = """
_BASE_: ['{root}/configs/ppyoloe/ppyoloe_plus_crn_l_80e_coco.yml']
for_distill: True
architecture: PPYOLOE
pretrain_weights: teacher.pdparams
slim: Distill
slim_method: PPYOLOEDistill
distill_loss: DistillPPYOLOELoss
DistillPPYOLOELoss:
  logits_ld_distill: True
  teacher_width_mult: 1.0
"""


@pytest.fixture
def their_file(root, tmp_path):
    """Writes a slim file of PaddleDetection with further lines in its block."""

    def write(more="", text=THEIRS):
        (tmp_path / "theirs.yml").write_text(text.format(root=root) + more, encoding="utf-8")
        return tmp_path / "theirs.yml"

    return write


def neck_spec(width):
    levels = tuple(
        LevelSpec(int(width * channels), stride, 1) for channels, stride in zip(CHANNELS[::-1], STRIDES, strict=True)
    )
    return DetectorSpec("PPYOLOE", CLASSES, {"neck": Entry("feature", "grid", levels)}, frozenset())


def neck_side(seed, width):
    """Maps of the seed, which were drawn coarsest first."""
    rng = np.random.default_rng(seed)
    maps = [
        rng.normal(0.5, 2, (2, int(channels * width), size, size)).astype("float32")
        for channels, size in zip(CHANNELS, (4, 8, 16), strict=True)
    ]
    leaves = [paddle.to_tensor(one, stop_gradient=False) for one in reversed(maps)]
    return Side(Record(neck_spec(width), {"neck": leaves}))


@pytest.mark.parametrize("case", KNOWN["features"])
def test_features_have_paddledetections_numbers(case, their_file):
    kind, channels = case.split("_")
    width = int(channels) / CHANNELS[0]
    slim = load_config(their_file(f"  feat_distiller: {kind}\n  loss_weight: {{logits: 0, feat: 2}}\n"))
    built = build_losses(own_form(slim), neck_spec(width), neck_spec(1.0))
    (loss,) = built.values()
    for level, formula in enumerate(loss.formulas):
        for name, parameter in formula.named_parameters():
            parameter.set_value(fill(f"{2 - level}.{name}", parameter.shape).reshape(parameter.shape))
    student = neck_side(2, width)
    value = loss.weight * loss(student, neck_side(3, 1.0), truth(), Progress())
    value.backward()
    expected = KNOWN["features"][case]
    # PaddleDetection divides CWD's sum over the teacher's channels by the number of the student's.
    share = width if kind == "cwd" else 1.0
    assert value.item() == pytest.approx(share * expected["value"], rel=1e-4)
    rng = np.random.default_rng(5)
    for level, along in zip(reversed(student.record["neck"]), expected["along"], strict=True):
        gradient = level.grad.numpy().astype("float64")
        found = (gradient * rng.normal(0, 1, gradient.shape)).sum()
        assert found == pytest.approx(share * along, rel=2e-3, abs=1e-8)
