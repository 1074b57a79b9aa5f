"""What the dense heads have in common: their last convolutions and the checks of their settings."""

from __future__ import annotations

import math
from collections.abc import Sequence

from paddle import ParamAttr, nn
from paddle.nn.initializer import Constant, Normal

from ppkd.models.heads.fcos_feat import FCOSFeat
from ppkd.structures import LevelSpec
from ppkd.utils.errors import ConfigError


def output_conv(channels: int, numbers: int, bias: float = 0.0) -> nn.Conv2D:
    """A 3x3 convolution from a tower's ``channels`` to raw ``numbers``, all of which start near ``bias``."""
    return nn.Conv2D(
        channels,
        numbers,
        kernel_size=3,
        padding=1,
        weight_attr=ParamAttr(initializer=Normal(0.0, 0.01)),
        bias_attr=ParamAttr(initializer=Constant(bias)),
    )


def prior_logit(probability: float) -> float:
    """The logit of the ``probability`` that a class has before training (Lin et al., arXiv:1708.02002, section 4.1)."""
    return -math.log((1 - probability) / probability)


def check_levels(
    head: str, in_specs: Sequence[LevelSpec], conv_feat: FCOSFeat, strides: Sequence[float], setting: str
) -> None:
    """Raise :class:`ConfigError` unless the neck has ``strides``, a ``setting`` of ``head``, and suits the tower."""
    found = [spec.stride for spec in in_specs]
    if list(strides) != found:
        raise ConfigError(
            f"{head}.{setting} is {list(strides)}, but the neck's levels have strides {found}: make them equal."
        )
    channels = sorted({spec.channels for spec in in_specs})
    if channels != [conv_feat.feat_in]:
        raise ConfigError(
            f"{head}.conv_feat.feat_in is {conv_feat.feat_in}, but the neck's levels have {channels} channels: "
            "make them equal."
        )
