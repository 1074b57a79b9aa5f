"""Feature pyramid (Lin et al., "Feature Pyramid Networks for Object Detection", arXiv:1612.03144)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from paddle import ParamAttr, Tensor, nn
from paddle.nn import functional as F
from paddle.nn.initializer import XavierUniform

from ppkd.config import register
from ppkd.models.layers.conv_norm import ConvNormLayer
from ppkd.models.layers.norm import NormType
from ppkd.models.layers.upsample import upsample2x
from ppkd.structures import LevelSpec
from ppkd.utils.errors import ConfigError


@register
class FPN(nn.Layer):
    """From the backbone's maps, finest first, to maps of ``out_channel`` channels, finest first.

    ``extra_stage`` coarser levels are added, each of twice the stride: with ``has_extra_convs`` by 3x3 convolutions
    from the backbone's last map (``use_c5``) or the pyramid's, with a ReLU before all but the first of them
    (``relu_before_extra_convs``); else one level that takes every second pixel. ``norm_type`` null gives the
    convolutions a bias instead of a normalisation. ``in_specs`` are the backbone's levels, whose strides must double;
    they also tell what ``spatial_scales`` repeats.
    """

    def __init__(
        self,
        *,
        in_specs: Sequence[LevelSpec],
        out_channel: int,
        spatial_scales: Sequence[float] = (),
        has_extra_convs: bool = False,
        extra_stage: int = 1,
        use_c5: bool = True,
        norm_type: NormType | None = None,
        norm_decay: float = 0.0,
        freeze_norm: bool = False,
        relu_before_extra_convs: bool = True,
    ):
        super().__init__()
        _check(in_specs, has_extra_convs, extra_stage)
        self.out_channel = out_channel
        self.has_extra_convs = has_extra_convs
        self.extra_stage = extra_stage
        self.use_c5 = use_c5
        self.norm = (norm_type, norm_decay, freeze_norm)
        self.relu_before_extra_convs = relu_before_extra_convs
        names = [f"res{6 - len(in_specs) + i}" for i in range(len(in_specs))]
        self.laterals = [f"fpn_inner_{name}_sum" + ("" if name == "res5" else "_lateral") for name in names]
        self.outputs = [f"fpn_{name}_sum" for name in names]
        self.extras = [f"fpn_{6 + i}" for i in range(extra_stage if has_extra_convs else 0)]
        for spec, lateral, output in zip(in_specs, self.laterals, self.outputs, strict=True):
            self.add_sublayer(lateral, self._conv(spec.channels, 1))
            self.add_sublayer(output, self._conv(out_channel, 3))
        for i, name in enumerate(self.extras):
            from_backbone = i == 0 and use_c5
            self.add_sublayer(name, self._conv(in_specs[-1].channels if from_backbone else out_channel, 3, stride=2))
        strides = [spec.stride for spec in in_specs]
        strides += [strides[-1] << (i + 1) for i in range(extra_stage)]
        self.out_specs = tuple(LevelSpec(out_channel, stride) for stride in strides)

    def _conv(self, in_channels: int, kernel: int, stride: int = 1) -> nn.Layer:
        fan_out = in_channels if kernel == 1 else self.out_channel * kernel * kernel
        init = XavierUniform(fan_out=fan_out)
        norm_type, norm_decay, freeze_norm = self.norm
        if norm_type is None:
            attr = ParamAttr(initializer=init)
            return nn.Conv2D(in_channels, self.out_channel, kernel, stride, kernel // 2, weight_attr=attr)
        return ConvNormLayer(
            in_channels,
            self.out_channel,
            kernel,
            stride=stride,
            norm_type=norm_type,
            norm_decay=norm_decay,
            freeze_norm=freeze_norm,
            weight_init=init,
        )

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """The maps of ``out_specs`` of the backbone's."""
        inner = [getattr(self, name)(features[i]) for i, name in enumerate(self.laterals)]
        for i in range(len(inner) - 1, 0, -1):
            inner[i - 1] = inner[i - 1] + upsample2x(inner[i])
        pyramid = [getattr(self, name)(inner[i]) for i, name in enumerate(self.outputs)]
        return pyramid + self._coarser(features[-1], pyramid[-1])

    def _coarser(self, c5: Tensor, p5: Tensor) -> list[Tensor]:
        if not self.has_extra_convs:
            return [F.max_pool2d(p5, 1, stride=2)] if self.extra_stage else []
        levels: list[Tensor] = []
        x = c5 if self.use_c5 else p5
        for i, name in enumerate(self.extras):
            x = getattr(self, name)(F.relu(x) if i > 0 and self.relu_before_extra_convs else x)
            levels.append(x)
        return levels


def _check(in_specs: Sequence[LevelSpec], has_extra_convs: bool, extra_stage: int) -> None:
    strides = [spec.stride for spec in in_specs]
    if any(coarse != 2 * fine for fine, coarse in pairwise(strides)):
        raise ConfigError(
            f"FPN needs levels whose strides double, the backbone returns {strides}: change its return_idx."
        )
    if extra_stage < 0 or (extra_stage > 1 and not has_extra_convs):
        raise ConfigError(
            f"FPN.extra_stage is {extra_stage}: expected 0 or 1, or more together with has_extra_convs: true."
        )
