"""Detection in several views of the same images, from the reader's transform to what is left of all of them."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import paddle
import pytest

from ppkd.config import load_config
from ppkd.data import build_reader
from ppkd.data.annotation import Annotation
from ppkd.data.loader import tensors
from ppkd.data.pipeline import Pipeline
from ppkd.data.sampling import Sampler
from ppkd.deploy.engine import EagerEngine
from ppkd.deploy.infer_cfg import InferConfig
from ppkd.deploy.preprocess import Preprocess
from ppkd.models.postprocess.multiclass_nms import MultiClassNMS
from ppkd.models.views import detect
from ppkd.utils.errors import ConfigError

THREE = "{target_size: [60, [40, 90]], origin_target_size: [48, 100], use_flip: true}"
LISTED = f"[{{Decode: {{}}}}, {{MultiscaleTestResize: {THREE}}}, {{NormalizeImage: {{}}}}, {{Permute: {{}}}}]"
PADDED = "EvalReader.batch_transforms=[{PadBatch: {pad_to_stride: 32}}]"
READERS = [f"{reader}.sample_transforms={LISTED}" for reader in ("EvalReader", "TestReader")]
SIZES = [(48, 72), (48, 72), (40, 60), (40, 60)]


class Answers:
    """A detector that finds, in each view in turn, rows given beforehand, image after image."""

    def __init__(self, *views: list[list[list[float]]], nms: MultiClassNMS | None) -> None:
        self.views = iter(views)
        self.seen = []
        self.post_process = None if nms is None else SimpleNamespace(nms=nms)

    def spec(self):
        return SimpleNamespace(num_classes=3)

    def eval(self):
        return self

    def predict(self, batch):
        self.seen.append(tuple(batch["image"].shape))
        rows = next(self.views)
        flat = [row for image in rows for row in image]
        found = paddle.to_tensor(np.array(flat, "float32").reshape(-1, 6))
        return {"bbox": found, "bbox_num": paddle.to_tensor([len(image) for image in rows], dtype="int32")}


def view(images: int, *, mirrored: bool = False, **sizes):
    shape = sizes.get("im_shape", [48.0, 72.0])
    return {
        "image": paddle.zeros([images, 3, int(shape[0]), int(shape[1])]),
        "im_shape": paddle.to_tensor([shape] * images),
        "scale_factor": paddle.to_tensor([sizes.get("scale_factor", [0.5, 0.5])] * images),
        "mirrored": mirrored,
    }


def random_rows(seed: int, count: int) -> list[list[float]]:
    draw = np.random.default_rng(seed)
    low, size = draw.uniform(0, 60, (count, 2)), draw.uniform(10, 40, (count, 2))
    return np.column_stack([draw.integers(0, 3, count), draw.random(count), low, low + size]).tolist()


def suppressed(rows: np.ndarray, threshold: float, most: int) -> np.ndarray:
    """The best of each class, those that overlap it left out, and so on; pixels are counted at both ends."""
    kept = []
    for row in sorted(rows.tolist(), key=lambda row: -row[1]):
        same = [other for other in kept if other[0] == row[0]]
        if all(overlap(row[2:], other[2:]) < threshold for other in same):
            kept.append(row)
    return np.array(kept[:most])


def overlap(one: list[float], other: list[float]) -> float:
    shared = np.prod([max(0.0, min(one[i + 2], other[i + 2]) - max(one[i], other[i]) + 1) for i in (0, 1)])
    areas = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (one, other)]
    return shared / (sum(areas) - shared)


def test_what_all_views_find_is_suppressed_together_image_by_image():
    views = [[random_rows(seed, 20), random_rows(seed + 9, 15), [[-1, 0, 0, 0, 0, 0]]] for seed in range(3)]
    detector = Answers(*views, nms=MultiClassNMS(nms_threshold=0.3, keep_top_k=12, score_threshold=0.0))
    found = detect(detector, {**view(3), "views": [view(3), view(3)]})
    assert found["bbox_num"].tolist() == [12, 12, 0]
    images = np.split(found["bbox"].numpy(), [12, 24])
    for image in range(2):
        rows = np.array([row for one in views for row in one[image]])
        np.testing.assert_allclose(images[image], suppressed(rows, 0.3, 12), rtol=1e-6)


def test_a_mirrored_view_is_mirrored_back_in_pixels_of_the_original():
    nms = MultiClassNMS(score_threshold=0.0)
    detector = Answers([[]], [[[1, 0.5, 10, 20, 30, 40]]], nms=nms)
    found = detect(detector, {**view(1), "views": [view(1, mirrored=True, scale_factor=[0.48, 0.48])]})
    np.testing.assert_allclose(found["bbox"].numpy(), [[1, 0.5, 120, 20, 140, 40]])


def test_one_view_is_what_the_detector_says():
    detector = Answers([[[1, 0.5, 10, 20, 30, 40]]], nms=None)
    assert detect(detector, view(1))["bbox"].shape == [1, 6]


def test_a_detector_that_suppresses_nothing_cannot_join_views():
    with pytest.raises(ConfigError, match="write Resize instead of MultiscaleTestResize"):
        detect(Answers([[]], nms=None), {**view(1), "views": [view(1)]})


@pytest.fixture
def config(root):
    return load_config(root / "configs/shapes/faster_rcnn_r18_160_shapes.yml", [*READERS, PADDED])


@pytest.fixture
def picture(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (80, 120, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), pixels[..., ::-1])
    return tmp_path / "a.png"


def test_readers_give_every_view_padded_by_itself(config, picture):
    reader = build_reader(config, "Eval")
    empty = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
    annotation = Annotation(picture, 7, 80, 120, *empty, empty[1], empty[1])
    pipeline = Pipeline([annotation] * 2, reader.sample_transforms, reader.batch_transforms, 0)
    plan = next(Sampler(2, 2, 0, False, False, 0, 1, 0, 0, parts=1, shard=True).plans(0))
    parts = pipeline[plan]
    assert parts["parcel"].error is None
    batch = tensors(parts["arrays"], parts["parcel"])
    views = [batch, *batch["views"]]
    assert [one["im_shape"][0].tolist() for one in views] == [list(size) for size in SIZES]
    assert [one["image"].shape[-2:] for one in views] == [[64, 96], [64, 96], [64, 64], [64, 64]]
    assert [one["mirrored"] for one in batch["views"]] == [True, False, False]
    plain, mirrored = (one["image"][:, :, :48, :72].numpy() for one in views[:2])
    np.testing.assert_array_equal(mirrored, plain[..., ::-1])


def test_prediction_sees_every_view_and_an_exported_model_the_first_alone(config, picture, caplog):
    description = InferConfig.of(config, ["a", "b", "c"], [1, 2, 3])
    preprocess = Preprocess(description)
    detector = Answers(*[[[[1, 0.5, 1, 2, 30, 40]]]] * 4, nms=MultiClassNMS())
    _, counts = EagerEngine(detector)(preprocess.collate([preprocess(picture).sample]))
    assert counts.tolist() == [2], "that of the mirrored view is another box"
    assert len(detector.seen) == 4
    exported = description.at_one_size()
    assert exported.preprocess[0] == {"type": "Resize", "target_size": [48, 100], "keep_ratio": True, "interp": 1}
    assert "an exported model detects at one size" in caplog.text
    assert "views" not in Preprocess(exported)(picture).sample


def test_training_sees_an_image_once(config):
    with pytest.raises(ConfigError, match="MultiscaleTestResize is for the sample_transforms of EvalReader and"):
        build_reader(load_config(config.path, [READERS[0].replace("Eval", "Train")]), "Train")
