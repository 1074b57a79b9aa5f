"""What the wiring of losses needs to know of the training set and the teachers before the first step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import paddle
from paddle import Tensor

from ppkd.distill.cells.reached import positives
from ppkd.distill.labelled import labelled_images
from ppkd.distill.loss import DistillLoss
from ppkd.models.casting import float32, full_precision
from ppkd.structures import Batch, Record
from ppkd.structures.truth import Truth
from ppkd.utils import processes
from ppkd.utils.logger import get_logger

if TYPE_CHECKING:
    from ppkd.distill.model import DistillModel

UPDATES = 8
"""The batches of so many updates give the unit of the teachers' maps."""
IMAGES = 200
"""About so many labelled images, of all processes together, tell which levels objects reach."""

logger = get_logger(__name__)


@paddle.no_grad()
def calibrate(model: DistillModel, updates: Iterable[Iterable[Batch]]) -> None:
    """Measure, on the batches of the first training ``updates``, what the losses of ``model`` ask for.

    That is the unit of the teachers' maps (``scale: rms``) and the share of each level in the places that the student's
    assigner gives to objects (``levels: objects``). All processes must call this, each with its own batches, and get
    the same numbers. The student is used in the mode it is in, so that its moving statistics move in training mode.
    """
    meters = [meter for meter in (Units(model), Objects(model)) if meter.losses]
    _show(model, meters, updates)
    for meter in meters:
        meter.settle()


def _show(model: DistillModel, meters: Sequence[Meter], updates: Iterable[Iterable[Batch]]) -> None:
    """Let the ``meters`` see ``updates`` until all have enough."""
    for batches in updates:
        asking = [meter for meter in meters if not meter.enough]
        if not asking:
            break
        for batch in batches:
            record = model.student.extract(batch).map(float32)
            for meter in asking:
                meter.add(batch, record)
        for meter in asking:
            meter.updates += 1


class Meter(ABC):
    """Measures something for some ``losses`` of a model, over whole updates."""

    def __init__(self, model: DistillModel, losses: Mapping[str, DistillLoss]) -> None:
        self.losses = losses
        self.updates = 0
        self._model = model

    @property
    @abstractmethod
    def enough(self) -> bool:
        """Whether no further update is needed."""

    @abstractmethod
    def add(self, batch: Batch, record: Record) -> None:
        """Take in a ``batch`` of which ``record`` is the student's."""

    def see(self, updates: Iterable[Iterable[Batch]]) -> None:
        """Take in ``updates`` until it is enough."""
        _show(self._model, [self], updates)

    @abstractmethod
    def settle(self) -> None:
        """Give the losses what was found; all processes must call this."""


class Units(Meter):
    """The mean squares of the teachers' maps."""

    def __init__(self, model: DistillModel) -> None:
        super().__init__(model, {n: loss for n, loss in model.losses.items() if loss.wiring.settings.scale == "rms"})
        self._squares: dict[str, list[Tensor]] = {name: [] for name in self.losses}

    @property
    def enough(self) -> bool:
        """Whether :data:`UPDATES` were seen."""
        return self.updates >= UPDATES

    def add(self, batch: Batch, record: Record) -> None:
        """Let the teachers record the ``batch``."""
        asked = dict.fromkeys(self._model.teacher_of(name) for name in self.losses)
        answers = {name: self._model.teachers[name](batch, record).map(float32) for name in asked}
        for name, loss in self.losses.items():
            self._squares[name].append(loss.wiring.squares(answers[self._model.teacher_of(name)]))

    def settle(self) -> None:
        """Set the units."""
        for name, loss in self.losses.items():
            loss.wiring.set_unit(paddle.add_n(self._squares[name]) / len(self._squares[name]))


class Objects(Meter):
    """The places of each level that answer for objects."""

    def __init__(self, model: DistillModel, losses: Mapping[str, DistillLoss] | None = None) -> None:
        asking = {n: loss for n, loss in model.losses.items() if loss.wiring.settings.levels == "objects"}
        super().__init__(model, asking if losses is None else losses)
        self.images = 0
        self._found: dict[int, Tensor] = {}

    @property
    def enough(self) -> bool:
        """Whether :data:`IMAGES` were seen."""
        return self.images * processes.count() >= IMAGES

    def add(self, batch: Batch, record: Record) -> None:
        """Count those of the labelled images of ``batch``."""
        known = labelled_images(batch)
        if known is None:
            return
        own, truth = known.of(record), known.of(Truth.of(batch))
        with full_precision():
            counted = positives(own, self._model.student.assign(own, truth), truth)
        self._found = {stride: count + self._found.get(stride, 0.0) for stride, count in counted.items()}
        self.images += truth.boxes.shape[0]

    def local(self) -> dict[int, float]:
        """The places of each stride that this process saw; this waits for the device."""
        return {stride: count.item() for stride, count in self._found.items()}

    def by_stride(self) -> dict[int, float]:
        """The places of all processes, which all must ask; this waits for the device."""
        nothing, strides = paddle.zeros([]), self._model.student.spec().entries["neck"].strides
        found = {stride: processes.mean(self._found.get(stride, nothing)).item() for stride in strides}
        return {stride: count * processes.count() for stride, count in found.items()}

    def settle(self) -> None:
        """Set the weights of the levels, with a line on them."""
        found = self.by_stride()
        for name, loss in self.losses.items():
            loss.wiring.set_levels(found)
            if not any(found[stride] for stride in loss.wiring.strides):
                logger.warning("losses.%s: no object reaches a level that it compares: they weigh the same", name)
                continue
            weights = ", ".join(f"{weight:.3g}" for weight in loss.wiring.level_weights.tolist())
            counts = ", ".join(f"{found[stride]:.0f}" for stride in loss.wiring.strides)
            strides = ", ".join(map(str, loss.wiring.strides))
            text = "losses.%s: levels of stride %s weigh %s, for %s places of them answer for objects (%d images)"
            logger.info(text, name, strides, weights, counts, self.images * processes.count())
