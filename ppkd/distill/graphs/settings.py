"""The block of a slim file that names an ONNX graph as a teacher."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import paddle
from pydantic import PositiveInt

from ppkd.config import Config
from ppkd.config.convert import convert
from ppkd.config.value import LocatedError
from ppkd.distill.graphs.graph import Graph
from ppkd.distill.graphs.pixels import Preprocess, Renormalisation, student_map
from ppkd.distill.graphs.teacher import GraphTeacher
from ppkd.utils.errors import PPKDError

if TYPE_CHECKING:
    from ppkd.structures import Batch, DetectorSpec

ONNX, ENTRIES, PREPROCESS, CLASS_NAMES = "onnx", "entries", "preprocess", "class_names"
OF_GRAPH = (ONNX, ENTRIES, PREPROCESS, CLASS_NAMES)
TYPES: dict[str, Any] = {
    ONNX: str,
    ENTRIES: dict[str, dict[PositiveInt, str]],
    PREPROCESS: Preprocess,
    CLASS_NAMES: tuple[str, ...],
}
LABELS = "label_list"
"""The key of the class names in the metadata of a graph that ``ppkd export`` wrote."""


def check_graph(slim: Config, block: str) -> None:
    """Check the settings of the teacher at the dotted key ``block``; raises :class:`ConfigError`."""
    for key, annotation in TYPES.items():
        path = f"{block}.{key}"
        if slim.at(path, None) is not None:
            convert(slim.at(path), annotation, path, slim.mark(path))
    entries = slim.at(f"{block}.{ENTRIES}", None)
    if not entries or not all(entries.values()):
        raise LocatedError(
            slim.mark(f"{block}.{ENTRIES}"),
            f"{block}.{ENTRIES} is missing or empty: give the graph's tensors by entry and stride, e.g. "
            "entries: {neck: {8: NAME, 16: NAME}}; `ppkd teacher inspect` proposes them",
        )


def build_graph_teacher(slim: Config, block: str, student: DetectorSpec, cfg: Config) -> GraphTeacher:
    """The teacher at the dotted key ``block`` of ``slim``, for the student of ``cfg``; the settings were checked.

    Raises :class:`PPKDError` naming the block for what :class:`Graph` and :class:`GraphTeacher` refuse.
    """
    settings = slim.at(block)
    entries = _entries(slim, block)
    images = _given
    if settings.get(PREPROCESS) is not None:
        path = f"{block}.{PREPROCESS}"
        images = Renormalisation(student_map(cfg), convert(settings[PREPROCESS], Preprocess, path, slim.mark(path)))
    try:
        names = [tensor for levels in entries.values() for tensor in levels.values()]
        graph = Graph(Path(settings[ONNX]), names, gpu=paddle.get_device().startswith("gpu"))
        known = settings.get(CLASS_NAMES) or _class_names(graph.metadata)
        return GraphTeacher(graph, entries, student, images, class_names=tuple(known) if known else None)
    except PPKDError as error:
        raise type(error)(f"{slim.where(block)}: {block}: {error}") from error


def _entries(slim: Config, block: str) -> dict[str, dict[int, str]]:
    """Names of tensors by entry and stride, finest first."""
    path = f"{block}.{ENTRIES}"
    given = convert(slim.at(path), TYPES[ENTRIES], path, slim.mark(path))
    return {name: dict(sorted(levels.items())) for name, levels in given.items()}


def _given(batch: Batch) -> Any:
    """The student's images as they are."""
    return batch["image"]


def _class_names(metadata: Mapping[str, str]) -> list[str] | None:
    with suppress(ValueError):
        names = json.loads(metadata.get(LABELS, ""))
        if isinstance(names, list) and all(isinstance(name, str) for name in names):
            return names
    return None
