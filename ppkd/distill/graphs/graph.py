"""An ONNX file as a function from images to tensors of its graph, outputs or not."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ppkd.utils.errors import ConfigError, DataError, WeightsError, nearest
from ppkd.utils.files import check_regular
from ppkd.utils.onnx_session import CPU, CUDA, open_session, reason
from ppkd.utils.runtime import THREADS

INSTALL = "pip install 'ppkd[onnx]'"
PACKAGES = ("onnx", "onnxruntime")
CHANNELS = 3
FREE = None
"""A size that the graph leaves open."""


class Graph:
    """The tensors of the names ``tensors`` as functions of a batch of images; onnxruntime computes them.

    Attributes:
        batch: how many images the graph takes at once, ``FREE`` for any number.
        size: height and width of its input, each ``FREE`` for any.

    Args:
        file: the graph; its weights are in the file itself.
        tensors: names of outputs, or of any tensor inside of the graph.
        gpu: compute with CUDA where onnxruntime can.

    Raises:
        ConfigError: a package is missing, or the graph has no tensor of one of these names.
        WeightsError: there is no such file, it is damaged, or its input is no batch of images.
    """

    def __init__(self, file: Path, tensors: Sequence[str], *, gpu: bool = False) -> None:
        model = load_graph(file)
        shape, dtype = _image_input(model.graph, file)
        self.file = file
        self.batch, _, *sides = shape
        self.size = (sides[0], sides[1])
        self._dtype = dtype
        self._tensors = list(tensors)
        _add_outputs(model.graph, self._tensors, file)
        threads = int(os.environ.get(THREADS, "0"))
        session = open_session(
            model.SerializeToString(),
            str(file),
            providers=[*([CUDA] if gpu and _has_cuda() else []), CPU],
            threads=threads,
        )
        self._session = session
        self._input = session.get_inputs()[0].name
        self.metadata: dict[str, str] = dict(session.get_modelmeta().custom_metadata_map)

    def __call__(self, images: NDArray[np.float32]) -> list[NDArray[Any]]:
        """The tensors of ``images`` [N, 3, H, W], float32 as the graph expects them.

        Raises :class:`DataError` for images of a size, or a number, that the graph does not take.
        """
        height, width = images.shape[2:]
        wanted = tuple(own or given for own, given in zip(self.size, (height, width), strict=True))
        if wanted != (height, width):
            raise DataError(
                f"{self.file} takes images of {wanted[0]} x {wanted[1]} pixels (height x width), but the reader makes "
                f"{height} x {width}: change the reader's Resize, or export the graph with open sizes"
            )
        if len(images) % (self.batch or 1):
            raise DataError(
                f"{self.file} takes {self.batch} images at once, but a batch has {len(images)}: change "
                "TrainReader.batch_size, or export the graph with an open batch"
            )
        parts = np.split(images.astype(self._dtype, copy=False), len(images) // (self.batch or len(images)))
        found = [self._run(part) for part in parts]
        return found[0] if len(found) == 1 else [np.concatenate(levels) for levels in zip(*found, strict=True)]

    def _run(self, images: NDArray[Any]) -> list[NDArray[Any]]:
        try:
            return self._session.run(self._tensors, {self._input: images})
        except Exception as error:  # onnxruntime has a class for each of its codes
            shape = " x ".join(map(str, images.shape))
            raise WeightsError(
                f"{self.file}: onnxruntime cannot compute an input of {shape}: {reason(error)}"
            ) from error


def load_graph(file: Path) -> Any:
    """The ``onnx.ModelProto`` in ``file``; raises what :class:`Graph` raises."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"a teacher that is an ONNX graph needs {' and '.join(missing)}, not installed here: {INSTALL}"
        )
    import onnx

    try:
        check_regular(file)
        model = onnx.load(str(file), load_external_data=False)
    except OSError as error:
        raise WeightsError(f"cannot read {file}: {error.strerror or error}") from error
    except Exception as error:  # protobuf's DecodeError, which protobuf alone names
        raise WeightsError(f"{file}: no ONNX model, or a damaged one; export it again") from error
    if not model.graph.node:
        raise WeightsError(f"{file}: no ONNX model, or one without a graph; export it again")
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer):
        raise WeightsError(f"{file}: it keeps weights in other files; write it as one: onnx.save(onnx.load(it), new)")
    return model


def tensor_names(graph: Any) -> list[str]:
    """The names of all tensors that nodes of ``graph`` make, in its order."""
    return [name for node in graph.node for name in node.output if name]


def _image_input(graph: Any, file: Path) -> tuple[list[int | None], type[np.floating[Any]]]:
    """The sizes [N, C, H, W] of the only input, ``FREE`` where open, and its type."""
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [each for each in graph.input if each.name not in weights]
    if len(inputs) != 1:
        names = ", ".join(each.name for each in inputs)
        raise WeightsError(f"{file}: it has the inputs {names}, expected one: images [N, 3, H, W]")
    kind = inputs[0].type.tensor_type
    shape = [dim.dim_value or FREE for dim in kind.shape.dim]
    types: dict[int, type[np.floating[Any]]] = {1: np.float32, 10: np.float16}
    if len(shape) != 4 or shape[1] not in (CHANNELS, FREE) or kind.elem_type not in types:
        shown = " x ".join("?" if size is FREE else str(size) for size in shape)
        raise WeightsError(f"{file}: its input {inputs[0].name} is {shown}, expected images [N, 3, H, W] of floats")
    return shape, types[kind.elem_type]


def _add_outputs(graph: Any, tensors: Sequence[str], file: Path) -> None:
    """Make tensors inside of ``graph`` outputs; raises :class:`ConfigError` for one that is not there."""
    import onnx

    known = tensor_names(graph)
    outputs = [output.name for output in graph.output]
    for name in tensors:
        if name not in outputs and name not in known:
            raise ConfigError(
                f"{file} has no tensor {name}{nearest(name, [*outputs, *known])}; outputs are {', '.join(outputs)}; "
                "`ppkd teacher inspect --all` lists the others"
            )
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in dict.fromkeys(tensors) if name not in outputs)


def _has_cuda() -> bool:
    import onnxruntime

    return CUDA in onnxruntime.get_available_providers()
