"""Time to match and accumulate the detections of an evaluation, COCO's figures and VOC's.

    python benchmarks/evaluation.py                            # 5,000 images with 100 detections each, 80 classes

Boxes are drawn: each image has seven, and its detections lie about them. Seconds are those of the processor.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from ppkd.data.annotation import Annotation
from ppkd.data.datasets import DetectionDataset
from ppkd.metrics.coco import COCOMetric
from ppkd.metrics.voc import VOCMetric

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ppkd.metrics.metric import Metric

SIDE, BOXES = 640, 7


class Drawn(DetectionDataset):
    """Images without files."""

    def __init__(self, annotations: Sequence[Annotation], classes: int) -> None:
        self.annotations, self.anno_path = annotations, None
        self.category_ids = tuple(range(1, classes + 1))
        self.class_names = tuple(map(str, self.category_ids))


def draw(images: int, classes: int, detections: int) -> tuple[Drawn, list[np.ndarray]]:
    """A data set, and float32 (detections, 6) of every image: class, score, x1, y1, x2, y2."""
    rng = np.random.default_rng(0)
    annotations, found = [], []
    for im_id in range(images):
        low = rng.uniform(0, 0.7 * SIDE, (BOXES, 2))
        boxes = np.concatenate([low, low + rng.uniform(8, 0.3 * SIDE, (BOXES, 2))], axis=1).astype(np.float32)
        labels, none = rng.integers(classes, size=BOXES), np.zeros(BOXES, np.int64)
        annotations.append(Annotation(Path(), im_id, SIDE, SIDE, boxes, labels, none, none))
        like = rng.integers(BOXES, size=detections)
        guessed = np.where(rng.random(detections) < 0.6, labels[like], rng.integers(classes, size=detections))
        near = boxes[like] + rng.normal(0, 10, (detections, 4))
        found.append(np.column_stack([guessed, rng.random(detections), near]).astype(np.float32))
    return Drawn(annotations, classes), found


def seconds(metric: Metric, found: Sequence[np.ndarray]) -> tuple[float, float]:
    """Processor seconds of :meth:`accumulate`, and the headline."""
    for im_id, rows in enumerate(found):
        metric.update({"im_id": np.array([[im_id]])}, {"bbox": rows, "bbox_num": np.array([len(rows)])})
    started = time.process_time()
    figures = metric.accumulate()
    return time.process_time() - started, figures[metric.headline]


def main() -> None:
    """Print the seconds of every metric."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--classes", type=int, default=80)
    parser.add_argument("--detections", type=int, default=100)
    args = parser.parse_args()
    dataset, found = draw(args.images, args.classes, args.detections)
    metrics: dict[str, Metric] = {
        "COCO": COCOMetric(dataset),
        "VOC, 11point": VOCMetric(dataset),
        "VOC, coco_style": VOCMetric(dataset, map_type="coco_style"),
    }
    print(f"{args.images} images, {args.detections} detections each, {args.classes} classes")
    for name, metric in metrics.items():
        taken, headline = seconds(metric, found)
        print(f"  {name}: {taken:.1f} s ({metric.headline} {headline!r})")


if __name__ == "__main__":
    main()
