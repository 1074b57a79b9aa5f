"""Weights and inputs of the parity cases, drawn from frozen random streams.

A case stores names, shapes and numbers only. Every array here depends on its name, its shape and a salt alone, so
both sides of a comparison draw the same values on any machine.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent / "fixtures" / "parity"


def stream(name: str, salt: int = 0) -> np.random.RandomState:
    return np.random.RandomState((zlib.crc32(name.encode()) + salt) & 0xFFFFFFFF)


def fill(name: str, shape: Sequence[int], salt: int = 0) -> np.ndarray:
    """He-scaled kernels, norm scales near 1, running variances above 1; float32."""
    draw = stream(name, salt).standard_normal(tuple(int(side) for side in shape))
    leaf = name.rsplit(".", 1)[-1]
    if leaf in ("_variance", "running_var"):
        return (1.0 + 0.1 * np.abs(draw)).astype("float32")
    if leaf in ("_mean", "running_mean"):
        return (0.1 * draw).astype("float32")
    if len(shape) <= 1:
        base = 1.0 if leaf in ("weight", "scale", "gamma") else 0.0
        return (base + 0.05 * draw).astype("float32")
    linear = len(shape) == 2
    fan_in = shape[0] if linear else int(np.prod(shape[1:]))
    return ((1.0 if linear else 1.4) / np.sqrt(fan_in) * draw).astype("float32")


def image_batch(images: int, height: int, width: int, salt: int = 0) -> np.ndarray:
    """Coarse blocks of 16 pixels under fine noise, float32 (images, 3, height, width)."""
    draw = stream("image", salt)
    coarse = draw.standard_normal((images, 3, height // 16 + 2, width // 16 + 2))
    blocks = np.kron(coarse, np.ones((1, 1, 16, 16)))[:, :, 8 : 8 + height, 8 : 8 + width]
    return (blocks + 0.25 * draw.standard_normal((images, 3, height, width))).astype("float32")


def boxes(
    height: int, width: int, counts: Sequence[int], num_classes: int, salt: int = 0
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Per image float32 (k, 4) corners in pixels and int64 (k,) labels."""
    draw = stream("boxes", salt)
    corners, labels = [], []
    for count in counts:
        left, top = draw.uniform(0, 0.6 * width, count), draw.uniform(0, 0.6 * height, count)
        wide, high = draw.uniform(0.08 * width, 0.4 * width, count), draw.uniform(0.08 * height, 0.4 * height, count)
        right, bottom = np.minimum(left + wide, width - 1), np.minimum(top + high, height - 1)
        corners.append(np.stack([left, top, right, bottom], 1).astype("float32"))
        labels.append(draw.randint(0, num_classes, count).astype("int64"))
    return corners, labels


def fill_model(model: Any, rules: Sequence[tuple[str, float, float]] = (), kept: Sequence[str] = ()) -> None:
    """Give every entry of ``model.state_dict()`` its value; the first rule whose pattern matches rescales it.

    Entries that are ``kept`` stay as they are.
    """
    state: dict[str, Any] = {}
    for name, tensor in model.state_dict().items():
        if name in kept:
            state[name] = tensor
            continue
        value = fill(name, tensor.shape)
        for pattern, factor, offset in rules:
            if re.match(pattern, name):
                value = (value * np.float32(factor) + np.float32(offset)).astype("float32")
                break
        state[name] = value
    model.set_state_dict(state)


def load_keys(model: str) -> list[tuple[str, list[int]]]:
    """Names and shapes of the reference's ``state_dict``, in its order."""
    return [(name, shape) for name, shape in json.loads((FOLDER / "keys" / f"{model}.keys.json").read_text())]


def load_case(case: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Settings and losses, and the arrays, of a case."""
    folder = FOLDER / "cases"
    with np.load(folder / f"{case}.npz") as arrays:
        return json.loads((folder / f"{case}.json").read_text()), dict(arrays)
