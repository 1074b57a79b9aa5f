"""What losses that compare maps level by level share: pairing, adapters, normalised features."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from ppkd.distill.loss import Context, DistillLoss, LevelPair, require_maps
from ppkd.distill.schedule import WeightSchedule
from ppkd.structures import DetectorSpec, Record
from ppkd.utils.errors import SpecError

MakeFormula = Callable[[int, int], nn.Layer]


class LevelWise(DistillLoss):
    """The sum of one formula's values over the paired levels; every pair has a formula, with parameters, of its own.

    A level of a head entry, [N, A, C, H, W], is compared as one map of A * C channels.

    Args:
        student: what the student records.
        teacher: what the teacher records.
        formula: makes a formula from the student's and the teacher's number of channels; called with the two maps
            and the batch, it returns a scalar. Of several, the first is for the finest of the compared levels and the
            last for all that remain.
        consumes: entries of both records to compare.
        strides: compare levels of these strides only; by default all that both detectors have.
        weight: factor on the loss in the total.
        schedule: how the weight changes with the epoch.

    Raises:
        SpecError: an entry is not recorded, or per proposal, or no level pairs.
    """

    def __init__(
        self,
        student: DetectorSpec,
        teacher: DetectorSpec,
        *,
        formula: MakeFormula | Sequence[MakeFormula],
        consumes: Sequence[str] = ("neck",),
        strides: Sequence[int] | None = None,
        weight: float = 1.0,
        schedule: WeightSchedule | None = None,
    ) -> None:
        require_maps(type(self).__name__, consumes, student, teacher)
        super().__init__(student, teacher, consumes=consumes, weight=weight, schedule=schedule)
        if strides is not None:
            self._keep(strides, student, teacher)
        makers = formula if isinstance(formula, Sequence) else [formula]
        self.formulas = nn.LayerList(
            [
                makers[min(rank, len(makers) - 1)](
                    _channels(student, name, pair.student),
                    _channels(teacher, name, pair.teacher),
                )
                for name in self.consumes
                for rank, pair in _ranked(self.pairs[name])
            ]
        )

    def forward(self, student: Record, teacher: Record, context: Context) -> Tensor:
        """The unweighted loss, a scalar."""
        maps = [
            (_as_map(getattr(student, name)[pair.student]), _as_map(getattr(teacher, name)[pair.teacher]))
            for name in self.consumes
            for pair in self.pairs[name]
        ]
        return paddle.add_n(
            [formula(ours, theirs, context.batch) for formula, (ours, theirs) in zip(self.formulas, maps, strict=True)]
        )

    def _keep(self, strides: Sequence[int], student: DetectorSpec, teacher: DetectorSpec) -> None:
        for name, pairs in self.pairs.items():
            common = [pair.stride for pair in pairs]
            if missing := sorted(set(strides) - set(common)):
                raise SpecError(
                    f"{type(self).__name__}: strides asks for {missing}, but the levels of {name} that "
                    f"{student.name} and {teacher.name} have in common are at {common}"
                )
            self.pairs[name] = tuple(pair for pair in pairs if pair.stride in strides)


def align_conv(student_channels: int, teacher_channels: int, *, bias: bool = True) -> nn.Conv2D | None:
    """A 1x1 convolution to the teacher's channels; ``None`` where the student has as many."""
    if student_channels == teacher_channels:
        return None
    kaiming = nn.initializer.KaimingNormal(fan_in=student_channels)
    return nn.Conv2D(student_channels, teacher_channels, 1, weight_attr=kaiming, bias_attr=None if bias else False)


def feature_norm(feature: Tensor) -> Tensor:
    """Every channel of [N, C, H, W] with zero mean and unit (sample) deviation over images and cells.

    A channel that is constant becomes zero. One fused batch normalisation, whose variance is that of the population:
    its scale makes up for that.
    """
    images, channels, height, width = feature.shape
    cells = images * height * width
    return F.batch_norm(
        feature,
        paddle.zeros([channels]),
        paddle.ones([channels]),
        weight=paddle.full([channels], math.sqrt((cells - 1) / cells)),
        bias=paddle.zeros([channels]),
        training=True,
        epsilon=1e-12,
    )


def _ranked(pairs: Sequence[LevelPair]) -> list[tuple[int, LevelPair]]:
    """Every pair behind its rank, 0 for the finest."""
    strides = sorted(pair.stride for pair in pairs)
    return [(strides.index(pair.stride), pair) for pair in pairs]


def _channels(spec: DetectorSpec, name: str, position: int) -> int:
    level = spec.entries[name][position]
    return level.channels * level.anchors


def _as_map(level: Tensor) -> Tensor:
    return level if level.ndim == 4 else level.flatten(1, 2)
