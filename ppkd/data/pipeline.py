"""From the plan of a batch to its arrays: what a worker process does."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ppkd.data.annotation import Annotation
from ppkd.data.outlines import aligned, nothing
from ppkd.data.repeated import RepeatedViews
from ppkd.data.sampling import BatchPlan, Stream, generator
from ppkd.data.transforms import Compose, Sample
from ppkd.data.transforms.base import MASKS, MIRRORED
from ppkd.utils.errors import ConfigError, DataError, PPKDError

ATTEMPTS = 10
ARRAYS = ("image", "im_shape", "scale_factor", "im_id")


@dataclass
class Parcel:
    """What a worker returns beside the arrays of a batch: boxes per key and image, unreadable files, an error.

    ``views`` are the arrays of the batch's further views. ``draws`` counts the attempts to read an image, ``failures``
    holds a message for each that failed, ``lost`` the ids of images that were not replaced.
    """

    # Boxes are not among the arrays, because Paddle's shared memory takes no array without rows.

    boxes: dict[str, list[np.ndarray]] = field(default_factory=dict)
    views: list[dict[str, Any]] = field(default_factory=list)
    draws: int = 0
    failures: list[str] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)
    error: Exception | None = None


Parts = dict[str, Any]


@dataclass
class Pipeline:
    """Reads, transforms and stacks the images of a batch.

    ``box_keys`` are the entries with one row per box that the batch gets. With ``replace``, an image that cannot be
    read is replaced by another, drawn from the same stream; otherwise the batch goes without it. With ``repeated``,
    epochs take a few views of every image in turn. ``masks``: whether the images have outlines.
    """

    dataset: Sequence[Annotation]
    sample_transforms: Compose
    batch_transforms: Compose
    seed: int
    box_keys: tuple[str, ...] = ()
    replace: bool = False
    mixup_epochs: float = 0
    unlabelled: Sequence[Annotation] | None = None
    repeated: RepeatedViews | None = None
    masks: bool = False

    def __getitem__(self, plan: BatchPlan) -> Parts:
        """``arrays`` of the batch and its ``parcel``; an error is returned in the parcel, never raised."""
        parcel = Parcel()
        try:
            arrays = self._batch(plan, parcel)
        except PPKDError as error:
            arrays, parcel.error = {}, error
        except Exception:
            arrays, parcel.error = {}, RuntimeError(f"reading batch {plan.batch} failed\n{traceback.format_exc()}")
        return {"arrays": arrays or {"image": np.zeros(1, np.float32)}, "parcel": parcel}

    def _batch(self, plan: BatchPlan, parcel: Parcel) -> dict[str, np.ndarray]:
        if self.repeated is not None:
            return self._repeated_batch(plan, parcel, self.repeated)
        mix = plan.epoch < self.mixup_epochs
        samples = []
        for draw in plan.labelled:
            rng = generator(self.seed, Stream.SAMPLE, plan.epoch, draw.position)
            samples.append(self._sample(self.dataset, draw.index, mix, rng, parcel))
        labelled = [True] * len(samples)
        if self.unlabelled is not None:
            for draw in plan.unlabelled:
                # Positions of unlabelled images count through the whole run, so the epoch is not part of the key.
                rng = generator(self.seed, Stream.UNLABELLED_SAMPLE, 0, draw.position)
                samples.append(self._sample(self.unlabelled, draw.index, mix, rng, parcel))
                labelled.append(False)
        readable = [views for views in samples if views is not None]
        if not readable:
            return {}
        rng = generator(self.seed, Stream.BATCH, plan.epoch, plan.batch)
        present, *views = [self.batch_transforms(list(view), rng) for view in zip(*readable, strict=True)]
        parcel.views = [{**stack(view), MIRRORED: MIRRORED in view[0]} for view in views]
        parcel.boxes = {key: [sample[key] for sample in present] for key in self.box_keys}
        if self.masks and self.box_keys:
            parcel.boxes[MASKS] = aligned([sample.get(MASKS, nothing(len(sample["gt_bbox"]))) for sample in present])
        arrays = stack(present)
        return arrays if self.unlabelled is None else {**arrays, "labelled": np.array(labelled)}

    def _repeated_batch(self, plan: BatchPlan, parcel: Parcel, repeated: RepeatedViews) -> dict[str, np.ndarray]:
        """The batch of images that are in this epoch's view, each by itself, with what is recorded of them."""
        view, mix = repeated.view(plan.epoch), plan.epoch < self.mixup_epochs
        present = []
        for draw in plan.labelled:
            rng = repeated.generator(view, draw.index)
            sample = self._sample(self.dataset, draw.index, mix, rng, parcel)
            # A transform of the batch sees one image, whose view must not depend on which others are drawn with it.
            present += [] if sample is None else self.batch_transforms(sample, rng)
        parcel.boxes = {key: [sample[key] for sample in present] for key in self.box_keys}
        repeated.check_sizes(present)
        return {**stack(present), **repeated.recorded(view, [draw.index for draw in plan.labelled])}

    def _sample(
        self, dataset: Sequence[Annotation], index: int, mix: bool, rng: np.random.Generator, parcel: Parcel
    ) -> list[Sample] | None:
        """The image in all its views; None if it cannot be read and is not replaced."""
        for _ in range(ATTEMPTS if self.replace else 1):
            parcel.draws += 1
            try:
                return self._transformed(dataset, index, mix, rng)
            except DataError as error:
                parcel.failures.append(str(error))
            if self.replace:
                index = int(rng.integers(len(dataset)))
        if self.replace:
            raise DataError(f"{ATTEMPTS} images in a row could not be read; the last one: {parcel.failures[-1]}")
        parcel.lost.append(dataset[index].im_id)
        return None

    def _transformed(
        self, dataset: Sequence[Annotation], index: int, mix: bool, rng: np.random.Generator
    ) -> list[Sample]:
        samples = [start(dataset[index])]
        if mix:
            samples.append(start(dataset[int(rng.integers(len(dataset)))]))
        return self.sample_transforms(samples, rng)


def start(annotation: Annotation) -> Sample:
    """The sample of an annotation before any transform; its arrays are copies."""
    sample = {
        "im_file": annotation.file,
        "im_id": np.array([annotation.im_id], np.int64),
        "h": annotation.height,
        "w": annotation.width,
        "gt_bbox": annotation.gt_bbox.copy(),
        "gt_class": annotation.gt_class.copy(),
        "gt_score": np.ones(len(annotation.gt_class), np.float32),
        "is_crowd": annotation.is_crowd.copy(),
        "difficult": annotation.difficult.copy(),
    }
    return sample if annotation.gt_poly is None else {**sample, MASKS: annotation.gt_poly.padded()}


def stack(samples: Sequence[Sample]) -> dict[str, np.ndarray]:
    """Images and their sizes, one array per key; raises :class:`ConfigError` unless the images agree in shape."""
    shapes = sorted({sample["image"].shape for sample in samples})
    if len(shapes[0]) != 3 or shapes[0][0] != 3:
        raise ConfigError(f"the reader yields images of shape {shapes[0]}, expected (3, height, width): add Permute")
    if len(shapes) > 1:
        raise ConfigError(
            f"the images of a batch differ in size, {shapes[0]} and {shapes[-1]}: "
            "end batch_transforms with PadBatch, resize with keep_ratio: false, or set batch_size: 1"
        )
    arrays = {key: np.stack([sample[key] for sample in samples]) for key in ARRAYS}
    arrays["image"] = arrays["image"].astype(np.float32, copy=False)
    return arrays
