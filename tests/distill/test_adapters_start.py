"""Adapters start as in the published codes: uniform up to one over the root of an output's inputs."""

from __future__ import annotations

import math

import numpy as np
import paddle
import pytest
from paddle import nn

from ppkd.distill.losses import FBKD, GID, MGD, PFI, GlobalKnowledge
from ppkd.structures import DetectorSpec, Entry, LevelSpec

ADAPTERS = {
    GlobalKnowledge: ["adapters.0"],
    GID: ["adapters.0"],
    PFI: ["formulas.0.adapt"],
    MGD: ["formulas.0.generation.0", "formulas.0.generation.2"],
    FBKD: [
        f"formulas.0.{name}"
        for name in ("adaptation_layers", "channel_wise_adaptation", "spatial_wise_adaptation", "non_local_adaptation")
    ],
}
LEVELS = (LevelSpec(64, 8), LevelSpec(64, 16))
SPEC = DetectorSpec(
    "Some",
    3,
    {
        "neck": Entry("feature", "grid", LEVELS),
        "cls_logits": Entry("class", "grid", (LevelSpec(3, 8), LevelSpec(3, 16)), activation="sigmoid"),
        "box_deltas": Entry("box", "grid", (LevelSpec(4, 8), LevelSpec(4, 16)), coding="deltas"),
    },
    frozenset({"assign", "boxes", "features"}),
)


@pytest.mark.parametrize("loss", ADAPTERS, ids=lambda loss: loss.__name__)
def test_weights_and_biases_have_the_published_spread(loss):
    paddle.seed(0)
    layers = dict(loss(SPEC, SPEC).named_sublayers())
    for name in ADAPTERS[loss]:
        layer = layers[name]
        weight = layer.weight.numpy()
        inputs = weight.shape[0] if isinstance(layer, nn.Linear) else int(np.prod(weight.shape[1:]))
        bound = 1 / math.sqrt(inputs)
        for values in (weight, layer.bias.numpy()):
            assert 0 < np.abs(values).max() <= bound, name
        if weight.size > 1000:
            assert weight.std() == pytest.approx(bound / math.sqrt(3), rel=0.05), name
            assert layer.bias.numpy().std() == pytest.approx(bound / math.sqrt(3), rel=0.3), name
