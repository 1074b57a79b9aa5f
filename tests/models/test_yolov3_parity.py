"""YOLOv3 computes what PaddleDetection computes, from the same weights and images.

The bounds are how far the reference itself moves when its image changes by one part in a million.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import paddle
import pytest
from parity_checks import assert_gradients, assert_inputs, assert_running_statistics, probe, train_step
from parity_fill import FOLDER, fill_model, load_case

CASES = {"yolov3_mobilenet_v1": "yolov3_mobilenet_v1_270e_coco", "yolov3_r34": "yolov3_r34_270e_coco"}
SENSITIVITY = json.loads((FOLDER / "sensitivity_1e-6.json").read_text())
LOSS_BOUND = {"train_frozen_bn": 3e-6, "train_ref": 5e-4}
EVAL_BOUND = 1.5e-5


class Case:
    """A detector with a case's weights, its batch, and the reference's numbers."""

    def __init__(self, name: str, build: Any, make_batch: Any) -> None:
        self.name = name
        self.meta, self.arrays = load_case(name)
        self.model = build(CASES[name])
        self.batch = make_batch(*self.meta["input_hw"], [3, 1], self.meta["num_classes"])

    def reset(self) -> Any:
        for parameter in self.model.parameters():
            parameter.clear_grad()
        fill_model(self.model, self.meta["fill_rules"])
        return self.model

    def evaluate(self) -> dict[str, Any]:
        model = self.reset()
        model.eval()
        with paddle.no_grad():
            backbone = model.backbone(self.batch["image"])
            neck = model.neck(backbone)
            head = model.yolo_head(neck)
            # The reference lists its levels coarsest first.
            return {"backbone": backbone, "neck": neck[::-1], "head": head[::-1], **model.predict(self.batch)}

    def step(self, mode: str) -> dict[str, paddle.Tensor]:
        return train_step(self.reset(), self.batch, mode)


@pytest.fixture(scope="module", params=CASES)
def case(request, published, batches):
    return Case(request.param, published, batches)


@pytest.fixture(scope="module")
def evaluated(case):
    return case.evaluate()


def test_inputs_are_the_references(case):
    assert_inputs(case.batch, case.arrays)


@pytest.mark.parametrize("level", range(3))
@pytest.mark.parametrize("part", ["backbone", "neck", "head"])
def test_evaluation_tensors(case, evaluated, part, level):
    computed, key = evaluated[part][level].numpy(), f"eval.{part}.{level}"
    assert list(computed.shape) == case.arrays[f"{key}.shape"].tolist()
    scale = np.abs(case.arrays[f"{key}.probe"]).max()
    np.testing.assert_allclose(probe(computed), case.arrays[f"{key}.probe"], rtol=0, atol=EVAL_BOUND * scale)
    np.testing.assert_allclose(
        computed[0].flatten()[:256], case.arrays[f"{key}.first"], rtol=0, atol=EVAL_BOUND * scale
    )
    np.testing.assert_allclose(computed.astype("float64").std(), case.arrays[f"{key}.std"], rtol=EVAL_BOUND)


def test_detections(case, evaluated):
    counts = case.arrays["eval.bbox_num"]
    np.testing.assert_array_equal(evaluated["bbox_num"].numpy(), counts)
    split = np.cumsum(counts)[:-1]
    computed, references = np.split(evaluated["bbox"].numpy(), split), np.split(case.arrays["eval.bbox"], split)
    for rows_of_image, reference in zip(computed, references, strict=True):
        order = [np.lexsort((-rows[:, 1].round(4), rows[:, 0])) for rows in (rows_of_image, reference)]
        np.testing.assert_allclose(rows_of_image[order[0]], reference[order[1]], rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("mode", LOSS_BOUND)
def test_losses_and_gradients(case, mode):
    losses, expected = case.step(mode), case.meta[mode]
    assert set(losses) == set(expected["losses"])
    for name, value in expected["losses"].items():
        assert losses[name].item() == pytest.approx(value, rel=LOSS_BOUND[mode]), name
    assert_gradients(case.model, expected["grad_norms"], max(2 * SENSITIVITY[case.name][mode]["grad_max_rel"], 1e-4))


def test_running_statistics_after_a_step(case):
    case.step("train_ref")
    assert_running_statistics(case.model, case.arrays)


def test_targets(case):
    """The sparse targets, laid out as the reader of the reference lays out its dense ones."""
    record = case.reset().extract(case.batch)
    for level, target in enumerate(reversed(case.model.assign(record, case.batch).levels)):
        expected = case.arrays[f"in.target{level}"]
        dense = np.zeros(expected.shape, "float32")
        _, anchors, _, height, width = expected.shape
        weight = target.weight.numpy()
        for image, box in zip(*np.nonzero(weight), strict=True):
            cell = np.unravel_index(target.cell.numpy()[image, box], (anchors, height, width))
            numbers = [target.xy, target.wh, target.scale.unsqueeze(-1), target.weight.unsqueeze(-1), target.classes]
            row = np.concatenate([part[int(image), int(box)].numpy() for part in numbers])
            dense[image, cell[0], :, cell[1], cell[2]] = row
        np.testing.assert_allclose(dense, expected, rtol=0, atol=2e-6)
        np.testing.assert_array_equal(target.positive.numpy().reshape(expected[:, :, 5].shape), expected[:, :, 5] > 0)
