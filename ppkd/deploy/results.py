"""Output of detections: drawn pictures and a ``bbox.json`` in COCO's form."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ppkd.deploy.pipeline import Detections, Found
from ppkd.metrics.masks import encode
from ppkd.report.draw import draw_detections
from ppkd.utils.atomic import atomic_open, output_folder
from ppkd.utils.errors import DataError
from ppkd.utils.files import check_outputs
from ppkd.utils.names import shown


class Results:
    """Draws detections into ``output_dir/<base name>`` and collects them for ``output_dir/bbox.json``.

    ``announce`` is called with each path of a picture that was written, ``tell`` with a line on what each picture
    holds. Detections below ``threshold`` are not drawn, but all are in bbox.json. Raises :class:`DataError` naming a
    file that cannot be written.
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
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.output_dir = output_folder(output_dir) if save_images else Path(output_dir)
        self.class_names = class_names
        self.category_ids = category_ids
        self.threshold = threshold
        self.save_images = save_images
        self.announce = announce
        self.tell = tell
        self.tally = Tally(class_names, threshold)
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
        self.tell(f"{shown(file.name)}: {self.tally.add(found.rows)}")
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


class Tally:
    """Counts what is found in each picture, and what the ``threshold`` hides of it."""

    def __init__(self, class_names: Sequence[str], threshold: float) -> None:
        self._class_names = class_names
        self._threshold = threshold
        self._pictures = self._with_objects = self._objects = 0
        self._best: float | None = None

    def add(self, found: Detections) -> str:
        """Count a picture; returns how many of each class reach the threshold, and the best score."""
        self._pictures += 1
        if not len(found):
            return "nothing found"
        best = found[found[:, 1].argmax()]
        self._best = max(float(best[1]), self._best if self._best is not None else 0.0)
        reached = found[found[:, 1] >= self._threshold, 0].astype(int).tolist()
        score = f"best score {best[1]:.2f} ({self._class_names[int(best[0])]})"
        if not reached:
            return f"none of {len(found)} detections reaches {self._threshold:g}, {score}"
        self._with_objects += 1
        self._objects += len(reached)
        counts = Counter(self._class_names[label] for label in reached).most_common()
        return f"{', '.join(f'{count} {shown(name)}' for name, count in counts)}, {score}"

    def total(self, flag: str) -> str:
        """One line on all pictures; where the threshold hides all of them, which value of ``flag`` would not."""
        line = f"{self._objects} objects in {self._with_objects} of {self._pictures} pictures"
        if self._objects or self._best is None:
            return line
        lower = max(int(self._best * 50) / 100, 0.01)
        hidden = f"the threshold {self._threshold:g} hides all that was found"
        return f"{line}: {hidden}, the best score is {self._best:.2f}; try {flag} {lower:g}"


def write_picture(path: Path, image: NDArray[np.uint8]) -> None:
    """Writes an RGB picture in the format of the file's extension; raises :class:`DataError` naming the file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        written = cv2.imwrite(str(path), np.ascontiguousarray(image[..., ::-1]))
    except (OSError, cv2.error) as error:
        raise DataError(f"{path}: cannot write the picture: {error}") from error
    if not written:
        raise DataError(f"{path}: cannot write the picture; is the folder writable and the disk not full?")
