"""Faster R-CNN computes what PaddleDetection computes, from the same weights and images, without random sampling.

On a pyramid, and without one (C4), where fewer proposals make the last stage's convolutions bearable.
The bounds are those of the dense detectors' parity: what an image that changes by one part in a million moves.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import paddle
import pytest
from parity_checks import assert_gradients, probe
from parity_fill import fill_model, load_case

from ppkd.config import load_config
from ppkd.models import build_detector

BOUND = 2e-5
LOSS_BOUND = 3e-6
GRADIENT_BOUND = 2e-5
FIRST_ONES = ["RPNHead.rpn_target_assign.use_random=false", "BBoxAssigner.use_random=false"]
FPN, C4 = "faster_rcnn_r50_fpn", "faster_rcnn_r50_c4"
CASES = {
    FPN: ("faster_rcnn_r50_fpn_1x_coco", FIRST_ONES),
    C4: (
        "faster_rcnn_r50_1x_coco",
        [
            *FIRST_ONES,
            "RPNHead.test_proposal.post_nms_top_n=16",
            "RPNHead.train_proposal.post_nms_top_n=30",
            "BBoxAssigner.batch_size_per_im=12",
        ],
    ),
}
THREADS = 1


@pytest.fixture(scope="module", params=[FPN, pytest.param(C4, marks=pytest.mark.slow)])
def reference(request):
    return load_case(request.param)


@pytest.fixture(scope="module")
def model(root, reference):
    settings = reference[0]
    name, overrides = CASES[settings["case"]]
    built = build_detector(load_config(root / "configs" / "faster_rcnn" / f"{name}.yml", overrides))
    fill_model(built, settings["fill_rules"], settings["kept_initial"])
    return built


@pytest.fixture(scope="module")
def batch(batches, reference):
    return batches(*reference[0]["input_hw"], reference[0]["gt_counts"], reference[0]["num_classes"])


@pytest.fixture(scope="module")
def record(model, batch):
    model.eval()
    with paddle.no_grad():
        return model.extract(batch)


@pytest.fixture(scope="module")
def second_stage(model, batch, record, reference):
    """What the second stage says of the reference's proposals, without padding."""
    counts = reference[1]["eval.rois_num"]
    proposals = np.zeros((2, counts.max(), 4), "float32")
    for i, count in enumerate(counts):
        proposals[i, :count] = reference[1][f"eval.rois.{i}"]
    real = paddle.to_tensor(np.arange(counts.max()) < counts[:, None])
    like = dataclasses.replace(record.replaced({"proposals": [paddle.to_tensor(proposals)]}), real=real)
    model.eval()
    with paddle.no_grad():
        found = model.extract(batch, like=like)
    valid = found.real.numpy()
    names = {"roi_feat": "roi_features", "bbox_score_logits": "roi_logits", "bbox_delta": "roi_deltas"}
    return {key: getattr(found, entry).numpy()[valid] for key, entry in names.items()}


def compare(computed: np.ndarray, arrays: dict[str, np.ndarray], key: str) -> None:
    assert list(computed.shape) == arrays[f"{key}.shape"].tolist()
    expected = arrays[f"{key}.probe"]
    np.testing.assert_allclose(probe(computed), expected, rtol=0, atol=BOUND * np.abs(expected).max())
    np.testing.assert_allclose(computed.astype("float64").std(), arrays[f"{key}.std"], rtol=BOUND)


def assert_same_rows(computed: np.ndarray, expected_rows: np.ndarray, atol: float) -> None:
    """Equal up to the order of the rows."""
    assert computed.shape == expected_rows.shape
    near = np.abs(computed[:, None] - expected_rows[None]).max(axis=-1) <= atol
    assert near.any(axis=0).all()
    assert near.any(axis=1).all()


def test_the_first_stage(record, reference):
    arrays = reference[1]
    assert len(record.neck) == sum(key.startswith("eval.rpn.score.") and key.endswith(".shape") for key in arrays)
    for level, neck in enumerate(record.neck):
        compare(neck.numpy(), arrays, f"eval.neck.{level}")
        compare(record.rpn_logits[level].squeeze(2).numpy(), arrays, f"eval.rpn.score.{level}")
        compare(record.rpn_deltas[level].flatten(1, 2).numpy(), arrays, f"eval.rpn.delta.{level}")


def test_anchors(model, record, reference):
    for level, anchors in enumerate(model.rpn_head.anchor_generator(record.rpn_logits)):
        expected = reference[1][f"eval.rpn.anchors.{level}.first"]
        np.testing.assert_allclose(anchors.numpy()[:8], expected, rtol=1e-6)


def test_proposals_are_the_references_best_first(record, reference):
    assert record.real.sum(axis=1).tolist() == reference[1]["eval.rois_num"].tolist()
    for i, count in enumerate(record.real.sum(axis=1).tolist()):
        rows = record.proposals[i].numpy()
        assert_same_rows(rows[:count], reference[1][f"eval.rois.{i}"], atol=1e-3)
        assert not rows[count:].any()


@pytest.mark.parametrize("part", ["roi_feat", "bbox_score_logits", "bbox_delta"])
def test_the_second_stage_at_given_proposals(second_stage, reference, part):
    compare(second_stage[part], reference[1], f"eval.{part}")


@pytest.mark.parametrize(("key", "threshold", "limit"), [("eval", 0.01, 100), ("eval2", 0.02, 600)])
def test_detections(model, batch, reference, monkeypatch, key, threshold, limit):
    nms, arrays = model.post_process.nms, reference[1]
    monkeypatch.setattr(nms, "score_threshold", threshold)
    monkeypatch.setattr(nms, "keep_top_k", limit)
    model.eval()
    with paddle.no_grad():
        found = model.predict(batch)
    counts = arrays[f"{key}.bbox_num"]
    assert found["bbox_num"].tolist() == counts.tolist()
    split = np.cumsum(counts)[:-1]
    for computed, expected_rows in zip(
        np.split(found["bbox"].numpy(), split), np.split(arrays[f"{key}.bbox"], split), strict=True
    ):
        np.testing.assert_array_equal(np.sort(computed[:, 0]), np.sort(expected_rows[:, 0]))
        assert_same_rows(computed, expected_rows, atol=1e-2)


def test_the_proposals_that_train_and_their_labels(model, batch, reference):
    model.train()
    with paddle.no_grad():
        record = model.extract(batch)
    labels = model.assign(record, batch).roi_labels
    assert record.real.sum(axis=1).tolist() == [len(reference[1][f"train.tgt_labels.{i}"]) for i in range(2)]
    for i in range(2):
        np.testing.assert_allclose(record.proposals[i].numpy(), reference[1][f"train.sampled_rois.{i}"], atol=1e-3)
        np.testing.assert_array_equal(labels[i].numpy(), reference[1][f"train.tgt_labels.{i}"])


def test_losses_and_gradients(model, batch, reference):
    model.train()
    model.clear_gradients()
    losses, expected = model(batch), reference[0]["train_ref"]
    losses["loss"].backward()
    assert {name: value.item() for name, value in losses.items()} == pytest.approx(expected["losses"], rel=LOSS_BOUND)
    assert_gradients(model, expected["grad_norms"], GRADIENT_BOUND)
