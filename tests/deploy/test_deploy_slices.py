"""Detection in slices: the grid, the merging against numbers by hand, and small objects on the slices' borders."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import paddle
import pytest

from ppkd.cli import deploy
from ppkd.cli.slices import add_slices, slicing
from ppkd.deploy.engine import Arrays, EagerEngine
from ppkd.deploy.infer_cfg import InferConfig
from ppkd.deploy.pipeline import Pipeline
from ppkd.deploy.predictor import Predictor
from ppkd.deploy.preprocess import Preprocess
from ppkd.deploy.slices import SlicedPipeline, Slicing
from ppkd.models.postprocess.merge import intersection_over_smaller, intersection_over_union, merge
from ppkd.utils.errors import ConfigError

# class, score, x1, y1, x2, y2: a box, the part of it that a border cuts off, a neighbour, another class.
WHOLE = [0, 0.9, 10, 10, 29, 29]
PART = [0, 0.8, 20, 10, 39, 29]
FAR = [0, 0.7, 100, 10, 119, 29]
OTHER = [1, 0.6, 10, 10, 29, 29]
ROWS = np.array([FAR, PART, OTHER, WHOLE], np.float32)


def test_overlaps_by_hand() -> None:
    one, boxes = np.float32([WHOLE[2:]]), np.float32([PART[2:], FAR[2:], [10, 10, 19, 29]])
    # 20 x 20 pixels each, 10 x 20 shared: 200 / (400 + 400 - 200); the last is half of the first and inside it.
    assert intersection_over_union(one, boxes).tolist() == pytest.approx([1 / 3, 0, 0.5])
    assert intersection_over_smaller(one, boxes).tolist() == pytest.approx([0.5, 0, 1])


@pytest.mark.parametrize(
    ("method", "threshold", "overlap", "expected"),
    [
        ("nms", 0.5, "ios", [WHOLE, FAR, OTHER]),
        ("nms", 0.51, "ios", [WHOLE, PART, FAR, OTHER]),
        ("nms", 0.5, "iou", [WHOLE, PART, FAR, OTHER]),
        ("nms", 1 / 3 - 1e-6, "iou", [WHOLE, FAR, OTHER]),
        ("nmm", 0.5, "ios", [[0, 0.9, 10, 10, 39, 29], FAR, OTHER]),
        ("nmm", 0.5, "iou", [WHOLE, PART, FAR, OTHER]),
        ("concat", 0.1, "ios", [FAR, PART, OTHER, WHOLE]),
    ],
)
def test_merging_by_hand(method: str, threshold: float, overlap: str, expected: Sequence[Sequence[float]]) -> None:
    assert merge(ROWS, method, threshold=threshold, overlap=overlap).tolist() == np.float32(expected).tolist()


@pytest.mark.parametrize("method", ["nms", "nmm", "concat"])
def test_nothing_found_stays_nothing(method: str) -> None:
    assert merge(ROWS[:0], method, threshold=0.5, overlap="ios").shape == (0, 6)


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (64, 64, [[0, 0, 64, 64]]),
        (40, 64, [[0, 0, 64, 40]]),
        (64, 112, [[0, 0, 64, 64], [48, 0, 112, 64]]),
        (64, 113, [[0, 0, 64, 64], [48, 0, 112, 64], [49, 0, 113, 64]]),
        (70, 65, [[0, 0, 64, 64], [1, 0, 65, 64], [0, 6, 64, 70], [1, 6, 65, 70]]),
    ],
)
def test_windows(height: int, width: int, expected: list[list[int]]) -> None:
    assert Slicing(size=(64, 64)).windows(height, width).tolist() == expected


def test_height_and_width_are_two_settings() -> None:
    found = Slicing(size=(50, 100), overlap=(0.0, 0.5)).windows(100, 200)
    assert found.tolist() == [[x, y, x + 100, y + 50] for y in (0, 50) for x in (0, 50, 100)]


class Painted:
    """Finds what is painted in a slice: red areas are class 0, green ones class 1; larger ones score higher."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, ...]] = []

    def __call__(self, batch: Arrays) -> list[np.ndarray]:
        self.batches.append(batch["image"].shape)
        found = [self._rows(image) for image in batch["image"]]
        return [np.concatenate(found), np.array([len(rows) for rows in found])]

    @staticmethod
    def _rows(image: np.ndarray) -> np.ndarray:
        rows = []
        for kind in (0, 1):
            count, _, stats, _ = cv2.connectedComponentsWithStats((image[kind] > 0.5).astype(np.uint8))
            for x, y, width, height, area in stats[1:count]:
                rows.append([kind, min(0.99, area / 100), x, y, x + width, y + height])
        return np.float32(rows).reshape(-1, 6)


def painted_pipeline(engine: object) -> Pipeline:
    steps = ({"type": "NormalizeImage", "mean": [0, 0, 0], "std": [1, 1, 1]}, {"type": "Permute"})
    return Pipeline(engine, Preprocess(InferConfig("YOLO", "COCO", steps, ("red", "green"), (1, 2))))


# Objects of 8 x 8 pixels in the middle, on the border of two slices (64 pixels, 16 shared), where four meet, in a
# corner.
OBJECTS = [(0, 20, 20), (0, 60, 10), (1, 44, 30), (1, 60, 60), (0, 100, 44), (1, 142, 112)]


def painted() -> np.ndarray:
    picture = np.zeros((120, 150, 3), np.uint8)
    for kind, x, y in OBJECTS:
        picture[y : y + 8, x : x + 8, kind] = 255
    return picture


@pytest.mark.parametrize("method", ["nms", "nmm"])
def test_each_object_on_a_border_is_found_once_and_whole(method: str) -> None:
    engine = Painted()
    pipeline = SlicedPipeline(painted_pipeline(engine), Slicing(size=(64, 64), method=method), batch_size=4)
    [found] = pipeline.predict([painted()])
    assert sorted(row[:1] + row[2:] for row in found.tolist()) == sorted([k, x, y, x + 8, y + 8] for k, x, y in OBJECTS)
    assert found[:, 1].tolist() == pytest.approx([0.64] * len(OBJECTS)), "no cut one is left"
    assert engine.batches == [(count, 3, 64, 64) for count in (4, 4, 1)], "120 x 150 pixels are 3 x 3 slices"
    assert pipeline.timing.images == 1


def test_without_merging_every_slice_keeps_its_own() -> None:
    pipeline = SlicedPipeline(painted_pipeline(Painted()), Slicing(size=(64, 64), method="concat"))
    [found] = pipeline.predict([painted()])
    assert len(found) > len(OBJECTS)
    for kind, _, x1, y1, x2, y2 in found:
        assert (painted()[int(y1) : int(y2), int(x1) : int(x2), int(kind)] == 255).all(), "shifted to its place"


def test_a_picture_of_one_slice_is_what_it_is_without(detector: object, config: Callable) -> None:
    plain = Pipeline(EagerEngine(detector), Preprocess(InferConfig.of(config(), list("abcd"), [1, 2, 3, 4])))
    picture = np.random.default_rng(3).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    with paddle.no_grad():
        [whole], [cut] = (
            pipeline.predict([picture]) for pipeline in (plain, SlicedPipeline(plain, Slicing(method="concat")))
        )
    assert len(whole) > 10
    assert np.array_equal(whole, cut)


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_slices(parser)
    return parser.parse_args(arguments)


def test_flags() -> None:
    assert slicing(parsed()) is None
    assert slicing(parsed("--slice_infer")) == Slicing((640, 640), (0.25, 0.25), "nms", 0.6, "ios")
    flags = "--slice_infer --slice_size 320 480 --overlap_ratio 0.1 --combine_method=nmm --match_threshold 0.5"
    assert slicing(parsed(*flags.split(), "--match_metric", "iou")) == Slicing(
        (320, 480), (0.1, 0.1), "nmm", 0.5, "iou"
    )
    assert slicing(parsed("--slice_infer", "--slice_size", "320"), size=(9, 9), overlap=(0.5, 0.5)) == Slicing(
        (320, 320), (0.5, 0.5)
    )


def test_a_flag_without_slices_is_refused() -> None:
    with pytest.raises(ConfigError, match="--match_metric has no effect without --slice_infer"):
        slicing(parsed("--match_metric", "iou"))


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ("--slice_size 0", "expected a whole number above 0, not '0'"),
        ("--slice_size 6.4", "expected a whole number above 0, not '6.4'"),
        ("--slice_size 1 2 3", "--slice_size takes a height and a width, not 3 numbers"),
        ("--overlap_ratio 1", "expected a share of at least 0 and below 1, not '1'"),
        ("--combine_method soft", "invalid choice: 'soft'"),
    ],
)
def test_mistakes_in_flags(flags: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed("--slice_infer", *flags.split())
    assert says in capsys.readouterr().err


def test_infer_in_slices(detector: object, config: Callable, tmp_path: Path) -> None:
    from ppkd.deploy.infer import infer
    from ppkd.utils.serialization import write_weights

    write_weights(tmp_path / "model_final.pdparams", detector.state_dict())
    picture = np.random.default_rng(4).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "noise.png"), picture)
    cfg = config(f"weights={tmp_path / 'model_final'}")
    infer(cfg, [tmp_path / "noise.png"], tmp_path / "out", save_results=True, slicing=Slicing(size=(64, 64)))
    rows = json.loads((tmp_path / "out" / "bbox.json").read_text(encoding="utf-8"))
    right, bottom = np.max([[row["bbox"][0] + row["bbox"][2], row["bbox"][1] + row["bbox"][3]] for row in rows], axis=0)
    assert right > 100 and bottom > 70, "the last slices are found in, too"
    assert right <= 120.01 and bottom <= 90.01


def test_deploy_in_slices(exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = np.random.default_rng(4).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "noise.png"), picture)
    flags = ["--model_dir", str(exported), "--image_file", str(tmp_path / "noise.png"), "--slice_infer"]
    assert deploy.command([*flags, "--slice_size", "64", "--save_results", "--output_dir", str(tmp_path / "out")]) == 0
    rows = json.loads((tmp_path / "out" / "bbox.json").read_text(encoding="utf-8"))
    [expected] = SlicedPipeline(Predictor(exported), Slicing(size=(64, 64))).predict([tmp_path / "noise.png"])
    assert [row["score"] for row in rows] == pytest.approx(expected[:, 1].tolist())
    assert "img_num: 1" in capsys.readouterr().out, "pictures are counted, not slices"
    assert deploy.command([*flags, "--run_benchmark"]) == 1
    assert "--run_benchmark times whole pictures; leave --slice_infer out" in capsys.readouterr().err
