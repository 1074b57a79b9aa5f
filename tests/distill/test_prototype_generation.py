"""From a training set to prototypes: which boxes are instances, whose features they have, what boxes weigh then."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import paddle
import pytest
from paddle.nn import functional as F
from sides import side
from toy import ToyDetector

from ppkd.data.annotation import Annotation
from ppkd.data.training_set import TrainingSet
from ppkd.distill import DistillModel, FrozenTeacher, Progress
from ppkd.distill.losses.global_knowledge import GlobalKnowledge
from ppkd.distill.losses.global_knowledge.prototypes.bank import PrototypeBank
from ppkd.distill.losses.global_knowledge.prototypes.instances import find_instances
from ppkd.distill.losses.global_knowledge.prototypes.selection import select
from ppkd.distill.losses.global_knowledge.prototypes.settings import PrototypeSettings
from ppkd.report.prototypes import draw_prototypes, find_prototypes
from ppkd.structures.truth import Truth
from ppkd.utils.errors import DataError, SpecError

LIMITS = {"min_side": 4.0, "max_images": 800, "max_instances": 20000, "seed": 1}
NAMES = ("disk", "box", "rare")


def annotation(number, boxes, labels, crowd=None):
    count = len(labels)
    box = np.array(boxes, np.float32).reshape(-1, 4)
    flags = np.array(crowd or [0] * count, np.int64)
    return Annotation(Path(f"{number}.png"), number, 32, 32, box, np.array(labels, np.int64), flags, flags * 0)


def annotations(images=12, seed=0):
    """Images with three boxes each, of the first two classes; ids do not start at 0."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(images):
        low = rng.uniform(0, 16, (3, 2))
        corners = np.concatenate([low, low + rng.uniform(6, 15, (3, 2))], axis=1)
        found.append(annotation(100 + number, corners, rng.integers(2, size=3)))
    return found


def test_instances_are_large_and_no_crowd():
    one = annotation(1, [[0, 0, 5, 5], [0, 0, 4, 9], [0, 0, 9, 9], [1, 1, 6, 8]], [0, 0, 1, 2], [0, 0, 1, 0])
    found = find_instances([one, Annotation.bare(Path("x"), 2), one], **LIMITS)
    assert found.image.tolist() == [0, 0, 2, 2]
    assert found.label.tolist() == [0, 2, 0, 2]
    assert found.box[1].tolist() == [1, 1, 6, 8]
    assert [found.of(image) for image in range(3)] == [slice(0, 2), slice(2, 2), slice(2, 4)]
    assert len(find_instances([], **LIMITS)) == 0


def test_the_same_images_and_instances_are_drawn_again():
    many = annotations(40)
    few = find_instances(many, **{**LIMITS, "max_images": 7})
    for label in (0, 1):
        images = np.unique(few.image[few.label == label])
        assert len(images) == 7
        everything = sum((many[image].gt_class == label).sum() for image in images)
        assert everything == (few.label == label).sum()
    again = find_instances(many, **{**LIMITS, "max_images": 7})
    other = find_instances(many, **{**LIMITS, "max_images": 7, "seed": 2})
    assert np.array_equal(few.image, again.image) and not np.array_equal(few.image, other.image)
    capped = find_instances(many, **{**LIMITS, "max_instances": 5})
    assert np.bincount(capped.label).tolist() == [5, 5]
    assert (np.diff(capped.image) >= 0).all()


class Images:
    """A training set of noise images at twice their size, in batches of two; some files cannot be read."""

    def __init__(self, found, folder=None, broken=()):
        self.found, self.broken, self.asked = found, broken, []
        self.set = TrainingSet(found, NAMES, self.batches, folder)

    def image(self, number):
        rng = np.random.default_rng(number)
        return rng.standard_normal((3, 64, 64)).astype("float32")

    def batches(self, indices):
        self.asked.append(list(indices))
        numbers = [self.found[i].im_id for i in indices if self.found[i].im_id not in self.broken]
        for first in range(0, len(numbers), 2):
            part = numbers[first : first + 2]
            yield {
                "image": paddle.to_tensor(np.stack([self.image(number) for number in part])),
                "im_id": paddle.to_tensor([[number] for number in part]),
                "scale_factor": paddle.full([len(part), 2], 2.0),
            }


def distiller(**settings):
    paddle.seed(0)
    student, teacher = ToyDetector(), ToyDetector(channels=6)
    how = PrototypeSettings(**{"count": 3, "min_side": 4, **settings})
    loss = GlobalKnowledge(student.spec(), teacher.spec(), soft_label=0.0, prototypes=how)
    return DistillModel(student, FrozenTeacher(teacher, loss.consumes), {"gk": loss})


def expected(model, images, label, level):
    """The features of a class on a level, 0 the finest, instance by instance."""
    rows = []
    stride = (4, 8)[level]
    for one in images.found:
        if one.im_id in images.broken:
            continue
        batch = {"image": paddle.to_tensor(images.image(one.im_id)).unsqueeze(0)}
        maps = [net.features(batch)[level][0].numpy() for net in (model.student, model.teachers["teacher"].detector)]
        for box in one.gt_bbox[one.gt_class == label] * 2:
            x1, y1, x2, y2 = (int(side) for side in box / stride)
            rows.append([feature[:, y1 : y2 + 1, x1 : x2 + 1].mean(axis=(1, 2)) for feature in maps])
    return [np.stack(side) for side in zip(*rows, strict=True)]


@pytest.mark.parametrize("broken", [(), (103, 104)])
def test_prototypes_are_the_features_of_chosen_instances(broken):
    model, images = distiller(), Images(annotations(), broken=broken)
    model.train()
    model.prepare(0, images.set)
    assert model.student.norm.training
    model.eval()
    bank = model.losses["gk"].bank
    assert bank.numbers.tolist() == [[3, 3, 0], [3, 3, 0]]
    for level in range(2):
        for label in range(2):
            sides = expected(model, images, label, level)
            chosen = select(*(paddle.to_tensor(rows) for rows in sides), PrototypeSettings(count=3))
            for name, rows in zip(("student", "teacher"), sides, strict=True):
                found = getattr(bank, f"{name}_{level}")[label].numpy()
                np.testing.assert_allclose(found, rows[chosen], rtol=1e-4, atol=1e-5)


def test_the_teacher_is_asked_once_and_the_student_every_time(monkeypatch):
    model, images = distiller(every=2), Images(annotations())
    assert [model.due(epoch) for epoch in range(4)] == [True, False, True, False]
    model.prepare(0, images.set)
    before = {name: tensor.numpy() for name, tensor in model.losses["gk"].bank.state_dict().items()}
    monkeypatch.setattr(
        model.teachers["teacher"].detector, "features", lambda batch: pytest.fail("the teacher was asked again")
    )
    for level in model.student.neck:
        level.weight.set_value(level.weight.flip(0))
    model.prepare(2, images.set)
    after = model.losses["gk"].bank.state_dict()
    assert not np.array_equal(before["student_0"], after["student_0"].numpy())
    assert images.asked[0] == images.asked[1] == list(range(12))


def test_a_set_without_instances_leaves_every_box_at_weight_1(caplog):
    model = distiller(min_side=100.0)
    images = Images(annotations())
    with caplog.at_level("WARNING", logger="ppkd"):
        model.prepare(0, images.set)
    assert not images.asked
    assert model.losses["gk"].bank.numbers.sum().item() == 0


def test_weights_of_boxes_compare_the_best_cosines_with_their_own_class():
    paddle.seed(0)
    bank = PrototypeBank(3, 4, [(5, 7)])
    ours, theirs = paddle.randn([2, 6, 5]), paddle.randn([2, 6, 7])
    labels = paddle.to_tensor([[0, 1, 2, 3, -1, 0], [2, 2, 1, 1, 0, 0]])
    assert (bank.weights(0, ours, theirs, labels) == 1).all().item()
    for label, count in ((0, 4), (1, 2)):
        bank.fill(0, label, paddle.randn([count, 5]), paddle.randn([count, 7]))
    found = bank.weights(0, ours, theirs, labels).numpy()
    for image in range(2):
        for box, label in enumerate(labels[image].tolist()):
            if label not in (0, 1):
                continue
            count = (4, 2)[label]
            best = [
                F.cosine_similarity(side[image, box].unsqueeze(0), rows[label, :count]).max().item()
                for side, rows in ((ours, bank.student_0), (theirs, bank.teacher_0))
            ]
            assert found[image, box] == pytest.approx(1 - abs(best[0] - best[1]), abs=1e-5)
    assert (found[labels.numpy() == 2] == 1).all()


@pytest.mark.parametrize("relation", ["prototypes", "rkd"])
@pytest.mark.parametrize("boxes", [0, 1])
def test_relations_are_finite_with_a_box_or_none(relation, boxes):
    paddle.seed(0)
    student, teacher = ToyDetector(), ToyDetector(channels=6)
    loss = GlobalKnowledge(student.spec(), teacher.spec(), soft_label=0.0, relation=relation)
    batch = {
        "image": paddle.randn([1, 3, 16, 16]),
        "gt_bbox": [paddle.to_tensor([[2.0, 2.0, 12.0, 9.0]] * boxes).reshape([-1, 4])],
        "gt_class": [paddle.zeros([boxes], dtype="int64")],
    }
    sides = side(student.extract(batch), student), side(teacher.extract(batch), teacher)
    value = loss(*sides, Truth.of(batch), Progress())
    value.backward()
    assert np.isfinite(value.item())
    assert all(np.isfinite(p.grad.numpy()).all() for p in student.parameters() if p.grad is not None)


def test_yolo_has_no_soft_labels():
    spec = ToyDetector().spec()
    with pytest.raises(SpecError, match=r"GlobalKnowledge has no soft labels for Toy.*soft_label: 0"):
        GlobalKnowledge(spec, spec)


def test_point_and_relation_fade_from_epoch_to_epoch():
    spec = ToyDetector().spec()
    loss = GlobalKnowledge(spec, spec, soft_label=0.0, fade_epochs=4)
    assert [loss.fade(epoch) for epoch in (0, 0.9, 1.0, 3.5, 4.0, 5.0)] == [1, 1, 0.75, 0.25, 0, 0]


@pytest.mark.parametrize("wrong", [{"every": 0}, {"count": 0}, {"quantile": 1.0}, {"sigma": 0.0}, {"max_images": 0}])
def test_senseless_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        PrototypeSettings(**wrong)


def test_chosen_instances_can_be_looked_at(tmp_path):
    import cv2

    found = annotations(6)
    for i, one in enumerate(found):
        picture = np.full((32, 32, 3), 40 * i, np.uint8)
        cv2.imwrite(str(tmp_path / one.file.name), picture)
        found[i] = annotation(one.im_id, one.gt_bbox, one.gt_class)
        object.__setattr__(found[i], "file", tmp_path / one.file.name)
    model = distiller()
    for epoch in (0, 10):
        model.prepare(epoch, Images(found, folder=tmp_path).set)
    (newest,) = find_prototypes(tmp_path)
    assert (newest.path.name, newest.strides, list(newest.classes)) == ("gk_epoch_10.json", [4, 8], ["disk", "box"])
    paths = draw_prototypes(newest)
    assert [path.name for path in paths] == ["gk_epoch_10_disk.jpg", "gk_epoch_10_box.jpg"]
    sheet = cv2.imread(str(paths[0]))
    chosen = newest.classes["disk"][0][0]
    shade = cv2.imread(chosen["image"])[0, 0, 0]
    assert abs(int(sheet[6, 56, 0]) - int(shade)) < 12
    assert find_prototypes(tmp_path, epoch=0)[0].path.name == "gk_epoch_0.json"
    with pytest.raises(DataError, match="no prototypes of epoch 3"):
        find_prototypes(tmp_path, epoch=3)
    with pytest.raises(DataError, match="no prototypes of 'disc'; did you mean 'disk'"):
        draw_prototypes(newest, ["disc"])
    newest.path.write_text("{}")
    with pytest.raises(DataError, match="not a list of prototypes"):
        find_prototypes(tmp_path)
