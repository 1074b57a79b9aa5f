"""YOLODataSet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ppkd.config import register
from ppkd.data.annotation import Annotation
from ppkd.data.datasets.dataset import DetectionDataset, exists, resolve
from ppkd.data.datasets.yolo_files import YAML, DataYaml, label_file, labels_without_image, listed_images, read_names
from ppkd.data.image import image_size
from ppkd.data.summary import Summary
from ppkd.utils.errors import DataError
from ppkd.utils.files import read_text

BOX, POLYGON = 5, 7
"""Numbers of a line that is a box, and the least of one that is a polygon."""
BEYOND = 0.1
"""How far a coordinate may lie outside the picture before it is taken for something other than a part of its size."""
UNKNOWN = (640, 640)
"""Stands for the size of a picture that is missing, whose boxes only count as missed."""


@register(without_effect=("data_fields",))
class YOLODataSet(DetectionDataset):
    """Images and boxes of YOLO's text files, one for each image: ``class x y width height``, parts of the image's size.

    The images are those of ``anno_path``, a ``data.yaml`` (of its part ``split``) or a list with one path per line, or
    else all in the folder ``image_dir``; all below ``dataset_dir``. The labels of ``images/a/b.jpg`` are
    ``labels/a/b.txt``, or lie beside the image; an image without them has no boxes. ``class x1 y1 x2 y2 ...`` with
    three points or more is a polygon, whose box is taken. ``label_list`` is a list of class names or a file with one
    per line, needed unless a ``data.yaml`` has them. Image files are opened for their size.
    ``allow_empty``, ``empty_ratio``, ``sample_num`` and ``data_fields`` as in :class:`COCODataSet`.

    Raises :class:`DataError` for a missing list or folder, no image or no label at all, and a class that there is not;
    a missing image, and a line or image that cannot be read, is counted in ``summary`` and left out.
    """

    def __init__(
        self,
        dataset_dir: str | None = None,
        image_dir: str | None = None,
        anno_path: str | None = None,
        data_fields: Sequence[str] = (),
        sample_num: int = -1,
        label_list: str | Sequence[str] | None = None,
        split: str = "train",
        allow_empty: bool = False,
        empty_ratio: float = 1.0,
    ) -> None:
        if anno_path is None and image_dir is None:
            raise DataError("YOLODataSet needs anno_path, a data.yaml or a list of images, or image_dir, their folder")
        self.anno_path: Path = resolve(dataset_dir, anno_path or image_dir or "")
        self.summary = Summary()
        root = Path(dataset_dir) if dataset_dir else self.anno_path.parent
        data = DataYaml.read(self.anno_path) if self.anno_path.suffix.lower() in YAML else None
        self.class_names = _class_names(dataset_dir, label_list, data, self.anno_path)
        self.category_ids = tuple(range(1, len(self.class_names) + 1))
        places = [self.anno_path] if data is None else data.images(split, root)
        images, missing = listed_images(places, root)
        missing += labels_without_image(places, images)
        self.summary.missing += [path.name for path in missing]
        if not images:
            raise DataError(f"{self.anno_path}: there is no image in it. {self.summary}")
        if not any(exists(label_file(image)) for image in images):
            raise DataError(
                f"{self.anno_path}: none of its {len(images)} images has labels; {label_file(images[0])} would be "
                f"those of {images[0]}"
            )
        found = [read for index, image in enumerate(images) if (read := self._read(index, image))]
        absent = [self._missed(len(images) + index, path) for index, path in enumerate(missing)]
        self._settle(
            found,
            absent,
            allow_empty=allow_empty,
            empty_ratio=empty_ratio,
            sample_num=sample_num,
            source=self.anno_path,
        )

    def _read(self, index: int, image: Path) -> Annotation | None:
        try:
            height, width = image_size(image)
        except DataError as error:
            self.summary.broken.append(f"{image.name} ({error})")
            return None
        return self._annotation(index, image, label_file(image), (height, width))

    def _missed(self, index: int, path: Path) -> Annotation:
        """What is known of an image that is not there: ``path`` is its own, or that of its labels."""
        labels = path if path.suffix.lower() == ".txt" else label_file(path)
        return self._annotation(index, path, labels, UNKNOWN)

    def _annotation(self, index: int, image: Path, labels: Path, size: tuple[int, int]) -> Annotation:
        rows = self._rows(labels) if exists(labels) else []
        height, width = size
        boxes = np.array([row[1:] for row in rows], np.float64).reshape(-1, 4) * (width, height, width, height)
        none = np.zeros(len(rows), np.int64)
        classes = np.array([row[0] for row in rows], np.int64)
        return Annotation(image, index, height, width, boxes.astype(np.float32), classes, none, none.copy())

    def _rows(self, path: Path) -> list[tuple[float, ...]]:
        """Class, x1, y1, x2, y2 (parts of the image's size) of every line that can be read; the others are counted."""
        rows: list[tuple[float, ...]] = []
        try:
            lines = read_text(path).splitlines()
        except (OSError, UnicodeDecodeError) as error:
            self.summary.broken.append(f"{path.name} ({error})")
            lines = []
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                label, corners = parse_line(line)
            except ValueError as error:
                self.summary.broken.append(f"{path.name}:{number} ({error})")
                continue
            if not 0 <= label < len(self.class_names):
                raise DataError(
                    f"{path}:{number}: class {label}, but there are {len(self.class_names)} classes, numbered from 0: "
                    f"{', '.join(self.class_names[:10])}; correct the line or label_list"
                )
            rows.append((label, *corners))
        return rows


def parse_line(line: str) -> tuple[int, tuple[float, float, float, float]]:
    """Class and x1, y1, x2, y2, parts of the image's size, of a line of labels; raises :class:`ValueError`."""
    try:
        numbers = [float(word) for word in line.split()]
    except ValueError:
        raise ValueError("not all of it is numbers") from None
    if len(numbers) != BOX and (len(numbers) < POLYGON or len(numbers) % 2 == 0):
        raise ValueError(f"{len(numbers)} numbers, expected class x y width height, or class and a polygon")
    if not numbers[0].is_integer():
        raise ValueError(f"the class is {numbers[0]:g}, expected a whole number")
    given = numbers[1:]
    if not all(-BEYOND <= value <= 1 + BEYOND for value in given):
        raise ValueError("coordinates are parts of the picture's size, from 0 to 1")
    if len(numbers) == BOX:
        x, y, width, height = given
        return int(numbers[0]), (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    return int(numbers[0]), (min(given[::2]), min(given[1::2]), max(given[::2]), max(given[1::2]))


def _class_names(
    dataset_dir: str | None, label_list: str | Sequence[str] | None, data: DataYaml | None, source: Path
) -> tuple[str, ...]:
    if isinstance(label_list, str):
        return read_names(resolve(dataset_dir, label_list))
    if label_list is not None:
        return tuple(label_list)
    if data is None:
        raise DataError(f"{source}: label_list is not set; name a file with one class per line, or list the names")
    return data.names
