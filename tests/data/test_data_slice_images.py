"""A data set cut into slices: which boxes a slice has, what is written, and who reads it."""

import json

import cv2
import numpy as np
import pytest

from ppkd.cli.slice_image import command
from ppkd.data.datasets import COCODataSet
from ppkd.data.windows import windows

SIZE, OTHER = 40, 30


@pytest.fixture
def flags(tmp_path):
    """One picture of 60 x 40 pixels with a box across two slices, one mostly in the first, and one in the second."""
    image = np.random.default_rng(0).integers(0, 255, (SIZE, 60, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), image)
    boxes = [[20, 5, 20, 10], [5, 2, 26, 20], [45, 10, 10, 10]]
    content = {
        "images": [{"id": 7, "file_name": "a.png", "height": SIZE, "width": 60}],
        "categories": [{"id": 3, "name": "disc"}, {"id": 9, "name": "ring"}],
        "annotations": [
            {"id": n, "image_id": 7, "category_id": 9 if n else 3, "bbox": box, "iscrowd": 0}
            for n, box in enumerate(boxes)
        ],
    }
    (tmp_path / "all.json").write_text(json.dumps(content))
    paths = {"--image_dir": tmp_path, "--json_path": tmp_path / "all.json", "--output_dir": tmp_path / "out"}
    return [str(part) for pair in paths.items() for part in pair]


def test_slices_have_the_parts_of_boxes_that_they_show(flags, tmp_path, capsys):
    assert command([*flags, "--slice_size", str(OTHER), "--overlap_ratio", "0"]) == 0
    assert "all_30_00.json: 4 images" in capsys.readouterr().out
    read = COCODataSet(str(tmp_path / "out"), "all_images_30_00", "all_30_00.json", allow_empty=True)
    assert read.class_names == ("disc", "ring")
    image = cv2.imread(str(tmp_path / "a.png"))
    found = {}
    for each in read:
        x1, y1, x2, y2 = map(int, each.file.stem.split("_")[1:])
        assert np.array_equal(cv2.imread(str(each.file)), image[y1:y2, x1:x2])
        found[x1, y1] = [*zip(each.gt_class.tolist(), each.gt_bbox.tolist(), strict=True)]
    assert found == {
        (0, 0): [(0, [20, 5, 30, 15]), (1, [5, 2, 30, 22])],
        (30, 0): [(0, [0, 5, 10, 15]), (1, [15, 10, 25, 20])],
        (0, 10): [(0, [20, 0, 30, 5]), (1, [5, 0, 30, 12])],
        (30, 10): [(0, [0, 0, 10, 5]), (1, [15, 0, 25, 10])],
    }


def test_slices_cover_the_picture_and_none_leaves_it():
    cut = windows((SIZE, 60), (25, 25), (0.2, 0.2))
    assert {(x1, y1) for x1, y1, _, _ in cut.tolist()} == {(x, y) for x in (0, 20, 35) for y in (0, 15)}
    assert np.all(cut[:, 2:] - cut[:, :2] == 25)
    assert windows((SIZE, 60), (100, 100), (0, 0)).tolist() == [[0, 0, 60, SIZE]]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--slice_size", "0"], "--slice_size is 0, expected pixels above 0"),
        (["--overlap_ratio", "1"], "--overlap_ratio is 1, expected a share of at least 0, below 1"),
    ],
)
def test_slices_that_are_none_are_refused(flags, more, says, capsys):
    assert command([*flags, *more]) == 1
    assert says in capsys.readouterr().err
