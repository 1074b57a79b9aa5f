"""Conversion of weight files between formats; the result holds the student alone."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ppkd.utils.class_names import METADATA_KEY, class_names, write_class_names
from ppkd.utils.download import fetch
from ppkd.utils.errors import WeightsError
from ppkd.utils.serialization import (
    NAME_TABLE,
    WEIGHT_SUFFIXES,
    find_weights,
    read_pickle,
    read_weights,
    write_weights,
)

WHOLE = ("ema", "ema_model", "ema_state_dict", "student", "student_model", "model", "state_dict", "params")
"""Entries under which a checkpoint of everything holds a state dict; the first one found is taken, averages first."""
WRAPPERS = ("_layers.", "module.", "distill_model.")
STUDENTS = ("ema_model.", "ema.", "student_model.", "student.")
OTHERS = ("teacher_model", "teacher", "distill_loss", "distill_losses", "loss_func", "losses", "adapters")


@dataclass(frozen=True)
class Stripped:
    """The student's ``weights``, where they were (``found``), and what was left out, one phrase each."""

    weights: dict[str, np.ndarray]
    found: str = ""
    dropped: tuple[str, ...] = ()

    def __str__(self) -> str:
        where = f" under {self.found}" if self.found else ""
        left = f"; left out: {', '.join(self.dropped)}" if self.dropped else ""
        return f"{len(self.weights)} tensors{where}{left}"


def convert(
    source: str | os.PathLike[str], target: str | os.PathLike[str], *, names: Sequence[str] | None = None
) -> Stripped:
    """Write the student in ``source`` (path or URL) to ``target``, a ``.pdparams`` or ``.safetensors`` file.

    Class names are written too: from ``names``, else from where :func:`ppkd.utils.class_names.class_names` finds them.

    Raises:
        WeightsError: ``source`` is missing, unsafe, damaged or holds no weights; ``target`` has another extension.
    """
    written = Path(target)
    if written.suffix not in WEIGHT_SUFFIXES:
        raise WeightsError(f"{written}: expected a file name that ends in {' or '.join(WEIGHT_SUFFIXES)}")
    file = find_weights(fetch(source))
    content = read_weights(file) if file.suffix == ".safetensors" else read_pickle(file)
    stripped = student_only(content, str(source))
    known = tuple(names) if names else class_names(file)
    metadata = {METADATA_KEY: json.dumps(known, ensure_ascii=False)} if known else None
    write_weights(written, stripped.weights, metadata)
    if known and written.suffix == ".pdparams":
        write_class_names(written, known)
    return stripped


def student_only(content: Mapping[str, Any], source: str) -> Stripped:
    """The plain student in a run's file: no teacher, no loss's parameters, no optimizer, averages if there are.

    Raises :class:`WeightsError` when nothing is left.
    """
    content, found, dropped = _unpacked(content)
    arrays = {str(name): array for name, value in content.items() if (array := _array(value)) is not None}
    dropped += [f"{name} ({type(value).__name__})" for name, value in content.items() if _array(value) is None]
    arrays = _unwrapped(arrays)
    prefix = next((prefix for prefix in STUDENTS if any(name.startswith(prefix) for name in arrays)), "")
    if prefix:
        kept = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
        left = [name for name in arrays if not name.startswith(prefix)]
    else:
        left = [name for name in arrays if name.split(".")[0] in OTHERS]
        kept = {name: array for name, array in arrays.items() if name not in set(left)}
    if not kept:
        raise WeightsError(
            f"{source}: no weights of a detector in it; its entries: {', '.join(map(str, content))[:300]}"
        )
    counts = Counter(name.split(".")[0] for name in left)
    dropped += [f"{count} tensors under {group}" for group, count in counts.items()]
    return Stripped(kept, found or prefix.removesuffix("."), tuple(dropped))


def _unpacked(content: Mapping[str, Any]) -> tuple[Mapping[str, Any], str, list[str]]:
    """The state dict inside a checkpoint of everything, the entry it was under, and the other entries."""
    content = {name: value for name, value in content.items() if name != NAME_TABLE}
    for key in WHOLE:
        if isinstance(content.get(key), Mapping):
            others = [f"{name} ({type(value).__name__})" for name, value in content.items() if name != key]
            return content[key], key, others
    return content, "", []


def _unwrapped(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Names without the prefixes of wrappers, in any order and number."""
    made = {}
    for name, array in arrays.items():
        while wrapper := next((wrapper for wrapper in WRAPPERS if name.startswith(wrapper)), ""):
            name = name.removeprefix(wrapper)
        made[name] = array
    return made


def _array(value: Any) -> np.ndarray | None:
    """An entry's array; Paddle 2 may write it as the pair (name, array)."""
    if isinstance(value, tuple) and len(value) == 2:
        value = value[1]
    return value if isinstance(value, np.ndarray) else None
