"""Accumulated batches against one large batch, where losses divide by numbers that depend on all images."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from engine_toy import BATCHES, make_trainer
from paddle import nn

from ppkd.config import load_config
from ppkd.engine.accumulation import Gradients
from ppkd.engine.ema import ModelEMA
from ppkd.engine.precision import Precision
from ppkd.models import build_detector
from ppkd.models.losses.normaliser import over_batch
from ppkd.utils.errors import ConfigError


def batch_of(images: list[int]) -> dict:
    """``images`` by number, with as many boxes as it says."""
    rng = [np.random.default_rng(number) for number in images]
    corners = [r.uniform(0, 40, (number, 2)) for r, number in zip(rng, images, strict=True)]
    boxes = [np.concatenate([xy, xy + r.uniform(8, 24, xy.shape)], 1) for xy, r in zip(corners, rng, strict=True)]
    return {
        "image": paddle.to_tensor(
            np.stack([np.random.default_rng(n).standard_normal((3, 64, 64)) for n in images]), "float32"
        ),
        "im_id": paddle.to_tensor([[number] for number in images]),
        "im_shape": paddle.to_tensor([[64.0, 64.0]] * len(images)),
        "scale_factor": paddle.ones([len(images), 2]),
        "gt_bbox": [paddle.to_tensor(rows.astype(np.float32)) for rows in boxes],
        "gt_class": [paddle.to_tensor(np.arange(len(rows)) % 4) for rows in boxes],
        "is_crowd": [paddle.zeros([len(rows), 1], "int64") for rows in boxes],
    }


def watch(batch, terms):
    """Nobody looks."""


def gradients(model: nn.Layer, batches: list) -> tuple[dict, dict]:
    terms = Gradients(model, model, Precision())(batches, watch)
    found = {name: p.grad.numpy() for name, p in model.named_parameters() if p.grad is not None}
    model.clear_gradients()
    return {name: float(term) for name, term in terms.items()}, found


@pytest.mark.parametrize("detector", ["retinanet_r18", "gfl_r18", "yolov3_mobilenet_v1_x0.25"])
def test_gradients_and_losses_are_those_of_the_large_batch(detector):
    """Images with 1, 6, 0 and 3 boxes: each pair has another number of positive places."""
    paddle.seed(1)
    model = build_detector(load_config(f"configs/shapes/{detector}_160_shapes.yml"))
    model.eval()
    for layer in model.sublayers():
        if not isinstance(layer, nn.layer.norm._BatchNormBase):
            layer.training = True
    model.training = True
    terms, large = gradients(model, [batch_of([1, 6, 0, 3])])
    parts, small = gradients(model, [batch_of([1, 6]), batch_of([0, 3])])
    assert parts == pytest.approx(terms, rel=1e-4)
    scale = max(np.abs(value).max() for value in large.values())
    for name, value in large.items():
        np.testing.assert_allclose(small[name], value, rtol=1e-3, atol=1e-5 * scale, err_msg=name)


class Divided(nn.Layer):
    """A loss that divides by a count, behind batch statistics and dropout."""

    def __init__(self):
        super().__init__()
        self.norm, self.drop = nn.BatchNorm1D(3), nn.Dropout(0.5)

    def forward(self, batch):
        value = self.drop(self.norm(batch["x"])).sum() / over_batch(paddle.to_tensor(float(batch["count"])))
        return {"loss": value}


def test_counting_moves_neither_statistics_nor_random_streams():
    paddle.seed(3)
    batches = [{"x": paddle.randn([4, 3]), "count": count} for count in (2, 6)]
    found = []
    for counted in (False, True):
        model = Divided()
        paddle.seed(4)
        if counted:
            Gradients(model, model, Precision())(batches, watch)
        else:
            for batch in batches:
                model({**batch, "count": 4.0})["loss"].backward()
        found.append([model.norm._mean.numpy(), model.norm.weight.grad.numpy() * (2 if counted else 1)])
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-6)


def test_everything_counts_updates(tmp_path, monkeypatch):
    """Schedule, averages, positions, rows: an epoch of accumulated batches has as many updates as one without."""
    updates = []
    monkeypatch.setattr(ModelEMA, "update", lambda self: updates.append(1))
    trainer = make_trainer(tmp_path, kind="accumulated", epochs=2)
    trainer.update.ema = ModelEMA(trainer.model)
    trainer.train()
    assert trainer.position.step == len(updates) == 2 * BATCHES
    rows = (tmp_path / "results.csv").read_text().splitlines()
    assert rows[1].startswith(f"0,{BATCHES},") and rows[2].startswith(f"1,{2 * BATCHES},")


def test_the_setting_must_be_a_whole_number_from_one():
    from ppkd.config import runtime

    config = "configs/shapes/gfl_r18_160_shapes.yml"
    for value in ("0", "1.5", "two"):
        with pytest.raises(ConfigError, match="gradient_accumulation_steps"):
            runtime(load_config(config, [f"gradient_accumulation_steps={value}"]))
