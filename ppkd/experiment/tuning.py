"""The largest batch that fits into memory: ``ppkd train --tune batch``."""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import resource
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path

from ppkd.config import Config
from ppkd.config.value import Mark
from ppkd.data import build_dataset
from ppkd.experiment.options import TrainOptions
from ppkd.utils import processes, runtime
from ppkd.utils.errors import ConfigError, TrainingError
from ppkd.utils.logger import get_logger

BATCH = "batch"
READER, SIZE = "TrainReader", "batch_size"
STEPS = 2
"""Updates of a trial: the second one has the optimizer's state of the first."""
SHARE = 0.8
"""Of the memory that a trial may take: other batches are larger, and reading processes need some."""
LEAST_UPDATES = 16
"""Of an epoch, however much memory there is: fewer would train too little."""
LIMITS = ((Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),)
MEMORY = Path("/proc/meminfo")
SIGNS = ("out of memory", "resourceexhausted", "bad_alloc", "cannot allocate memory")
FROM_TUNING = Mark("--tune batch")

logger = get_logger(__name__)

Trial = Callable[[int], float | None]
"""The share of the memory that a batch of so many images takes, None where it does not fit."""


def with_largest_batch(cfg: Config, slim: Config | None, options: TrainOptions) -> Config:
    """``cfg`` with the largest ``TrainReader.batch_size`` that fits, its own doubled or halved as often as it takes.

    Each size is tried in a process of its own, which trains two updates. Raises :class:`ConfigError` for a resumed run
    and several processes, :class:`TrainingError` where one image is too much, and what the run itself would raise.
    """
    if options.resume is not None:
        raise ConfigError("--tune batch is for a new run: a resumed one keeps the batch that it began with")
    if processes.count() > 1:
        raise ConfigError("--tune batch runs in one process: find the size with one, and set TrainReader.batch_size")
    start = int(cfg.at(f"{READER}.{SIZE}", 1))
    size = largest(start, _most(cfg), lambda size: _try(cfg, slim, options, size))
    logger.info(
        "--tune batch: %s.%s=%d%s",
        READER,
        SIZE,
        size,
        "" if options.auto_scale_lr or size == start else "; the learning rate stays, --auto_scale_lr scales it",
    )
    return with_batch(cfg, size)


def with_batch(cfg: Config, size: int) -> Config:
    """``cfg`` with batches of ``size`` images."""
    return cfg.with_item(READER, cfg[READER].with_item(SIZE, size, FROM_TUNING), cfg.mark(READER))


def largest(start: int, most: int, trial: Trial) -> int:
    """The largest size up to ``most`` that fits, of ``start`` doubled or halved.

    A size is not tried if the shares of the two before it say that it takes more than :data:`SHARE`, for the system may
    end a process that takes all memory, and others with it. Raises :class:`TrainingError` if one image is too much.
    """
    size, too_much = max(min(start, most), 1), most + 1
    while (share := trial(size)) is None:
        if size == 1:
            raise TrainingError("--tune batch: one image is more than the memory holds; lower the size of the input")
        size, too_much = size // 2, size
    expected = 2 * share
    while size * 2 < too_much and expected <= SHARE and (found := trial(size * 2)) is not None:
        # Twice as many images add twice what the last doubling added.
        size, share, expected = size * 2, found, found + 2 * (found - share)
    return size


def _try(cfg: Config, slim: Config | None, options: TrainOptions, size: int) -> float | None:
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            share = pool.submit(_measure, with_batch(cfg, size), slim, options).result()
    except BrokenProcessPool:
        share = None
    fits = share is not None and share <= SHARE
    taken = "more memory than there is" if share is None else f"{share:.0%} of the memory"
    logger.info("--tune batch: %d images take %s%s", size, taken, "" if fits else ": too much")
    return share if fits else None


def _measure(cfg: Config, slim: Config | None, options: TrainOptions) -> float | None:
    """Train two updates in this process; returns the share of the memory that it took, None where it did not do."""
    runtime.import_paddle()
    import paddle

    from ppkd.experiment.assembly import assemble
    from ppkd.experiment.calibration import run_calibration
    from ppkd.experiment.experiment import Experiment

    free = available()
    try:
        with tempfile.TemporaryDirectory(prefix="ppkd-tune-") as folder:
            quiet = replace(options, evaluate=False, dry_run=True, overwrite=True, use_vdl=False, profiler_options=None)
            cfg = cfg.with_item("patience", None, FROM_TUNING)
            assembly = assemble(Experiment.parse(cfg, slim, quiet).at(Path(folder) / "trial"))
            run_calibration(assembly)
            assembly.trainer.model.train()
            for number in range(STEPS):
                assembly.trainer.run_step(list(assembly.loader.update(0, number)), 0.0)
            assembly.trainer.events.losses.read()
    except (MemoryError, RuntimeError, SystemError) as error:
        if not _is_memory(error):
            raise
        return None
    if paddle.device.get_device().startswith("gpu"):
        whole = paddle.device.cuda.get_device_properties().total_memory
        return float(paddle.device.cuda.max_memory_reserved() / whole)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / free


def _is_memory(error: Exception) -> bool:
    """Whether Python, CUDA or Paddle has no memory left; Paddle says so in the text of other errors."""
    said = f"{type(error).__name__} {error}".lower()
    return isinstance(error, MemoryError) or any(sign in said for sign in SIGNS)


def available(meminfo: Path = MEMORY, limits: Sequence[tuple[Path, Path]] = LIMITS) -> float:
    """Bytes that a new process may take: what the system has left, or this container if that is less."""
    free = [math.inf]
    with contextlib.suppress(OSError, ValueError):
        lines = dict(line.split(":", 1) for line in meminfo.read_text(encoding="utf-8").splitlines() if ":" in line)
        free.append(int(lines.get("MemAvailable", "").split()[0]) * 1024)
    for limit, used in limits:
        # "max" where there is no limit
        with contextlib.suppress(OSError, ValueError):
            free.append(int(limit.read_text(encoding="utf-8")) - int(used.read_text(encoding="utf-8")))
    return max(min(free), 1.0)


def _most(cfg: Config) -> int:
    """The size that leaves an epoch :data:`LEAST_UPDATES` updates, the configuration's at least."""
    images = sum(bool(len(annotation.gt_class)) for annotation in build_dataset(cfg, "TrainDataset"))
    own = int(cfg.at(f"{READER}.{SIZE}", 1))
    return max(images // (LEAST_UPDATES * int(cfg.get("gradient_accumulation_steps", 1))), own)
