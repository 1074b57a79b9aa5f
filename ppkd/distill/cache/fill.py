"""Recording a teacher's answers: once, by all processes together, from where an earlier attempt ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import paddle
from paddle import Tensor

from ppkd.data import Loader
from ppkd.data.sampling import BatchPlan, Draw
from ppkd.distill.cache.chunks import Chunks
from ppkd.distill.cache.key import check_key, key_of, write_key
from ppkd.distill.cache.size import announce
from ppkd.distill.cache.teacher import CachedTeacher
from ppkd.structures import Batch, Record
from ppkd.utils import processes
from ppkd.utils.errors import ConfigError, TrainingError
from ppkd.utils.progress import progress

WIDTHS = {"float32": 4, "float16": 2, "bfloat16": 2}
INTERVAL = 30.0
"""Seconds between two lines on the progress where there is no terminal."""

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Answers:
    """What is recorded of images, for a loader: arrays by their key in the batch; ``chunks`` by the teacher's name."""

    chunks: Mapping[str, Chunks]

    def __call__(self, view: int, indices: Sequence[int]) -> Arrays:
        """The answers of all teachers to the images at ``indices``; raises :class:`DataError` for damaged files."""
        return {
            f"{name}.{key}": array
            for name, chunks in self.chunks.items()
            for key, array in chunks.read(view, indices).items()
        }


def record_answers(
    teachers: Mapping[str, CachedTeacher], loader: Loader, reader: Mapping[str, Any], *, dry: bool = False
) -> None:
    """Record what is missing of the answers of ``teachers`` to ``loader``'s images, and let them answer from that.

    ``reader`` is the plain block of the loader's reader. All processes call this and record a share each. ``dry``: only
    say how much that is; the teachers go on computing.

    Raises:
        ConfigError: it needs more than the limit or the disk has, the folder holds answers to something else, or the
            images are not of one size.
        DataError: a recorded file is damaged.
        TrainingError: an answer is not finite as the numbers that are kept.
    """
    chunks = {name: _prepare(teacher, loader, reader, dry) for name, teacher in teachers.items()}
    if dry:
        return
    for name, teacher in teachers.items():
        _fill(teacher, loader, chunks[name])
        processes.wait_for_all()
        if missing := _missing(chunks[name]):
            folder = teacher.settings.folder
            raise TrainingError(
                f"{chunks[name].path(*missing[0])} was not recorded: is {folder} one folder on all machines?"
            )
        teacher.use()
    loader.lend(Answers(chunks))


def _prepare(teacher: CachedTeacher, loader: Loader, reader: Mapping[str, Any], dry: bool) -> Chunks:
    """The files of ``teacher`` in a folder that is for them; none of them is made yet."""
    settings = teacher.settings
    record = teacher.ask(next(loader.read([_plan(0, [0])])))
    shapes = {key: tuple(tensor.shape[1:]) for key, tensor in _tensors(record).items()}
    chunks = Chunks.of(settings.folder, len(loader.dataset), settings.views, shapes, WIDTHS[settings.dtype])
    key = key_of(teacher.fingerprint(), teacher.recorded, settings.dtype, loader.dataset, reader)
    check_key(settings.folder, key)
    announce(teacher, chunks, record, len(_missing(chunks)))
    # Nobody may find a folder that another process has just begun.
    processes.wait_for_all()
    if not dry and processes.is_first():
        write_key(settings.folder, key)
    return chunks


def _missing(chunks: Chunks) -> list[tuple[int, int]]:
    return [one for one in chunks if not chunks.is_there(*one)]


def _fill(teacher: CachedTeacher, loader: Loader, chunks: Chunks) -> None:
    """Record what is missing of this process's share."""
    share = list(chunks)[processes.rank() :: processes.count()]
    mine = [one for one in share if not chunks.is_there(*one)]
    if not mine:
        return
    size = loader.batch_size
    indices = [(view, chunks.indices(number)) for view, number in mine]
    plans = [_plan(view, rows[at : at + size]) for view, rows in indices for at in range(0, len(rows), size)]
    images = sum(len(rows) for _, rows in indices)
    with progress(f"Recording the {teacher.name}'s answers", images, interval=INTERVAL) as bar:
        answers = _answers(teacher, loader.read(plans), chunks)
        for (view, number), (_, rows) in zip(mine, indices, strict=True):
            parts = [next(answers) for _ in range(0, len(rows), size)]
            chunks.write(view, number, {key: np.concatenate([part[key] for part in parts]) for key in chunks.shapes})
            bar.advance(len(rows))


def _answers(teacher: CachedTeacher, batches: Iterator[Batch], chunks: Chunks) -> Iterator[Arrays]:
    """The arrays of every batch as they are kept."""
    for batch in batches:
        tensors = _tensors(teacher.ask(batch).map(lambda level: level.astype(teacher.settings.dtype)))
        for key, tensor in tensors.items():
            _check(teacher, key, tensor, chunks.shapes[key], batch)
        yield {key: tensor.numpy() for key, tensor in tensors.items()}


def _check(teacher: CachedTeacher, key: str, tensor: Tensor, shape: tuple[int, ...], batch: Batch) -> None:
    """Raise :class:`PPKDError` for answers of another ``shape``, and for such as these numbers cannot hold."""
    if tuple(tensor.shape[1:]) != shape:
        raise ConfigError(
            f"a teacher's cache needs images of one size, but {key} is {list(tensor.shape[1:])} of some and "
            f"{list(shape)} of others: write Resize with keep_ratio: false, or Pad: {{size: [H, W]}}"
        )
    if not paddle.isfinite(tensor.astype("float32")).all().item():
        images = ", ".join(map(str, batch["im_id"].flatten().tolist()))
        raise TrainingError(
            f"the {teacher.name}'s {key} is not finite as {teacher.settings.dtype} for one of the images with the ids "
            f"{images}: write cache.dtype: bfloat16, or look at the teacher's weights"
        )


def _tensors(record: Record) -> dict[str, Tensor]:
    return {f"{name}.{i}": level for name, levels in record.tensors.items() for i, level in enumerate(levels)}


def _plan(view: int, indices: Sequence[int]) -> BatchPlan:
    return BatchPlan(view, 0, tuple(Draw(index, index) for index in indices))
