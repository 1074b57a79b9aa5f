"""Lists of training and test images for a folder of VOC images and xml files."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ppkd.data.datasets.dataset import read_labels
from ppkd.data.datasets.voc import objects, parse_xml, stems
from ppkd.utils.errors import DataError

TRAINVAL, TEST, LABELS = "trainval.txt", "test.txt", "label_list.txt"


@dataclass(frozen=True)
class Split:
    """What :func:`split_voc` did: lines per list, classes, and the files that have no partner or are damaged."""

    trainval: int
    test: int
    classes: tuple[str, ...]
    without_xml: tuple[str, ...]
    without_image: tuple[str, ...]
    broken: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"{TRAINVAL}: {self.trainval} images, {TEST}: {self.test} images"]
        lines += [f"{LABELS}: {', '.join(self.classes)}"]
        for files, text in (
            (self.without_xml, "has no xml file, left out"),
            (self.without_image, "has no image, left out"),
            (self.broken, "cannot be read, left out"),
        ):
            lines += [f"{name} {text}" for name in files]
        return "\n".join(lines)


def parse_ratio(text: str) -> float:
    """The share of training images that ``9:1`` or ``0.9`` mean; raises :class:`DataError` unless in (0, 1)."""
    try:
        parts = [float(part) for part in text.split(":")]
    except ValueError:
        parts = []
    share = parts[0] / sum(parts) if len(parts) == 2 and sum(parts) > 0 else parts[0] if len(parts) == 1 else 0.0
    if not 0 < share < 1:
        raise DataError(f"the ratio is '{text}', expected training:test such as 9:1, or a share such as 0.9")
    return share


def split_voc(folder: str | Path, *, share: float = 0.9, seed: int = 0, force: bool = False) -> Split:
    """Write ``trainval.txt``, ``test.txt`` and ``label_list.txt`` into a VOC ``folder``.

    Lines are ``JPEGImages/x.jpg Annotations/x.xml``, shuffled with ``seed``; ``share`` of them go to training, at least
    one to each list. An existing ``label_list.txt`` is kept, as its order is that of trained classes.
    Raises :class:`DataError` when a list exists and ``force`` is not given, fewer than two pairs are found, or the
    existing ``label_list.txt`` lacks a class.
    """
    root = Path(folder)
    existing = [name for name in (TRAINVAL, TEST) if (root / name).exists()]
    if existing and not force:
        raise DataError(f"{root / existing[0]} exists already; --force replaces it")
    images = stems(root / "JPEGImages")
    xmls = {path.stem: path for path in sorted((root / "Annotations").glob("*.xml"))}
    pairs = sorted(images.keys() & xmls.keys())
    found, broken = _classes({name: xmls[name] for name in pairs})
    pairs = [name for name in pairs if xmls[name].name not in broken]
    if len(pairs) < 2:
        raise DataError(f"{root} has {len(pairs)} pairs of JPEGImages/x.jpg and Annotations/x.xml, too few to split")
    classes = _settle_labels(root / LABELS, found)
    random.Random(seed).shuffle(pairs)
    count = min(max(round(share * len(pairs)), 1), len(pairs) - 1)
    lines = [f"JPEGImages/{images[name].name} Annotations/{xmls[name].name}" for name in pairs]
    _write(root / TRAINVAL, lines[:count])
    _write(root / TEST, lines[count:])
    return Split(
        count,
        len(pairs) - count,
        classes,
        without_xml=tuple(images[name].name for name in sorted(images.keys() - xmls.keys())),
        without_image=tuple(xmls[name].name for name in sorted(xmls.keys() - images.keys())),
        broken=tuple(broken),
    )


def _classes(xmls: dict[str, Path]) -> tuple[list[str], list[str]]:
    """Class names in the files, sorted, and the names of files that are damaged."""
    classes: set[str] = set()
    broken = []
    for path in xmls.values():
        try:
            classes.update(objects(parse_xml(path))[1])
        except ValueError:
            broken.append(path.name)
    return sorted(classes), broken


def _settle_labels(path: Path, found: Sequence[str]) -> tuple[str, ...]:
    if not path.exists():
        _write(path, found)
        return tuple(found)
    known = read_labels(path)
    absent = [name for name in found if name not in known]
    if absent:
        raise DataError(f"{path} lacks the class '{absent[0]}' that the xml files use; add it, or remove the file")
    return known


def _write(path: Path, lines: Sequence[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
