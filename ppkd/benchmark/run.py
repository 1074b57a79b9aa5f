"""A benchmark from its settings to its report."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from ppkd.benchmark.accuracy import average_precision
from ppkd.benchmark.measure import Variant, peak_memory, time_all
from ppkd.benchmark.models import Candidate, candidate, check_names
from ppkd.benchmark.report import Line, write_report
from ppkd.config import Config
from ppkd.utils.atomic import output_folder
from ppkd.utils.errors import ConfigError
from ppkd.utils.logger import get_logger

_log = get_logger(__name__)


def benchmark(
    models: Sequence[str],
    output_dir: Path | str = "output/benchmark",
    *,
    engines: Sequence[str] = ("paddle", "onednn", "onnxruntime", "openvino"),
    batch_sizes: Sequence[int] = (1,),
    rounds: int = 30,
    warmup: int = 3,
    cpu_threads: int = 1,
    evaluate: bool = True,
    eval_config: Config | None = None,
) -> list[Line]:
    """Compares ``models``, each ``[NAME=]PATH``, and writes benchmark.md, benchmark.json and benchmark.png.

    With ``evaluate`` each model is evaluated on each engine, on the ``EvalDataset`` of its own configuration, or of
    ``eval_config`` for all. Raises :class:`PPKDError` for a model that is missing, broken or fits no engine.
    """
    folder = output_folder(output_dir)
    with tempfile.TemporaryDirectory(prefix="ppkd-benchmark-") as work:
        candidates = [candidate(each, Path(work), engines) for each in models]
        check_names(candidates)
        pairs = [(model, engine) for model in candidates for engine in _engines(model, engines)]
        pipelines = {(model.name, engine): model.pipeline(engine, cpu_threads) for model, engine in pairs}
        variants = [Variant(model, engine, size) for model, engine in pairs for size in batch_sizes]
        loaded = [pipelines[variant.model.name, variant.engine] for variant in variants]
        time_all(variants, loaded, rounds=rounds, warmup=warmup)
        figures: dict[tuple[str, str], float | None] = {}
        for model, engine in pairs:
            cfg = eval_config or model.config
            if evaluate and cfg is not None and cfg.get("EvalDataset") is not None:
                found = average_precision(pipelines[model.name, engine], cfg)
                figures[model.name, engine] = next(iter(found.values()))
        lines = [_line(each, figures.get((each.model.name, each.engine)), cpu_threads) for each in variants]
    for file in write_report(lines, folder):
        _log.info("written: %s", file)
    return lines


def _engines(model: Candidate, wanted: Sequence[str]) -> list[str]:
    found = model.engines(wanted)
    if not found:
        raise ConfigError(f"{model.name}: none of the engines {', '.join(wanted)} reads what was exported of it")
    return found


def _line(variant: Variant, ap: float | None, cpu_threads: int) -> Line:
    model = variant.model
    p50, p90, p99 = variant.percentiles
    return Line(
        model=model.name,
        engine=variant.engine,
        batch_size=variant.batch_size,
        p50=p50,
        p90=p90,
        p99=p99,
        fps=variant.fps,
        ap=ap,
        parameters=None if model.size is None else model.size.parameters,
        gflops=None if model.size is None else model.size.gflops,
        file_mb=model.bytes(variant.engine) / 1e6,
        peak_mb=peak_memory(variant, cpu_threads),
    )
