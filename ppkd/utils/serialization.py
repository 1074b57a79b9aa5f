"""Weights and training state on disk: read without running code, written whole or not at all."""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ppkd.utils.atomic import atomic_open
from ppkd.utils.errors import WeightsError, nearest
from ppkd.utils.files import MOST_WEIGHTS, check_regular, open_regular, read_bytes
from ppkd.utils.unpickler import ArrayUnpickler

WEIGHT_SUFFIXES = (".pdparams", ".safetensors")
NAME_TABLE = "StructuredToParameterName@@"
_PROTOCOL = 4

PathLike = str | os.PathLike[str]
_PythonPickler: Any = pickle._Pickler  # the one whose save_global can be overridden


def read_pickle(path: PathLike) -> dict[Any, Any]:
    """The dict in a pickle file (``.pdparams``, ``.pdopt``, ``.pdstates``); no code in the file is run.

    Raises:
        WeightsError: the file is missing, empty, truncated, not a pickle of a dict, or names anything but arrays and
            plain containers (the message holds the forbidden name).
    """
    path = Path(path)
    try:
        with open_regular(path) as file:
            content = ArrayUnpickler(file, str(path)).load()
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror or error}") from error
    except WeightsError:
        raise
    except Exception as error:  # a damaged pickle may raise anything
        raise WeightsError(f"{path}: {_damage(path)} ({error}); get or save it again") from error
    if not isinstance(content, dict):
        raise WeightsError(f"{path}: holds a {type(content).__name__}, expected a dict of arrays")
    return content


def _damage(path: Path) -> str:
    size = path.stat().st_size
    return "the file is empty" if size == 0 else f"not a readable weight file, damaged or truncated at {size} bytes"


def find_weights(path: PathLike) -> Path:
    """The weight file that ``path`` means: itself, or with ``.pdparams`` or ``.safetensors`` added.

    Raises:
        WeightsError: there is none; names the nearest weight file of the folder.
    """
    given = Path(path).expanduser()
    candidates = [given, *(given.with_name(given.name + suffix) for suffix in WEIGHT_SUFFIXES)]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    if not given.parent.is_dir():
        raise WeightsError(f"{given}: no such weights, the folder {given.parent} does not exist")
    present = [f.name for f in given.parent.iterdir() if f.suffix in WEIGHT_SUFFIXES]
    raise WeightsError(
        f"{given}: no such weights (nor with {' or '.join(WEIGHT_SUFFIXES)}){nearest(given.name, present)}"
    )


def read_weights(path: PathLike) -> dict[str, np.ndarray]:
    """Names and arrays of a ``.pdparams`` or ``.safetensors`` file, whose extension may be left out.

    Reads what Paddle 2 and 3 save. bfloat16 comes as uint16 bit patterns, the form of ``Tensor.numpy()``.

    Raises:
        WeightsError: see :func:`find_weights` and :func:`read_pickle`; or an entry is not an array.
    """
    file = find_weights(path)
    if file.suffix == ".safetensors":
        return _read_safetensors(file)
    content = read_pickle(file)
    content.pop(NAME_TABLE, None)
    return {str(name): _as_array(file, name, value) for name, value in content.items()}


def _as_array(file: Path, name: object, value: Any) -> np.ndarray:
    """An entry of a state dict; Paddle writes a tensor in a mixed dict as the pair (its name, its array)."""
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], np.ndarray):
        value = value[1]
    if not isinstance(value, np.ndarray):
        raise WeightsError(
            f"{file}: entry '{name}' is a {type(value).__name__}, not an array; this is no file of model weights (an "
            "optimizer's? Out of a whole checkpoint `ppkd convert` takes them)"
        )
    return value


def _read_safetensors(file: Path) -> dict[str, np.ndarray]:
    import safetensors

    try:
        entries = safetensors.deserialize(read_bytes(file, MOST_WEIGHTS))
        return {name: _view(entry) for name, entry in entries}
    except (safetensors.SafetensorError, OSError, KeyError, ValueError) as error:
        raise WeightsError(f"{file}: not a readable .safetensors file ({error}); get or save it again") from error


def read_metadata(file: PathLike) -> dict[str, str]:
    """The texts by name in the header of a ``.safetensors`` file; raises :class:`WeightsError` for a damaged one."""
    import safetensors

    try:
        check_regular(file)
        with safetensors.safe_open(file, framework="numpy") as opened:
            return dict(opened.metadata() or {})
    except (safetensors.SafetensorError, OSError) as error:
        raise WeightsError(f"{file}: not a readable .safetensors file ({error}); get or save it again") from error


def _view(entry: Mapping[str, Any]) -> np.ndarray:
    codes = {"F": "f", "I": "i", "U": "u", "BF": "u", "BOOL": "b"}
    letters = entry["dtype"].rstrip("0123456789")
    bits = int(entry["dtype"][len(letters) :] or 8)
    return np.frombuffer(entry["data"], f"<{codes[letters]}{bits // 8}").reshape(entry["shape"])


def write_weights(path: PathLike, state: Mapping[str, Any], metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors or arrays by name, atomically; ``.safetensors`` by its extension, else what ``paddle.load`` reads.

    bfloat16 tensors are written as float32, which holds them exactly. ``metadata`` goes into the header of a
    ``.safetensors`` file; the other form has no place for it.

    Raises:
        WeightsError: the file cannot be written (disk full, no permission); a previous file stays as it was.
    """
    arrays = {str(name): _to_array(value) for name, value in state.items()}
    with atomic_open(path) as file:
        if Path(path).suffix == ".safetensors":
            from safetensors.numpy import save

            packed = {name: np.asarray(array, order="C") for name, array in arrays.items()}
            file.write(save(packed, metadata=dict(metadata) if metadata else None))
        else:
            _PortablePickler(file, _PROTOCOL).dump(arrays)


def write_state(path: PathLike, state: Mapping[str, Any]) -> None:
    """Write nested dicts, lists, tuples, numbers, strings and arrays (or tensors) atomically, for :func:`read_pickle`.

    Raises:
        TypeError: ``state`` holds anything else; names where.
        WeightsError: the file cannot be written; a previous file stays as it was.
    """
    plain = _to_plain(state, "state")
    with atomic_open(path) as file:
        _PortablePickler(file, _PROTOCOL).dump(plain)


def digest(path: PathLike) -> str:
    """The SHA-256 of a file, as hexadecimal digits."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _PortablePickler(_PythonPickler):
    """Names NumPy's array constructor as every NumPy knows it.

    NumPy 2 calls it ``numpy._core``, which the NumPy below 1.26 of older Paddle installations cannot import.
    """

    def save_global(self, obj: Any, name: str | None = None) -> None:
        """Write the reference to ``obj``."""
        if getattr(obj, "__module__", None) == "numpy._core.multiarray":
            self.save("numpy.core.multiarray")
            self.save(name or obj.__name__)
            self.write(pickle.STACK_GLOBAL)
            self.memoize(obj)
        else:
            super().save_global(obj, name)


def _is_tensor(value: Any) -> bool:
    return hasattr(value, "numpy") and hasattr(value, "place")


def _to_array(value: Any) -> np.ndarray:
    if not _is_tensor(value):
        return np.asarray(value)
    return (value.astype("float32") if "bfloat16" in str(value.dtype) else value).numpy()


def _to_plain(value: Any, where: str) -> Any:
    if value is None or isinstance(value, (str, bytes, bool, int, float)):
        return value.item() if isinstance(value, np.generic) else value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray) or _is_tensor(value):
        array = _to_array(value)
        if array.dtype.kind in "biufc":
            return array
    if isinstance(value, Mapping):
        return {_to_plain(key, f"a key of {where}"): _to_plain(v, f"{where}[{key!r}]") for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        items = [_to_plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
        return items if isinstance(value, list) else tuple(items)
    raise TypeError(f"{where} is a {type(value).__name__}; only arrays and plain containers can be written")
