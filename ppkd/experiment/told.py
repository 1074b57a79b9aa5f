"""What a run says of itself before its first step and after its last one."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import paddle

from ppkd.config import Runtime
from ppkd.engine.checkpoint_files import WEIGHTS, file_of
from ppkd.engine.hooks.results import FILE_NAME as RESULTS
from ppkd.engine.hooks.snapshot import BEST, FINAL
from ppkd.engine.position import Position
from ppkd.experiment.assembly import Assembly
from ppkd.experiment.folder import CONFIG
from ppkd.metrics.metric import FIGURES_FILE
from ppkd.report.complexity import complexity, count_parameters, image_size
from ppkd.report.curves import read_results
from ppkd.utils import itself
from ppkd.utils.errors import ConfigError
from ppkd.utils.files import read_json
from ppkd.utils.logger import get_logger

STEPS_IN_FORWARD = 3
"""A step takes about so many times what its forward pass takes."""

logger = get_logger(__name__)


def tell_beginning(assembly: Assembly, seconds: float) -> None:
    """Log what is about to be trained, on what, how long, and what it takes; the first losses took ``seconds``."""
    told = list(_beginning(assembly, seconds))
    width = max(len(topic) for topic, _ in told)
    lines = "".join(f"\n  {topic:<{width}}  {value}" for topic, value in told)
    logger.info("Run: %s%s", assembly.experiment.folder, lines)


def _beginning(assembly: Assembly, seconds: float) -> Iterator[tuple[str, str]]:
    trainer, settings = assembly.trainer, assembly.experiment.runtime
    student, (height, width) = trainer.model.deployable(), image_size(assembly.experiment.config)
    cost = complexity(student, height, width)
    yield (
        "student",
        f"{settings.architecture}, {cost.parameters / 1e6:.2f} M parameters, {cost.gflops:.2f} G operations",
    )
    yield "input", f"{height} x {width} pixels, as TestReader has it"
    batches, left = len(assembly.loader), trainer.epochs - trainer.position.epoch
    images = f"{len(assembly.loader.dataset)} images, {batches} steps of {assembly.loader.images_per_update} an epoch"
    yield "data", images
    steps = left * batches - trainer.position.batch
    yield "schedule", f"{left} of {trainer.epochs} epochs, {steps} steps"
    if assembly.distilled is not None:
        for name, teacher in assembly.distilled.teachers.items():
            yield name, teacher.spec().name
        for name, loss in assembly.distilled.losses.items():
            compared = [
                f"{entry} {', '.join(str(pair.stride) for pair in pairs)}" for entry, pairs in loss.pairs.items()
            ]
            yield f"loss {name}", f"{type(loss).__name__} on {'; '.join(compared)}"
        more = count_parameters(assembly.distilled.losses)
        if more:
            yield "adapters", f"{more / 1e6:.2f} M parameters, in training alone"
    factor = 1 if assembly.distilled is not None else STEPS_IN_FORWARD
    yield "time", f"about {timedelta(seconds=round(steps * seconds * factor))} or less, by the first batch"
    yield "memory", f"{_memory() / 2**20:.0f} MB after the first batch"


def headline_of(settings: Runtime) -> str:
    """The figure by which the best model of a run is chosen."""
    return settings.best_by or _first_of_metric(settings)


def _first_of_metric(settings: Runtime) -> str:
    return "mAP" if settings.metric == "VOC" and settings.map_type != "coco_style" else "AP"


def check_baseline(folder: Path) -> None:
    """Raise :class:`ConfigError` unless ``folder`` is that of an evaluated run."""
    if not (folder / CONFIG).is_file():
        raise ConfigError(f"--baseline {folder} has no {CONFIG}, so it is no run's folder")
    if not any((folder / name).is_file() for name in (RESULTS, FIGURES_FILE)):
        raise ConfigError(f"--baseline {folder} has neither {RESULTS} nor {FIGURES_FILE}: evaluate that run first")


def tell_end(folder: Path, settings: Runtime, position: Position, baseline: Path | None) -> None:
    """Log the best figure, what was gained over ``baseline``, where everything is, and how to export it."""
    name = BEST if file_of(folder / BEST, WEIGHTS).is_file() else FINAL
    headline = headline_of(settings)
    if position.best is not None and position.best_epoch is not None:
        gain = "" if baseline is None else _gain(position.best, headline, baseline)
        logger.info("Best %s %.1f after epoch %d%s", headline, 100 * position.best, position.best_epoch + 1, gain)
    logger.info("Weights: %s, all results: %s", file_of(folder / name, WEIGHTS), folder)
    logger.info("Export: %s", itself.shown("export", "-c", str(folder / CONFIG), "-o", f"weights={folder / name}"))


def _gain(best: float, headline: str, baseline: Path) -> str:
    other = _best_of(baseline, headline)
    return f"; {baseline} has no {headline}" if other is None else f", {100 * (best - other):+.1f} over {baseline}"


def _best_of(folder: Path, headline: str) -> float | None:
    """The best value of that figure in the run in ``folder``, of its evaluations in training or of its last one."""
    if (folder / RESULTS).is_file():
        values = [value for value in read_results(folder / RESULTS).get(headline, ()) if value == value]
        if values:
            return max(values)
    if (folder / FIGURES_FILE).is_file():
        value = read_json(folder / FIGURES_FILE).get(headline)
        return None if value is None else float(value)
    return None


def _memory() -> float:
    """Bytes of the device that were needed so far, of this process where there is no GPU."""
    if paddle.device.get_device().startswith("gpu"):
        return float(paddle.device.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0
