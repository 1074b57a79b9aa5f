"""Anchors from boxes: clusters that are there, numbers by hand, the command."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from ppkd.cli import anchors as command
from ppkd.cli.main import main
from ppkd.data.anchors import evolve, fitness, k_means, mean_iou, overlaps

CENTRES = np.array([[12.0, 14.0], [40.0, 20.0], [90.0, 120.0]])
CONFIG = "configs/shapes/yolov3_mobilenet_v1_x0.25_160_shapes.yml"


@pytest.fixture(scope="module")
def sizes() -> np.ndarray:
    """Sizes around three centres, 40 of each."""
    rng = np.random.default_rng(0)
    return np.concatenate([centre * rng.uniform(0.9, 1.1, (40, 2)) for centre in CENTRES])


def test_overlaps_by_hand() -> None:
    # 10 x 20 and 20 x 10 share 10 x 10 of 300; 10 x 20 lies within 20 x 40.
    assert overlaps(np.array([[10.0, 20.0]]), np.array([[20.0, 10.0], [20.0, 40.0]])).tolist() == [[1 / 3, 1 / 4]]
    assert mean_iou(np.array([[10.0, 20.0], [20.0, 10.0]]), np.array([[10.0, 20.0]])) == pytest.approx(2 / 3)


def test_fitness_by_hand() -> None:
    # Side by side the ratios are 1/2 and 2/3, the worse counts; 1/5 is not above the least.
    found = np.array([[10.0, 20.0], [50.0, 30.0]])
    assert fitness(found, np.array([[20.0, 30.0]]), 0.45) == pytest.approx(0.25)
    assert fitness(found, np.array([[20.0, 30.0]]), 0.25) == pytest.approx((0.5 + 0.4) / 2)


def test_k_means_finds_the_means_of_clusters(sizes: np.ndarray) -> None:
    found = [k_means(sizes, 3, iters=1000, seed=seed) for seed in range(6)]
    best = max(found, key=lambda anchors: mean_iou(sizes, anchors))
    assert np.allclose(best, [sizes[i : i + 40].mean(axis=0) for i in (0, 40, 80)])
    assert (np.diff(best.prod(axis=1)) > 0).all(), "the smallest comes first"


def test_one_anchor_is_the_mean_and_a_seed_decides_everything(sizes: np.ndarray) -> None:
    assert np.allclose(k_means(sizes, 1, iters=10, seed=3), [sizes.mean(axis=0)])
    assert (k_means(sizes, 9, iters=50, seed=3) == k_means(sizes, 9, iters=50, seed=3)).all()
    assert (k_means(sizes, 9, iters=50, seed=3) != k_means(sizes, 9, iters=50, seed=4)).any()


def test_evolution_only_improves(sizes: np.ndarray) -> None:
    start = np.array([[20.0, 20.0], [30.0, 30.0], [60.0, 60.0]])
    reached = [
        fitness(sizes, evolve(sizes, start, iters=iters, least=0.25, seed=0), 0.25) for iters in (0, 20, 200, 600)
    ]
    assert reached[0] == fitness(sizes, start, 0.25)
    assert reached == sorted(reached)
    assert reached[-1] > reached[0] + 0.1
    again = evolve(sizes, start, iters=600, least=0.25, seed=0)
    assert fitness(sizes, again, 0.25) == reached[-1]


def write_coco(folder: Path) -> list[str]:
    """Boxes of 15 x 15 in one picture of 160 x 80 and of 63 x 31 in another, whose size is not stated; overrides."""
    images = []
    for number, stated in ((1, {"width": 160, "height": 80}), (2, {})):
        cv2.imwrite(str(folder / f"{number}.png"), np.zeros((80, 160, 3), np.uint8))
        images.append({"id": number, "file_name": f"{number}.png", **stated})
    boxes = [
        {"id": i, "image_id": 1 + i % 2, "category_id": 1, "bbox": [i, i, *((63, 31) if i % 2 else (15, 15))]}
        for i in range(8)
    ]
    content = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "a"}]}
    (folder / "a.json").write_text(json.dumps(content))
    return [f"TrainDataset={{name: COCODataSet, dataset_dir: {folder}, image_dir: '', anno_path: a.json}}"]


def write_voc(folder: Path) -> list[str]:
    """The same boxes as xml files."""
    for number in (1, 2):
        cv2.imwrite(str(folder / f"{number}.png"), np.zeros((80, 160, 3), np.uint8))
        boxes = [(i, i, i + (63 if i % 2 else 15), i + (31 if i % 2 else 15)) for i in range(8) if 1 + i % 2 == number]
        corners = "".join(
            "<object><name>a</name><bndbox>"
            f"<xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
            for x1, y1, x2, y2 in boxes
        )
        (folder / f"{number}.xml").write_text(f"<annotation>{corners}</annotation>")
    (folder / "list.txt").write_text("1.png 1.xml\n2.png 2.xml\n")
    return [f"TrainDataset={{name: VOCDataSet, dataset_dir: {folder}, anno_path: list.txt, label_list: [a]}}"]


@pytest.mark.parametrize("write", [write_coco, write_voc])
def test_what_is_printed_is_a_part_of_a_configuration(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], write: object
) -> None:
    overrides = [*write(tmp_path), "num_classes=1"]
    assert main(["anchors", "-c", str(root / CONFIG), "-o", *overrides, "-n", "2", "-s", "320,320"]) == 0
    shown = capsys.readouterr().out
    # A pixel is added as PaddleDetection does: 16 and 64 of 160 pixels, 16 and 32 of 80.
    assert yaml.safe_load(shown[shown.index("YOLOv3Head") :]) == {"YOLOv3Head": {"anchors": [[32, 64], [128, 128]]}}
    assert "# 8 boxes at 320 x 320 pixels: mean IoU 1.0000,\n# fitness above 0.25 1.0000\n" in shown


def test_masks_of_three_levels_and_the_size_of_the_test_reader(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = [*write_coco(tmp_path), "num_classes=1", "TestReader.inputs_def.image_shape=[3, 96, 160]"]
    assert command.command(["-c", str(root / CONFIG), "-o", *overrides, "-n", "3"]) == 1
    assert "3 anchors need as many boxes of different sizes, but there are 2" in capsys.readouterr().err
    content = json.loads((tmp_path / "a.json").read_text())
    content["annotations"][0]["bbox"] = [0, 0, 159, 79]
    (tmp_path / "a.json").write_text(json.dumps(content))
    assert command.command(["-c", str(root / CONFIG), "-o", *overrides, "-n", "3", "-m", "v5", "-gi", "10"]) == 0
    shown = yaml.safe_load(capsys.readouterr().out)["YOLOv3Head"]
    assert shown["anchor_masks"] == [[2], [1], [0]]
    assert shown["anchors"][-1] == [160, 96]


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["-s", "320,"], "--size 320,: expected one number of pixels"),
        (["-s", "1,2,3"], "--size 1,2,3: expected one number of pixels"),
        (["-o", "TestReader.inputs_def.image_shape=[3, -1, -1]"], "says no size; give --size WIDTH,HEIGHT"),
    ],
)
def test_sizes_that_are_none(root: Path, flags: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.command(["-c", str(root / CONFIG), *flags]) == 1
    assert says in capsys.readouterr().err
