"""VOCDataSet."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np

from ppkd.config import register
from ppkd.data.annotation import Annotation
from ppkd.data.datasets import labels
from ppkd.data.datasets.dataset import DetectionDataset, exists, inside, read_labels, read_lines, resolve, stated_side
from ppkd.data.image import EXTENSIONS
from ppkd.data.summary import Summary
from ppkd.utils.errors import DataError, nearest
from ppkd.utils.files import MOST_TEXT, read_bytes

PAIR = re.compile(r"(.+?\.\w+)\s+(\S.*\.xml)", re.IGNORECASE)
CORNERS = ("xmin", "ymin", "xmax", "ymax")


class Pair(NamedTuple):
    """An image and its xml file."""

    image: Path
    xml: Path


@register(without_effect=("data_fields",))
class VOCDataSet(DetectionDataset):
    """Images and boxes of Pascal VOC's xml files.

    Each line of ``anno_path`` (below ``dataset_dir``) names an image and its xml file, both below ``image_dir`` or else
    ``dataset_dir``, or is an id of ``ImageSets/Main``, for ``JPEGImages/<id>.*`` and ``Annotations/<id>.xml``.
    ``label_list`` is a file with one class name per line or a list of names; VOC's twenty classes if absent. Boxes are
    taken as written, without subtracting 1. ``allow_empty``, ``empty_ratio``, ``sample_num`` and ``data_fields`` as in
    :class:`COCODataSet`. Raises :class:`DataError` for a missing list, an unknown class name, no image at all; a
    missing image or xml file, or a damaged xml file, is counted in ``summary`` and left out.
    """

    def __init__(
        self,
        dataset_dir: str | None = None,
        image_dir: str | None = None,
        anno_path: str | None = None,
        data_fields: Sequence[str] = (),
        sample_num: int = -1,
        label_list: str | Sequence[str] | None = None,
        allow_empty: bool = False,
        empty_ratio: float = 1.0,
    ) -> None:
        if anno_path is None:
            raise DataError("VOCDataSet needs anno_path, the list of images and xml files")
        self.anno_path: Path = resolve(dataset_dir, anno_path)
        self.summary = Summary()
        root = Path(dataset_dir or "")
        self._folders = (root, root / (image_dir or ""))
        self.class_names = class_names(dataset_dir, label_list)
        self.category_ids = tuple(range(1, len(self.class_names) + 1))
        self._class_of = {name: index for index, name in enumerate(self.class_names)}
        pairs = read_list(self.anno_path, root, image_dir)
        found, absent = self._read_all(pairs)
        if not found:
            raise DataError(f"{self.anno_path}: no usable image. {self.summary}")
        self._settle(
            found,
            absent,
            allow_empty=allow_empty,
            empty_ratio=empty_ratio,
            sample_num=sample_num,
            source=self.anno_path,
        )

    def _read_all(self, pairs: Sequence[Pair]) -> tuple[list[Annotation], list[Annotation]]:
        """What the xml files say of images that exist, and of those that do not; the latter are counted."""
        found: list[Annotation] = []
        absent: list[Annotation] = []
        for index, pair in enumerate(pairs):
            missing = [path for path in pair if not exists(inside(path, self._folders, self.anno_path), Path.is_file)]
            self.summary.missing += [path.name for path in missing[:1]]
            if pair.xml not in missing and (annotation := self._read(index, pair)):
                (absent if missing else found).append(annotation)
        return found, absent

    def _read(self, index: int, pair: Pair) -> Annotation | None:
        try:
            tree = parse_xml(pair.xml)
            boxes, names, difficult = objects(tree)
        except ValueError as error:
            self.summary.broken.append(f"{pair.xml.name} ({error})")
            return None
        unknown = [name for name in names if name not in self._class_of]
        if unknown:
            raise DataError(
                f"{pair.xml}: class '{unknown[0]}' is not among the classes of label_list, "
                f"{', '.join(self.class_names[:10])}{nearest(unknown[0], self.class_names)}"
            )
        with np.errstate(over="ignore"):
            corners = np.array(boxes, np.float32).reshape(-1, 4)
        return Annotation(
            file=pair.image,
            im_id=index,
            height=stated_side(tree.findtext("size/height")),
            width=stated_side(tree.findtext("size/width")),
            gt_bbox=corners,
            gt_class=np.array([self._class_of[name] for name in names], np.int64),
            is_crowd=np.zeros(len(names), np.int64),
            difficult=np.array(difficult, np.int64),
        )


def class_names(dataset_dir: str | None, label_list: str | Sequence[str] | None) -> tuple[str, ...]:
    """The classes of a ``label_list`` setting; raises :class:`DataError` when the file is missing or empty."""
    if label_list is None:
        return labels.VOC
    if isinstance(label_list, str):
        return read_labels(resolve(dataset_dir, label_list))
    return tuple(label_list)


def read_list(path: Path, root: Path, image_dir: str | None = None) -> list[Pair]:
    """The image and xml file of every line; raises :class:`DataError` when the list is missing or empty."""
    lines = read_lines(path, "one image and its xml file per line")
    below = root / (image_dir or "")
    if PAIR.fullmatch(lines[0]):
        return [_pair(line, below, root, path) for line in lines]
    folder = below if image_dir else root / "JPEGImages"
    images = stems(folder)
    ids = [line.split()[0] for line in lines]
    return [Pair(images.get(i, folder / f"{i}.jpg"), root / "Annotations" / f"{i}.xml") for i in ids]


def _pair(line: str, below: Path, root: Path, source: Path) -> Pair:
    match = PAIR.fullmatch(line)
    if match is None:
        raise DataError(f"{source}: the line '{line}' names no image and xml file")
    image, xml = match.groups()
    return Pair(*(below / part if exists(below / part) else root / part for part in (image, xml)))


def stems(folder: Path) -> Mapping[str, Path]:
    """The images of a folder by their name without extension."""
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder} with the images")
    return {path.stem: path for path in sorted(folder.iterdir()) if path.suffix.lower() in EXTENSIONS}


def parse_xml(path: Path) -> ElementTree.Element:
    """The root of a VOC xml file; raises :class:`ValueError` for what cannot be read, damaged xml, and entities."""
    try:
        data = read_bytes(path, MOST_TEXT)
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror or error}") from error
    if b"<!ENTITY" in data:
        raise ValueError("declares entities")
    try:
        return ElementTree.fromstring(data)
    except (ElementTree.ParseError, LookupError) as error:
        raise ValueError(f"no valid xml: {error}") from error


def objects(tree: ElementTree.Element) -> tuple[list[list[float]], list[str], list[int]]:
    """Boxes x1, y1, x2, y2 as written, class names and difficult flags; raises :class:`ValueError` for a bad object."""
    boxes, names, difficult = [], [], []
    for entry in tree.iterfind("object"):
        corners = [entry.findtext(f"bndbox/{corner}") for corner in CORNERS]
        name = entry.findtext("name")
        if name is None or None in corners:
            raise ValueError("an object lacks its name or bndbox")
        # VOC counts pixels from 1. PaddleDetection does not subtract it, and its published figures are measured so.
        boxes.append([float(corner or "") for corner in corners])
        names.append(name.strip())
        difficult.append(int(int(entry.findtext("difficult") or 0) != 0))
    return boxes, names, difficult
