"""Cases of single losses: the reference's inputs, settings, value and gradients.

Parity cases are PaddleDetection's, or the paper's where the two differ; golden cases come from the methods' authors.
Of a map's gradient the first channels may be all that is kept.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import Tensor, nn
from parity_fill import FOLDER, fill, load_case

GOLDEN = Path(__file__).parents[1] / "fixtures" / "golden"


def names(prefix: str) -> list[str]:
    """Parity cases whose name starts so."""
    return sorted(path.stem for path in (FOLDER / "cases").glob(f"{prefix}*.npz"))


def golden_names(prefix: str) -> list[str]:
    """Golden cases whose name starts so."""
    return sorted(path.stem for path in GOLDEN.glob(f"{prefix}*.npz"))


def golden(name: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Settings and arrays of a golden case; half precision inputs are exact."""
    meta = json.loads((GOLDEN / "losses.json").read_text())[name]
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        return meta, {key: value.astype("float32") for key, value in arrays.items()}


def parity(name: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    return load_case(name)


def leaf(array: np.ndarray) -> Tensor:
    """A tensor that collects a gradient."""
    return paddle.to_tensor(array, stop_gradient=False)


def listed(arrays: dict[str, np.ndarray], prefix: str) -> list[Tensor]:
    """``prefix.0``, ``prefix.1``, ... as tensors."""
    count = sum(key.startswith(f"{prefix}.") for key in arrays)
    return [paddle.to_tensor(arrays[f"{prefix}.{i}"]) for i in range(count)]


def fill_formula(formula: nn.Layer, params: list[tuple[str, list[int]]], rename: dict[str, str] | None = None) -> None:
    """Give every parameter the value of its name; exactly the reference's parameters must be there."""
    known = {}
    for name, shape in params:
        for theirs, ours in (rename or {}).items():
            ours_name = name.replace(theirs, ours)
            if ours_name != name:
                break
        else:
            ours_name = name
        known[ours_name] = fill(name, shape)
    own = dict(formula.named_parameters())
    assert set(own) == set(known)
    for name, parameter in own.items():
        parameter.set_value(known[name].reshape(parameter.shape))


def assert_close(found: Any, expected: Any, rtol: float, atol: float = 0.0, message: str = "") -> None:
    found = found.numpy() if isinstance(found, Tensor) else found
    np.testing.assert_allclose(np.ravel(found), np.ravel(expected), rtol=rtol, atol=atol, err_msg=message)
