"""What a folder's annotations are, before they are opened: form, parts, and the lists still to be written."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ppkd.data.datasets import COCODataSet, DetectionDataset, VOCDataSet, YOLODataSet
from ppkd.utils.atomic import atomic_open

TRAIN, VAL, WHOLE = "train", "val", "all"
KINDS = {"COCODataSet": COCODataSet, "VOCDataSet": VOCDataSet, "YOLODataSet": YOLODataSet}
Settings = dict[str, Any]

_WORDS = {
    "train": TRAIN,
    "training": TRAIN,
    "trainval": TRAIN,
    "val": VAL,
    "valid": VAL,
    "validation": VAL,
    "test": "test",
    "testing": "test",
}


@dataclass(frozen=True)
class Found:
    """Annotations of one form in the folder ``root``.

    Attributes:
        form: what a person calls it.
        kind: the data set that reads it, a key of :data:`KINDS`.
        root: its ``dataset_dir``.
        annotated: how many images have annotations.
        classes: the class names; None where the annotation file says them.
        parts: further settings of the data set of each part: ``train`` and ``val``, or ``all``.
        lists: what still has to be written of a part: lines of a list, or the content of a json.
        remarks: what a person should know.
    """

    form: str
    kind: str
    root: Path
    annotated: int
    classes: tuple[str, ...] | None = None
    parts: Mapping[str, Settings] = field(default_factory=dict)
    lists: Mapping[str, Sequence[str] | Mapping[str, Any]] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    @property
    def divided(self) -> bool:
        """Whether it says itself which images are for training and which for validation."""
        return {TRAIN, VAL} <= {*self.parts, *self.lists}

    def written(self, folder: Path) -> Found:
        """The same with its lists written into ``folder``, so that every part can be opened."""
        parts = dict(self.parts)
        for part, content in self.lists.items():
            path = folder / f"{part}{'.json' if isinstance(content, Mapping) else '.txt'}"
            lines = [json.dumps(content, ensure_ascii=False)] if isinstance(content, Mapping) else content
            with atomic_open(path) as file:
                file.write("".join(f"{line}\n" for line in lines).encode())
            parts[part] = {**parts.get(part, {}), "anno_path": str(path)}
        return replace(self, parts=parts, lists={})

    def settings(self, part: str) -> Settings:
        """The settings of the data set of ``part``, as a configuration has them."""
        labels = {} if self.classes is None else {"label_list": list(self.classes)}
        return {"dataset_dir": str(self.root), **self.parts[part], **labels}

    def open(self, part: str) -> DetectionDataset:
        """The images of ``part``, those without boxes too; raises :class:`DataError` as its data set does."""
        return KINDS[self.kind](**self.settings(part), allow_empty=True)


def part_of(words: str) -> str | None:
    """The part that a name such as ``instances_val2017`` or ``valid/images`` tells; None for no or several parts."""
    parts = {_WORDS[word] for word in re.findall("[a-z]+", words.lower()) if word in _WORDS}
    return parts.pop() if len(parts) == 1 else None


def named_parts(names: Mapping[str, str]) -> dict[str, str]:
    """``names`` (part -> anything) with ``test`` as ``val`` where there is none; empty unless both parts are there."""
    chosen = {VAL: names["test"]} if "test" in names else {}
    chosen |= {part: name for part, name in names.items() if part in (TRAIN, VAL)}
    return chosen if {TRAIN, VAL} <= chosen.keys() else {}


def by_folder(lines: Mapping[str, str]) -> dict[str, list[str]]:
    """The lines of each part, by the names of the folders of the files that are their keys; else all as ``all``."""
    groups: dict[str, list[str]] = {}
    for file, line in lines.items():
        groups.setdefault(part_of(str(Path(file).parent)) or WHOLE, []).append(line)
    wanted = named_parts({part: part for part in groups})
    if wanted and WHOLE not in groups:
        return {part: groups[name] for part, name in wanted.items()}
    return {WHOLE: list(lines.values())}
