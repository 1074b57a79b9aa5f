"""CrossKD through the heads of PicoDet and PP-YOLOE+, whose levels have layers of their own."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from paddle.nn import functional as F
from sides import side
from test_crosskd import pair, plain_classes, plain_features, rows_of, sample

from ppkd.config import load_config
from ppkd.distill import FrozenTeacher
from ppkd.distill.losses import CrossKD
from ppkd.models import build_detector
from ppkd.models.heads.pico_head import joint_logits

CLASSES = 3
FILES = {"PicoDet": "picodet_s_160_shapes.yml", "PPYOLOE": "ppyoloe_plus_crn_160_shapes.yml"}
TOWERS = {"PicoDet": ("head.conv_feat.cls_conv_dw", "head.conv_feat.cls_conv_pw"), "PPYOLOE": ()}


@pytest.fixture(scope="module")
def detectors(root):
    def build(kind, seed, *overrides):
        paddle.seed(seed)
        path = root / "configs" / "shapes" / FILES[kind]
        built = build_detector(load_config(path, [f"num_classes={CLASSES}", *overrides]))
        for parameter in built.head.parameters():
            if parameter.ndim == 4 and not parameter.stop_gradient:
                parameter.set_value(paddle.randn(parameter.shape) * 2.0 / float(np.prod(parameter.shape[1:])) ** 0.5)
        built.train()
        for _ in range(20):
            built.extract(sample())
        return built

    return build


def plain_head(kind, head, level, classes, boxes):
    """Raw class and side maps of one level, from features for each."""
    if kind == "PicoDet":
        feat, ends = head.conv_feat, []
        depthwise, pointwise = (getattr(feat, f"cls_conv_{one}{level}")[-1] for one in ("dw", "pw"))
        for x in (classes, boxes):
            x = F.hardswish(pointwise(F.hardswish(depthwise(F.hardswish(x)))))
            gate = F.sigmoid(feat.se[level].fc(x.mean(axis=[2, 3], keepdim=True)))
            ends.append((x, F.hardswish(feat.se[level].conv(x * gate))))
        logits = joint_logits(head.head_cls_list[level](ends[0][1]), head.cls_align[level](ends[0][0]))
        return logits, head.head_reg_list[level](ends[1][1])
    i = len(head.pred_cls) - 1 - level
    stems = []
    for stem, x in ((head.stem_cls[i], classes), (head.stem_reg[i], boxes)):
        stems.append(stem.conv(x * F.sigmoid(stem.fc(x.mean(axis=[2, 3], keepdim=True)))))
    return head.pred_cls[i](stems[0] + classes), head.pred_reg[i](stems[1])


def plain_loss(kind, head, student, teacher, targets):
    classes = boxes = weights = 0.0
    sizes = [level.shape[3] * level.shape[4] for level in teacher.cls_logits]
    counted = [(labels >= 0).astype("float32").flatten() for labels in targets.labels.split(sizes, axis=1)]
    for i, logits in enumerate(teacher.cls_logits):
        names = ("cls_features", "box_features")
        cls, box = plain_head(kind, head, i, *(plain_features(student[name][i], teacher[name][i]) for name in names))
        wanted = rows_of(logits.flatten(1, 2), CLASSES)
        classes = classes + plain_classes(rows_of(cls, CLASSES), wanted, counted[i])
        weight = F.sigmoid(wanted.max(axis=1)) * counted[i]
        bins = box.shape[1] // 4
        p, t = (F.softmax(rows_of(one, bins), axis=1) for one in (box, teacher.box_dist[i].squeeze(1)))
        divergence = (t * (paddle.log(t) - paddle.log(p))).sum(axis=1)
        boxes = boxes + (divergence * weight.repeat_interleave(4)).sum() / 4
        weights = weights + weight.sum()
    return classes / targets.positive.sum(axis=1).clip(min=1).sum() + 4 * boxes / weights


@pytest.mark.parametrize("kind", FILES)
def test_the_loss_is_the_plain_formula_and_ends_of_the_student_learn_nothing(detectors, kind):
    student, teacher = detectors(kind, 0), detectors(kind, 1)
    own, taught, truth, progress = pair(student, teacher)
    value = CrossKD(student.spec(), teacher.spec())(own, taught, truth, progress)
    expected = plain_loss(kind, teacher.head, own.record, taught.record, own.targets)
    assert value.item() == pytest.approx(expected.item(), rel=1e-4)
    assert value.item() > 0.01
    value.backward()
    reached = {n for n, p in student.named_parameters() if p.grad is not None and p.grad.abs().max().item() > 0}
    assert any(name.startswith("backbone.") for name in reached) and any(name.startswith("neck.") for name in reached)
    heads = {name for name in reached if name.split(".")[0] not in ("backbone", "neck")}
    assert bool(heads) == bool(TOWERS[kind])
    assert all(name.startswith(TOWERS[kind]) and ".0." in name for name in heads)
    assert all(parameter.grad is None for parameter in teacher.parameters())


@pytest.mark.parametrize("kind", FILES)
def test_the_head_on_its_own_features_is_the_detector(detectors, kind):
    model = detectors(kind, 0)
    model.eval()
    with paddle.no_grad():
        record = model.extract(sample())
        again = model.complete(record)
    for name in record.spec.entries:
        for one, other in zip(record[name], again[name], strict=True):
            np.testing.assert_array_equal(one.numpy(), other.numpy(), err_msg=name)


@pytest.mark.parametrize("kind", FILES)
def test_a_student_that_equals_the_teacher_has_nothing_to_learn(detectors, kind):
    model, other = detectors(kind, 0), detectors(kind, 1)
    model.eval()
    loss = CrossKD(model.spec(), model.spec())
    batch = sample()
    record = model.extract(batch)
    own = side(record, model, model.assign(record, batch))
    _, _, truth, progress = pair(model, other)
    same, different = (
        loss(own, side(FrozenTeacher(one)(batch, like=record), one), truth, progress).item() for one in (model, other)
    )
    assert 0 <= same < 1e-2 * different


def test_levels_of_other_widths_are_aligned_each_by_its_own_layer(detectors):
    student, teacher = detectors("PicoDet", 0), detectors("PPYOLOE", 1)
    loss = CrossKD(student.spec(), teacher.spec())
    widths = [(a.channels, b.channels) for a, b in zip(student.neck.out_specs, teacher.neck.out_specs, strict=False)]
    assert len({wide for _, wide in widths}) == 3
    assert [len(layers) for layers in loss.aligns] == [3, 3]
    wanted = [[wide, own] for own, wide in widths if own != wide]
    assert [parameter.shape[:2] for parameter in loss.parameters()] == wanted * 2
    value = loss(*pair(student, teacher))
    value.backward()
    assert all(parameter.grad.abs().max().item() > 0 for parameter in loss.parameters())
