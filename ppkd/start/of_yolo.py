"""Recognising YOLO's text files, also as CVAT and Label Studio export them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ppkd.data.datasets.dataset import exists, read_labels, read_lines
from ppkd.data.datasets.yolo import parse_line
from ppkd.data.datasets.yolo_files import YAML, DataYaml, label_file
from ppkd.data.image import EXTENSIONS
from ppkd.start.found import WHOLE, Found, Settings, by_folder, named_parts, part_of
from ppkd.utils.errors import DataError
from ppkd.utils.files import files_below, read_json, read_text

NAME_FILES = ("*.names", "classes.txt", "labels/classes.txt", "labels.txt", "label_list.txt")
FORM = "YOLO txt"


def find_yolo(root: Path, images: Sequence[Path]) -> Found | None:
    """What lies below ``root`` in YOLO's form; None where no image has labels."""
    labels = [path for image in images if exists(path := label_file(image), Path.is_file)]
    labels = [path for path in labels if _has_labels(path)]
    if not labels:
        return None
    count = len(labels)
    for yaml in sorted(files_below(root, YAML), key=lambda path: len(path.parts)):
        if found := _of_yaml(yaml, root, count):
            return found
    classes, remarks = _classes(root, labels)
    if parts := _listed(root):
        return Found(FORM, "YOLODataSet", root, count, classes, parts, {}, remarks)
    lines = {name: name for name in (str(image.relative_to(root)) for image in images)}
    return Found(FORM, "YOLODataSet", root, count, classes, {}, by_folder(lines), remarks)


def _of_yaml(path: Path, root: Path, count: int) -> Found | None:
    try:
        data = DataYaml.read(path)
        folder = path.parent
        places = {part: str(data.images(part, folder)) for part in data.parts}
    except DataError:
        return None
    if not places:
        return None
    named = named_parts({part: part for part in places})
    parts: dict[str, Settings] = {
        part: {"anno_path": path.name, **({} if name == "train" else {"split": name})} for part, name in named.items()
    }
    parts = parts or {WHOLE: {"anno_path": path.name, "split": next(iter(places))}}
    return Found(f"{FORM} with {path.name}", "YOLODataSet", folder, count, data.names, parts)


def _has_labels(path: Path) -> bool:
    """Whether one of the first lines is a box or a polygon, or the file is empty."""
    try:
        lines = read_text(path).split("\n", 5)[:5]
        return not any(line.strip() for line in lines) or any(_is_box(line) for line in lines)
    except (OSError, UnicodeDecodeError):
        return False


def _is_box(line: str) -> bool:
    try:
        parse_line(line)
    except ValueError:
        return False
    return True


def _listed(root: Path) -> dict[str, Settings]:
    """The parts that lists of images in ``root`` name."""
    lists = {}
    for path in sorted(root.glob("*.txt")):
        part = part_of(path.stem)
        if part and _lists_images(path):
            lists[part] = path.name
    if list(lists) == ["train"]:
        # CVAT writes one list of all images, called train.txt.
        return {WHOLE: {"anno_path": lists["train"]}}
    return {part: {"anno_path": name} for part, name in named_parts(lists).items()}


def _lists_images(path: Path) -> bool:
    try:
        return all(line.lower().endswith(EXTENSIONS) for line in read_lines(path, "images"))
    except DataError:
        return False


def _classes(root: Path, labels: Sequence[Path]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The class names of a file that tools write beside the labels, else numbers, with a remark that says so."""
    for pattern in NAME_FILES:
        for path in sorted(root.glob(pattern)):
            try:
                return read_labels(path), ()
            except DataError:
                continue
    if names := _of_notes(root / "notes.json"):
        return names, ()
    count = max(_numbers(labels), default=0) + 1
    remark = f"no file names the classes: they are called class 0 to class {count - 1}; name them in a classes.txt"
    return tuple(f"class {number}" for number in range(count)), (remark,)


def _of_notes(path: Path) -> tuple[str, ...]:
    """The names in Label Studio's notes.json."""
    try:
        entries = sorted(read_json(path)["categories"], key=lambda entry: entry["id"])
        return tuple(str(entry["name"]) for entry in entries)
    except (OSError, ValueError, KeyError, TypeError):
        return ()


def _numbers(labels: Sequence[Path]) -> Iterator[int]:
    for path in labels:
        for line in read_text(path).splitlines():
            if _is_box(line):
                yield parse_line(line)[0]
