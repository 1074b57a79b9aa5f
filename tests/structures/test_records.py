"""Records hold the tensors of their spec's entries and are cut, thinned and completed as values."""

from __future__ import annotations

import dataclasses

import numpy as np
import paddle
import pytest

from ppkd.structures import NO_STRIDE, DetectorSpec, Entry, LevelSpec, Record, best_scores, scores
from ppkd.structures.truth import Truth
from ppkd.utils.errors import SpecError

GRID = (LevelSpec(2, 8), LevelSpec(2, 16))
ENTRIES = {
    "neck": Entry("feature", "grid", GRID),
    "cls_logits": Entry("class", "grid", GRID, activation="sigmoid"),
    "cls_features": Entry("feature", "grid", GRID),
    "proposals": Entry.rows("box", 4, coding="corners"),
    "stages": Entry.rows("class", 2, stages=3, activation="sigmoid"),
}
SPEC = DetectorSpec("Toy", 2, ENTRIES, frozenset({"boxes", "scores"}))


def numbered(images=3):
    """A record whose tensors tell image and level: image + 10 * level."""

    def level(i, shape):
        return (
            paddle.arange(images, dtype="float32").reshape([-1] + [1] * (len(shape))).expand([images, *shape]) + 10 * i
        )

    grid = [level(i, (1, 2, 4 // (i + 1), 4 // (i + 1))) for i in range(2)]
    tensors = dict.fromkeys(("neck", "cls_logits", "cls_features"), grid)
    rows = {"proposals": [level(0, (2, 4))], "stages": [level(i, (2, 2)) for i in range(3)]}
    real = paddle.to_tensor([[True, True], [False, False], [True, False]])[:images]
    return Record(SPEC, {**tensors, **rows}, real)


def test_entries_are_in_the_order_of_the_spec_and_found_by_role():
    assert tuple(SPEC.entries) == ("neck", "cls_logits", "cls_features", "proposals", "stages")
    assert SPEC.of("class") == ("cls_logits", "stages")
    assert SPEC.of("feature", "class", kind="grid") == ("neck", "cls_logits", "cls_features")
    assert ENTRIES["neck"].strides == (8, 16)
    assert ENTRIES["stages"].strides == (NO_STRIDE,) * 3


def test_an_entry_is_an_attribute_and_the_only_tensor_of_single_rows():
    record = numbered()
    assert record.cls_logits is record["cls_logits"]
    assert record.proposals is record["proposals"][0]
    assert [stage.shape for stage in record.stages] == [[3, 2, 2]] * 3
    with pytest.raises(AttributeError, match="without the entry box_dist"):
        _ = record.box_dist


def test_a_record_holds_what_its_spec_says_and_cannot_be_changed():
    with pytest.raises(ValueError, match=r"Toy records \['cls_features', .*, but the tensors are \['neck'\]"):
        Record(SPEC, {"neck": []})
    with pytest.raises(dataclasses.FrozenInstanceError):
        numbered().real = None


def test_images_keeps_the_chosen_ones_in_order_with_their_real_rows():
    cut = numbered().images(paddle.to_tensor([2, 0]))
    assert cut.spec == SPEC
    assert cut.cls_logits[1][:, 0, 0, 0, 0].tolist() == [12, 10]
    assert cut.stages[2][:, 1, 0].tolist() == [22, 20]
    assert cut.real.tolist() == [[True, False], [True, True]]


def test_only_cuts_record_and_spec_alike():
    record = numbered()
    cut = record.only({"proposals", "neck"})
    assert list(cut.tensors) == list(cut.spec.entries) == ["neck", "proposals"]
    assert cut.spec.abilities == SPEC.abilities
    assert cut.real is record.real
    assert cut.proposals is record.proposals
    assert record.only(ENTRIES) is record


def test_features_that_nobody_reads_are_left_out():
    record = numbered()
    cut = record.thinned({"cls_features"})
    assert list(cut.tensors) == ["cls_logits", "cls_features", "proposals", "stages"]
    assert list(record.thinned(()).tensors) == ["cls_logits", "proposals", "stages"]
    assert record.thinned(ENTRIES) is record


def test_replaced_changes_these_entries_alone():
    record = numbered()
    other = record.replaced({"proposals": [record.proposals + 1]})
    np.testing.assert_array_equal(other.proposals.numpy(), record.proposals.numpy() + 1)
    assert other.stages is record.stages
    assert other.real is record.real
    assert record.proposals[0, 0, 0].item() == 0


def test_the_size_of_the_input_stays_whatever_is_cut():
    record = dataclasses.replace(numbered(), size=paddle.to_tensor([32, 48]))
    cuts = [record.images(paddle.to_tensor([1])), record.only({"neck"}), record.map(paddle.abs), record.replaced({})]
    assert all(cut.size is record.size for cut in cuts)


def test_map_reaches_every_tensor():
    doubled = numbered().map(lambda tensor: tensor * 2)
    assert doubled.real.tolist() == numbered().real.tolist()
    for name, tensors in numbered().tensors.items():
        for found, tensor in zip(doubled[name], tensors, strict=True):
            np.testing.assert_array_equal(found.numpy(), 2 * tensor.numpy())


def grid_record(activation, qualities=()):
    """Logits 0, 1, -2 of one cell, and the given qualities as (activation, raw number)."""
    one = (LevelSpec(3, 8),)
    entries = {"cls_logits": Entry("class", "grid", one, activation=activation)}
    tensors = {"cls_logits": [paddle.to_tensor([0.0, 1.0, -2.0]).reshape([1, 1, 3, 1, 1])]}
    for i, (kind, raw) in enumerate(qualities):
        entries[f"quality{i}"] = Entry("quality", "grid", (LevelSpec(1, 8),), activation=kind)
        tensors[f"quality{i}"] = [paddle.full([1, 1, 1, 1, 1], raw)]
    return Record(DetectorSpec("Toy", 3, entries), tensors)


SIGMOIDS = np.float32([1 / 2, 1 / (1 + np.exp(-1)), 1 / (1 + np.exp(2))])


@pytest.mark.parametrize(
    ("qualities", "factor"),
    [
        ((), 1.0),
        ((("none", 0.5),), 0.5),
        ((("sigmoid", 1.0),), 1 / (1 + np.exp(-1))),
        ((("sigmoid", 1.0), ("none", 0.5)), 0.5 / (1 + np.exp(-1))),
    ],
)
def test_scores_are_what_ranks_the_detections(qualities, factor):
    """Probabilities of classes, times the quality or the objectness where there is one."""
    record = grid_record("sigmoid", qualities)
    np.testing.assert_allclose(scores(record)[0].flatten().numpy(), factor * SIGMOIDS, rtol=1e-6)
    np.testing.assert_allclose(best_scores(record)[0].numpy().ravel(), [factor * SIGMOIDS.max()], rtol=1e-6)


def test_scores_of_a_softmax_leave_the_background_out():
    logits = np.float32([[[0, 1, -2], [1, 1, 5]]])
    spec = DetectorSpec("Toy", 2, {"roi_logits": Entry.rows("class", 3, activation="softmax")})
    record = Record(spec, {"roi_logits": [paddle.to_tensor(logits)]})
    expected = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    np.testing.assert_allclose(scores(record)[0].numpy(), expected[..., :2], rtol=1e-6)
    best = best_scores(record)[0]
    assert best.shape == [1, 2, 1]
    np.testing.assert_allclose(best.numpy(), expected[..., :2].max(-1, keepdims=True), rtol=1e-6)


def test_a_quality_of_the_grid_does_not_rate_rows():
    entries = {
        "roi_logits": Entry.rows("class", 1, activation="sigmoid"),
        "rpn_logits": Entry("quality", "grid", (LevelSpec(1, 8),), activation="sigmoid"),
    }
    tensors = {"roi_logits": [paddle.zeros([1, 2, 1])], "rpn_logits": [paddle.zeros([1, 1, 1, 2, 2])]}
    assert scores(Record(DetectorSpec("Toy", 1, entries), tensors))[0].flatten().tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("names", "kind", "words"),
    [
        (["box_dist"], None, r"LD consumes \['box_dist'\], but Toy records .*: it lacks \['box_dist'\]"),
        (["neck", "stages"], "grid", r"LD compares cell by cell, but Toy records \['stages'\] as rows\. Choose among"),
        (
            ["neck"],
            "rows",
            r"LD compares row by row, but Toy records \['neck'\] as a grid\. .*\['proposals', 'stages'\]",
        ),
    ],
)
def test_a_spec_names_both_sides_of_a_mismatch(names, kind, words):
    with pytest.raises(SpecError, match=words) as error:
        SPEC.require(names, "LD", kind=kind)
    assert "\n" not in str(error.value)


def test_a_spec_requires_what_it_has_and_names_abilities_that_are_missing():
    with pytest.raises(SpecError, match="CrossKD needs assign, complete of Toy, which offers boxes, scores: choose"):
        SPEC.require_abilities(["complete", "boxes", "assign"], "CrossKD")
    with pytest.raises(SpecError, match="which offers nothing but its record"):
        DetectorSpec("Bare", 1, {}).require_abilities(["boxes"], "LD")


def test_truth_pads_boxes_and_counts_those_with_an_area():
    batch = {
        "gt_bbox": [paddle.to_tensor([[0.0, 0, 4, 4], [3, 3, 3, 9]]), paddle.zeros([0, 4])],
        "gt_class": [paddle.to_tensor([2, 1]), paddle.zeros([0], "int64")],
        "gt_score": [paddle.to_tensor([0.5, 1.0]), paddle.zeros([0])],
    }
    truth = Truth.of(batch)
    assert truth.real.tolist() == [[True, False], [False, False]]
    assert truth.scores.tolist() == [[0.5, 0.0], [0.0, 0.0]]
    assert truth.labels.tolist() == [[2, 1], [0, 0]]
    assert truth.boxes[1].abs().sum().item() == 0
    with pytest.raises(ValueError, match="no im_shape"):
        _ = truth.image_shape
    assert Truth.of({"image": paddle.zeros([2, 3, 8, 8])}).real.tolist() == [[False], [False]]


def test_truth_around_boxes_has_a_single_class():
    truth = Truth.around(paddle.to_tensor([[[0.0, 0, 2, 2], [0, 0, 0, 0]]]))
    assert truth.labels.tolist() == [[0, 0]]
    assert truth.real.tolist() == [[True, False]]
