"""Weights into models: strictly and by name, with a report of what was and what was not loaded."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import paddle
from paddle import nn

from ppkd.models.detectors.detector import Detector
from ppkd.utils.class_names import class_names
from ppkd.utils.conversion import STUDENTS
from ppkd.utils.download import fetch
from ppkd.utils.errors import WeightsError
from ppkd.utils.serialization import read_weights

_LISTED = 10
_BACKBONE, _SECOND_STAGE = "backbone.", "bbox_head.head."


@dataclass(frozen=True)
class LoadReport:
    """What a file gave a model; ``str()`` begins ``412/412 tensors from ...`` and names what is left out.

    ``missing`` are names of the model that the file lacks, ``unexpected`` names of the file that the model lacks,
    ``mismatched`` names with both shapes, ``cast`` names stored in another floating-point type.
    """

    source: str
    loaded: int
    total: int
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    mismatched: tuple[str, ...] = ()
    cast: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether file and model have the same names and shapes."""
        return not (self.missing or self.unexpected or self.mismatched)

    def __str__(self) -> str:
        head = f"{self.loaded}/{self.total} tensors from {self.source}"
        return "; ".join([head, *self.details()])

    def details(self) -> list[str]:
        """One phrase for each kind of difference that there is, with its first names and a count."""
        kinds = {
            "missing in the file": self.missing,
            "unused by the model": self.unexpected,
            "of another shape": self.mismatched,
            "cast to the model's type": self.cast,
        }
        return [f"{len(names)} {kind}: {_listing(names)}" for kind, names in kinds.items() if names]


def load_weights(model: nn.Layer, source: str | os.PathLike[str], strict: bool = True) -> LoadReport:
    """Set the parameters and buffers of ``model`` from a file or URL (``.pdparams`` or ``.safetensors``).

    Strict, every name and shape must agree. Loose (``strict=False``), what agrees is set and the rest reported.
    Nothing is set unless all checks pass. float16 and bfloat16 values are cast, and the report says so. A detector
    gets the ``class_names`` that the file was trained on, ``None`` where they are not known.

    Raises:
        WeightsError: the file is missing, unsafe, damaged or holds NaN or infinity; strict, it differs from the model;
            nothing agrees at all.
    """
    file = fetch(source)
    report = _load(model, read_weights(file), str(source), strict)
    if isinstance(model, Detector):
        model.class_names = class_names(file)
    return report


def load_pretrain(model: nn.Layer, source: str | os.PathLike[str]) -> LoadReport:
    """Start ``model`` from a detector's weights, or its ``backbone`` from an ImageNet classifier's.

    A classifier's names have no ``backbone.`` before them; its last layer, and heads of another number of classes, are
    left out and named in the report. A last stage that is the detector's second one, not its backbone's, starts there.

    Raises:
        WeightsError: the file is missing, unsafe or damaged, or nothing in it fits the model.
    """
    arrays = read_weights(fetch(source))
    names = model.state_dict().keys()
    of_backbone = {name for name in arrays if _BACKBONE + name in names}
    if len(of_backbone) > len(arrays.keys() & names):
        arrays = {(_BACKBONE + name if name in of_backbone else name): array for name, array in arrays.items()}
    arrays = {_in_second_stage(name, names): array for name, array in arrays.items()}
    return _load(model, arrays, str(source), strict=False)


def _in_second_stage(name: str, names: Collection[str]) -> str:
    """What a model with these ``names`` calls a file's ``name``: the one in its second stage, if there is no other."""
    there = _SECOND_STAGE + name.removeprefix(_BACKBONE)
    return there if name not in names and there in names else name


def _load(model: nn.Layer, arrays: Mapping[str, np.ndarray], source: str, strict: bool) -> LoadReport:
    target = model.state_dict()
    ready: dict[str, np.ndarray] = {}
    cast, mismatched = [], []
    for name in (name for name in target if name in arrays):
        array = _bfloat16_as_float32(arrays[name])
        wanted = _dtype_name(target[name])
        if tuple(array.shape) != tuple(target[name].shape):
            mismatched.append(f"{name} (file {list(array.shape)}, model {list(target[name].shape)})")
        elif not _castable(array.dtype.name, wanted):
            mismatched.append(f"{name} (file {array.dtype.name}, model {wanted})")
        else:
            ready[name] = array if array.dtype.name == wanted else _cast(array, wanted)
            if array is not arrays[name] or array.dtype.name != wanted:
                cast.append(name)
    report = LoadReport(
        source=source,
        loaded=len(ready),
        total=len(target),
        missing=tuple(name for name in target if name not in arrays),
        unexpected=tuple(name for name in arrays if name not in target),
        mismatched=tuple(mismatched),
        cast=tuple(cast),
    )
    _check(report, type(model).__name__, strict)
    _refuse_broken(ready, source)
    for name, array in ready.items():
        target[name].set_value(array)
    return report


def _check(report: LoadReport, model: str, strict: bool) -> None:
    inside = any(name.startswith(STUDENTS) for name in report.unexpected)
    hint = ". They hold a student inside: `ppkd convert` takes it out" if inside else ""
    if strict and not report.complete:
        raise WeightsError(f"the weights do not fit this {model}, nothing was loaded: {report}{hint}")
    if report.total and not report.loaded:
        raise WeightsError(f"nothing in the file fits this {model}; are these weights of another model? {report}{hint}")


def _refuse_broken(arrays: Mapping[str, np.ndarray], source: str) -> None:
    broken = [name for name, array in arrays.items() if array.dtype.kind == "f" and not np.isfinite(array).all()]
    if broken:
        raise WeightsError(
            f"{source}: {len(broken)} tensors hold values that are not finite, nothing was loaded: {_listing(broken)}"
        )


def _bfloat16_as_float32(array: np.ndarray) -> np.ndarray:
    """Paddle's host form of bfloat16 is its bits in uint16; every bfloat16 is a float32 exactly."""
    return (array.astype(np.uint32) << 16).view(np.float32) if array.dtype == np.uint16 else array


def _castable(stored: str, wanted: str) -> bool:
    return stored == wanted or ("float" in stored and "float" in wanted)


def _cast(array: np.ndarray, dtype: str) -> np.ndarray:
    return paddle.to_tensor(array, place=paddle.CPUPlace()).astype(dtype).numpy()


def _dtype_name(tensor: paddle.Tensor) -> str:
    return str(tensor.dtype).removeprefix("paddle.")


def _listing(names: Sequence[str]) -> str:
    more = f", ... ({len(names) - _LISTED} more)" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
