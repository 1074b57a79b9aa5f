"""Wires a formula on two maps into a loss on all paired levels of two detectors."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Protocol, get_type_hints

import paddle
from paddle import Tensor, nn

from ppkd.distill.explanation import CellMap, Explaining, Explanation
from ppkd.distill.level_loss import LevelLoss
from ppkd.distill.loss import Wiring
from ppkd.distill.pairing import LevelPair
from ppkd.distill.side import Progress, Side
from ppkd.distill.wiring import FeatureSettings, as_map
from ppkd.structures import DetectorSpec
from ppkd.structures.truth import Truth
from ppkd.utils.errors import ConfigError, SpecError

_READ_CELLS = "The cells that the loss compares, chosen by the boxes of objects; dark ones do not count."
GIVEN = ("self", "student_channels", "teacher_channels", "loss_weight", "weight")
"""Parameters of a formula that are no settings of the loss: the specs give the channels, the wiring has a weight."""


class Cells(Protocol):
    """Chooses cells by the boxes; a dataclass whose fields are settings of the loss."""

    def masks(self, truth: Truth, levels: Sequence[tuple[int, int, int]]) -> list[Tensor]:
        """1 in the chosen cells, else 0: float32 [N, H, W] for each of ``levels``, stride, height and width."""


@dataclass(frozen=True)
class Recipe:
    """What :func:`level_wise` was told."""

    formula: type[nn.Layer]
    defaults: Mapping[str, Any]
    renamed: Mapping[str, str]
    by_level: Mapping[str, Sequence[int]]
    cells: type | None

    def settings(self) -> tuple[inspect.Parameter, ...]:
        """The settings of the loss: those of the cells and of the formula."""
        cells = () if self.cells is None else tuple(self._of_cells(self.cells))
        return (*cells, *self._of_formula())

    def _of_cells(self, cells: type) -> Iterator[inspect.Parameter]:
        hints = get_type_hints(cells)
        for one in fields(cells):
            yield _setting(one.name, one.default, hints[one.name])

    def _of_formula(self) -> Iterator[inspect.Parameter]:
        hints, names = get_type_hints(self.formula.__init__), {own: name for name, own in self.renamed.items()}
        for own, parameter in inspect.signature(self.formula.__init__).parameters.items():
            if own in self.by_level:
                yield _setting(own, tuple(self.by_level[own]), Sequence[int])
            elif own in names or own not in GIVEN:
                yield _setting(names.get(own, own), self.defaults.get(own, parameter.default), hints[own])


def level_wise(
    formula: type[nn.Layer],
    *,
    notes: str,
    paper: str,
    weight: float = 1.0,
    needs_truth: bool = False,
    defaults: Mapping[str, Any] | None = None,
    renamed: Mapping[str, str] | None = None,
    by_level: Mapping[str, Sequence[int]] | None = None,
    cells: type[Cells] | None = None,
    mean: bool = False,
) -> type[LevelWise]:
    """The loss ``X`` of a formula ``XFeatureLoss``: the formula on every paired level, its settings those of the loss.

    Args:
        formula: a layer made with ``student_channels``, ``teacher_channels`` and its own settings; called with the two
            maps [N, C, H, W], it returns a scalar.
        notes: what the loss's docstring says besides.
        paper: the arXiv number of the paper, or its id at OpenReview.
        weight: the default weight.
        needs_truth: the formula takes the ground truth as its third argument.
        defaults: of settings that differ from the formula's.
        renamed: the formula's names of settings that the loss calls otherwise.
        by_level: settings with a number for each of the compared levels, finest first, and their defaults; coarser
            levels are as the last.
        cells: the formula takes the mask [N, H, W] of cells as its third argument, and this chooses them.
        mean: take the mean over the levels instead of the sum.
    """
    recipe = Recipe(formula, defaults or {}, renamed or {}, by_level or {}, cells)
    name = formula.__name__.removesuffix("FeatureLoss")
    made = {
        "__doc__": f":class:`{formula.__name__}` on every paired level of two necks.\n\n{notes}",
        "__module__": formula.__module__,
        "__signature__": _signature(recipe, weight),
        "recipe": recipe,
        "mean": mean,
        "paper": paper,
        "default_weight": weight,
        "needs_truth": needs_truth or cells is not None,
    }
    return type(name, (LevelWise,), made)


class LevelWise(LevelLoss):
    """The sum of a formula's values over the paired levels; every pair has a formula, with parameters, of its own.

    A level of a head's entry, [N, A, K, H, W], is compared as one map of A * K channels. :func:`level_wise` makes the
    subclasses.

    Args:
        student: what the student records.
        teacher: what the teacher records.
        consumes: entries of both records to compare, grids.
        strides: compare levels of these strides only; by default all that both detectors have.
        settings: those of the wiring, the formula and the cells.

    Raises:
        SpecError: an entry is not recorded, or as rows, or no level pairs.
        ConfigError: not as many numbers of one setting by level as of another.
    """

    recipe: ClassVar[Recipe]

    def __init__(
        self,
        student: DetectorSpec,
        teacher: DetectorSpec,
        *,
        consumes: Sequence[str] = ("neck",),
        strides: Sequence[int] | None = None,
        **settings: Any,
    ) -> None:
        wiring = {name: settings.pop(name) for name in Wiring.__annotations__ if name in settings}
        super().__init__(student, teacher, consumes=consumes, kind="grid", strides=strides, **wiring)
        self.cells = self._make_cells(settings)
        try:
            made = [
                self._formula(channels, rank, settings)
                for name in self.pairs
                for rank, channels in enumerate(self.channels[name])
            ]
        except SpecError as error:
            raise SpecError(f"{student.name} from {teacher.name}: {error}") from error
        self.formulas = nn.LayerList(made)

    @property
    def level_strides(self) -> list[int]:
        """The strides of all pairs, entry by entry."""
        return [pair.stride for pairs in self.pairs.values() for pair in pairs]

    def values(self, student: Side, teacher: Side, truth: Truth, at: Progress) -> list[Tensor]:
        """The formula's value for each pair."""
        return [formula(*given) for formula, given in self._given(student, teacher, truth)]

    def explain(self, student: Side, teacher: Side, truth: Truth, at: Progress) -> Explanation:
        """How far the maps are apart, the chosen cells, and what the formula shows."""
        shown = super().explain(student, teacher, truth, at)
        own, other = self.wiring(student, teacher)
        given = self._given(own, other, truth)
        for stride, (formula, arguments) in zip(self.level_strides, given, strict=True):
            if self.cells is not None:
                shown += Explanation([CellMap("chosen cells", stride, arguments[-1], _READ_CELLS)])
            if isinstance(formula, Explaining):
                shown += formula.explain(stride, *arguments)
        return shown

    def _given(self, student: Side, teacher: Side, truth: Truth) -> list[tuple[nn.Layer, tuple[Any, ...]]]:
        """The formula of each pair and what it is called with."""
        pairs = [(name, pair) for name, pairs in self.pairs.items() for pair in pairs]
        maps = [
            (as_map(student.record[name][pair.student]), as_map(teacher.record[name][pair.teacher]))
            for name, pair in pairs
        ]
        further = self._further(truth, [pair for _, pair in pairs], maps)
        return [(one, (*both, *others)) for one, both, others in zip(self.formulas, maps, further, strict=True)]

    def _further(
        self, truth: Truth, pairs: Sequence[LevelPair], maps: Sequence[tuple[Tensor, Tensor]]
    ) -> list[tuple[Any, ...]]:
        """What each formula gets besides the two maps."""
        if self.cells is None:
            return [(truth,) if self.needs_truth else ()] * len(maps)
        sizes = [(pair.stride, *own.shape[2:]) for pair, (own, _) in zip(pairs, maps, strict=True)]
        with paddle.no_grad():
            return [(mask,) for mask in self.cells.masks(truth, sizes)]

    def _make_cells(self, settings: dict[str, Any]) -> Any:
        """The chooser of cells with its part of ``settings``, which is taken out of them."""
        if self.recipe.cells is None:
            return None
        names = [one.name for one in fields(self.recipe.cells)]
        return self.recipe.cells(**{name: settings.pop(name) for name in names if name in settings})

    def _formula(self, channels: tuple[int, int], rank: int, settings: Mapping[str, Any]) -> nn.Layer:
        """The formula of the level at ``rank`` for maps of the student's and the teacher's ``channels``."""
        chosen = {**self.recipe.defaults, **_renamed(settings, self.recipe.renamed)}
        lists = {name: chosen.get(name, default) for name, default in self.recipe.by_level.items()}
        if not all(lists.values()) or len({len(numbers) for numbers in lists.values()}) > 1:
            texts = " and ".join(f"{name} {list(numbers)}" for name, numbers in lists.items())
            raise ConfigError(f"{type(self).__name__} has {texts}: give as many of one as of the other, at least one")
        numbers = {name: values[min(rank, len(values) - 1)] for name, values in lists.items()}
        return self.recipe.formula(*channels, **{**chosen, **numbers})


def _signature(recipe: Recipe, weight: float) -> inspect.Signature:
    common = list(inspect.signature(LevelWise.__init__, eval_str=True).parameters.values())[1:-1]
    defaults = {"weight": weight, **vars(FeatureSettings())}
    wiring = [_setting(name, defaults.get(name), kind) for name, kind in get_type_hints(Wiring).items()]
    return inspect.Signature([*common, *recipe.settings(), *wiring])


def _setting(name: str, default: Any, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _renamed(settings: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names.get(name, name): value for name, value in settings.items()}
