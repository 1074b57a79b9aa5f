"""Latency of several models in one run, and the memory of each alone."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ppkd.benchmark.models import PADDLE_ENGINES, Candidate
from ppkd.deploy.pipeline import PERCENTILES

if TYPE_CHECKING:
    from ppkd.deploy.pipeline import Pipeline
    from ppkd.deploy.preprocess import Prepared

PICTURE = (480, 640)
_MEMORY = """
import resource, sys
import numpy as np
kind, path, engine, threads, batch = sys.argv[1:]
if kind == "paddle":
    from ppkd.deploy.predictor import Predictor
    pipeline = Predictor(path, cpu_threads=int(threads), enable_mkldnn=engine == "onednn")
else:
    from ppkd.deploy.onnx_predictor import OnnxPredictor
    pipeline = OnnxPredictor(path, engine=engine, cpu_threads=int(threads))
noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
for _ in range(3):
    pipeline.predict([noise] * int(batch), int(batch))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@dataclass(frozen=True)
class Variant:
    """A model on an engine with a batch size, and the seconds of each round."""

    model: Candidate
    engine: str
    batch_size: int
    seconds: list[float] = field(default_factory=list)

    @property
    def percentiles(self) -> list[float]:
        """Milliseconds of a batch, p50, p90 and p99."""
        return [float(value) * 1e3 for value in np.percentile(self.seconds, PERCENTILES)]

    @property
    def fps(self) -> float:
        """Pictures per second at the median."""
        return self.batch_size / float(np.median(self.seconds))


def time_all(variants: Sequence[Variant], pipelines: Sequence[Pipeline], *, rounds: int, warmup: int) -> None:
    """Adds ``rounds`` times to every variant, after ``warmup`` untimed rounds.

    A time is that of a batch of prepared pictures, noise of 640 x 480 pixels, to detections. Every round runs each
    variant once, in alternating order, so that a drift of the machine's speed hits all of them.
    """
    noise = np.random.default_rng(0).integers(0, 256, (*PICTURE, 3), np.uint8)
    batches: list[list[Prepared]] = [
        [pipeline.prepare(noise)] * variant.batch_size for variant, pipeline in zip(variants, pipelines, strict=True)
    ]
    for number in range(warmup + rounds):
        order = range(len(variants)) if number % 2 else reversed(range(len(variants)))
        for i in order:
            start = time.perf_counter()
            pipelines[i].detect(batches[i])
            if number >= warmup:
                variants[i].seconds.append(time.perf_counter() - start)


def peak_memory(variant: Variant, cpu_threads: int) -> float | None:
    """Megabytes at most of a process that loads the model, computes three batches, and does nothing else."""
    kind = "paddle" if variant.engine in PADDLE_ENGINES else "onnx"
    place = variant.model.program if kind == "paddle" else variant.model.file
    arguments = [kind, place, variant.engine, cpu_threads, variant.batch_size]
    command = [sys.executable, "-c", _MEMORY, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return int(done.stdout.split()[-1]) / 1024 if done.returncode == 0 else None
