"""The exported file computes what the detector computes, on a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import paddle
from numpy.typing import NDArray

from ppkd.data.image import read_image
from ppkd.data.shapes import Look, draw_image
from ppkd.deploy.description import UNDECODED, Description, Outputs
from ppkd.deploy.engine import Arrays
from ppkd.deploy.export import Unsuppressed, raw_entries
from ppkd.deploy.nms import suppression
from ppkd.deploy.onnx_engines import OnnxRuntimeEngine
from ppkd.deploy.onnx_file import NAME
from ppkd.deploy.pipeline import split_detections
from ppkd.deploy.preprocess import Preprocess
from ppkd.deploy.to_onnx.assemble import PLAIN
from ppkd.deploy.to_onnx.compare import BOUND, largest_difference
from ppkd.utils.errors import WeightsError

if TYPE_CHECKING:
    from ppkd.models.detectors.detector import Detector

_SIDE = 480


def check_picture(file: Path | None) -> NDArray[np.uint8]:
    """The picture of ``file``, or a drawn one, RGB (H, W, 3); raises :class:`DataError` naming one that is broken."""
    return draw_image(_SIDE, np.random.default_rng(0), Look.of(0.0))[0] if file is None else read_image(file)


class Check:
    """What ``detector`` computes of ``picture``, and of its mirror image where the model takes several.

    ``names`` are those of the model's outputs before suppression.
    """

    def __init__(self, detector: Detector, description: Description, picture: NDArray[np.uint8]) -> None:
        self.description = description
        prepare = Preprocess(description, "the preprocessing")
        pictures = [picture, np.ascontiguousarray(picture[:, ::-1])]
        count = description.batch or 2
        self.batch = prepare.collate([prepare(pictures[i % 2]).sample for i in range(count)])
        self.expected = _computed(detector, self.batch, description.outputs)
        self.names = list(self.expected)
        entries = detector.spec().entries
        known = {name: entries[entry] for name in self.names if (entry := name.partition(".")[0]) in entries}
        self._logits = [name for name, entry in known.items() if entry.activation == "sigmoid"]
        self._rows = [name for name, entry in known.items() if entry.kind == "rows"]

    def __call__(self, folder: Path) -> float:
        """The largest difference of the files in ``folder``; raises :class:`WeightsError` if it is above ``BOUND``."""
        found = _engine(folder / PLAIN)(self.batch)
        difference = largest_difference(self.expected, found, logits=self._logits, rows=self._rows)
        if difference > BOUND:
            raise WeightsError(
                f"the ONNX model differs from the detector by {difference:.1e} of the largest number, more than "
                f"{BOUND:.0e}; no file was written. Weights far from trained ones can be the reason"
            )
        detections = _engine(folder / NAME)(self.batch)
        inside = self.description.suppressed and self.description.outputs == "detections"
        if inside and not _same_detections(found, detections, self.description.nms):
            raise WeightsError("the suppression inside of the ONNX model finds other boxes; write --nms outside")
        return difference


def _engine(file: Path) -> OnnxRuntimeEngine:
    return OnnxRuntimeEngine(file, device="CPU", cpu_threads=1)


@paddle.no_grad()
def _computed(detector: Detector, batch: Arrays, outputs: Outputs) -> dict[str, NDArray[Any]]:
    """The detector's raw entries, its whole record, or its boxes and scores before suppression, by name."""
    tensors = {name: paddle.to_tensor(array) for name, array in batch.items()}
    if outputs in UNDECODED:
        record = detector.extract({"image": tensors["image"]})
        return {name: tensor.numpy() for name, tensor in raw_entries(record, neck=outputs == "record").items()}
    post_process = detector.post_process
    if post_process is None:
        return {name: tensor.numpy() for name, tensor in detector.predict(tensors).items()}
    nms, post_process.nms = post_process.nms, Unsuppressed()
    try:
        found = detector.predict(tensors)
    finally:
        post_process.nms = nms
    return {"boxes": found["bbox"].numpy(), "scores": found["bbox_num"].numpy()}


def _same_detections(numbers: list[NDArray[Any]], found: list[NDArray[Any]], nms: Any) -> bool:
    """Whether ``found`` are the detections that NumPy makes of the boxes and scores in ``numbers``."""
    suppress = suppression(nms, NAME)
    pairs = zip(*numbers, split_detections(found, len(numbers[0])), strict=True)
    return all(_same_rows(suppress(boxes, scores), rows) for boxes, scores, rows in pairs)


def _same_rows(one: NDArray[Any], two: NDArray[Any]) -> bool:
    """Whether two tables (k, 6) hold the same rows; where scores are equal, another of them may be kept."""
    if len(one) != len(two):
        return False
    return bool(np.allclose(np.sort(one[:, 1]), np.sort(two[:, 1]), atol=1e-5))
