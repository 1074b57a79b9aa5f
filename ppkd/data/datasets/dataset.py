"""The base of all data sets: annotations in memory, images on disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np

from ppkd.data.annotation import Annotation
from ppkd.data.summary import Summary
from ppkd.data.table import AnnotationTable
from ppkd.utils.errors import DataError
from ppkd.utils.files import read_text

SHOWN = 200
LARGEST_SIDE = 2**31 - 1


class DetectionDataset(Sequence[Annotation]):
    """A sequence of :class:`Annotation`; no image is opened.

    ``category_ids[i]`` is the id of class ``i`` in the annotation file (COCO; VOC counts from 1). ``anno_path`` is that
    file, None for bare images. ``summary`` counts what was found, dropped and missing. ``masks`` says whether the boxes
    have outlines.
    """

    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    annotations: Sequence[Annotation]
    anno_path: Path | None
    summary: Summary
    masks: bool = False

    def __len__(self) -> int:
        return len(self.annotations)

    @overload
    def __getitem__(self, index: int) -> Annotation: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Annotation]: ...
    def __getitem__(self, index: int | slice) -> Annotation | Sequence[Annotation]:
        return self.annotations[index]

    def __iter__(self) -> Iterator[Annotation]:
        return iter(self.annotations)

    def unlabel(self) -> None:
        """Drop every box: the images become those of an unlabelled set."""
        self._take([Annotation.bare(a.file, a.im_id, a.height, a.width) for a in self.annotations])

    def keep_missing(self) -> None:
        """Add the images whose files are missing: evaluation cannot read them, and their boxes count as missed."""
        self._take([*self.annotations, *self._missing])

    _missing: Sequence[Annotation] = ()

    def _take(self, annotations: Sequence[Annotation]) -> None:
        self.annotations = AnnotationTable(annotations)
        self.summary.count(annotations, self.class_names)

    def _settle(
        self,
        found: Sequence[Annotation],
        missing: Sequence[Annotation],
        *,
        allow_empty: bool,
        empty_ratio: float,
        sample_num: int,
        source: Path,
    ) -> None:
        """Clean the boxes, leave out images without any unless allowed, and count; raises if nothing is left."""
        cleaned = [self.summary.clean(annotation) for annotation in found]
        full = [annotation for annotation in cleaned if len(annotation.gt_class)]
        empty = len(cleaned) - len(full)
        kept = _share_of_empty(cleaned, len(full), empty, empty_ratio) if allow_empty else full
        self.summary.empty_left_out = len(cleaned) - len(kept)
        if not kept:
            raise DataError(f"{source}: no usable image. {self.summary}")
        self._take(kept[:sample_num] if sample_num > 0 else kept)
        self._missing = AnnotationTable([] if sample_num > 0 else [Summary().clean(each) for each in missing])


def _share_of_empty(annotations: list[Annotation], full: int, empty: int, ratio: float) -> list[Annotation]:
    """All images, or so many without boxes that they make up ``ratio`` of the whole, evenly spread over the list."""
    wanted = int(full * ratio / (1 - ratio)) if 0 <= ratio < 1 else empty
    if wanted >= empty:
        return annotations
    chosen = set(np.linspace(0, empty, wanted, endpoint=False).astype(int).tolist())
    rank = iter(range(empty))
    return [a for a in annotations if len(a.gt_class) or next(rank) in chosen]


def resolve(dataset_dir: str | None, path: str) -> Path:
    """``path`` below ``dataset_dir``, or ``path`` itself where only that exists."""
    below = Path(dataset_dir or "", path)
    return below if exists(below) or not exists(Path(path)) else Path(path)


def exists(path: Path, kind: Callable[[Path], bool] = Path.exists) -> bool:
    """Whether ``path`` is there; no for a name that no file can have and for a folder that may not be entered."""
    try:
        return kind(path)
    except (OSError, ValueError):
        return False


def inside(path: Path, folders: Sequence[Path], source: Path) -> Path:
    """``path`` if it names something below one of ``folders``; links are followed wherever they lead.

    Raises :class:`DataError`, naming the annotation file ``source``, for a path that climbs out by ``..`` or starts
    elsewhere: such a file was made for another machine, or to read files here that are no part of the data.
    """
    plain = folders[0].parts == path.parts[: len(folders[0].parts)] and ".." not in path.parts[len(folders[0].parts) :]
    if plain and path.is_absolute() == folders[0].is_absolute():
        return path
    full = Path(os.path.normpath(Path.cwd() / path))
    if not any(full.is_relative_to(os.path.normpath(Path.cwd() / folder)) for folder in folders):
        shown = str(path) if len(str(path)) < SHOWN else f"{str(path)[:SHOWN]}..."
        raise DataError(
            f"{source}: it names {shown}, which is not below {' or '.join(map(str, folders))}; "
            "set dataset_dir to a folder that holds all files"
        )
    return path


def read_labels(path: Path) -> tuple[str, ...]:
    """The class names of a text file, one per line; raises :class:`DataError` as :func:`read_lines` does."""
    return read_lines(path, "a label_list with one class name per line")


def read_lines(path: Path, expected: str) -> tuple[str, ...]:
    """The lines of a text file that are not blank, stripped.

    Raises :class:`DataError` when it is missing, no UTF-8 text, or empty, saying what was ``expected``.
    """
    try:
        text = read_text(path)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}; expected {expected}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no UTF-8 text ({error}); expected {expected}") from error
    lines = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not lines:
        raise DataError(f"{path} is empty, expected {expected}")
    return lines


def stated_side(value: Any) -> int:
    """A height or width as an annotation file states it, 0 (unknown) unless it is a number an image can have."""
    try:
        side = int(float(value))
    except (TypeError, ValueError, OverflowError):
        return 0
    return side if 0 < side <= LARGEST_SIDE else 0
