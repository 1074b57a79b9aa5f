"""What formulas on two maps share: adapters, normalised features, errors by cell."""

from __future__ import annotations

import math
from typing import Literal

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from ppkd.utils.errors import SpecError


def align_conv(student_channels: int, teacher_channels: int, *, bias: bool = True) -> nn.Conv2D | None:
    """A 1x1 convolution to the teacher's channels; ``None`` where the student has as many."""
    return None if student_channels == teacher_channels else _unit_conv(student_channels, teacher_channels, bias=bias)


def _unit_conv(student_channels: int, teacher_channels: int, *, bias: bool = True) -> nn.Conv2D:
    kaiming = nn.initializer.KaimingNormal(fan_in=student_channels)
    return nn.Conv2D(student_channels, teacher_channels, 1, weight_attr=kaiming, bias_attr=None if bias else False)


def projector(student_channels: int, teacher_channels: int, kind: Literal["needed", "always", "mlp"]) -> nn.Layer:
    """What brings a map [N, C, H, W] to the teacher's channels; ``needed`` changes nothing where they are equal.

    One 1x1 convolution, or with ``mlp`` two and a ReLU between, the first to the teacher's channels already.
    """
    if kind == "needed" and student_channels == teacher_channels:
        return nn.Identity()
    layers: list[nn.Layer] = [_unit_conv(student_channels, teacher_channels)]
    if kind == "mlp":
        layers += [nn.ReLU(), _unit_conv(teacher_channels, teacher_channels)]
    return nn.Sequential(*layers)


def imitation_conv(student_channels: int, teacher_channels: int) -> nn.Conv2D:
    """A 3x3 convolution to the teacher's channels that starts near zero."""
    start = nn.initializer.TruncatedNormal(std=1e-4)
    return nn.Conv2D(
        student_channels,
        teacher_channels,
        3,
        padding=1,
        weight_attr=start,
        bias_attr=paddle.ParamAttr(initializer=nn.initializer.Constant(0.0)),
    )


def default_conv(student_channels: int, teacher_channels: int, kernel: int) -> nn.Conv2D:
    """A convolution that keeps a map's size and starts as those of the published codes, see :func:`default_start`."""
    return nn.Conv2D(
        student_channels,
        teacher_channels,
        kernel,
        padding=kernel // 2,
        **default_start(student_channels * kernel * kernel),
    )


def default_start(inputs: int) -> dict[str, nn.initializer.Initializer]:
    """How PyTorch starts a layer's weights and bias: uniform up to 1 / sqrt(``inputs`` of an output).

    Published codes leave their adapters like that; Paddle's own start has sqrt(6) times the deviation.
    """
    bound = 1.0 / math.sqrt(inputs)
    return {f"{name}_attr": nn.initializer.Uniform(-bound, bound) for name in ("weight", "bias")}


def require_equal_channels(what: str, student_channels: int, teacher_channels: int, mend: str) -> None:
    """Raise :class:`SpecError` unless the maps have equally many channels; ``what`` wants that, ``mend`` helps."""
    if student_channels != teacher_channels:
        raise SpecError(
            f"{what}, but the maps have {student_channels} (student) and {teacher_channels} (teacher) channels: {mend}"
        )


def feature_norm(feature: Tensor) -> Tensor:
    """Every channel of [N, C, H, W] with zero mean and unit (sample) deviation over images and cells.

    A channel that is constant becomes zero. Statistics are those of the images given, so that losses of a batch in
    parts, processes' or accumulated ones, are not quite those of the whole. One fused batch normalisation, whose
    variance is that of the population: its scale makes up for that.
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


def squared_error(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared differences of maps [N, C, H, W] summed over channels, [N, H, W]; the teacher gets no gradient."""
    gap = student - teacher.detach()
    return (gap * gap).sum(axis=1)
