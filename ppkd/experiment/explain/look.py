"""What every loss of a run does on some images, with the weights that the run began with and those it ended with."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace

import numpy as np
import paddle

from ppkd.data import Annotation, DetectionDataset
from ppkd.distill import DistillModel
from ppkd.distill.build import build_distiller
from ppkd.distill.effects import Effect, effects
from ppkd.distill.explanation import CellMap, Explanation, Lines, length
from ppkd.distill.loss import DistillLoss
from ppkd.distill.model import Given
from ppkd.distill.side import Progress
from ppkd.engine import environment
from ppkd.engine.checkpoint import load_adapters
from ppkd.engine.random_state import batches_apart, seed_everything
from ppkd.experiment.finished import FinishedRun
from ppkd.models.modes import statistics_kept
from ppkd.models.weights import load_weights
from ppkd.structures import Batch
from ppkd.utils.errors import ConfigError, nearest

CANDIDATES = 8
"""Images among which those with the most disagreement are chosen."""
BEFORE, AFTER = "before training", "after training"
GRADIENT = "gradient"
_READ_GRADIENT = (
    "The length of the unweighted gradient at each cell of what the student recorded: where the loss moves it."
)


@dataclass(frozen=True)
class View:
    """One image as the network gets it, RGB uint8 (H, W, 3), its boxes, and what each loss shows of it.

    ``maps`` hold values (h, w), ``lines`` numbers, both as arrays, by the name of the loss.
    """

    name: str
    image: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    maps: dict[str, list[CellMap]] = field(default_factory=dict)
    lines: dict[str, list[Lines]] = field(default_factory=dict)

    @property
    def disagreement(self) -> float:
        """The mean difference of the two sides over all levels, after training."""
        values = [one.values.mean() for maps in self.maps.values() for one in maps if _is_difference(one, AFTER)]
        return float(np.mean(values)) if values else 0.0

    def difference(self, loss: str, when: str) -> dict[tuple[str, int], float]:
        """The mean difference of what ``loss`` compares, by title and stride."""
        found = (one for one in self.maps.get(loss, ()) if _is_difference(one, when))
        return {(one.title.removesuffix(f", {when}"), one.stride): float(one.values.mean()) for one in found}


@dataclass(frozen=True)
class Seen:
    """What was seen: images, the most disagreement first, and the effects of each loss on the first batch."""

    views: Sequence[View]
    effects: Mapping[str, Mapping[str, Effect]]


def look(run: FinishedRun, names: Sequence[str], count: int) -> Seen:
    """Look at the images of the evaluation set that ``names`` name, or at the ``count`` with the most disagreement.

    Raises :class:`ConfigError` for a run that is no distillation, has no weights or no such image.
    """
    dataset = run.evaluation
    if run.distillation is None or dataset is None or run.weights is None:
        raise ConfigError(f"{run.folder}: only a distillation with an EvalDataset and weights can be explained")
    settings = run.experiment.runtime
    environment.choose_device(settings.use_gpu, tf32=settings.tf32)
    seed_everything(settings.seed)
    pretrain = settings.pretrain_weights if settings.pruned is None else None
    model = build_distiller(run.experiment.config, run.distillation, pretrain=pretrain)
    model.train()
    model.set_progress(settings.epoch / 2)
    chosen = _named(dataset, names) if names else _spread(dataset)
    views: list[View] = []
    found: dict[str, Mapping[str, Effect]] = {}
    batches = list(_batches(run, dataset, chosen))
    for when in (BEFORE, AFTER):
        if when == AFTER:
            load_weights(model.student, run.weights)
            load_adapters(model, run.weights)
        place = 0
        for batch, images in batches:
            seen = _explain(model, batch, when)
            found.setdefault(when, seen.effects)
            if when == BEFORE:
                views += images
            for offset in range(len(images)):
                _add(views[place + offset], seen, offset)
            place += len(images)
    if not names:
        views = sorted(views, key=lambda view: -view.disagreement)[:count]
    return Seen(views, found)


@dataclass(frozen=True)
class _Told:
    """What one batch gave, the values of its maps [N, h, w] as arrays."""

    explanations: Mapping[str, Explanation]
    effects: Mapping[str, Effect]


def _explain(model: DistillModel, batch: Batch, when: str) -> _Told:
    progress = Progress(model.progress.epoch)
    losses = {name: loss for name, loss in model.losses.items() if loss.weight_at(progress.epoch)}
    told: dict[str, Explanation] = {}
    with statistics_kept(model), paddle.enable_grad():
        seen = model.compare(batch, losses)
        effect = effects(model, seen, progress)
        for name in seen.raw:
            given = seen.given[name]
            with paddle.no_grad():
                shown = losses[name].explain(given.student, given.teacher, given.truth, progress)
            kept = [
                _at(one, when) for one in (*_gradients(losses[name], given, progress), *shown.maps) if _kept(one, when)
            ]
            told[name] = Explanation(kept, shown.lines if when == AFTER else ())
    model.clear_gradients()
    return _Told(told, _known(model, effect) if when == BEFORE else effect)


def _known(model: DistillModel, found: Mapping[str, Effect]) -> dict[str, Effect]:
    """``found`` without the gradients of losses whose weight is measured when training begins."""
    open_ones = model.balance.shares if model.balance is not None else ()
    return {name: replace(one, gradient=math.nan) if name in open_ones else one for name, one in found.items()}


def _gradients(loss: DistillLoss, given: Given, at: Progress) -> list[CellMap]:
    """The length of the gradient of ``loss`` at each cell of the grids that it reads."""
    record = given.student.record
    entries = {name: record.spec.entries[name] for name in loss.consumes if record.spec.entries[name].kind == "grid"}
    # Of copies: Paddle cannot give the gradient of one of several outputs of an operator, which levels may be.
    levels = {name: [level.detach() for level in record[name]] for name in entries}
    flat = [level for name in entries for level in levels[name]]
    for level in flat:
        level.stop_gradient = False
    value = loss(replace(given.student, record=record.replaced(levels)), given.teacher, given.truth, at)
    if not flat or value.stop_gradient:
        return []
    found = paddle.grad(value, flat, allow_unused=True)
    places = [(name, level.stride) for name, entry in entries.items() for level in entry.levels]
    return [
        CellMap(f"{GRADIENT} ({name})", stride, length(gradient.detach()), _READ_GRADIENT, GRADIENT + name)
        for (name, stride), gradient in zip(places, found, strict=True)
        if gradient is not None
    ]


def _kept(one: CellMap, when: str) -> bool:
    """What training does not change by purpose is shown once, as it is after it."""
    return when == AFTER or _compared(one)


def _at(one: CellMap, when: str) -> CellMap:
    title = f"{one.title}, {when}" if _compared(one) else one.title
    return replace(one, title=title, values=one.values.numpy())


def _compared(one: CellMap) -> bool:
    """Whether it is shown before and after training."""
    return one.disagrees or one.scale.startswith(GRADIENT)


def _is_difference(one: CellMap, when: str) -> bool:
    return one.disagrees and one.title.endswith(when)


def _add(view: View, told: _Told, index: int) -> None:
    """Give ``view`` what is told of the image at ``index``."""
    for name, shown in told.explanations.items():
        view.maps.setdefault(name, []).extend(replace(one, values=one.values[index]) for one in shown.maps)
        view.lines.setdefault(name, []).extend(
            replace(one, lines={owner: values.numpy() for owner, values in one.lines.items()})
            for one in shown.lines
            if one.image == index
        )


def _batches(
    run: FinishedRun, dataset: DetectionDataset, chosen: Sequence[Annotation]
) -> Iterator[tuple[Batch, list[View]]]:
    """The images of ``chosen`` as EvalReader reads them, and a view of each with nothing in it."""
    part = copy(dataset)
    part.annotations = list(chosen)
    files = {one.im_id: one.file.name for one in chosen}
    for batch in batches_apart(run.experiment.evaluation_loader(part, worker_num=0)):
        images = batch["image"].numpy()
        ids = batch["im_id"].numpy().ravel().tolist()
        yield (
            batch,
            [
                View(
                    files[im_id],
                    run.experiment.eval_reader.plain(images[index]),
                    batch["gt_bbox"][index].numpy().reshape(-1, 4),
                    batch["gt_class"][index].numpy().ravel(),
                )
                for index, im_id in enumerate(ids)
            ],
        )


def _spread(dataset: DetectionDataset) -> list[Annotation]:
    """Images with boxes, from all over the set."""
    full = [one for one in dataset if len(one.gt_class)]
    places = np.linspace(0, len(full) - 1, min(CANDIDATES, len(full))).astype(int).tolist()
    return [full[place] for place in places]


def _named(dataset: DetectionDataset, names: Sequence[str]) -> list[Annotation]:
    """The images of these file names, or paths; raises :class:`ConfigError` for one that is not there."""
    by_name = {key: one for one in dataset for key in (one.file.name, str(one.file))}
    for name in names:
        if name not in by_name:
            raise ConfigError(f"--images {name}: no such image in EvalDataset{nearest(name, by_name)}")
    return [by_name[name] for name in names]
