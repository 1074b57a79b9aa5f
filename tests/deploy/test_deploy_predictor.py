"""The predictor: same preprocessing as in training, any batch, clear refusals."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from small_detector import random_batch

from ppkd.data.transforms import Decode, NormalizeImage, Permute, Resize
from ppkd.deploy.engine import EagerEngine, InferenceEngine
from ppkd.deploy.export import export_model
from ppkd.deploy.infer_cfg import InferConfig
from ppkd.deploy.pipeline import Timing, split_detections
from ppkd.deploy.predictor import Predictor
from ppkd.deploy.preprocess import Preprocess
from ppkd.report.complexity import cpu_latency
from ppkd.utils.errors import ConfigError, DataError, WeightsError


@pytest.fixture(scope="module")
def predictor(exported: Path) -> Predictor:
    return Predictor(exported)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(3)
    paths = []
    for index, (height, width) in enumerate([(60, 90), (120, 50), (200, 200)]):
        path = folder / f"{index}.png"
        cv2.imwrite(str(path), rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        paths.append(path)
    return paths


def settings(steps: list[dict], fixed: bool = False) -> InferConfig:
    return InferConfig("YOLO", "COCO", tuple(steps), ("a",), (1,), use_dynamic_shape=not fixed)


def test_prepares_as_the_readers_do(predictor: Predictor, photos: list[Path]) -> None:
    sample = {"im_file": str(photos[0])}
    for transform in (Decode(), Resize((160, 160), keep_ratio=False, interp=2), NormalizeImage(), Permute()):
        sample = transform(sample)
    prepared = predictor.preprocess(photos[0])
    assert np.array_equal(prepared.sample["image"], sample["image"])
    assert prepared.sample["scale_factor"].tolist() == pytest.approx([160 / 60, 160 / 90])
    assert np.array_equal(prepared.picture[..., ::-1], cv2.imread(str(photos[0])))


def test_files_arrays_and_batches_agree_with_the_detector(
    predictor: Predictor, detector: object, photos: list[Path]
) -> None:
    single = predictor.predict(photos)
    arrays = predictor.predict([cv2.imread(str(path))[..., ::-1] for path in photos])
    batched = predictor.predict(photos, batch_size=2)
    samples = [predictor.preprocess(path).sample for path in photos]
    for index, rows in enumerate(single):
        expected = EagerEngine(detector)(predictor.preprocess.collate([samples[index]]))
        assert len(rows) > 10
        assert np.array_equal(rows, expected[0])
        assert np.array_equal(rows, arrays[index])
        assert len(batched[index]) == len(rows)
        assert np.allclose(np.sort(batched[index][:, 1]), np.sort(rows[:, 1]), atol=1e-4)


def test_boxes_are_in_the_pixels_of_each_picture(predictor: Predictor, photos: list[Path]) -> None:
    for rows, path in zip(predictor.predict(photos, batch_size=3), photos, strict=True):
        height, width = cv2.imread(str(path)).shape[:2]
        assert (rows[:, 2:] >= 0).all()
        assert (rows[:, [2, 4]] <= width).all()
        assert (rows[:, [3, 5]] <= height).all()
        assert rows[:, 4].max() > 0.8 * width


def test_collate_pads_to_the_largest_and_to_the_stride() -> None:
    steps = [{"type": "Resize", "target_size": [64, 96]}, {"type": "Permute"}, {"type": "PadStride", "stride": 32}]
    prepare = Preprocess(settings(steps))
    tall, wide = np.full((100, 50, 3), 9, np.uint8), np.full((50, 100, 3), 7, np.uint8)
    batch = prepare.collate([prepare(tall).sample, prepare(wide).sample])
    assert batch["image"].shape == (2, 3, 96, 96)
    assert batch["im_shape"].tolist() == [[96, 48], [48, 96]]
    assert (batch["image"][0, :, :96, :48] == 9).all()
    assert (batch["image"][0, :, :, 48:] == 0).all()
    assert (batch["image"][1, :, 48:] == 0).all()


def test_a_fixed_input_is_padded_to_its_size(detector: object, config: Callable, tmp_path: Path) -> None:
    cfg = config(
        "TestReader.inputs_def.image_shape=[3, 96, 128]",
        "TestReader.sample_transforms=[Decode: {}, Resize: {target_size: 10}, NormalizeImage: {}, Permute: {}]",
    )
    predictor = Predictor(export_model(detector, cfg, tmp_path))
    batch = predictor.preprocess.collate([predictor.preprocess(np.zeros((50, 50, 3), np.uint8)).sample])
    assert not predictor.config.use_dynamic_shape
    assert batch["image"].shape == (1, 3, 96, 128)
    assert batch["im_shape"].tolist() == [[96, 96]]
    assert len(predictor.engine(batch)[0])


def test_a_broken_file_is_named(predictor: Predictor, photos: list[Path], tmp_path: Path) -> None:
    broken = tmp_path / "half.png"
    broken.write_bytes(photos[0].read_bytes()[:200])
    with pytest.raises(DataError, match=r"half\.png"):
        predictor.predict([photos[0], broken])


@pytest.mark.parametrize(
    ("step", "says"),
    [
        ({"type": "Resise", "target_size": 3}, "Resize"),
        ({"type": "Resize", "target_sise": 3}, "target_size"),
        ({"type": "RandomFlip"}, "not the same in every run"),
        ({"Resize": {}}, "expected {type: name, settings}"),
    ],
)
def test_wrong_steps(step: dict, says: str) -> None:
    with pytest.raises(ConfigError, match=f"x/infer_cfg.yml.*{says}"):
        Preprocess(settings([step]), "x/infer_cfg.yml")


@pytest.mark.parametrize("name", ["inference", "model"])
def test_other_names_of_the_files(exported: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    for suffix in (".json", ".pdiparams"):
        shutil.copy(exported / f"model{suffix}", folder / f"{name}{suffix}")
    batch = random_batch(1, 64, 64)
    assert np.array_equal(InferenceEngine(folder)(batch)[0], InferenceEngine(exported)(batch)[0])


def test_missing_and_damaged_files(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere/infer_cfg\.yml: .*`ppkd export`"):
        Predictor(tmp_path / "nowhere")
    folder = tmp_path / "model"
    shutil.copytree(exported, folder)
    settings = InferConfig.read(folder / "infer_cfg.yml")
    replace(settings, checksums={}).write(folder / "infer_cfg.yml")
    (folder / "model.json").write_text((exported / "model.json").read_text()[:5000])
    with pytest.raises(WeightsError, match=r"model: Paddle Inference cannot load model\.json"):
        Predictor(folder)
    shutil.copy(exported / "model.json", folder)
    (folder / "model.pdiparams").write_bytes((exported / "model.pdiparams").read_bytes()[:9999])
    with pytest.raises(WeightsError, match=r"with model\.pdiparams"):
        Predictor(folder)
    (folder / "model.pdiparams").unlink()
    with pytest.raises(WeightsError, match=r"model\.json is there without model\.pdiparams"):
        Predictor(folder)
    (folder / "model.json").unlink()
    with pytest.raises(WeightsError, match="no exported model"):
        Predictor(folder)


def test_devices_and_run_modes_that_are_not_there(exported: Path) -> None:
    import paddle
    from paddle import inference

    if not paddle.is_compiled_with_cuda():
        with pytest.raises(ConfigError, match="--device GPU"):
            InferenceEngine(exported, device="GPU")
    if inference.get_trt_compile_version() == (0, 0, 0):
        with pytest.raises(ConfigError, match=r"--run_mode trt_fp16: .*without TensorRT"):
            InferenceEngine(exported, run_mode="trt_fp16")


def test_splitting_by_image() -> None:
    rows = np.arange(18, dtype=np.float32).reshape(3, 6)
    assert [len(block) for block in split_detections([rows, np.int32([1, 0, 2])], 3)] == [1, 0, 2]
    nothing = np.float32([[-1, 0, 0, 0, 0, 0]])
    assert len(split_detections([nothing, np.int32([1])], 1)[0]) == 0
    with pytest.raises(ConfigError, match=r"export\.post_process"):
        split_detections([np.zeros((1, 9, 4)), np.zeros((1, 4, 9))], 1)


def test_latency_is_the_median_of_the_timed_runs(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses = iter([0.2, 0.02, 0.02, 0.4, 0.02, 0.02])
    compute = InferenceEngine.__call__

    def slow(self: InferenceEngine, batch: dict) -> list:
        time.sleep(next(pauses))
        return compute(self, batch)

    monkeypatch.setattr(InferenceEngine, "__call__", slow)
    assert 20 < cpu_latency(exported, runs=5, warmup=1) < 200
    assert next(pauses, None) is None


def test_timing_report() -> None:
    text = Timing(preprocess=0.1, inference=0.3, postprocess=0.1, images=5).report()
    assert "Inference Time Info" in text
    assert "total_time(ms): 500.0, img_num: 5" in text
    assert "average latency time(ms): 100.00, QPS: 10.000000" in text
    assert "inference_time(ms): 60.00" in text
    assert "img_num: 0" in Timing().report()
