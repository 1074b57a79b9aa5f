"""Filling a bank of prototypes from the training set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import paddle

from ppkd.distill.losses.global_knowledge.prototypes.bank import PrototypeBank
from ppkd.distill.losses.global_knowledge.prototypes.features import Features, instance_boxes, pooled
from ppkd.distill.losses.global_knowledge.prototypes.instances import Instances, find_instances
from ppkd.distill.losses.global_knowledge.prototypes.report import Chosen, report
from ppkd.distill.losses.global_knowledge.prototypes.selection import select
from ppkd.distill.losses.global_knowledge.prototypes.settings import PrototypeSettings
from ppkd.distill.pairing import LevelPair
from ppkd.distill.preparation import Material
from ppkd.utils import processes
from ppkd.utils.logger import get_logger
from ppkd.utils.progress import progress

LINE_EVERY = 60.0
"""Seconds between lines of progress."""

logger = get_logger(__name__)


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
        chosen = self._choose(instances, *self._features(material, instances))
        processes.agree(self._bank.buffers())
        report(epoch, material, instances, chosen, [pair.stride for pair in self._pairs])

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
        """The student's features of all instances and the teacher's, which are computed only the first time."""
        annotations = material.images.annotations
        images = np.unique(instances.image)
        position = {annotations[image].im_id: image for image in images.tolist()}
        student, teacher = Features(len(instances)), self._teacher or Features(len(instances))
        with progress("Features of instances", len(images), interval=LINE_EVERY) as bar:
            for batch in material.images.batches(images.tolist()):
                rows = [instances.of(position[one]) for one in batch["im_id"].flatten().tolist()]
                boxes = instance_boxes(batch, instances, rows)
                levels = material.student["features"](batch)
                student.add(rows, pooled(batch, boxes, [levels[pair.student] for pair in self._pairs]))
                if self._teacher is None:
                    levels = material.teacher["features"](batch)
                    teacher.add(rows, pooled(batch, boxes, [levels[pair.teacher] for pair in self._pairs]))
                bar.advance(len(rows))
        self._teacher = teacher
        return student, teacher

    def _choose(self, instances: Instances, student: Features, teacher: Features) -> Chosen:
        """Fill the bank; returns the chosen rows of ``instances``, by class and level."""
        seen = student.seen & teacher.seen
        labels = np.unique(instances.label[seen]).tolist()
        chosen: Chosen = {label: [] for label in labels}
        with progress("Prototypes", len(labels) * len(self._pairs), interval=LINE_EVERY) as bar:
            for label in labels:
                rows = np.flatnonzero((instances.label == label) & seen)
                for level in range(len(self._pairs)):
                    features = [paddle.to_tensor(one.levels[level][rows]) for one in (student, teacher)]
                    picked = select(*features, self._settings)
                    index = paddle.to_tensor(picked)
                    self._bank.fill(level, label, *(one.index_select(index) for one in features))
                    chosen[label].append(rows[picked].tolist())
                    bar.advance()
        return chosen
