"""CrossKD against the paper's formulas written plainly, where its gradients go, and the teacher's head behind them."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from paddle.nn import functional as F
from sides import side

from ppkd.config import load_config
from ppkd.distill import DistillModel, FrozenTeacher, Progress
from ppkd.distill.losses import LD, ClassKD, CrossKD, KDQualityFocalLoss
from ppkd.distill.losses.crosskd import with_statistics_of
from ppkd.models import build_detector
from ppkd.structures import DetectorSpec, Entry, LevelSpec
from ppkd.structures.boxes import paired_overlap
from ppkd.structures.truth import Truth
from ppkd.utils.errors import SpecError

FILES = {"GFL": "gfl_r18_160_shapes.yml", "RetinaNet": "retinanet_r18_160_shapes.yml"}
HEADS = {"GFL": "GFLHead", "RetinaNet": "RetinaHead"}
CLASSES, CHANNELS = 3, 16


@pytest.fixture(scope="module")
def detectors(root):
    def build(kind, seed, channels=CHANNELS, convs=3, **more):
        feat = f"{HEADS[kind]}.conv_feat"
        settings = {
            "num_classes": CLASSES,
            f"{kind}.backbone": "MobileNetV1",
            "MobileNetV1.scale": 0.125,
            "FPN.out_channel": channels,
            f"{feat}.feat_in": channels,
            f"{feat}.feat_out": channels,
            f"{feat}.num_convs": convs,
            f"{feat}.norm_type": "bn",
            f"{HEADS[kind]}.prior_prob": 0.2,
            **more,
        }
        paddle.seed(seed)
        overrides = [f"{key}={value}" for key, value in settings.items()]
        built = build_detector(load_config(root / "configs" / "shapes" / FILES[kind], overrides))
        for name, parameter in built.head.named_parameters():
            if parameter.ndim == 4:
                parameter.set_value(parameter * (20.0 if "head" in name.split(".")[-2] else 5.0))
        return built

    return build


def sample(images=2, size=96):
    rng = np.random.default_rng(0)
    boxes = np.float32([[8, 8, 60, 50], [30, 20, 90, 92]])
    return {
        "image": paddle.to_tensor(rng.standard_normal((images, 3, size, size)).astype("float32")),
        "im_shape": paddle.full([images, 2], float(size)),
        "scale_factor": paddle.ones([images, 2]),
        "gt_bbox": [paddle.to_tensor(boxes[: 2 - i]) for i in range(images)],
        "gt_class": [paddle.arange(2 - i) for i in range(images)],
    }


def pair(student, teacher):
    """The sides of a batch and its boxes, as a distillation model hands them over."""
    batch = sample()
    record, truth = student.extract(batch), Truth.of(batch)
    teacher_record = FrozenTeacher(teacher)(batch, like=record)
    return side(record, student, student.assign(record, truth)), side(teacher_record, teacher), truth, Progress()


def plain_features(student, teacher):
    """The paper's alignment: each channel to zero mean and unit deviation, then to the teacher's."""
    rows = [level.squeeze(1).transpose([1, 0, 2, 3]).flatten(1) for level in (student, teacher)]
    (mean, std), (wanted_mean, wanted_std) = ((one.mean(1, keepdim=True), one.std(1, keepdim=True)) for one in rows)
    aligned = (rows[0] - mean) / (std + 1e-6) * wanted_std + wanted_mean
    images, _, channels, height, width = student.shape
    return aligned.reshape([channels, images, height, width]).transpose([1, 0, 2, 3])


def plain_head(kind, detector, level, student, teacher):
    """The teacher's head from its last tower convolution on, for one level of the student's features."""
    head, towers = detector.head, detector.head.conv_feat
    ends = []
    for name in ("cls", "box"):
        x = plain_features(student[f"{name}_features"][level], teacher[f"{name}_features"][level])
        last = getattr(towers, (towers.cls_tower if name == "cls" else towers.reg_tower)[-1])
        ends.append(F.relu(last(F.relu(x))))
    if kind == "GFL":
        scale = getattr(head, head.scales[level])
        return head.gfl_head_cls(ends[0]), scale(head.gfl_head_reg(ends[1]))
    return head.retina_cls(ends[0]), head.retina_reg(ends[1])


def rows_of(raw, numbers):
    """[N, A * numbers, H, W] to one row for each anchor."""
    return raw.transpose([0, 2, 3, 1]).reshape([-1, numbers])


def plain_classes(student, teacher, counted):
    p, t = F.sigmoid(student), F.sigmoid(teacher)
    error = -(t * paddle.log(p) + (1 - t) * paddle.log(1 - p)) * (t - p).abs()
    return (error.sum(axis=1) * counted).sum()


def plain_giou(student, teacher):
    shared, union = paired_overlap(student, teacher)
    low, high = paddle.minimum(student[:, :2], teacher[:, :2]), paddle.maximum(student[:, 2:], teacher[:, 2:])
    around = (high - low).prod(axis=1)
    return 1 - shared / union + (around - union) / around


def plain_loss(kind, detector, student, teacher, targets):
    """Level by level, as the authors' code goes."""
    classes = boxes = weights = 0.0
    sizes = [level.shape[1] * level.shape[3] * level.shape[4] for level in teacher.cls_logits]
    counted = [(labels >= 0).astype("float32").flatten() for labels in targets.labels.split(sizes, axis=1)]
    numbers = teacher.box_dist if kind == "GFL" else teacher.box_deltas
    decoded = detector.boxes(teacher)
    for i, logits in enumerate(teacher.cls_logits):
        cls, box = plain_head(kind, detector, i, student, teacher)
        wanted = rows_of(logits.flatten(1, 2), CLASSES)
        classes = classes + plain_classes(rows_of(cls, CLASSES), wanted, counted[i])
        weight = F.sigmoid(wanted.max(axis=1)) * counted[i]
        if kind == "GFL":
            bins = box.shape[1] // 4
            p, t = (F.softmax(rows_of(one, bins), axis=1) for one in (box, numbers[i].squeeze(1)))
            divergence = (t * (paddle.log(t) - paddle.log(p))).sum(axis=1)
            boxes = boxes + (divergence * weight.repeat_interleave(4)).sum() / 4
            weights = weights + weight.sum()
        else:
            anchors = detector.head.anchor_generator(teacher.cls_logits)[i]
            moved = decode(rows_of(box, 4), anchors.tile([student.neck[0].shape[0], 1]))
            boxes = boxes + (plain_giou(moved, decoded[i].flatten(0, 1)) * weight).sum()
    positives = targets.positive.sum(axis=1).clip(min=1).sum()
    return classes / positives + (4 * boxes / weights if kind == "GFL" else boxes / positives)


def decode(deltas, anchors):
    size = anchors[:, 2:] - anchors[:, :2]
    centre = anchors[:, :2] + size / 2 + deltas[:, :2] * size
    half = deltas[:, 2:].exp() * size / 2
    return paddle.concat([centre - half, centre + half], axis=1)


@pytest.mark.parametrize("kind", FILES)
def test_loss_and_gradient_are_those_of_the_plain_formulas(detectors, kind):
    student, teacher = detectors(kind, 0), detectors(kind, 1)
    own, taught, truth, progress = pair(student, teacher)
    features = [*own.record.cls_features, *own.record.box_features]
    value = CrossKD(student.spec(), teacher.spec())(own, taught, truth, progress)
    expected = plain_loss(kind, teacher, own.record, taught.record, own.targets)
    assert value.item() == pytest.approx(expected.item(), rel=1e-4)
    assert value.item() > 0.05
    found, wanted = (paddle.grad(one, features, retain_graph=True) for one in (value, expected))
    scale = max(np.abs(other.numpy()).max() for other in wanted)
    assert scale > 0
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-3, atol=1e-4 * scale)


@pytest.mark.parametrize("kind", FILES)
def test_the_teachers_head_on_its_own_features_is_the_teacher(detectors, kind):
    teacher = detectors(kind, 0)
    frozen = FrozenTeacher(teacher)
    record = frozen(sample(), like=None)
    again = teacher.complete(record)
    for name in record.spec.entries:
        for one, other in zip(record[name], again[name], strict=True):
            np.testing.assert_array_equal(one.numpy(), other.numpy(), err_msg=name)


@pytest.mark.parametrize("kind", FILES)
def test_a_student_that_equals_the_teacher_has_nothing_to_learn(detectors, kind):
    student, teacher, other = detectors(kind, 0), detectors(kind, 0), detectors(kind, 1)
    student.eval()
    loss = CrossKD(student.spec(), teacher.spec())
    same, different = (loss(*pair(student, one)).item() for one in (teacher, other))
    assert 0 <= same < 1e-3 * different


def test_class_labels_that_are_met_have_no_gradient():
    logits = paddle.to_tensor([[0.5, -2.0], [3.0, 0.1]], stop_gradient=False)
    value = KDQualityFocalLoss()(logits, logits.detach(), paddle.ones([2]))
    value.backward()
    assert value.item() == 0
    np.testing.assert_array_equal(logits.grad.numpy(), 0)
    assert KDQualityFocalLoss()(logits, logits.detach() + 1).item() > 0


def test_class_labels_get_no_gradient():
    logits, labels = (paddle.to_tensor([[0.5, -2.0]], stop_gradient=False) * factor for factor in (1, 2))
    logits.retain_grads(), labels.retain_grads()
    KDQualityFocalLoss()(logits, labels).backward()
    assert logits.grad.abs().min().item() > 0
    assert labels.grad is None


@pytest.mark.parametrize("kind", FILES)
def test_a_teacher_whose_record_has_a_gradient_gets_none(detectors, kind):
    student, teacher = detectors(kind, 0), detectors(kind, 1)
    own, taught, truth, progress = pair(student, teacher)
    leaves = [level for levels in taught.record.tensors.values() for level in levels]
    for leaf in leaves:
        leaf.stop_gradient = False
    CrossKD(student.spec(), teacher.spec())(own, taught, truth, progress).backward()
    assert any(parameter.grad is not None for parameter in student.parameters())
    assert all(leaf.grad is None for leaf in leaves)


@pytest.mark.parametrize("kind", FILES)
def test_the_student_learns_up_to_its_towers_and_the_teacher_stays_as_it_was(detectors, kind):
    """Its own last convolutions get nothing from the teacher: they answer to the boxes alone."""
    student, teacher = detectors(kind, 0), detectors(kind, 1)
    student.train()
    loss = CrossKD(student.spec(), teacher.spec())
    model = DistillModel(student, FrozenTeacher(teacher, loss.consumes), {"kd": loss})
    model.train()
    mark = model.teachers["teacher"].fingerprint()
    optimizer = paddle.optimizer.SGD(1e-3, parameters=model.parameters())
    for _ in range(2):
        model(sample())["kd"].backward()
        reached = {n for n, p in student.named_parameters() if p.grad is not None and p.grad.abs().max().item() > 0}
        optimizer.step()
        optimizer.clear_grad()
    last = (student.head.conv_feat.cls_tower[-1], student.head.conv_feat.reg_tower[-1])
    heads = {name for name in reached if name.startswith("head.")}
    assert heads
    assert all(name.startswith("head.conv_feat.") and name.split(".")[2] not in last for name in heads)
    assert any(name.startswith("backbone.conv1") for name in reached)
    assert any(name.startswith("neck.") for name in reached)
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert model.teachers["teacher"].fingerprint() == mark


def test_features_get_the_means_and_deviations_of_the_teachers():
    paddle.seed(0)
    model, feature = 3 * paddle.randn([2, 4, 5, 6]) + 2, paddle.randn([2, 4, 5, 6])
    aligned = with_statistics_of(model, feature)
    for statistic in (paddle.mean, paddle.std):
        np.testing.assert_allclose(
            statistic(aligned, axis=[0, 2, 3]).numpy(), statistic(model, axis=[0, 2, 3]).numpy(), rtol=1e-5
        )


def test_towers_of_other_widths_and_depths_are_aligned_by_what_trains(detectors):
    student, teacher = detectors("RetinaNet", 0, channels=8, convs=1), detectors("GFL", 1)
    loss = CrossKD(student.spec(), teacher.spec())
    value = loss(*pair(student, teacher))
    value.backward()
    assert value.item() > 0
    assert [list(parameter.shape) for parameter in loss.parameters()] == [[CHANNELS, 8, 1, 1]] * 2
    assert all(parameter.grad.abs().max().item() > 0 for parameter in loss.parameters())


def test_levels_that_the_student_lacks_add_nothing(detectors):
    """The loss on three common levels does not depend on what the teacher says on its fourth and fifth."""
    fewer = {"FPN.extra_stage": 0, "FPN.has_extra_convs": "false", "GFLHead.fpn_stride": "[8,16,32]"}
    student, teacher = detectors("GFL", 0, **fewer), detectors("GFL", 1)
    own, taught, truth, progress = pair(student, teacher)
    loss = CrossKD(student.spec(), teacher.spec())
    value = loss(own, taught, truth, progress)
    record = taught.record
    for level in (*record.cls_logits[3:], *record.cls_features[3:], *record.box_features[3:]):
        level.set_value(level * 0.5 + 1.0)
    assert value.item() > 0
    assert loss(own, taught, truth, progress).item() == pytest.approx(value.item(), rel=1e-6)


def test_version_2_of_gfl_learns_by_localisation_and_across_heads(detectors):
    second = {"GFLHead.dgqp_module": "DGQP", "GFLHead.loss_qfl.use_sigmoid": "false"}
    student, teacher = detectors("GFL", 0, **second), detectors("GFL", 1, **second)
    specs = student.spec(), teacher.spec()
    losses = {"ld": LD(*specs), "class": ClassKD(*specs), "across": CrossKD(*specs)}
    model = DistillModel(student, FrozenTeacher(teacher), losses)
    mark = model.teachers["teacher"].fingerprint()
    terms = model(sample())
    assert all(terms[name].item() > 0 for name in losses)
    terms["loss"].backward()
    assert student.head.dgqp_module.reg_conv1.weight.grad.abs().max().item() > 0
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert model.teachers["teacher"].fingerprint() == mark


def dense(coding="distances", abilities=("assign", "boxes", "complete"), towers=(CHANNELS, CHANNELS), without=()):
    """What an FCOS would say of itself: distances to the sides, and centreness."""

    def levels(numbers):
        return tuple(LevelSpec(count, stride) for count, stride in zip(numbers, (8, 16), strict=True))

    entries = {
        "cls_logits": Entry("class", "grid", levels((CLASSES, CLASSES)), activation="sigmoid"),
        "box_distances": Entry("box", "grid", levels((4, 4)), coding=coding),
        "centreness": Entry("quality", "grid", levels((1, 1)), activation="sigmoid"),
        "cls_features": Entry("feature", "grid", levels(towers)),
        "box_features": Entry("feature", "grid", levels(towers)),
    }
    kept = {name: entry for name, entry in entries.items() if name not in without}
    return DetectorSpec("FCOS", CLASSES, kept, frozenset(abilities))


@pytest.mark.parametrize(("coding", "weight"), [("distribution", 4.0), ("deltas", 1.0), ("distances", 1.0)])
def test_the_published_weight_of_boxes_follows_their_coding(coding, weight):
    assert CrossKD(dense(coding), dense(coding)).box_weight == weight
    assert CrossKD(dense(coding), dense(coding), box_weight=2.5).box_weight == 2.5


@pytest.mark.parametrize(
    ("teacher", "words"),
    [
        (dense(without=["cls_features"]), r"CrossKD consumes .* it lacks \['cls_features'\]"),
        (dense(without=["box_distances"]), "CrossKD reads an entry of the role box on a grid, but FCOS records"),
        (dense(abilities=["assign", "boxes"]), "CrossKD needs complete of FCOS"),
        (dense(abilities=["assign", "complete"]), "CrossKD needs boxes of FCOS"),
    ],
)
def test_a_teacher_whose_head_cannot_go_on_is_refused(teacher, words):
    with pytest.raises(SpecError, match=words):
        CrossKD(dense(), teacher)


def test_a_student_with_other_places_needs_no_assignment_and_a_teacher_with_distributions_no_boxes():
    teacher = dense("distribution", abilities=["assign", "complete"])
    assert CrossKD(dense(without=["cls_logits"], abilities=[]), teacher).needs.student == ()
    with pytest.raises(SpecError, match="CrossKD needs assign of FCOS"):
        CrossKD(dense(abilities=[]), teacher)
