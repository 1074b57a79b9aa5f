"""Damaged weight files: arrays or a :class:`WeightsError`, never another exception, never code."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutations import altered, damaged

from ppkd.utils.errors import WeightsError
from ppkd.utils.serialization import read_weights

STATE = {
    "conv.weight": np.arange(12, dtype="float32").reshape(3, 4),
    "bn._mean": np.array([1.5, -2.0], "float64"),
    "count": np.array(7, "int64"),
}
HEADER = {
    "w": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
    "b": {"dtype": "BF16", "shape": [2], "data_offsets": [16, 20]},
    "__metadata__": {"format": "np"},
}
GLOBALS = st.sampled_from(
    [
        *("os system", "builtins eval", "builtins tuple", "collections OrderedDict", "_codecs encode"),
        *("numpy.core.multiarray _reconstruct", "numpy.core.multiarray scalar", "numpy._core.numeric _frombuffer"),
        *("numpy ndarray", "numpy dtype"),
    ]
).map(lambda name: b"c" + name.replace(" ", "\n").encode() + b"\n")
OPCODES = st.sampled_from(b"(.012FIJKLMNRSTUVX]abcdegjhlopqrstu}\x80\x81\x82\x85\x86\x87\x88\x8e\x93\x94").map(
    lambda code: bytes([code])
)


def reads_or_refuses(path: Path, content: bytes, read: Callable[[Path], Any] = read_weights) -> None:
    path.write_bytes(content)
    try:
        found = read(path)
    except WeightsError as error:
        assert path.name in str(error)
    else:
        assert all(isinstance(array, np.ndarray) and array.dtype.kind in "biufc" for array in found.values())


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_damaged_pickles(protocol: int, scratch: Path) -> None:
    @given(content=damaged(pickle.dumps(STATE, protocol)))
    def each(content: bytes) -> None:
        reads_or_refuses(scratch / "m.pdparams", content)

    each()


@given(parts=st.lists(OPCODES | GLOBALS | st.binary(max_size=4), max_size=20))
def test_any_sequence_of_opcodes(parts: list[bytes], scratch: Path) -> None:
    reads_or_refuses(scratch / "m.pdparams", b"".join(parts) + b".")


@given(header=altered(HEADER), size=st.integers(0, 24))
def test_senseless_headers_of_safetensors(header: Any, size: int, scratch: Path) -> None:
    text = json.dumps(header).encode()
    reads_or_refuses(scratch / "m.safetensors", len(text).to_bytes(8, "little") + text + bytes(size))


@given(content=damaged(len(json.dumps(HEADER)).to_bytes(8, "little") + json.dumps(HEADER).encode() + bytes(20)))
def test_damaged_safetensors(content: bytes, scratch: Path) -> None:
    reads_or_refuses(scratch / "m.safetensors", content)
