"""Rank mimicking against public code, and what must hold beyond its numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import paddle
import pytest
from loss_cases import assert_close, golden, leaf
from sides import side

from ppkd.config import load_config
from ppkd.distill import Progress
from ppkd.distill.build import build_losses, check_slim
from ppkd.distill.cells.answering import answering
from ppkd.distill.losses import RankMimicking, RankMimickingLoss
from ppkd.models.assigners.anchor_targets import AnchorTargets
from ppkd.models.postprocess.dense_decode import join_levels
from ppkd.structures import DetectorSpec, Entry, LevelSpec, Record
from ppkd.structures.truth import Truth

SLIM = Path(__file__).resolve().parents[2] / "slim/distill"
BOXES = [[10.0, 20.0, 60.0, 70.0], [6.0, 4.0, 122.0, 120.0]]


def spec(strides=(8, 16, 32), classes=3, anchors=2):
    levels = tuple(LevelSpec(classes, stride, anchors) for stride in strides)
    necks = tuple(LevelSpec(4, stride) for stride in strides)
    entries = {
        "neck": Entry("feature", "grid", necks),
        "cls_logits": Entry("class", "grid", levels, activation="sigmoid"),
    }
    return DetectorSpec("Some", classes, entries, frozenset({"assign"}))


def record(of, images=2, seed=0):
    paddle.seed(seed)
    levels = of.entries["cls_logits"].levels
    shapes = [[images, at.anchors, at.channels, 128 // at.stride, 128 // at.stride] for at in levels]
    return Record(of.only(["cls_logits"]), {"cls_logits": [leaf(paddle.randn(shape).numpy()) for shape in shapes]})


def truth(*counts):
    return Truth.of(
        {
            "gt_bbox": [paddle.to_tensor(BOXES)[:count] for count in counts],
            "gt_class": [paddle.to_tensor([2, 0])[:count] for count in counts],
        }
    )


def compare(loss, student, teacher, known, targets=None):
    """The loss of two records, with these targets of the student."""
    return loss(side(student, targets=targets), side(teacher), known, Progress())


def plain(student, teacher, owner, labels, to_score=lambda z: z):
    """The loss of logits [N, P, C] by loops; ``owner`` [N, P] is -1 where there is none."""
    images = []
    for n in range(len(student)):
        boxes = []
        for j in np.unique(owner[n][owner[n] >= 0]):
            s, t = (np.exp(to_score(x[n][owner[n] == j, labels[n, j]])) for x in (student, teacher))
            s, t = s / s.sum(), t / t.sum()
            boxes.append((t * np.log(t / s)).sum())
        images.append(np.mean(boxes) if boxes else 0.0)
    return np.mean(images)


@pytest.mark.parametrize("variant", ["first", "later"])
def test_values_and_gradients(variant):
    meta, arrays = golden("rankmimic_a")
    hyper = meta["hyper"]
    leaves, joined = {}, {}
    for of in "st":
        leaves[of] = [leaf(arrays[f"in.cls_{of}.{i}"]) for i in range(2)]
        shape = [2, hyper["num_anchors"], hyper["num_classes"]]
        joined[of] = join_levels([level.reshape([*shape, *level.shape[2:]]) for level in leaves[of]])
    owner = np.stack([arrays[f"in.gt_inds.{i}"] for i in range(2)]).astype("int64")
    labels = np.zeros([2, owner.max()], "int64")
    for image in range(2):
        found = owner[image] > 0
        labels[image, owner[image][found] - 1] = arrays[f"in.labels.{image}"][found]
    settings = {"score": "probabilities", "ordered": True} if variant == "later" else {}
    positive = paddle.to_tensor(owner > 0)
    box = paddle.to_tensor(np.maximum(owner - 1, 0))
    loss = RankMimickingLoss(**settings)(joined["s"], joined["t"], positive, box, paddle.to_tensor(labels))
    value = hyper["loss_weight"] * loss
    assert_close(value, arrays["out.loss" if variant == "first" else "out.loss_ae8fe9a0_sorted"], rtol=1e-5)
    value.backward()
    assert all(level.grad is None for level in leaves["t"])
    for i, level in enumerate(leaves["s"]):
        if variant == "first":
            assert_close(level.grad, arrays[f"grad.cls_s.{i}"], rtol=1e-4, atol=1e-6, message=f"level {i}")
        assert np.isfinite(level.grad.numpy()).all()


def assigned(of, owner):
    """Targets of anchors that belong to boxes ``owner`` [N, P], -1 for none."""
    owner = paddle.to_tensor(owner)
    positive = (owner >= 0).astype("float32")
    return AnchorTargets(labels=owner, positive=positive, deltas=positive, box=owner.clip(min=0))


@pytest.mark.parametrize("score", ["logits", "probabilities"])
def test_the_students_own_targets_say_which_places_answer(score):
    of = spec(strides=(16, 32))
    student, teacher = record(of), record(of, seed=1)
    places = join_levels(student.cls_logits).shape[1]
    owner = np.random.default_rng(0).integers(-8, 2, (2, places))
    owner[1] = np.minimum(owner[1], 0)
    owner = np.maximum(owner, -1)
    found = compare(RankMimicking(of, of, score=score), student, teacher, truth(2, 1), assigned(of, owner))
    rows = [join_levels(one.cls_logits).numpy().astype("float64") for one in (student, teacher)]
    to_score = (lambda z: z) if score == "logits" else (lambda z: 1 / (1 + np.exp(-z)))
    assert found.item() == pytest.approx(plain(*rows, owner, np.array([[2, 0], [2, 0]]), to_score), rel=1e-5)


def test_without_such_targets_atss_finds_cells_with_all_their_anchors():
    of = spec()
    student, known = record(of), truth(2, 1)
    strides = [8, 16, 32]
    both = answering(student.cls_logits, strides, side(student), known)
    one = answering([level[:, :1] for level in student.cls_logits], strides, side(student), known)
    for name in ("positive", "box"):
        first = getattr(one, name).numpy()
        np.testing.assert_array_equal(getattr(both, name).numpy(), first.repeat(2, axis=1))
    assert both.positive.any(axis=1).tolist() == [True, True]
    assert not answering(student.cls_logits, strides, side(student), truth(0, 0)).positive.any().item()


@pytest.mark.parametrize("settings", [{}, {"score": "probabilities", "ordered": True}])
def test_equal_ranks_cost_nothing_and_so_do_images_without_boxes(settings):
    of = spec()
    loss, student, teacher = RankMimicking(of, of, **settings), record(of), record(of, seed=1)
    same = compare(loss, student, record(of), truth(2, 1))
    same.backward()
    assert abs(same.item()) < 1e-6
    assert all(np.abs(level.grad.numpy()).max() < 1e-6 for level in student.cls_logits)
    full, half = (compare(loss, student, teacher, truth(*counts)).item() for counts in ((2, 2), (2, 0)))
    assert full > half > 0
    empty = compare(loss, student, teacher, truth(0, 0))
    assert empty.item() == 0
    empty.backward()


def test_scores_of_any_size_have_finite_gradients():
    of = spec()
    student = record(of)
    big = [leaf((1e4 * level).numpy()) for level in student.cls_logits]
    value = compare(RankMimicking(of, of), student.replaced({"cls_logits": big}), record(of, seed=1), truth(2, 1))
    value.backward()
    assert np.isfinite(value.item())
    assert all(np.isfinite(level.grad.numpy()).all() for level in big)


def test_levels_pair_by_stride():
    of, more = spec(), spec(strides=(4, 8, 16, 32))
    student, teacher = record(of), record(of, seed=1)
    value = compare(RankMimicking(of, of), student, teacher, truth(2, 1)).item()
    finest = record(more, seed=2)
    wider = finest.replaced({"cls_logits": [finest["cls_logits"][0], *teacher["cls_logits"]]})
    assert compare(RankMimicking(of, more), student, wider, truth(2, 1)).item() == pytest.approx(value, rel=1e-6)


def test_the_slim_file_is_the_published_setting(root):
    slim = load_config(str(SLIM / "rank_mimicking.yml"))
    check_slim(slim)
    assert (root / slim["teacher"]["config"]).is_file()
    built = build_losses(slim, spec(), spec())
    assert {name: loss.weight for name, loss in built.items()} == {"rank": 4.0, "pfi": 1.5}
    assert (built["rank"].formula.score, built["rank"].formula.ordered) == ("logits", False)
