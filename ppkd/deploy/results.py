"""Output of detections: drawn pictures and a ``bbox.json`` in COCO's form."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ppkd.deploy.pipeline import Found
from ppkd.metrics.masks import encode
from ppkd.report.draw import draw_detections
from ppkd.utils.atomic import atomic_open, output_folder
from ppkd.utils.errors import DataError
from ppkd.utils.files import check_outputs


class Results:
    """Draws detections into ``output_dir/<base name>`` and collects them for ``output_dir/bbox.json``.

    ``announce`` is called with each path of a picture that was written. Detections below ``threshold`` are not drawn,
    but all are in bbox.json. Raises :class:`DataError` naming a file that cannot be written.
    """

    def __init__(
        self,
        output_dir: Path | str,
        class_names: Sequence[str],
        category_ids: Sequence[int],
        *,
        threshold: float = 0.5,
        save_images: bool = True,
        announce: Callable[[Path], None] = lambda path: None,
    ) -> None:
        self.output_dir = output_folder(output_dir) if save_images else Path(output_dir)
        self.class_names = class_names
        self.category_ids = category_ids
        self.threshold = threshold
        self.save_images = save_images
        self.announce = announce
        self._rows: list[dict[str, Any]] = []

    def check_inputs(self, pictures: Sequence[Path]) -> None:
        """Raise :class:`DataError` where a picture's result cannot go: over one of ``pictures``, or into a pipe."""
        if self.save_images:
            check_outputs((self.output_dir / file.name for file in pictures), pictures)

    def add(self, index: int, file: Path, picture: NDArray[np.uint8], found: Found) -> NDArray[np.uint8] | None:
        """Takes the detections in the ``index``-th file, an RGB ``picture`` (H, W, 3); returns what was drawn."""
        rows = [self._row(index, file, row) for row in found.rows]
        if found.masks is not None:
            rows = [{**row, "segmentation": rle} for row, rle in zip(rows, encode(found.masks), strict=True)]
        self._rows += rows
        if not self.save_images:
            return None
        drawn = draw_detections(picture, found.rows, self.class_names, self.threshold, found.masks)
        path = self.output_dir / file.name
        write_picture(path, drawn)
        self.announce(path)
        return drawn

    def write_json(self) -> Path:
        """Writes bbox.json: per detection image_id, file_name, category_id, category, bbox (x, y, w, h), score.

        Detections with masks have a ``segmentation`` too, COCO's run-length encoding.
        """
        path = self.output_dir / "bbox.json"
        with atomic_open(path) as file:
            file.write(json.dumps(self._rows, ensure_ascii=False).encode())
        return path

    def _row(self, index: int, file: Path, row: NDArray[np.float32]) -> dict[str, Any]:
        kind, (score, x1, y1, x2, y2) = int(row[0]), (float(value) for value in row[1:])
        return {
            "image_id": index,
            "file_name": file.name,
            "category_id": self.category_ids[kind],
            "category": self.class_names[kind],
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "score": score,
        }


def write_picture(path: Path, image: NDArray[np.uint8]) -> None:
    """Writes an RGB picture in the format of the file's extension; raises :class:`DataError` naming the file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        written = cv2.imwrite(str(path), np.ascontiguousarray(image[..., ::-1]))
    except (OSError, cv2.error) as error:
        raise DataError(f"{path}: cannot write the picture: {error}") from error
    if not written:
        raise DataError(f"{path}: cannot write the picture; is the folder writable and the disk not full?")
