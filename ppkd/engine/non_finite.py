"""Steps whose losses or gradients are not finite: left out, named, written down, and counted until the run ends."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import paddle
from paddle import Tensor, nn

from ppkd.data.annotation import Annotation
from ppkd.engine.position import Position
from ppkd.engine.precision import Precision
from ppkd.engine.saved_batch import save_batch
from ppkd.structures import Batch
from ppkd.utils import itself, processes
from ppkd.utils.errors import TrainingError
from ppkd.utils.logger import get_logger

FOLDER = "non_finite"
STOP_AFTER = 5
KEPT = 5
"""So many batches are written in a run; a run without a limit could fill the disk with them."""
NAMED = 3
REMEDY = (
    "Resume from the last checkpoint with a smaller LearningRate.base_lr, a longer warm-up or "
    "OptimizerBuilder.clip_grad_by_norm, and look at the boxes of these images."
)

logger = get_logger(__name__)


class Guard:
    """Decides, before the update, whether a step is taken.

    A step that is not leaves parameters, optimizer, averages and the moving statistics of BatchNorm as they were. To
    know, one flag is read per update, after the backward pass, as loss scaling does. In several processes all leave
    the same steps out.

    Args:
        model: what is trained.
        precision: checks the gradients, and knows whether its own scale made them overflow.
        folder: the run's folder; batches go into its ``non_finite``.
        stop_after: so many steps in a row that are not finite end the run; 1: the first, 0: none.
        describe: names the images of a batch for people; by default by ``im_id``.
    """

    def __init__(
        self,
        model: nn.Layer,
        precision: Precision,
        *,
        folder: Path,
        stop_after: int = STOP_AFTER,
        describe: Callable[[Batch], Sequence[str]] | None = None,
    ) -> None:
        self._parameters = {name: p for name, p in model.named_parameters() if not p.stop_gradient}
        self._norms = [layer for layer in model.sublayers() if isinstance(layer, nn.layer.norm._BatchNormBase)]
        self._precision = precision
        self._stop_after = stop_after
        self._folder = folder / FOLDER
        self._describe = describe or image_ids
        self._statistics: list[tuple[Tensor, Tensor]] = []
        self._seen: list[tuple[Batch, Mapping[str, Tensor]]] = []
        self._in_a_row = 0
        self._written = 0

    def begin(self) -> None:
        """Before the first forward pass of an update: remember the statistics that it will move."""
        moving = [layer for layer in self._norms if layer.training and not layer._use_global_stats]
        tensors = [tensor for layer in moving for tensor in (layer._mean, layer._variance)]
        self._statistics = [(tensor, tensor.clone()) for tensor in tensors]
        self._seen = []

    def watch(self, batch: Batch, terms: Mapping[str, Tensor]) -> None:
        """After each forward pass: its batch and losses."""
        self._seen.append((batch, terms))

    def admits(self, at: Position) -> bool:
        """After the backward pass: whether the update ``at`` this position may be made.

        Raises :class:`TrainingError` when too many steps in a row were not finite.
        """
        losses, gradients = self._flags()
        if losses and gradients:
            self._precision.after_step()
            self._in_a_row = 0
            return True
        for tensor, before in self._statistics:
            tensor.set_value(before)
        if losses and self._precision.relax():
            return False
        self._in_a_row += 1
        self._report(at)
        return False

    def _flags(self) -> tuple[bool, bool]:
        """Whether the losses, and whether the gradients, are finite in every process."""
        terms = paddle.stack([term.astype("float32").reshape([]) for _, row in self._seen for term in row.values()])
        gradients = [p.grad for p in self._parameters.values() if p.grad is not None]
        flags = paddle.stack([paddle.isfinite(terms).all(), self._precision.finite(gradients)]).astype("int32")
        if processes.count() > 1:
            paddle.distributed.all_reduce(flags, op=paddle.distributed.ReduceOp.MIN)
        losses, finite = flags.numpy().astype(bool).tolist()
        return losses, finite

    def _report(self, at: Position) -> None:
        batch, reason = next(
            ((batch, found) for batch, terms in self._seen if (found := _broken_terms(terms))),
            (self._seen[-1][0], ""),
        )
        reason = reason or broken_gradients(self._parameters) or "a loss of another process is not finite"
        images = ", ".join(self._describe(batch))
        limit = self._stop_after
        place = f"step {at.step} (epoch {at.epoch}, batch {at.batch})"
        message = f"{place}: {reason}.{broken_images(batch)} Images: {images}.{self._write(at.step, batch)}"
        if limit and self._in_a_row >= limit:
            row = f"{limit} steps in a row were not finite" if limit > 1 else "stop_after_non_finite is 1"
            raise TrainingError(f"{message} The run ends: {row}. {REMEDY}")
        row = f"{self._in_a_row} in a row, {limit or 'no number of them'} end the run"
        logger.warning("%s The step is left out (%s).", message, row)

    def _write(self, step: int, batch: Batch) -> str:
        if self._written == KEPT:
            return ""
        self._written += 1
        rank = f"_rank{paddle.distributed.get_rank()}" if processes.count() > 1 else ""
        file = self._folder / f"step{step}{rank}.npz"
        save_batch(file, batch)
        return f" The batch is in {file}; see it with: {repeat_command(file, sys.argv)}"


def image_ids(batch: Batch) -> list[str]:
    """``im_id`` of every image of ``batch``."""
    return [str(im_id) for im_id in batch["im_id"].flatten().tolist()]


def image_namer(dataset: Iterable[Annotation], unlabelled: Iterable[Annotation] | None) -> Callable[[Batch], list[str]]:
    """Names images by ``im_id`` and file; those of the ``unlabelled`` set have numbers of their own."""
    sets = (unlabelled or (), dataset)

    def name(batch: Batch) -> list[str]:
        files = [{annotation.im_id: annotation.file for annotation in one} for one in sets]
        ids = batch["im_id"].flatten().tolist()
        labelled = batch["labelled"].tolist() if "labelled" in batch else [True] * len(ids)
        return [f"{im_id} ({files[known].get(im_id, 'unknown')})" for im_id, known in zip(ids, labelled, strict=True)]

    return name


def repeat_command(file: Path, argv: Sequence[str]) -> str:
    """The command line of this process, as a dry run on the batch of ``file``."""
    dry = ["--dry_run", "-o", f"preflight.batch={file}"]
    return itself.training_command(argv, dry, launched=False) or shlex.join(["ppkd", "train", *dry])


def broken_gradients(parameters: Mapping[str, Tensor]) -> str:
    """A phrase that names the parameters whose gradients are not finite, empty if there are none."""
    broken = [name for name, p in parameters.items() if p.grad is not None and not paddle.isfinite(p.grad).all().item()]
    return f"the gradient of {_some(broken)} is not finite, though every loss is" if broken else ""


def _broken_terms(terms: Mapping[str, Tensor]) -> str:
    values = {name: term.item() for name, term in terms.items() if not paddle.isfinite(term).all().item()}
    own = [f"{name} is {value}" for name, value in values.items() if name != "loss" or len(values) == 1]
    return ", ".join(own)


def broken_images(batch: Batch) -> str:
    """A sentence that names the images of ``batch`` whose pixels are not finite, empty if there are none."""
    fine = paddle.isfinite(batch["image"]).flatten(1).all(axis=1).tolist()
    broken = [str(im_id) for im_id, good in zip(batch["im_id"].flatten().tolist(), fine, strict=True) if not good]
    return f" Pixels of image {_some(broken)} are not finite." if broken else ""


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - NAMED} more" if len(listed) > NAMED else ""
    return ", ".join(listed[:NAMED]) + more
