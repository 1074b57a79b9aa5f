"""The parts of a run's page on its data: what the sets hold, and images as the network gets them."""

from __future__ import annotations

import numpy as np

from ppkd.data import DetectionDataset, build_loader
from ppkd.experiment.finished import FinishedRun
from ppkd.report.blocks import Cell, Pictures, Section, Table
from ppkd.report.draw import class_colour
from ppkd.report.pictures import css, fitted, picture, with_boxes
from ppkd.report.plots import histograms
from ppkd.utils.names import shown

MOST_IMAGES = 8
SIDE = 300
MOST_KEYS = 12


def data(run: FinishedRun) -> Section:
    """How many images and boxes of each class the sets have, how large the boxes are, how many an image has."""
    sets = {"training": run.training, **({"evaluation": run.evaluation} if run.evaluation is not None else {})}
    counts = {name: _counts(dataset) for name, dataset in sets.items()}
    rows = []
    for label, name in enumerate(run.training.class_names):
        numbers = [int(own[label]) if label < len(own) else 0 for own in counts.values()]
        rows.append([Cell(shown(name)), *(Cell(f"{number}", number) for number in numbers)])
    images = ", ".join(f"{len(dataset)} for {name}" for name, dataset in sets.items())
    sizes = {name: _sides(dataset) for name, dataset in sets.items()}
    crowded = {name: np.array([len(one.gt_class) for one in dataset]) for name, dataset in sets.items()}
    drawn = {"boxes of an image": crowded}
    if any(len(values) for values in sizes.values()):
        drawn = {"side of a box, % of its image's": sizes, **drawn}
    table = Table(["boxes of class", *sets], rows, f"Images: {images}.")
    return Section("Data", [table, histograms(drawn, "Sides are square roots of areas.")])


def mosaic(run: FinishedRun) -> Section:
    """The first images of the first batch, with their boxes, after all transforms."""
    experiment, names = run.experiment, run.training.class_names
    loader = build_loader(experiment.train_reader, run.training, seed=experiment.runtime.seed, worker_num=0)
    batch = loader.peek(0, 0)
    shown_ones = []
    for index, image in enumerate(batch["image"].numpy()[:MOST_IMAGES]):
        plain, scale = fitted(experiment.train_reader.plain(image), SIDE)
        colours = [class_colour(label) for label in batch["gt_class"][index].numpy().ravel().tolist()]
        boxes = batch["gt_bbox"][index].numpy().reshape(-1, 4) * scale
        caption = f"{image.shape[2]} x {image.shape[1]} pixels, {len(boxes)} boxes"
        shown_ones.append(picture(with_boxes(plain, boxes, colours), caption))
    text = "Images of the first batch as the network gets them, after every transform of TrainReader."
    return Section("Training images", [Pictures([("", shown_ones)], text, class_key(names))])


def class_key(names: tuple[str, ...]) -> list[tuple[str, str]]:
    """The colours of the classes, where they are few enough to be told apart."""
    return [(css(class_colour(index)), shown(name)) for index, name in enumerate(names) if len(names) <= MOST_KEYS]


def _counts(dataset: DetectionDataset) -> np.ndarray:
    labels = np.concatenate([np.zeros(0, np.int64), *(one.gt_class for one in dataset)])
    return np.bincount(labels, minlength=len(dataset.class_names))


def _sides(dataset: DetectionDataset) -> np.ndarray:
    """Of each box the side of a square of its area, in percent of its image's; of images of a known size."""
    parts = [np.zeros(0)]
    for one in dataset:
        if one.height and one.width:
            area = (one.gt_bbox[:, 2:] - one.gt_bbox[:, :2]).astype(np.float64).prod(axis=1)
            parts.append(100 * np.sqrt(area / (one.height * one.width)))
    return np.concatenate(parts)
