"""The pictures that a command names, and the loop over them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ppkd.data.image import EXTENSIONS
from ppkd.deploy.pipeline import Found, Pipeline
from ppkd.deploy.preprocess import Prepared
from ppkd.utils.errors import DataError
from ppkd.utils.files import read_text
from ppkd.utils.logger import get_logger

Handler = Callable[[int, Path, NDArray[np.uint8], Found], object]


def find_pictures(file: str | None = None, folder: str | None = None, listing: str | None = None) -> list[Path]:
    """The pictures that a command names: one file, all of a folder, or those that the lines of ``listing`` name.

    Lines are paths relative to ``folder`` if there is one, else to the listing's own folder. ``file``
    precedes the others. Raises :class:`DataError` for what does not exist, for none at all, and for equal base names,
    which would overwrite each other's result.
    """
    if file:
        pictures = [Path(file)]
    elif listing:
        pictures = _listed(Path(listing), folder)
    elif folder:
        if not Path(folder).is_dir():
            raise DataError(f"{folder}: no such folder of pictures")
        pictures = sorted(path for path in Path(folder).iterdir() if path.suffix.lower() in EXTENSIONS)
    else:
        raise DataError("no pictures given: name a file or a folder")
    if not pictures:
        raise DataError(f"{listing or folder}: there are no pictures in it")
    _refuse_equal_names(pictures)
    return pictures


def _listed(listing: Path, folder: str | None) -> list[Path]:
    try:
        lines = read_text(listing).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{listing}: cannot read the list of pictures: {error}") from error
    root = Path(folder) if folder else listing.parent
    return [root / line.strip() for line in lines if line.strip()]


def _refuse_equal_names(pictures: Sequence[Path]) -> None:
    seen: dict[str, Path] = {}
    for path in pictures:
        other = seen.setdefault(path.name, path)
        if other is not path:
            raise DataError(f"{other} and {path} have the same base name: their results would overwrite each other")


Batch = list[tuple[int, Prepared]]


def readable_batches(pipeline: Pipeline, pictures: Sequence[Path], batch_size: int = 1) -> Iterator[Batch]:
    """Prepared pictures with their index in ``pictures``, ``batch_size`` at a time.

    A picture that cannot be read is reported with its name and skipped; after the last batch :class:`DataError` says
    how many were.
    """
    broken: list[str] = []
    batch: Batch = []
    for index, path in enumerate(pictures):
        try:
            batch.append((index, pipeline.prepare(path)))
        except DataError as error:
            get_logger("ppkd.deploy").error("skipped: %s", error)
            broken.append(str(path))
        if len(batch) == batch_size:
            yield batch
            batch = []
    if batch:
        yield batch
    if broken:
        names = ", ".join(broken[:5]) + (", ..." if len(broken) > 5 else "")
        raise DataError(f"{len(broken)} of {len(pictures)} pictures could not be read and were skipped: {names}")


def detect_pictures(
    pipeline: Pipeline,
    pictures: Sequence[Path],
    handle: Handler,
    *,
    batch_size: int = 1,
    progress: Callable[[int], object] = lambda batch: None,
) -> None:
    """Runs ``pipeline`` over ``pictures`` and calls ``handle`` with index, file, RGB picture and what is found in each.

    ``progress`` gets the number of each batch. Raises what :func:`readable_batches` does, at the end.
    """
    for number, batch in enumerate(readable_batches(pipeline, pictures, batch_size)):
        progress(number)
        found = pipeline.detect([prepared for _, prepared in batch])
        for (index, prepared), own in zip(batch, found, strict=True):
            handle(index, pictures[index], prepared.picture, own)
