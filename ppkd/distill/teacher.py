"""Teachers: whatever gives records and has a fingerprint; and the usual one, a frozen detector."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from contextlib import nullcontext
from typing import Protocol, Self

import paddle

from ppkd.distill.loss import DistillLoss
from ppkd.models.casting import full_precision
from ppkd.models.detectors.detector import Detector
from ppkd.structures import Abilities, Batch, DetectorSpec, Record
from ppkd.structures.abilities import OF_RECORDS


class Teacher(Protocol):
    """What a distillation model asks of a teacher."""

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """What its classes are called, where that is known."""

    def spec(self) -> DetectorSpec:
        """What it records, and its abilities."""

    def abilities(self) -> Abilities:
        """The functions behind the names of the abilities; they change nothing of the teacher."""

    def __call__(self, batch: Batch, like: Record | None) -> Record:
        """What it records of ``batch``, without gradients; ``like`` is the student's record of it, if there is one."""

    def fingerprint(self) -> str:
        """A hash of all that its answers depend on, equal as long as the teacher is."""


def asked_of(teacher: DetectorSpec, losses: Iterable[DistillLoss], *, assigned: bool = False) -> set[str]:
    """The entries of ``teacher`` that ``losses`` read: what they consume, and all numbers of its head for their needs.

    The latter also where its record is ``assigned``, because the student learns its targets.
    """
    losses = list(losses)
    entries = {entry for loss in losses for entry in loss.consumes}
    if assigned or any(ability in OF_RECORDS for loss in losses for ability in loss.needs.teacher):
        entries |= {name for name, entry in teacher.entries.items() if entry.role != "feature"}
    return entries


class FrozenTeacher:
    """A detector whose weights and buffers never change.

    Deliberately not an ``nn.Layer``: Paddle's ``Layer.train()`` sets flags on all sublayers, and BatchNorm statistics
    move in training mode even under ``no_grad``. Outside the layer tree the teacher is safe from ``train()``, from
    SyncBN conversion, from the optimizer and from ``state_dict()``.

    Args:
        detector: the trained detector; it is put into evaluation mode and its parameters stop gradients.
        entries: the record's entries that a loss consumes, by default all; with the neck alone, the head is not
            computed, and features that nobody consumes are left out of the record.
        casts: compute in the student's low precision where there is one, instead of in float32.
    """

    def __init__(self, detector: Detector, entries: Collection[str] | None = None, *, casts: bool = False) -> None:
        self.detector = detector
        self._casts = casts
        self._spec = detector.spec()
        self._entries = set(self._spec.entries if entries is None else entries)
        for parameter in detector.parameters():
            parameter.stop_gradient = True
        detector.eval()

    @classmethod
    def of_losses(
        cls, detector: Detector, losses: Iterable[DistillLoss], *, casts: bool = False, assigned: bool = False
    ) -> Self:
        """The teacher of ``losses``, which records what :func:`asked_of` says."""
        return cls(detector, asked_of(detector.spec(), losses, assigned=assigned), casts=casts)

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """The detector's."""
        return self.detector.class_names

    def spec(self) -> DetectorSpec:
        """The detector's."""
        return self._spec

    def abilities(self) -> Abilities:
        """The detector's."""
        return self.detector.abilities()

    def __call__(self, batch: Batch, like: Record | None) -> Record:
        """What the teacher records of ``batch``, without gradients; ``like`` is the student's record of it."""
        if self.detector.training:
            self.detector.eval()
        with paddle.no_grad(), nullcontext() if self._casts else full_precision():
            if self._entries <= {"neck"}:
                return Record(self._spec.only(["neck"]), {"neck": self.detector.features(batch)})
            return self.detector.extract(batch, like=like).thinned(self._entries)

    def fingerprint(self) -> str:
        """SHA-256 over the names, shapes and bytes of all weights and buffers."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.detector.state_dict().items()):
            array = tensor.numpy()
            digest.update(f"{name} {array.shape} {array.dtype}\n".encode())
            digest.update(array.tobytes())
        return digest.hexdigest()
