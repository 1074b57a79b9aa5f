"""Which detectors, input size and schedule suit a data set and a machine."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ppkd.data import anchors
from ppkd.data.datasets import DetectionDataset

SMALL_SHARE = 10
"""The percentile of boxes that has to stay visible."""
ANCHORS, ANCHOR_STEPS = 9, 1000


@dataclass(frozen=True)
class Pair:
    """A teacher and a student that ppkd brings, and how they train.

    Attributes:
        titles: what a person calls teacher and student.
        teacher: configuration that the teacher's stands on.
        student: configuration that the student's stands on.
        recipe: slim file that the distillation's stands on.
        rates: peak learning rates of both, for ``batch`` images.
        batch: images of an update.
        steps: updates that both train for.
    """

    titles: tuple[str, str]
    teacher: str
    student: str
    recipe: str
    rates: tuple[float, float]
    batch: int
    steps: tuple[int, int]


SIZES = {False: (128, 160, 192, 256, 320), True: (320, 416, 512, 640)}
"""Sides of the input that may be chosen, without and with a GPU."""
LEAST = {False: 8.0, True: 16.0}
"""Pixels that the side of a small box should have there."""
# Steps without a GPU: those of docs/tables.md's teacher, and half as many again as its student's, which had not
# levelled off.
PAIRS = {
    ("gfl", False): Pair(
        ("GFL with CSPResNet x 0.5", "GFL with CSPResNet x 0.25"),
        "configs/bccd/gfl_crn_x0.5_128_bccd.yml",
        "configs/bccd/gfl_crn_x0.25_128_bccd.yml",
        "slim/recipes/crosskd_small.yml",
        (0.002, 0.002),
        8,
        steps=(2400, 1400),
    ),
    ("gfl", True): Pair(
        ("GFL with ResNet50", "GFL with ResNet18"),
        "configs/gfl/gfl_r50_fpn_1x_coco.yml",
        "configs/gfl/gfl_r18vd_1x_coco.yml",
        "slim/recipes/crosskd_small.yml",
        (0.005, 0.005),
        8,
        steps=(9000, 9000),
    ),
    ("yolov3", False): Pair(
        ("YOLOv3 with ResNet18", "YOLOv3 with MobileNetV1 x 0.25"),
        "configs/bccd/yolov3_r18_192_bccd.yml",
        "configs/bccd/yolov3_mobilenet_v1_x0.25_192_bccd.yml",
        "slim/distill/yolov3_fine_grained.yml",
        (0.001, 0.002),
        8,
        steps=(1200, 1600),
    ),
    ("yolov3", True): Pair(
        ("YOLOv3 with DarkNet53", "YOLOv3 with MobileNetV1"),
        "configs/yolov3/yolov3_darknet53_270e_coco.yml",
        "configs/yolov3/yolov3_mobilenet_v1_270e_coco.yml",
        "slim/distill/yolov3_fine_grained.yml",
        (0.000125, 0.000125),
        8,
        steps=(12000, 12000),
    ),
}
DETECTORS = ("gfl", "yolov3")


@dataclass(frozen=True)
class Plan:
    """What is suggested.

    Attributes:
        pair: the detectors.
        detector: their kind, one of :data:`DETECTORS`.
        gpu: whether it is for a GPU.
        size: side of the square input.
        epochs: of the teacher and the student.
        batch: images of an update.
        workers: reading processes.
        scale: sides of GFL's anchors as multiples of their stride; None where the published ones stay.
        anchors: YOLOv3's anchors; None for another detector.
        reason: why this size.
    """

    pair: Pair
    detector: str
    gpu: bool
    size: int
    epochs: tuple[int, int]
    batch: int
    workers: int
    scale: int | None
    anchors: list[list[int]] | None
    reason: str


def suggest(dataset: DetectionDataset, *, detector: str, gpu: bool, cores: int) -> Plan:
    """What suits the training images ``dataset``; raises :class:`DataError` where there is no box."""
    pair = PAIRS[detector, gpu]
    relative = anchors.box_sizes(dataset, 1, 1)
    sides = np.sqrt(relative.prod(axis=1))
    small = float(np.percentile(sides, SMALL_SHARE))
    size = next((side for side in SIZES[gpu] if side * small >= LEAST[gpu]), SIZES[gpu][-1])
    labelled = sum(bool(len(annotation.gt_class)) for annotation in dataset)
    batch = max(1, min(pair.batch, labelled // 2))
    teacher, student = (_epochs(steps, labelled // batch) for steps in pair.steps)
    usual = float(np.percentile(sides, 25)) * size
    return Plan(
        pair,
        detector,
        gpu,
        size,
        (teacher, student),
        batch,
        min(8 if gpu else 2, cores),
        None if gpu or detector != "gfl" else int(np.clip(round(usual / 8), 4, 8)),
        _anchors(relative * size) if detector == "yolov3" else None,
        f"a tenth of the boxes are smaller than {small * size:.0f} pixels there",
    )


def _epochs(steps: int, of_epoch: int) -> int:
    return min(max(math.ceil(steps / max(of_epoch, 1)), 6), 300)


def _anchors(sizes: anchors.Sizes) -> list[list[int]]:
    found = anchors.k_means(sizes, ANCHORS, iters=ANCHOR_STEPS, seed=0)
    whole: list[list[int]] = found.round().clip(1).astype(int).tolist()
    return whole
