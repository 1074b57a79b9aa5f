"""Which form the annotations of a folder have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ppkd.data.datasets.voc import parse_xml
from ppkd.data.image import EXTENSIONS
from ppkd.start.found import Found
from ppkd.start.of_coco import find_coco
from ppkd.start.of_voc import find_voc
from ppkd.start.of_yolo import find_yolo
from ppkd.utils.errors import DataError
from ppkd.utils.files import files_below, read_json

KNOWN = "COCO json, Pascal VOC xml, or YOLO txt (labels/a.txt for images/a.jpg, or a.txt beside a.jpg)"


def recognise(root: Path, *, without: Path) -> Found:
    """The annotations of the folder ``root``, of the form of which it has most; files below ``without`` are no part.

    Raises :class:`DataError` that says what was expected where nothing is recognised.
    """
    if not root.is_dir():
        what = "a file: unpack it and name the folder" if root.is_file() else "no such folder"
        raise DataError(f"{root}: {what}; expected a folder of images with annotations")
    found_files = files_below(root, (*EXTENSIONS, ".json", ".xml"))
    files = [path for path in found_files if not path.absolute().is_relative_to(without.absolute())]
    images, jsons, xmls = (
        [path for path in files if path.suffix.lower() in endings] for endings in (EXTENSIONS, (".json",), (".xml",))
    )
    if not images:
        raise DataError(f"{root}: there is no image in it ({', '.join(EXTENSIONS)})")
    found = [
        each for each in (find_coco(root, images, jsons), find_voc(root, images, xmls), find_yolo(root, images)) if each
    ]
    if not found:
        raise DataError(f"{root}: {len(images)} images, but no annotations that are {KNOWN}{_hint(jsons, xmls)}")
    best = max(found, key=lambda each: each.annotated)
    others = tuple(f"{each.form} of {each.annotated} images is not used" for each in found if each is not best)
    return replace(best, remarks=(*best.remarks, *others))


def _hint(jsons: Sequence[Path], xmls: Sequence[Path]) -> str:
    """What to do with files of forms that are known, but not read."""
    for path in xmls[:3]:
        try:
            if parse_xml(path).tag == "annotations":
                return f"; {path} is CVAT's own form: export the task as COCO 1.0 instead"
        except ValueError:
            continue
    for path in jsons[:3]:
        try:
            content = read_json(path)
        except (OSError, ValueError):
            continue
        if isinstance(content, list) and content and "annotations" in content[0]:
            return f"; {path} is Label Studio's own form: export the project as COCO or YOLO instead"
        if isinstance(content, dict) and "shapes" in content:
            return f"; {path} is labelme's: `ppkd to-coco --dataset_type labelme` writes COCO json of it"
    return ""
