"""What the heads with towers have in common: their ends, their last convolutions and the checks of their settings."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence

from paddle import ParamAttr, Tensor, nn
from paddle.nn.initializer import Constant, Normal

from ppkd.models.heads.fcos_feat import FCOSFeat
from ppkd.models.heads.one_stage_head import CompletingHead
from ppkd.structures import Entry, LevelSpec
from ppkd.utils.errors import ConfigError


class TowerHead(CompletingHead):
    """A head that ends two towers ``conv_feat``, which serve all levels, in raw class maps and raw box maps."""

    def __init__(self, *, in_specs: Sequence[LevelSpec], num_classes: int, conv_feat: FCOSFeat, num_anchors: int = 1):
        super().__init__(in_specs=in_specs, num_classes=num_classes, num_anchors=num_anchors)
        self.conv_feat = conv_feat

    @abstractmethod
    def outputs(self, level: int, classes: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Raw class and box maps [N, numbers, H, W] of the towers' features on the ``level`` of that position."""

    def forward(self, features: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Raw class maps and box maps of the neck's ``features``, level by level."""
        return self.end(*self.begin(features))

    def numbers(self, features: Sequence[Tensor]) -> dict[str, list[Tensor]]:
        """The raw numbers of the neck's ``features``, split by anchor, and the towers' features behind them."""
        cls_features, box_features = self.begin(features)
        numbers = self.complete(cls_features, box_features)
        return {**numbers, "cls_features": cls_features, "box_features": box_features}

    def begin(self, features: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """What the last convolution of the class tower and of the box tower gets, [N, 1, C, H, W] per level.

        The activation before that convolution is not yet applied. A head can go on from another's features.
        """
        inside = [self.conv_feat.lower(level) for level in features]
        return [classes.unsqueeze(1) for classes, _ in inside], [boxes.unsqueeze(1) for _, boxes in inside]

    def end(self, cls_features: list[Tensor], box_features: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Raw class maps and box maps from what :meth:`begin` returns."""
        classes, boxes = [], []
        for i, feature in enumerate(cls_features):
            ends = self.conv_feat.upper(feature.squeeze(1), box_features[i].squeeze(1))
            raw = self.outputs(i, *ends)
            classes.append(raw[0])
            boxes.append(raw[1])
        return classes, boxes

    def tower_entries(self) -> dict[str, Entry]:
        """The towers' features."""
        return self.feature_entries([self.conv_feat.inner_channels] * len(self.in_specs))


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
