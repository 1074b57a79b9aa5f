"""A pickle reader that admits NumPy arrays and plain containers, and runs nothing that a file names.

No object of NumPy's own unpickling is available to the file either: arrays and dtypes are rebuilt by the checked
stand-ins below, so that a crafted state cannot reach an object array, a buffer of the wrong size or a class to patch.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from typing import IO, Any

import numpy as np

from ppkd.utils.errors import WeightsError

_NUMERIC = re.compile(r"[<>|=]?([iufc]\d{1,2}|b1|bool)")


class _Admitted:
    """A callable that a pickle may call, but not change."""

    __slots__ = ("_build",)

    def __init__(self, build: Callable[..., Any]) -> None:
        self._build = build

    def __call__(self, *args: Any) -> Any:
        return self._build(*args)

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("the file tries to change a constructor")


class _DType:
    """Stands for ``numpy.dtype``: numbers and booleans only."""

    __slots__ = ("dtype",)

    def __init__(self, code: str, *_flags: object) -> None:
        if not isinstance(code, str) or not _NUMERIC.fullmatch(code):
            raise pickle.UnpicklingError(f"an array of dtype {code!r} is not numeric")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """Stands for ``numpy.ndarray`` until the file is read."""

    __slots__ = ("value",)

    def __init__(self, *_shape_and_kind: object) -> None:
        self.value: np.ndarray | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _version, shape, dtype, fortran, raw = state
        self.value = _from_bytes(raw, dtype, shape, "F" if fortran else "C")


def _from_bytes(raw: bytes | bytearray | str, dtype: _DType, shape: tuple[int, ...], order: str = "C") -> np.ndarray:
    data = raw.encode("latin1") if isinstance(raw, str) else raw
    flat = np.frombuffer(data, dtype.dtype) if len(data) else np.empty(0, dtype.dtype)
    array = flat.reshape(shape, order="F" if order == "F" else "C")
    return array.astype(dtype.dtype.newbyteorder("="))


def _scalar(dtype: _DType, raw: bytes | str) -> Any:
    return _from_bytes(raw, dtype, ()).item()


def _encode(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes in encoding {encoding!r}")
    return text.encode("latin1")


def _marker(*_args: object) -> None:
    raise pickle.UnpicklingError("the file calls numpy.ndarray itself")


_BUILDERS: dict[str, Callable[..., Any]] = {
    "numpy.ndarray": _marker,
    "numpy.dtype": _DType,
    "_codecs.encode": _encode,
    "collections.OrderedDict": dict,
}
for _core in ("numpy._core", "numpy.core"):
    _BUILDERS[f"{_core}.multiarray._reconstruct"] = _Array
    _BUILDERS[f"{_core}.multiarray.scalar"] = _scalar
    _BUILDERS[f"{_core}.numeric._frombuffer"] = _from_bytes
for _builtins in ("builtins", "__builtin__"):
    _BUILDERS[f"{_builtins}.tuple"] = tuple
    _BUILDERS[f"{_builtins}.bytes"] = bytes
_GLOBALS = {name: _Admitted(build) for name, build in _BUILDERS.items()}


class ArrayUnpickler(pickle.Unpickler):
    """Reads dicts, lists, tuples, numbers, strings and numeric NumPy arrays from a pickle of any protocol.

    Strings written by Python 2 are read as latin1, as Paddle does. Arrays come in native byte order; NumPy scalars
    come as Python numbers.

    Raises:
        WeightsError: the file names anything else; the message holds the file and the forbidden name.
    """

    def __init__(self, file: IO[bytes], source: str) -> None:
        super().__init__(file, encoding="latin1")
        self._source = source

    def find_class(self, module_name: str, global_name: str) -> Any:
        """The admitted stand-in of ``module_name.global_name``."""
        name = f"{module_name}.{global_name}"
        if name not in _GLOBALS:
            raise WeightsError(
                f"{self._source}: refused, because it asks for '{name}', which could run code hidden in the file; "
                "only arrays and plain containers are read"
            )
        return _GLOBALS[name]

    def load(self) -> Any:
        """The object of the file, made of plain containers, numbers, strings and arrays."""
        return _plain(super().load(), {})


def _plain(value: Any, done: dict[int, Any]) -> Any:
    """``value`` with arrays in place of their stand-ins; ``done`` keeps shared containers from being walked twice."""
    if value is None or isinstance(value, (str, bytes, bool, int, float, complex, np.ndarray)):
        return value
    if id(value) not in done:
        done[id(value)] = _convert(value, done)
    return done[id(value)]


def _convert(value: Any, done: dict[int, Any]) -> Any:
    if isinstance(value, _Array) and value.value is not None:
        return value.value
    if type(value) is dict:
        return {_plain(key, done): _plain(item, done) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_plain(item, done) for item in value)
    raise pickle.UnpicklingError(f"it holds a {type(value).__name__.lstrip('_')}, not an array or a plain container")
