"""What ppkd makes of every configuration of a checkout of PaddleDetection: `python benchmarks/published_files.py PATH`.

Prints the table of docs/migration.md: by folder, how many files load, pass the check and build, and what is answered to
the others. Files in ``_base_`` and ``datasets`` folders are parts of others; one that says ``slim`` is taken for
``--slim_config``.
"""

from __future__ import annotations

import logging
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from ppkd.config import QUANTISATION, TRAINED, Config, check, distils, load_config, prunes, require_slim, trains_int8
from ppkd.utils.errors import PPKDError

PARTS = frozenset({"_base_", "datasets"})
HEAD = ["| folder | files | work | answered |", "|---|---:|---:|---|"]


@dataclass(frozen=True)
class Answer:
    """What ppkd says of the file at ``path`` below ``configs``: ``error`` is empty where the file works."""

    path: Path
    error: str = ""

    @property
    def folder(self) -> str:
        """The first folder of the path."""
        return self.path.parts[0]

    @property
    def reason(self) -> str:
        """The error without its place, without what is there instead and without advice."""
        text = re.sub(r"^\S+\.yml(:\d+)?: ", "", self.error)
        return re.split(
            r", which |; |, expected|\. |(?<=detectors): |(?<=backbones): |(?<=necks): |(?<=heads): ", text
        )[0]


def published(checkout: Path) -> Iterator[Path]:
    """The configurations of a ``checkout`` that are no parts of others."""
    root = checkout / "configs"
    for path in sorted(root.rglob("*.yml")):
        folders = path.relative_to(root).parent.parts
        if folders and not PARTS & set(folders):
            yield path


def answer(path: Path, checkout: Path) -> Answer:
    """Load, check and build what ``path`` says, without pretrained weights."""
    below = path.relative_to(checkout / "configs")
    try:
        _take(path)
    except PPKDError as error:
        return Answer(below, str(error).replace(f"{checkout / 'configs'}/", ""))
    return Answer(below)


def table(answers: list[Answer]) -> str:
    """The rows by folder, and a sum, in Markdown."""
    rows = [_row(folder, list(group)) for folder, group in groupby(answers, key=lambda each: each.folder)]
    works = sum(not each.error for each in answers)
    return "\n".join([*HEAD, *rows, f"| all | {len(answers)} | {works} | {len(answers) - works} |"])


def _row(folder: str, answers: list[Answer]) -> str:
    reasons = Counter(each.reason for each in answers if each.error)
    said = "; ".join(f"{count}: {reason}" for reason, count in reasons.most_common())
    return f"| {folder} | {len(answers)} | {sum(not each.error for each in answers)} | {said} |"


def _take(path: Path) -> None:
    from ppkd.models import build_detector

    config = load_config(path)
    if "slim" in config:
        _take_slim(config)
        return
    config = load_config(path, ["pretrain_weights=null"])
    check(config)
    build_detector(config)


def _take_slim(slim: Config) -> None:
    from ppkd.deploy.int8.settings import quantisation
    from ppkd.distill.slim import check_slim
    from ppkd.models.pruning.settings import PruneSettings
    from ppkd.models.quantised.settings import TrainedQuantisation

    if require_slim(slim, *TRAINED, QUANTISATION) == QUANTISATION:
        quantisation(slim)
    if distils(slim):
        check_slim(slim)
    if prunes(slim):
        PruneSettings.of(slim)
    if trains_int8(slim):
        TrainedQuantisation.of(slim)


def main(checkout: Path) -> None:
    """Print the table of a checkout."""
    logging.getLogger("ppkd").setLevel(logging.ERROR)
    print(table([answer(path, checkout) for path in published(checkout)]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
