"""Quantisation of chosen nodes, and how far it moves the outputs of the heads."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

from ppkd.deploy.int8.calibration import Calibration, Inputs
from ppkd.deploy.int8.graph import FOLLOWERS, JOINS, LAYERS, Body, write_heads
from ppkd.deploy.int8.settings import Quantisation
from ppkd.deploy.onnx_engines import OnnxRuntimeEngine

# Entropy is left out: with onnxruntime's 128 bins for 128 steps it gives MinMax's ranges.
_METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "percentile": CalibrationMethod.Percentile,
}


class Quantiser:
    """Writes quantised forms of a graph; ranges are measured once, on ``batches`` [``image`` [N, 3, H, W]].

    ``source`` is what :func:`prepare` wrote, ``whole`` its body; files are made in ``work``.
    """

    def __init__(
        self, source: Path, whole: Body, *, batches: Sequence[Inputs], settings: Quantisation, work: Path
    ) -> None:
        self.source, self.whole, self.work = source, whole, work
        self._batches, self._settings = batches, settings
        self._float = work / "heads.onnx"
        write_heads(source, whole.heads, self._float)
        self._expected = self._computed(self._float)

    def write(self, nodes: Iterable[str], target: Path) -> None:
        """Write the whole graph with ``nodes`` (and activations behind them) quantised to ``target``."""
        self._quantise(self.source, nodes, target)

    def difference(self, nodes: Iterable[str]) -> float:
        """How far the heads with ``nodes`` quantised are from float, on the first batch.

        The largest of all heads: root mean square of the difference, relative to the head's standard deviation.
        """
        target = self.work / "tried.onnx"
        self._quantise(self._float, nodes, target)
        return max(map(_distance, self._expected, self._computed(target)))

    def _quantise(self, source: Path, nodes: Iterable[str], target: Path) -> None:
        settings = self._settings
        chosen = [*nodes, *self.whole.followers]
        with _silence():
            quantize_static(
                str(source),
                str(target),
                Calibration(self._batches),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=[*LAYERS, *JOINS, *FOLLOWERS],
                nodes_to_quantize=chosen,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=_METHODS[settings.method],
                calibration_cache_path=str(self.work / "ranges.json"),
                extra_options={"CalibPercentile": settings.percentile, "CalibStridedMinMax": 1},
            )

    def _computed(self, file: Path) -> list[NDArray[np.float32]]:
        engine = OnnxRuntimeEngine(file, device="CPU", cpu_threads=1)
        return engine(self._batches[0])


def _distance(expected: NDArray[np.float32], found: NDArray[np.float32]) -> float:
    spread = max(float(expected.std(dtype=np.float64)), 1e-6)
    return float(np.sqrt(np.square(found.astype(float) - expected).mean())) / spread


@contextmanager
def _silence() -> Iterator[None]:
    """Inside, onnxruntime says neither that the graph should be prepared, as it is, nor how its histograms are."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        root.setLevel(level)
