"""The files of a data set in YOLO's form: ``data.yaml``, lists of images, and where the labels of an image are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ppkd.data.datasets.dataset import exists, inside, read_labels, read_lines
from ppkd.data.image import EXTENSIONS
from ppkd.utils.errors import DataError
from ppkd.utils.files import files_below, read_text

IMAGES, LABELS = "images", "labels"
YAML = (".yaml", ".yml")
NO_LABELS = frozenset({"classes.txt", "labels.txt", "notes.txt", "predefined_classes.txt"})
"""Text files that tools put beside labels."""


@dataclass(frozen=True)
class DataYaml:
    """A ``data.yaml``: class names, and the folders or lists of images of each part (``train``, ``val``, ``test``)."""

    path: Path
    names: tuple[str, ...]
    parts: Mapping[str, tuple[str, ...]]
    root: str

    @classmethod
    def read(cls, path: Path) -> DataYaml:
        """The file ``path``; raises :class:`DataError` when it cannot be read or names no classes."""
        try:
            content = yaml.safe_load(read_text(path))
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror or error}; expected a data.yaml") from error
        except (UnicodeDecodeError, yaml.YAMLError, RecursionError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise DataError(f"{path} is no valid yaml in UTF-8: {reason}") from error
        if not isinstance(content, dict):
            raise DataError(f"{path} is no data.yaml: expected names, train and val")
        parts = {part: _texts(content[part]) for part in ("train", "val", "test") if content.get(part)}
        return cls(path, _names(content.get("names"), path), parts, str(content.get("path") or ""))

    def images(self, part: str, root: Path) -> list[Path]:
        """What ``part`` names, folders or lists, below ``root``; raises :class:`DataError` for what is not there."""
        if part not in self.parts:
            known = ", ".join(self.parts) or "none"
            raise DataError(f"{self.path} has no '{part}', which names images; its parts are {known}")
        return [self._place(entry, root) for entry in self.parts[part]]

    def _place(self, entry: str, root: Path) -> Path:
        # Exports of annotation services name the parts as seen from a folder beside the file (../train/images).
        below = entry.removeprefix("../")
        tried = [root / self.root / entry, root / entry, root / below]
        for path in tried:
            if exists(path):
                return inside(path, [root], self.path)
        raise DataError(f"{self.path}: it names {entry}, which is not in {root}; set dataset_dir, or correct the file")


def read_names(path: Path) -> tuple[str, ...]:
    """The class names of a ``data.yaml``, or of a text file with one per line; raises :class:`DataError`."""
    return DataYaml.read(path).names if path.suffix.lower() in YAML else read_labels(path)


def _names(given: Any, path: Path) -> tuple[str, ...]:
    if isinstance(given, dict) and sorted(given, key=str) == sorted(range(len(given)), key=str):
        given = [given[number] for number in range(len(given))]
    if not isinstance(given, list) or not given:
        raise DataError(f"{path}: names is no list of class names, nor such names numbered from 0")
    return tuple(str(name).strip() for name in given)


def _texts(given: Any) -> tuple[str, ...]:
    return tuple(map(str, given)) if isinstance(given, list) else (str(given),)


def listed_images(places: Iterable[Path], root: Path) -> tuple[list[Path], list[Path]]:
    """The images of folders and lists, sorted within a folder, and the paths of lists that are no files.

    Raises :class:`DataError` for a place that is not there, holds nothing, or names what lies outside ``root``.
    """
    found: list[Path] = []
    missing: list[Path] = []
    for place in places:
        if exists(place, Path.is_dir):
            found += files_below(place, EXTENSIONS)
        elif place.suffix.lower() in EXTENSIONS:
            found.append(place)
        else:
            for line in read_lines(place, "the path of one image per line"):
                path = _listed(line, place, root)
                (found if exists(path, Path.is_file) else missing).append(path)
    return found, missing


def _listed(line: str, source: Path, root: Path) -> Path:
    path = Path(line.replace("\\", "/"))
    # CVAT writes data/ before paths that its archive has without it.
    shorter = Path(*path.parts[1:]) if len(path.parts) > 1 else path
    tried = [source.parent / path, root / path, root / shorter, source.parent / shorter]
    chosen = next((each for each in tried if exists(each, Path.is_file)), root / path)
    return inside(chosen, [root, source.parent], source)


def label_file(image: Path) -> Path:
    """The labels of ``image``: in ``labels`` where its path says ``images`` (the last time), or else beside it."""
    beside = image.with_suffix(".txt")
    parts = list(beside.parts)
    if IMAGES not in parts[:-1]:
        return beside
    place = len(parts) - 2 - parts[-2::-1].index(IMAGES)
    parts[place] = LABELS
    apart = Path(*parts)
    return beside if exists(beside) and not exists(apart) else apart


def labels_without_image(places: Iterable[Path], images: Iterable[Path]) -> Iterator[Path]:
    """The label files of folders of ``places`` that have a ``labels`` folder, but whose image is not there."""
    wanted = {label_file(image) for image in images}
    for place in places:
        if exists(place, Path.is_dir) and (folder := label_file(place / "x").parent) != place:
            if not exists(folder, Path.is_dir):
                continue
            for file in files_below(folder, (".txt",)):
                if file not in wanted and file.name not in NO_LABELS:
                    yield file
