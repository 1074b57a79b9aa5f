"""What an ONNX model says of itself: classes, preprocessing, thresholds, and what its outputs are.

Kept as text in the file's own metadata, so that one file is enough; each value is json.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from ppkd.utils.errors import WeightsError

Step = dict[str, Any]
Outputs = Literal["detections", "boxes", "raw", "record"]
UNDECODED = ("raw", "record")
"""Outputs of the heads, before boxes are made."""
Precision = Literal["float32", "int8"]
MARK = "ppkd"
"""The key that tells a model of ppkd's, with the version of this form."""
VERSION = "1"


@dataclass(frozen=True)
class Description:
    """The metadata of a model.

    Attributes:
        name: the configuration's.
        arch: the detector's family, PaddleDetection's name.
        preprocess: steps after decoding, ``{type: name, **settings}`` in order.
        label_list: the names of the classes.
        category_ids: the data set's numbers of the classes.
        draw_threshold: the lowest score that is worth drawing.
        use_dynamic_shape: whether height and width of the input are open.
        batch: how many images the model takes, None for any number.
        outputs: ``detections``: ``bbox`` [M, 6] and ``bbox_num`` [N]; ``boxes``: ``boxes`` [N, P, 4] or [N, P, C, 4]
            and ``scores`` [N, C, P], to be suppressed; ``raw``: what the heads give; ``record``: that and the maps of
            the neck, for a teacher.
        nms: the detector's suppression, ``{type: name, **settings}``, also where it is inside of the model; empty where
            nothing is suppressed.
        precision: of the numbers that the layers up to the heads compute with, ``int8`` where some are quantised.
    """

    name: str
    arch: str
    preprocess: tuple[Step, ...]
    label_list: tuple[str, ...]
    category_ids: tuple[int, ...]
    draw_threshold: float
    use_dynamic_shape: bool
    batch: int | None
    outputs: Outputs
    nms: Mapping[str, Any]
    precision: Precision = "float32"

    @property
    def suppressed(self) -> bool:
        """Whether boxes of this model are suppressed, inside of it or outside."""
        return self.outputs not in UNDECODED and bool(self.nms)

    def metadata(self) -> dict[str, str]:
        """The texts to keep in the file, by key."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {MARK: VERSION, **{key: json.dumps(value, ensure_ascii=False) for key, value in values.items()}}

    @classmethod
    def of(cls, metadata: Mapping[str, str], source: str) -> Description:
        """What the ``metadata`` of the file ``source`` says.

        Raises :class:`WeightsError` naming the file for a model that is not ppkd's, and the key for a senseless value.
        """
        if metadata.get(MARK) != VERSION:
            found = f"its metadata are of version {metadata[MARK]!r}" if MARK in metadata else "it has no such metadata"
            raise WeightsError(f"{source}: not a model that `ppkd export --format onnx` of this version wrote: {found}")
        values = {field.name: _value(metadata, field.name, source) for field in fields(cls)}
        if len(values["label_list"]) != len(values["category_ids"]):
            raise _senseless(source, "category_ids")
        return cls(**values)


def _value(metadata: Mapping[str, str], key: str, source: str) -> Any:
    try:
        value = json.loads(metadata[key])
    except (KeyError, ValueError, RecursionError) as error:
        raise _senseless(source, key) from error
    if not _VALID[key](value):
        raise _senseless(source, key)
    return tuple(value) if isinstance(value, list) else value


def _senseless(source: str, key: str) -> WeightsError:
    return WeightsError(f"{source}: its metadata have no sensible '{key}'; export the model again")


def _texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _suppression(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(item, str | int | float) for item in value.values())


_VALID = {
    "name": lambda value: isinstance(value, str),
    "arch": lambda value: isinstance(value, str),
    "preprocess": lambda value: isinstance(value, list),
    "label_list": _texts,
    "category_ids": lambda value: isinstance(value, list) and all(map(_whole, value)),
    "draw_threshold": lambda value: isinstance(value, float | int) and math.isfinite(value),
    "use_dynamic_shape": lambda value: isinstance(value, bool),
    "batch": lambda value: value is None or (_whole(value) and value > 0),
    "outputs": lambda value: value in get_args(Outputs),
    "nms": _suppression,
    "precision": lambda value: value in ("float32", "int8"),
}
