"""Recognising Pascal VOC's xml files, also as CVAT and annotation services export them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from ppkd.data.datasets.dataset import read_labels
from ppkd.data.datasets.voc import objects, parse_xml, read_list
from ppkd.start.found import Found, Settings, by_folder, named_parts
from ppkd.utils.errors import DataError

LISTS = {"train": "train", "trainval": "trainval", "val": "val", "valid": "val", "validation": "val", "test": "test"}
FOLDERS = ("ImageSets/Main", "ImageSets", ".")


def find_voc(root: Path, images: Sequence[Path], files: Sequence[Path]) -> Found | None:
    """What the xml ``files`` below ``root`` hold in VOC's form; None where there is nothing of it."""
    names: set[str] = set()
    xmls = []
    for path in files:
        try:
            tree = parse_xml(path)
            if tree.tag == "annotation":
                xmls.append(path)
                names.update(objects(tree)[1])
        except ValueError:
            # Damaged: the data set counts it and says why.
            xmls.append(path)
    if not names:
        return None
    places = _images_of(root, images, xmls)
    lines = {str(xml.relative_to(root)): f"{place} {xml.relative_to(root)}" for xml, place in places.items()}
    alone = len(images) - len(set(places.values()) & {str(image.relative_to(root)) for image in images})
    remarks = (f"{alone} images have no xml file and are left out",) if alone else ()
    classes = _classes(root, names)
    if parts := _listed(root):
        return Found("Pascal VOC xml", "VOCDataSet", root, len(xmls), classes, parts, {}, remarks)
    return Found("Pascal VOC xml", "VOCDataSet", root, len(xmls), classes, {}, by_folder(lines), remarks)


def _images_of(root: Path, images: Sequence[Path], xmls: Sequence[Path]) -> Mapping[Path, str]:
    """The image of every xml file, below ``root``: of its name, in the folder that is most like the xml's."""
    known: dict[str, list[Path]] = defaultdict(list)
    for image in images:
        known[image.stem].append(image)
    places = {}
    for xml in xmls:
        same = sorted(known.get(xml.stem, ()), key=lambda image: -_alike(image, xml))
        image = same[0] if same else root / "JPEGImages" / f"{xml.stem}.jpg"
        places[xml] = str(image.relative_to(root))
    return places


def _alike(image: Path, xml: Path) -> int:
    return len({*image.parent.parts} & {*xml.parent.parts})


def _classes(root: Path, names: set[str]) -> tuple[str, ...]:
    """``label_list.txt`` of the folder if it has every class of the xml files, else these, sorted."""
    try:
        known = read_labels(root / "label_list.txt")
    except DataError:
        known = ()
    return known if names <= set(known) else tuple(sorted(names))


def _listed(root: Path) -> dict[str, Settings]:
    """The parts that lists of the folder name, each with some of its xml files there."""
    for folder in FOLDERS:
        lists = {LISTS[path.stem.lower()]: path for path in sorted((root / folder).glob("*.txt")) if _is_list(path)}
        usable = {part: str(path.relative_to(root)) for part, path in lists.items() if _names_xmls(path, root)}
        if "trainval" in usable and "test" in usable:
            usable = {"train": usable["trainval"], "val": usable["test"]}
        if parts := named_parts(usable):
            return {part: {"anno_path": path} for part, path in parts.items()}
    return {}


def _is_list(path: Path) -> bool:
    return path.stem.lower() in LISTS


def _names_xmls(path: Path, root: Path) -> bool:
    try:
        return any(pair.xml.is_file() for pair in read_list(path, root))
    except DataError:
        return False
