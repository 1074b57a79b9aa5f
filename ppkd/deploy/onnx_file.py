"""The metadata of an ONNX file, read without the package ``onnx`` and before any engine sees the file.

The file is one Protocol Buffers message, ``ModelProto`` in https://github.com/onnx/onnx/blob/main/onnx/onnx.proto:
pairs of a field's number and its value. What is no metadata is skipped unread.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import IO

from ppkd.utils.errors import WeightsError
from ppkd.utils.files import open_regular

NAME = "model.onnx"
_OPSETS, _METADATA = 8, 14
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MOST = 1 << 24
"""Bytes of one entry of the metadata."""


def onnx_file(path: Path) -> Path:
    """``path`` itself, or ``model.onnx`` in it; raises :class:`WeightsError` where there is none."""
    file = path / NAME if path.is_dir() else path
    if not file.exists():
        raise WeightsError(f"{file}: no such ONNX model; see `ppkd export --format onnx`")
    return file


def read_metadata(path: Path) -> tuple[dict[str, str], int]:
    """The texts by key that a file carries, and the version of ONNX's operators that it uses.

    Raises :class:`WeightsError` naming a file that cannot be read or is no ONNX model.
    """
    texts: dict[str, str] = {}
    opset = 0
    try:
        with open_regular(path) as file:
            for number, value in _fields(file, (_OPSETS, _METADATA)):
                if not isinstance(value, bytes):
                    raise ValueError("a number where a message is expected")
                if number == _OPSETS:
                    opset = max(opset, _version(value))
                else:
                    key, text = _pair(value)
                    texts[key] = text
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, EOFError) as error:
        raise WeightsError(f"{path}: no ONNX model, or a damaged one; export it again") from error
    if not opset:
        raise WeightsError(f"{path}: no ONNX model, or a damaged one; export it again")
    return texts, opset


def _pair(message: bytes) -> tuple[str, str]:
    """Key and value of a ``StringStringEntryProto``."""
    found = {number: value for number, value in _fields(BytesIO(message), (1, 2)) if isinstance(value, bytes)}
    return found.get(1, b"").decode(), found.get(2, b"").decode()


def _version(message: bytes) -> int:
    """The version in an ``OperatorSetIdProto`` of ONNX's own operators, 0 in one of others."""
    found = dict(_fields(BytesIO(message), (1, 2)))
    domain, version = found.get(1, b""), found.get(2, 0)
    return version if domain in (b"", b"ai.onnx") and isinstance(version, int) else 0


def _fields(file: IO[bytes], wanted: tuple[int, ...]) -> Iterator[tuple[int, bytes | int]]:
    """Numbers and contents of the fields among ``wanted``: whole numbers and bytes."""
    end = file.seek(0, 2)
    file.seek(0)
    while file.tell() < end:
        key = _varint(file)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value = _varint(file)
            if number in wanted:
                yield number, value
        elif kind == _FIXED64:
            file.seek(8, 1)
        elif kind == _FIXED32:
            file.seek(4, 1)
        elif kind == _BYTES:
            length = _varint(file)
            if length > end - file.tell():
                raise EOFError
            if number in wanted and length <= _MOST:
                yield number, file.read(length)
            else:
                file.seek(length, 1)
        else:
            raise ValueError(f"a field of the kind {kind}")


def _varint(file: IO[bytes]) -> int:
    """A number of 7 bits a byte, lowest first."""
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            raise EOFError
        value |= (byte[0] & 127) << shift
        if byte[0] < 128:
            return value
    raise ValueError("a number of more than 70 bits")
