"""Filling a bank of prototypes from the training set."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import paddle
from paddle import Tensor

from ppkd.distill.pairing import LevelPair
from ppkd.distill.preparation import Material
from ppkd.distill.prototypes.bank import PrototypeBank
from ppkd.distill.prototypes.instances import Instances, find_instances
from ppkd.distill.prototypes.pooling import pool_boxes
from ppkd.distill.prototypes.selection import Selection, select
from ppkd.structures import Batch
from ppkd.utils import processes
from ppkd.utils.atomic import atomic_open
from ppkd.utils.logger import get_logger
from ppkd.utils.progress import progress

FOLDER = "prototypes"
LINE_EVERY = 60.0

logger = get_logger(__name__)


@dataclass(frozen=True)
class PrototypeSettings(Selection):
    """When and from which instances prototypes are made; the defaults are the published ones.

    Attributes:
        every: epochs from one set of prototypes to the next; the first is made before training.
        min_side: only boxes that are wider and higher than this, in pixels of the original image.
        max_images: of each class.
        max_instances: of each class. The published code has no such limit; 800 images of COCO do not reach it. The
            time to choose grows with the square of the number of instances, the memory in proportion to it.
        seed: which ones are drawn where there are more.
    """

    every: int = 1
    min_side: float = 30.0
    max_images: int = 800
    max_instances: int = 20000
    seed: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("every", "max_images", "max_instances"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: give 1 or more")


class PrototypeMaker:
    """Makes the prototypes of a ``bank`` whose levels are ``pairs``.

    What does not change while training goes on, the list of instances and the teacher's features of them (4 bytes for
    each instance, level and channel), is kept from one time to the next.
    """

    def __init__(self, bank: PrototypeBank, pairs: Sequence[LevelPair], settings: PrototypeSettings) -> None:
        self._bank, self._pairs, self._settings = bank, tuple(pairs), settings
        self._instances: Instances | None = None
        self._teacher: Features | None = None

    def due(self, epoch: int) -> bool:
        """Whether ``epoch`` begins with new prototypes."""
        return epoch % self._settings.every == 0

    def make(self, epoch: int, material: Material) -> None:
        """Fill the bank; a class of which no instance can be read keeps what it has.

        Which instances were chosen is written to ``prototypes/`` below the run's folder.
        """
        instances = self._find(material)
        if not len(instances):
            logger.warning("Prototypes of %s: no box is large enough; every box weighs 1", material.name)
            return
        ours, theirs = self._features(material, instances)
        chosen = self._choose(instances, ours, theirs)
        processes.agree(self._bank.buffers())
        self._report(epoch, material, instances, chosen)

    def _find(self, material: Material) -> Instances:
        if self._instances is None:
            how = self._settings
            self._instances = find_instances(
                material.images.annotations,
                min_side=how.min_side,
                max_images=how.max_images,
                max_instances=how.max_instances,
                seed=how.seed,
            )
        return self._instances

    def _features(self, material: Material, instances: Instances) -> tuple[Features, Features]:
        """The student's features of all instances and the teacher's, computed only the first time."""
        annotations = material.images.annotations
        images = np.unique(instances.image)
        position = {annotations[image].im_id: image for image in images.tolist()}
        known = self._teacher
        ours, theirs = Features(len(instances)), known or Features(len(instances))
        with progress("Features of instances", len(images), interval=LINE_EVERY) as bar:
            for batch in material.images.batches(images.tolist()):
                rows = [instances.of(position[one]) for one in batch["im_id"].flatten().tolist()]
                boxes = _boxes(batch, instances, rows)
                ours.add(
                    rows, self._pooled(batch, boxes, material.student.features(batch), [p.student for p in self._pairs])
                )
                if known is None:
                    levels = material.teacher.detector.features(batch)
                    theirs.add(rows, self._pooled(batch, boxes, levels, [p.teacher for p in self._pairs]))
                bar.advance(len(rows))
        self._teacher = theirs
        return ours, theirs

    @staticmethod
    def _pooled(batch: Batch, boxes: Tensor, levels: Sequence[Tensor], positions: Sequence[int]) -> list[np.ndarray]:
        height, width = batch["image"].shape[-2:]
        chosen = [levels[position].astype("float32") for position in positions]
        return [pool_boxes([one], boxes, (one.shape[3] / width, one.shape[2] / height))[0].numpy() for one in chosen]

    def _choose(self, instances: Instances, ours: Features, theirs: Features) -> dict[int, list[list[int]]]:
        """The chosen rows of ``instances``, by class and level."""
        labels = np.unique(instances.label[ours.seen & theirs.seen]).tolist()
        chosen: dict[int, list[list[int]]] = {label: [] for label in labels}
        with progress("Prototypes", len(labels) * len(self._pairs), interval=LINE_EVERY) as bar:
            for label in labels:
                rows = np.flatnonzero((instances.label == label) & ours.seen & theirs.seen)
                for level in range(len(self._pairs)):
                    student, teacher = (paddle.to_tensor(one.levels[level][rows]) for one in (ours, theirs))
                    picked = select(student, teacher, self._settings)
                    index = paddle.to_tensor(picked)
                    self._bank.fill(level, label, student.index_select(index), teacher.index_select(index))
                    chosen[label].append(rows[picked].tolist())
                    bar.advance()
        return chosen

    def _report(self, epoch: int, material: Material, instances: Instances, chosen: dict[int, list[list[int]]]) -> None:
        images = material.images
        without = [name for label, name in enumerate(images.class_names) if label not in chosen]
        lacking = f"; no instance is large enough of {', '.join(without)}" if without else ""
        text = "Prototypes of %s for epoch %d: from %d instances of %d classes in %d images%s"
        logger.info(text, material.name, epoch, len(instances), len(chosen), len(np.unique(instances.image)), lacking)
        if images.folder is None:
            return

        def told(row: int) -> dict[str, object]:
            file = images.annotations[int(instances.image[row])].file
            return {"image": str(file), "box": [round(float(side), 2) for side in instances.box[row]]}

        record = {
            "strides": [pair.stride for pair in self._pairs],
            "classes": {
                images.class_names[label]: [[told(row) for row in rows] for rows in levels]
                for label, levels in chosen.items()
            },
        }
        with atomic_open(images.folder / FOLDER / f"{material.name}_epoch_{epoch}.json") as stream:
            stream.write(json.dumps(record).encode())


class Features:
    """Features of ``count`` instances, float32 (count, C) per level; ``seen`` bool (count,) are those that came."""

    def __init__(self, count: int) -> None:
        self.seen = np.zeros(count, bool)
        self.levels: list[np.ndarray] = []

    def add(self, rows: Sequence[slice], pooled: Sequence[np.ndarray]) -> None:
        """Take the instances ``rows`` of each image of a batch from ``pooled`` [N, M, C], level by level."""
        if not self.levels:
            self.levels = [np.zeros((len(self.seen), level.shape[2]), np.float32) for level in pooled]
        for image, one in enumerate(rows):
            self.seen[one] = True
            for kept, level in zip(self.levels, pooled, strict=True):
                kept[one] = level[image, : one.stop - one.start]


def _boxes(batch: Batch, instances: Instances, rows: Sequence[slice]) -> Tensor:
    """The boxes of a batch's instances in pixels of the network's input, [N, M, 4], zeros behind."""
    scale = batch["scale_factor"].numpy()[:, [1, 0, 1, 0]]
    padded = np.zeros((len(rows), max(one.stop - one.start for one in rows), 4), np.float32)
    for image, one in enumerate(rows):
        padded[image, : one.stop - one.start] = instances.box[one] * scale[image]
    return paddle.to_tensor(padded)
