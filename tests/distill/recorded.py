"""A teacher that is a folder of files: what a detector recorded of each image, and nothing else of it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import paddle

from ppkd.models.detectors.detector import Detector
from ppkd.structures import Abilities, Batch, DetectorSpec, Record, scores


def write_answers(detector: Detector, batch: Batch, folder: Path) -> None:
    """Write what ``detector`` records of each image of ``batch``, one file an image."""
    detector.eval()
    with paddle.no_grad():
        record = detector.extract(batch)
    for row, image in enumerate(batch["im_id"].flatten().tolist()):
        arrays = {f"{name}.{i}": level[row].numpy() for name in record.tensors for i, level in enumerate(record[name])}
        np.savez(folder / f"{image}.npz", **arrays)


class RecordedTeacher:
    """Reads the answers for the images of a batch from ``folder``; ``spec`` is the detector's that gave them."""

    class_names = None

    def __init__(self, spec: DetectorSpec, folder: Path) -> None:
        self._spec = DetectorSpec(spec.name, spec.num_classes, spec.entries, frozenset(self.abilities()))
        self._folder = folder

    def spec(self) -> DetectorSpec:
        return self._spec

    def abilities(self) -> Abilities:
        return {"scores": scores}

    def __call__(self, batch: Batch, like: Record) -> Record:
        files = [np.load(self._folder / f"{image}.npz") for image in batch["im_id"].flatten().tolist()]

        def level(name: str, i: int) -> paddle.Tensor:
            return paddle.to_tensor(np.stack([file[f"{name}.{i}"] for file in files]))

        entries = self._spec.entries.items()
        return Record(self._spec, {name: [level(name, i) for i in range(len(entry.levels))] for name, entry in entries})

    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        for file in sorted(self._folder.iterdir()):
            digest.update(file.name.encode() + file.read_bytes())
        return digest.hexdigest()
