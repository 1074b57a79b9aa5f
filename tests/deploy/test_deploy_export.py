"""Export: the program computes what the detector computes, and nothing is lost on the way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import paddle
import pytest
from paddle import nn
from small_detector import random_batch, scatter_statistics

from ppkd.deploy.engine import EagerEngine, InferenceEngine
from ppkd.deploy.export import export_model
from ppkd.deploy.fuse import fused
from ppkd.models import build_detector
from ppkd.utils.errors import ConfigError, DataError


@pytest.fixture(scope="module")
def engine(exported: Path) -> InferenceEngine:
    return InferenceEngine(exported)


@pytest.mark.parametrize(("images", "height", "width"), [(1, 160, 160), (2, 96, 128), (3, 64, 192), (1, 32, 32)])
def test_predictor_equals_eager(
    detector: nn.Layer, engine: InferenceEngine, images: int, height: int, width: int
) -> None:
    batch = random_batch(images, height, width)
    found = engine(batch)  # first: the eager run after it has the engine's number of threads, hence equal bits
    expected = EagerEngine(detector)(batch)
    assert expected[1].sum() > 20 * images, "the comparison needs detections"
    assert np.array_equal(found[1], expected[1])
    assert np.array_equal(found[0], expected[0])


def test_inputs_and_outputs(engine: InferenceEngine) -> None:
    assert engine.input_names == ["image", "im_shape", "scale_factor"]
    bbox, bbox_num = engine(random_batch(2, 64, 64))
    assert bbox.dtype == np.float32
    assert bbox_num.dtype == np.int32
    assert bbox.shape == (bbox_num.sum(), 6)


def test_files(exported: Path) -> None:
    assert exported.name == "small"
    assert sorted(path.name for path in exported.iterdir()) == ["infer_cfg.yml", "model.json", "model.pdiparams"]


def raw_maps(model: nn.Layer, batch: dict[str, np.ndarray]) -> list[np.ndarray]:
    with paddle.no_grad():
        record = model.extract({name: paddle.to_tensor(array) for name, array in batch.items()})
    return [level.numpy() for name in record.tensors if name != "neck" for level in record[name]]


@pytest.mark.parametrize("option", ["export.benchmark=true", "export.post_process=false"])
def test_raw_entries_without_post_processing(detector: nn.Layer, config: Callable, tmp_path: Path, option: str) -> None:
    engine = InferenceEngine(export_model(detector, config(option), tmp_path))
    batch = random_batch(2, 96, 64)
    found = engine(batch)
    expected = raw_maps(detector, batch)
    assert [a.shape for a in found] == [a.shape for a in expected]
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


def test_raw_entries_under_onednn(detector: nn.Layer, config: Callable, tmp_path: Path) -> None:
    engine = InferenceEngine(export_model(detector, config("export.benchmark=true"), tmp_path), enable_mkldnn=True)
    batch = random_batch(2, 96, 64)
    for found, expected in zip(engine(batch), raw_maps(detector, batch), strict=True):
        assert np.abs(found - expected).max() < 5e-4 * max(1, np.abs(expected).max())


def test_without_nms(detector: nn.Layer, config: Callable, tmp_path: Path) -> None:
    batch = random_batch(2, 96, 64)
    nms = detector.post_process.nms
    boxes, scores = InferenceEngine(export_model(detector, config("export.nms=false"), tmp_path))(batch)
    assert detector.post_process.nms is nms
    cells = sum((96 // stride) * (64 // stride) * 3 for stride in (8, 16, 32))
    assert boxes.shape == (2, cells, 4)
    assert scores.shape == (2, 4, cells)
    suppressed, counts = nms(paddle.to_tensor(boxes), paddle.to_tensor(scores))
    expected = EagerEngine(detector)(batch)
    assert np.array_equal(counts.numpy(), expected[1])
    assert np.array_equal(suppressed.numpy(), expected[0])


def test_nms_cannot_be_left_out_of_a_detector_that_has_none(
    detector: nn.Layer, config: Callable, tmp_path: Path
) -> None:
    class Bare(nn.Layer):
        class_names = None
        post_process = None

        def deployable(self) -> nn.Layer:
            return self

    with pytest.raises(ConfigError, match="Bare has no separate NMS"):
        export_model(Bare(), config("export.nms=false"), tmp_path)


def test_a_size_that_the_strides_do_not_divide_is_one_line(
    detector: nn.Layer, config: Callable, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"^the network's input is 100 x 96 pixels") as error:
        export_model(detector, config("TestReader.inputs_def.image_shape=[3, 100, 96]"), tmp_path)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_fused_batch_norms(detector: nn.Layer, config: Callable, tmp_path: Path) -> None:
    batch = random_batch(2, 96, 64)
    options = ["export.fuse_conv_bn=true", "export.benchmark=true"]
    folder = export_model(detector, config(*options), tmp_path)
    assert "batch_norm" not in (folder / "model.json").read_text()
    assert any(isinstance(layer, nn.BatchNorm2D) for layer in detector.sublayers()), "the detector itself stays whole"
    for found, expected in zip(InferenceEngine(folder)(batch), raw_maps(detector, batch), strict=True):
        assert np.abs(found - expected).max() < 1e-4 * max(1, np.abs(expected).max())


def test_fusing_leaves_shared_layers_alone() -> None:
    class Shared(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2D(3, 4, 3)
            self.once = nn.Conv2D(3, 4, 3)
            self.norms = nn.LayerList([nn.BatchNorm2D(4), nn.BatchNorm2D(4)])
            self.last = nn.BatchNorm2D(4)

        def extract(self, batch: dict) -> list:
            image = batch["image"]
            return [*(norm(self.conv(image)) for norm in self.norms), self.last(self.once(image))]

    model = Shared()
    for norm in (*model.norms, model.last):
        norm._mean.set_value(paddle.rand([4]))
        norm.weight.set_value(paddle.rand([4]))
    model.eval()
    batch = {"image": paddle.rand([1, 3, 8, 8])}
    small = fused(model, batch)
    assert [isinstance(norm, nn.BatchNorm2D) for norm in (*small.norms, small.last)] == [True, True, False]
    for found, expected in zip(small.extract(batch), model.extract(batch), strict=True):
        assert float((found - expected).abs().max()) < 1e-5


def test_the_model_is_as_before(config: Callable, tmp_path: Path) -> None:
    cfg = config("export.fuse_conv_bn=true")
    model = build_detector(cfg)
    scatter_statistics(model)
    model.train()
    frozen = model.backbone.sublayers()[3]
    frozen.training = False
    before = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    export_model(model, cfg, tmp_path)
    after = model.state_dict()
    assert list(after) == list(before)
    assert all(np.array_equal(after[name].numpy(), value) for name, value in before.items())
    assert model.training
    assert not frozen.training
    assert sum(not layer.training for layer in model.sublayers()) == 1


def test_a_model_in_training_mode_is_exported_for_evaluation(
    config: Callable, detector: nn.Layer, exported: Path, tmp_path: Path
) -> None:
    model = build_detector(config())
    model.set_state_dict(detector.state_dict())
    model.train()
    folder = export_model(model, config(), tmp_path)
    batch = random_batch(2, 64, 64)
    for found, expected in zip(InferenceEngine(folder)(batch), InferenceEngine(exported)(batch), strict=True):
        assert np.array_equal(found, expected)


def test_a_model_under_distillation_is_exported_as_its_student(
    config: Callable, detector: nn.Layer, exported: Path, tmp_path: Path
) -> None:
    class Distilled(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.student, self.losses = detector, nn.Linear(50, 50)

        def deployable(self) -> nn.Layer:
            return self.student

    folder = export_model(Distilled(), config(), tmp_path)
    assert (folder / "model.pdiparams").read_bytes() == (exported / "model.pdiparams").read_bytes()


def test_a_failed_export_leaves_the_old_one(
    detector: nn.Layer, config: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = export_model(detector, config("filename=x"), tmp_path)
    (folder / "model_final.pdparams").write_bytes(b"a checkpoint in the same folder")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def fail(layer: object, path: str, **_: object) -> None:
        Path(path + ".json").write_text("half")
        raise RuntimeError("disk full")

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="disk full"):
        patch.setattr(paddle.jit, "save", fail)
        export_model(detector, config("filename=x"), tmp_path)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    export_model(detector, config("filename=x"), tmp_path)
    assert {path.name for path in folder.iterdir()} == set(before)
