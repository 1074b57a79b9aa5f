"""Dense detectors compute what PaddleDetection computes, from the same weights and images.

The bounds are how far the reference itself moves when its image changes by one part in a million, and for losses and
gradients what another order of summation leaves of seven digits.
"""

from __future__ import annotations

import json

import numpy as np
import paddle
import pytest
from parity_checks import assert_gradients, assert_inputs, probe
from parity_fill import FOLDER, fill_model, load_case

from ppkd.config import load_config
from ppkd.models import build_detector

CONFIGS = {"retinanet_r50_fpn": "retinanet/retinanet_r50_fpn_1x_coco", "gfl_r50_fpn": "gfl/gfl_r50_fpn_1x_coco"}
PARTS = {"backbone": 3, "neck": 5, "head.cls": 5, "head.reg": 5}
SENSITIVITY = json.loads((FOLDER / "sensitivity_1e-6.json").read_text())
LOSS_BOUND = 3e-6
GRADIENT_BOUND = 2e-5


@pytest.fixture(scope="module", params=CONFIGS)
def case(request):
    return request.param


@pytest.fixture(scope="module")
def bound(case):
    return SENSITIVITY[case]["tensors_max_rel"]


@pytest.fixture(scope="module")
def reference(case):
    settings, arrays = load_case(case)
    return settings, {key.replace("head_raw.", "head."): value for key, value in arrays.items()}


@pytest.fixture(scope="module")
def model(root, case, reference):
    settings = reference[0]
    cfg = load_config(root / "configs" / f"{CONFIGS[case]}.yml")
    threshold = settings["postprocess"]["nms"]["score_threshold"]
    built = build_detector(cfg)
    built.post_process.nms.score_threshold = threshold
    fill_model(built, settings["fill_rules"], settings["kept_initial"])
    return built


@pytest.fixture(scope="module")
def batch(batches, reference):
    return batches(*reference[0]["input_hw"], [3, 1], reference[0]["num_classes"])


@pytest.fixture(scope="module")
def evaluated(model, batch):
    model.eval()
    with paddle.no_grad():
        backbone = model.backbone(batch["image"])
        neck = model.neck(backbone)
        classes, boxes = model.head(neck)
        found = model.predict(batch)
    return {"backbone": backbone, "neck": neck, "head.cls": classes, "head.reg": boxes, **found}


def test_inputs_are_the_references(batch, reference):
    assert_inputs(batch, reference[1])


@pytest.mark.parametrize("part", PARTS)
def test_evaluation_tensors(evaluated, reference, bound, part):
    arrays = reference[1]
    assert len(evaluated[part]) == PARTS[part]
    for level, tensor in enumerate(evaluated[part]):
        computed, key = tensor.numpy(), f"eval.{part}.{level}"
        assert list(computed.shape) == arrays[f"{key}.shape"].tolist()
        atol = bound * np.abs(arrays[f"{key}.probe"]).max()
        np.testing.assert_allclose(probe(computed), arrays[f"{key}.probe"], rtol=0, atol=atol)
        np.testing.assert_allclose(computed[0].flatten()[:256], arrays[f"{key}.first"], rtol=0, atol=atol)
        np.testing.assert_allclose(computed.astype("float64").std(), arrays[f"{key}.std"], rtol=bound)


def test_detections(evaluated, reference):
    arrays = reference[1]
    counts = arrays["eval.bbox_num"]
    np.testing.assert_array_equal(evaluated["bbox_num"].numpy(), counts)
    split = np.cumsum(counts)[:-1]
    computed, references = np.split(evaluated["bbox"].numpy(), split), np.split(arrays["eval.bbox"], split)
    for rows_of_image, expected in zip(computed, references, strict=True):
        order = [np.lexsort((-rows[:, 1].round(4), rows[:, 0])) for rows in (rows_of_image, expected)]
        np.testing.assert_allclose(rows_of_image[order[0]], expected[order[1]], rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_losses_and_gradients(model, batch, reference, training):
    """BatchNorm is frozen by the configuration: both modes give the numbers of the reference's training step."""
    model.train() if training else model.eval()
    model.clear_gradients()
    losses, expected = model(batch), reference[0]["train_ref"]
    losses["loss"].backward()
    assert {name: value.item() for name, value in losses.items()} == pytest.approx(expected["losses"], rel=LOSS_BOUND)
    assert_gradients(model, expected["grad_norms"], GRADIENT_BOUND)
