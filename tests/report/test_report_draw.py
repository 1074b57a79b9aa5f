"""Drawing: what is marked, where, in which colour, and what must not crash it."""

from __future__ import annotations

import numpy as np
import pytest

from ppkd.report.draw import class_colour, draw_detections, visible

NAMES = ["cell", "猫", "naïve", "\U0001f600"]


def picture(height: int = 120, width: int = 160) -> np.ndarray:
    return np.full((height, width, 3), 90, np.uint8)


def test_only_the_outline_and_the_tag_change() -> None:
    image = picture()
    drawn = draw_detections(image, np.array([[0, 0.9, 40, 50, 120, 100]], np.float32), NAMES)
    changed = (drawn != image).any(axis=2)
    assert (image == 90).all(), "the caller's picture stays as it was"
    assert changed[50, 41:120].all()
    assert changed[51:100, 40].all()
    assert not changed[54:96, 44:116].any(), "the inside of a box stays visible"
    assert not changed[104:].any()
    assert tuple(drawn[75, 40]) == class_colour(0)


def test_threshold_and_rows_without_meaning() -> None:
    rows = np.array(
        [
            [0, 0.5, 1, 1, 9, 9],
            [0, 0.499, 1, 1, 9, 9],
            [-1, 0.9, 0, 0, 0, 0],
            [0, np.nan, 1, 1, 9, 9],
            [0, 0.9, 1, 1, np.inf, 9],
            [0, 0.9, 300, 1, 400, 9],
            [0, 0.9, -50, 1, -1, 9],
        ],
        np.float32,
    )
    assert visible(rows, 0.5, 120, 160).tolist() == [rows[0].tolist()]


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (20, 300), (900, 700)])
@pytest.mark.parametrize("name", range(5))
def test_any_size_and_any_name(size: tuple[int, int], name: int) -> None:
    height, width = size
    row = np.array([[name, 1.0, -5, -5, width + 5, height + 5]], np.float32)
    drawn = draw_detections(picture(*size), row, NAMES)
    assert drawn.shape == (*size, 3)
    assert (drawn != 90).any()


def test_a_name_is_rendered_in_its_own_script() -> None:
    row = np.array([[0, 0.9, 10, 40, 100, 100]], np.float32)
    pictures = {name: draw_detections(picture(), row, [name]).tobytes() for name in ("猫", "犬", "?")}
    assert len(set(pictures.values())) == 3


def test_the_better_box_lies_on_top() -> None:
    rows = np.array([[1, 0.9, 20, 40, 100, 100], [0, 0.6, 20, 40, 100, 100]], np.float32)
    assert tuple(draw_detections(picture(), rows, NAMES)[80, 20]) == class_colour(1)


def test_no_detections_leave_the_picture_alone() -> None:
    assert (draw_detections(picture(), np.zeros((0, 6), np.float32), NAMES) == 90).all()


def test_class_colours_are_told_apart() -> None:
    colours = np.array([class_colour(index) for index in range(12)], float)
    distance = np.abs(colours[:, None] - colours[None]).sum(axis=2) + 1e9 * np.eye(12)
    assert distance.min() > 40
