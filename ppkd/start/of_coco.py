"""Recognising COCO's json files, also as CVAT and Label Studio export them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

from ppkd.start.found import WHOLE, Found, named_parts, part_of
from ppkd.utils.files import read_json

TRIED = 200


@dataclass(frozen=True)
class Json:
    """A json file with COCO's lists."""

    path: Path
    content: Mapping[str, Any]

    @property
    def names(self) -> list[str]:
        """The files of its images, as it writes them."""
        return [str(image.get("file_name")) for image in self.content["images"] if isinstance(image, dict)]


def find_coco(root: Path, images: Sequence[Path], files: Iterable[Path]) -> Found | None:
    """What the json ``files`` below ``root`` hold in COCO's form; None where there is nothing of it."""
    jsons = [found for path in files if (found := _read(path))]
    if not jsons:
        return None
    named: dict[str, Json] = {}
    remarks = []
    # Of several files of one part, such as COCO's instances_ and person_keypoints_, the first named instances is taken.
    for json in sorted(jsons, key=lambda each: ("instances" not in each.path.name, -len(each.names), str(each.path))):
        relative = str(json.path.relative_to(root).with_suffix(""))
        part = part_of(json.path.stem) or part_of(relative) or WHOLE
        if part in named:
            remarks.append(f"{json.path} is not used: {named[part].path} is taken")
        named.setdefault(part, json)
    parts = named_parts({part: part for part in named})
    chosen = {part: named[name] for part, name in parts.items()} or {WHOLE: next(iter(named.values()))}
    settings, lists = {}, {}
    for part, json in chosen.items():
        folder, hits = _image_dir(json, root, images)
        if hits:
            settings[part] = {"image_dir": folder, "anno_path": str(json.path.relative_to(root))}
        else:
            lists[part] = _renamed(json, root, images)
    of = " of Label Studio" if any(json.path.name == "result.json" for json in chosen.values()) else ""
    annotated = sum(len(json.names) for json in chosen.values())
    return Found(f"COCO json{of}", "COCODataSet", root, annotated, None, settings, lists, tuple(remarks))


def _read(path: Path) -> Json | None:
    try:
        content = read_json(path)
    except (OSError, ValueError):
        return None
    keys = ("images", "annotations", "categories")
    if not isinstance(content, dict) or not all(isinstance(content.get(key), list) for key in keys):
        return None
    boxes = content["annotations"]
    return Json(path, content) if not boxes or any("bbox" in each for each in boxes if isinstance(each, dict)) else None


def _image_dir(json: Json, root: Path, images: Sequence[Path]) -> tuple[str, int]:
    """The folder below ``root`` in which most of its images are, and how many of some that were tried."""
    folders = {folder for image in images for folder in image.relative_to(root).parents} | {
        json.path.parent.relative_to(root)
    }
    known = {image.relative_to(root).as_posix() for image in images}
    names = json.names[:TRIED]
    hits = {folder: sum((folder / name).as_posix() in known for name in names) for folder in folders}
    best = max(sorted(folders), key=lambda folder: hits[folder])
    return str(best), hits[best]


def _renamed(json: Json, root: Path, images: Sequence[Path]) -> dict[str, Any]:
    """The content with each image's path below ``root``, found by its name alone: exports keep paths of a server."""
    known: dict[str, str] = {}
    for image in images:
        known.setdefault(image.name, image.relative_to(root).as_posix())
    entries = []
    for entry in json.content["images"]:
        name = PureWindowsPath(str(entry["file_name"])).name
        # Label Studio puts a number before the name of an uploaded file.
        found = known.get(name) or known.get(name.partition("-")[2]) or name
        entries.append({**entry, "file_name": found})
    return {**json.content, "images": entries}
