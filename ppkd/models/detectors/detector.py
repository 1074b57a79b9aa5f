"""The contract of a detector: it records, assigns, scores and predicts, and is independent of distillation."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Self

import paddle
from paddle import Tensor, nn

from ppkd.models.casting import float32, full_precision
from ppkd.models.postprocess.suppression import PostProcess
from ppkd.structures import Abilities, Batch, DetectorSpec, LevelSpec, Record, scores
from ppkd.structures.truth import Truth, as_truth
from ppkd.utils.errors import ConfigError, DataError


class Detector(nn.Layer):
    """Base of all detectors; ``forward`` is the training step and returns losses in both modes."""

    class_names: tuple[str, ...] | None = None
    """What the classes are called that the weights were trained on, where that is known."""

    reads_masks: bool = False
    """Whether it learns from masks, which the training set then has to read."""

    @abstractmethod
    def spec(self) -> DetectorSpec:
        """What every record of this detector holds, and the names of its abilities; known before any image."""

    def abilities(self) -> Abilities:
        """What this detector can do beyond recording, by the names of :mod:`ppkd.structures.abilities`."""
        return {"features": self.features, "scores": scores, "assign": self.assign, "predict": self.predict}

    @abstractmethod
    def features(self, batch: Batch) -> list[Tensor]:
        """Outputs of the neck for ``batch['image']``, [N, C, H, W] per level: what needs no head."""

    @abstractmethod
    def extract(self, batch: Batch, like: Record | None = None) -> Record:
        """The raw record of ``batch['image']``, of the same spec in training and evaluation.

        ``like`` is another detector's record whose proposals are used again by detectors with the ability ``at``.
        """

    def assign(self, record: Record, truth: Truth | Batch) -> Any:
        """Training targets for the cells or proposals of ``record`` from the ground truth, or a batch with it."""
        return self.match(record, as_truth(truth))

    @abstractmethod
    def match(self, record: Record, truth: Truth) -> Any:
        """What :meth:`assign` returns."""

    @abstractmethod
    def loss(self, record: Record, targets: Any) -> dict[str, Tensor]:
        """Named scalar loss terms, without their total."""

    @abstractmethod
    def predict(self, batch: Batch) -> dict[str, Tensor]:
        """Detections in pixels of the original image, for a detector in evaluation mode.

        Returns ``bbox`` float32 (K, 6) = class, score, x1, y1, x2, y2 and ``bbox_num`` int32 (N,).
        """

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The named terms of :meth:`loss`, in float32, and their sum under ``loss``."""
        record = self.extract(batch).thinned(()).map(float32)
        with full_precision():
            terms = self.loss(record, self.assign(record, batch))
        return {**terms, "loss": paddle.add_n(list(terms.values()))}

    def set_progress(self, epoch: float, step: int | None = None) -> None:
        """Tell a detector whose training changes on the way where it is; 1.5 is the middle of the second epoch."""

    def due(self, epoch: int) -> bool:
        """Whether training calls :meth:`prepare` before ``epoch``: a detector alone has nothing to prepare."""
        return False

    def prepare(self, epoch: int, images: object) -> None:
        """Make something of the training set before ``epoch``: nothing here."""

    def fingerprints(self) -> Mapping[str, str]:
        """The hashes of the frozen models that training learns from, by name: none."""
        return {}

    @property
    def post_process(self) -> PostProcess | None:
        """What decodes and suppresses; None where nothing is suppressed."""
        return None

    def part(self, name: str) -> nn.Layer:
        """The sublayer that plays the role ``backbone``, ``neck`` or ``head``."""
        return getattr(self, name)

    @property
    def before_heads(self) -> nn.Layer:
        """The part whose maps the heads read."""
        return self.part("neck")

    def deployable(self) -> Self:
        """The detector that is shipped: itself."""
        return self


class PyramidDetector(Detector):
    """A detector whose head follows a ``backbone`` and a ``neck``, each with ``out_specs``; without neck, the backbone.

    The record's entry ``neck`` is what the head reads in either case.
    """

    def __init__(self, *, backbone: nn.Layer, neck: nn.Layer | None):
        super().__init__()
        self.backbone = backbone
        self.neck = neck

    @property
    def before_heads(self) -> nn.Layer:
        """The neck; the backbone where there is none."""
        return self.backbone if self.neck is None else self.neck

    @property
    def levels(self) -> tuple[LevelSpec, ...]:
        """What the head reads."""
        return self.before_heads.out_specs

    def features(self, batch: Batch) -> list[Tensor]:
        """The maps that the head reads.

        Raises :class:`DataError` unless the backbone's stride divides the image's sides, where a neck joins levels.
        """
        image = batch["image"]
        if self.neck is None:
            return self.backbone(image)
        _check_sides(image, self.backbone.out_specs[-1].stride)
        return self.neck(self.backbone(image))

    def part(self, name: str) -> nn.Layer:
        """The sublayer of that role; raises :class:`ConfigError` for the ``neck`` of a detector without one."""
        if name == "neck" and self.neck is None:
            raise ConfigError(f"this {type(self).__name__} has no neck: leave it out")
        return super().part(name)


@paddle.jit.not_to_static
def _check_sides(image: Tensor, stride: int) -> None:
    """Raise :class:`DataError` unless ``stride`` divides height and width of ``image`` [N, 3, H, W], where known."""
    height, width = image.shape[-2:]
    if (height > 0 and height % stride) or (width > 0 and width % stride):
        raise DataError(
            f"the network's input is {height} x {width} pixels (height x width), but both must be multiples of "
            f"{stride}: change target_size of the reader's Resize or BatchRandomResize."
        )
