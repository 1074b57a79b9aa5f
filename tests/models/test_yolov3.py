"""The detector's contract: one record in both modes, shapes as in its spec, images apart from one another."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from ppkd.structures import LevelSpec, Record
from ppkd.utils.errors import ConfigError, DataError


@pytest.mark.parametrize("training", [True, False])
def test_record_is_what_the_spec_says(tiny, batches, training):
    tiny.train() if training else tiny.eval()
    record, spec = tiny.extract(batches(64, 96, [1, 2], 3)), tiny.spec()
    assert isinstance(record, Record)
    assert record.spec == spec
    for name, entry in spec.entries.items():
        for level, tensor in zip(entry.levels, record[name], strict=True):
            cells = [64 // level.stride, 96 // level.stride]
            anchors = [] if name == "neck" else [level.anchors]
            assert tensor.shape == [2, *anchors, level.channels, *cells], name


def test_spec_of_the_published_detector(published):
    spec = published("yolov3_r34_270e_coco").spec()
    assert spec.entries["neck"].levels == (LevelSpec(256, 8), LevelSpec(512, 16), LevelSpec(1024, 32))
    assert spec.entries["cls_logits"].levels[1] == LevelSpec(80, 16, 3)
    assert (spec.name, spec.num_classes, spec.entries["cls_logits"].activation) == ("YOLOv3", 80, "sigmoid")


def test_features_are_the_records_neck(tiny, batches):
    tiny.eval()
    batch = batches(64, 96, [1], 3)
    for feature, level in zip(tiny.features(batch), tiny.extract(batch).neck, strict=True):
        assert (feature == level).all()


def test_a_batch_is_predicted_like_its_images(tiny, batches):
    tiny.eval()
    batch = batches(64, 96, [1, 1, 1], 3)
    batch["scale_factor"] = paddle.to_tensor([[0.5, 0.5], [1.0, 2.0], [0.3, 0.7]])
    together = tiny.predict(batch)
    assert together["bbox_num"].sum().item() == together["bbox"].shape[0] > 0
    parts = np.split(together["bbox"].numpy(), np.cumsum(together["bbox_num"].numpy())[:-1])
    for i, part in enumerate(parts):
        alone = tiny.predict({key: batch[key][i : i + 1] for key in ("image", "im_shape", "scale_factor")})
        np.testing.assert_allclose(alone["bbox"].numpy(), part, rtol=1e-4, atol=1e-3)


def test_forward_sums_its_terms_and_trains_everything(tiny, batches):
    tiny.train()
    losses = tiny(batches(64, 96, [2, 0], 3))
    total = sum(value.item() for name, value in losses.items() if name != "loss")
    assert losses["loss"].item() == pytest.approx(total, rel=1e-6)
    losses["loss"].backward()
    for name, parameter in tiny.named_parameters():
        if not parameter.stop_gradient:
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum().item() > 0, name


def test_steps_lower_the_loss(tiny, batches):
    tiny.train()
    batch = batches(64, 96, [2, 1], 3)
    optimizer = paddle.optimizer.Momentum(1e-4, parameters=tiny.parameters())
    history = []
    for _ in range(8):
        loss = tiny(batch)["loss"]
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        history.append(loss.item())
    assert history[-1] < 0.9 * history[0]


def test_export_has_dynamic_sizes_and_no_op_that_predictors_refuse(tiny, batches, tmp_path):
    class Deployed(paddle.nn.Layer):
        def __init__(self):
            super().__init__()
            self.detector = tiny

        def forward(self, image, im_shape, scale_factor):
            return self.detector.predict({"image": image, "im_shape": im_shape, "scale_factor": scale_factor})

    tiny.eval()
    spec = paddle.static.InputSpec
    inputs = [
        spec([None, 3, None, None], name="image"),
        spec([None, 2], name="im_shape"),
        spec([None, 2], name="scale"),
    ]
    paddle.jit.save(Deployed(), str(tmp_path / "m"), input_spec=inputs)
    program = (tmp_path / "m.json").read_text()
    assert not [name for name in ("leaky_relu", "nearest_interp", "repeat_interleave") if f".{name}" in program]
    loaded = paddle.jit.load(str(tmp_path / "m"))
    for sides in [(64, 96), (96, 32)]:
        batch = batches(*sides, [1, 1], 3)
        expected = tiny.predict(batch)
        found = loaded(batch["image"], batch["im_shape"], batch["scale_factor"])
        np.testing.assert_allclose(found[0].numpy(), expected["bbox"].numpy(), rtol=1e-4, atol=1e-3)


def test_sides_must_fit_the_strides(tiny, batches):
    with pytest.raises(DataError, match=r"70 x 96 pixels .* multiples of 32"):
        tiny.extract(batches(70, 96, [1], 3))


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("YOLOv3Loss.downsample=[16, 8, 4]", r"downsample is \[16, 8, 4\].*strides \[32, 16, 8\]"),
        ("YOLOv3Head.anchor_masks=[[0, 1, 2], [3, 4, 5]]", "for each of the 3 levels"),
        ("YOLOv3Head.anchor_masks=[[0, 1], [2, 3], [4, 9]]", "names anchor 9"),
        ("MobileNet.feature_maps=[4, 6]", r"strides are \[16, 8\]|strides \[16, 8\]"),
        ("MobileNet.feature_maps=[2, 6, 13]", "strides double"),
        ("MobileNet.with_extra_blocks=true", "with_extra_blocks"),
        ("YOLOv3FPN.data_format=NHWC", "data_format"),
        ("MobileNet.scale=0.01", r"MobileNetV1\.scale is 0\.01"),
        ("YOLOv3.yolo_head=YOLOv3FPN", "^-o: YOLOv3.yolo_head is YOLOv3FPN, expected YOLOv3Head"),
        ("YOLOv3Head.loss=MultiClassNMS", "^-o: YOLOv3Head.loss is MultiClassNMS, expected YOLOv3Loss"),
        ("architecture=MobileNet", "^-o: MobileNet is a component, but not a detector"),
    ],
)
def test_settings_that_do_not_fit_are_named(published, override, words):
    with pytest.raises(ConfigError, match=words):
        published("yolov3_mobilenet_v1_270e_coco", override)
