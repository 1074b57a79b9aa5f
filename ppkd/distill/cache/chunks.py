"""Recorded answers on the disk: safetensors files of some images each, memory-mapped where they are read.

A file ``VIEW-NUMBER.safetensors`` holds one array [rows, ...] for each tensor of the record, and ``checksums``, the
CRC-32 of every row of every tensor in the order of their names. bfloat16 numbers are kept as their bits.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ppkd.utils.atomic import atomic_open
from ppkd.utils.errors import DataError

CHECKSUMS = "checksums"
LARGEST = 1 << 26
"""Bytes of a file, of more than one image, at most."""
_OPEN_FILES = 128

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Chunks:
    """The files of ``images`` images in ``views`` views.

    Attributes:
        folder: where they are.
        images: how many images there are.
        views: of each.
        rows: images of a file; the last one of a view may have fewer.
        shapes: of the tensors of one image, by key.
        width: bytes of a number.
    """

    folder: Path
    images: int
    views: int
    rows: int
    shapes: Shapes
    width: int

    @classmethod
    def of(cls, folder: Path, images: int, views: int, shapes: Shapes, width: int) -> Chunks:
        """Files of about ``LARGEST`` bytes."""
        row = row_bytes(shapes, width)
        return cls(folder, images, views, int(np.clip(LARGEST // row, 1, images)), shapes, width)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """View and number of every file."""
        return ((view, number) for view in range(self.views) for number in range(-(-self.images // self.rows)))

    def indices(self, number: int) -> range:
        """The images of the file of that number."""
        return range(number * self.rows, min((number + 1) * self.rows, self.images))

    def path(self, view: int, number: int) -> Path:
        """Its file."""
        return self.folder / f"{view:03d}-{number:06d}.safetensors"

    def is_there(self, view: int, number: int) -> bool:
        """Whether the file was written; raises :class:`DataError` for one that is too short."""
        path = self.path(view, number)
        if not path.exists():
            return False
        if path.stat().st_size < len(self.indices(number)) * row_bytes(self.shapes, self.width):
            raise damaged(path, "it is too short")
        return True

    def write(self, view: int, number: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Write the ``arrays`` [rows, ...] of a file, or leave none; raises :class:`WeightsError`."""
        from safetensors.numpy import save

        names = sorted(arrays)
        sums = np.array([[_checksum(row) for row in arrays[name]] for name in names], np.uint32).T
        with atomic_open(self.path(view, number)) as file:
            file.write(save({**arrays, CHECKSUMS: np.ascontiguousarray(sums)}))

    def read(self, view: int, indices: Sequence[int]) -> dict[str, np.ndarray]:
        """The tensors of the images at ``indices``, [len(indices), ...] each.

        Raises :class:`DataError` naming a file that is missing or damaged.
        """
        arrays = [self._row(view, index) for index in indices]
        return {name: np.stack([array[name] for array in arrays]) for name in self.shapes}

    def _row(self, view: int, index: int) -> dict[str, np.ndarray]:
        number, row = divmod(index, self.rows)
        path = self.path(view, number)
        try:
            file = _opened(str(path))
            sums = file.get_slice(CHECKSUMS)[row]
            found = {name: file.get_slice(name)[row] for name in sorted(self.shapes)}
        except Exception as error:  # safetensors has errors of its own below Exception
            raise damaged(path, f"it cannot be read ({str(error).splitlines()[0]})") from error
        for (name, array), expected in zip(found.items(), sums, strict=True):
            if array.shape != self.shapes[name] or _checksum(array) != expected:
                raise damaged(path, f"the {name} of image {index} is not what was written")
        return found


def row_bytes(shapes: Shapes, width: int) -> int:
    """The bytes of one image's tensors."""
    return width * sum(int(np.prod(shape)) for shape in shapes.values())


def damaged(path: Path, reason: str) -> DataError:
    """What is raised for the file ``path``."""
    return DataError(f"{path}: a damaged file of a teacher's cache: {reason}; delete it, and it is made anew")


def _checksum(array: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(array).data)


@lru_cache(maxsize=_OPEN_FILES)
def _opened(path: str) -> Any:
    from safetensors import safe_open

    return safe_open(path, framework="numpy")
