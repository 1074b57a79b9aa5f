"""Pascal VOC's xml files as pictures for a COCO json."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from ppkd.data.datasets.dataset import read_lines, stated_side
from ppkd.data.datasets.voc import objects, parse_xml
from ppkd.data.to_coco.document import Labelled, Picture
from ppkd.utils.errors import DataError, nearest
from ppkd.utils.logger import get_logger

_log = get_logger(__name__)

SUFFIX = ".xml"


def read_voc(folder: Path, listing: Path, classes: Sequence[str]) -> list[Picture]:
    """The pictures that ``listing`` names, one per line, by the last word: an xml file below ``folder``, or its name.

    Raises :class:`DataError` naming the list or the xml file that is missing or wrong.
    """
    names = [line.split()[-1] for line in read_lines(listing, "one xml file, or its name, per line")]
    return [_read(folder / (name if name.endswith(SUFFIX) else name + SUFFIX), classes) for name in names]


def _read(path: Path, classes: Sequence[str]) -> Picture:
    try:
        tree = parse_xml(path)
        boxes, names, _ = objects(tree)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
    for name in names:
        if name not in classes:
            raise DataError(f"{path}: class '{name}' is not in the list of labels{nearest(name, classes)}")
    found = []
    for name, (x1, y1, x2, y2) in zip(names, boxes, strict=True):
        if x1 < x2 and y1 < y2:
            found.append(Labelled(name, (x1, y1, x2 - x1, y2 - y1)))
        else:
            _log.warning("%s: the box %g, %g, %g, %g has no area, left out", path, x1, y1, x2, y2)
    return Picture(_text(tree, "filename", path), *_size(tree, path), objects=tuple(found))


def _text(tree: ElementTree.Element, key: str, path: Path) -> str:
    text = (tree.findtext(key) or "").strip()
    if not text:
        raise DataError(f"{path}: it has no <{key}>, which names the picture")
    return text


def _size(tree: ElementTree.Element, path: Path) -> tuple[int, int]:
    height, width = (stated_side(tree.findtext(f"size/{side}")) for side in ("height", "width"))
    if not (height and width):
        raise DataError(f"{path}: its <size> is no height and width above 0")
    return height, width
