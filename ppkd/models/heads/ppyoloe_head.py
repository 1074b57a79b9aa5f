"""PP-YOLOE's efficient task-aligned head (Xu et al., arXiv:2203.16250)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import paddle
from paddle import ParamAttr, Tensor, nn
from paddle.nn import functional as F
from paddle.nn.initializer import Assign, Constant, Normal

from ppkd.config import register
from ppkd.models.assigners.atss_assigner import ATSSAssigner
from ppkd.models.assigners.task_aligned_assigner import TaskAlignedAssigner
from ppkd.models.heads.integral import SideDistributions
from ppkd.models.heads.task_aligned_head import TaskAlignedHead
from ppkd.models.heads.tower_head import prior_logit
from ppkd.models.layers.activation import Activation
from ppkd.models.layers.conv_norm_act import ConvBNAct
from ppkd.models.losses.distribution_focal_loss import DistributionFocalLoss
from ppkd.models.losses.giou_loss import GIoULoss
from ppkd.models.losses.side_losses import SideLosses
from ppkd.models.losses.task_aligned_losses import TaskAlignedLosses
from ppkd.models.losses.varifocal_loss import VarifocalLoss
from ppkd.models.postprocess.suppression import Suppression
from ppkd.structures import LevelSpec
from ppkd.utils.errors import ConfigError

LAST_BIN_MARGIN = 0.01


class ESEAttn(nn.Layer):
    """A level's channels weighted by what one layer makes of their means, and a 1x1 convolution."""

    def __init__(self, channels: int, act: Activation):
        super().__init__()
        self.fc = nn.Conv2D(channels, channels, 1, weight_attr=ParamAttr(initializer=Normal(0.0, 0.001)))
        self.conv = ConvBNAct(channels, channels, 1, act=act)

    def forward(self, feature: Tensor, mean: Tensor) -> Tensor:
        """``feature`` [N, channels, H, W], ``mean`` [N, channels, 1, 1] over its cells."""
        return self.conv(feature * F.sigmoid(self.fc(mean)))


class Projection(SideDistributions):
    """Holds the distances in a ``weight`` [1, reg_max + 1, 1, 1] that never trains, as published weights do."""

    def __init__(self, *, reg_max: int):
        super().__init__(reg_max=reg_max)
        bins = paddle.linspace(0, reg_max, reg_max + 1).reshape([1, -1, 1, 1])
        self.weight = self.create_parameter(bins.shape, attr=ParamAttr(initializer=Assign(bins), trainable=False))

    @property
    def bins(self) -> Tensor:
        """The weight."""
        return self.weight


@dataclass(frozen=True)
class LossWeights:
    """Factors of the three terms, PaddleDetection's keys."""

    cls: float = 1.0
    iou: float = 2.5
    dfl: float = 0.5


@register(shared=("num_classes",), inject=("static_assigner", "assigner", "nms"))
class PPYOLOEHead(TaskAlignedHead):
    """A task-aligned head whose levels have layers of their own, numbered from the coarsest, as ``fpn_strides`` is.

    ``grid_cell_offset`` is the ``cell_offset`` of :class:`TaskAlignedHead`, which explains the other settings;
    ``loss_weight`` has the factors ``class``, ``iou`` and ``dfl``.
    """

    def __init__(
        self,
        *,
        in_specs: Sequence[LevelSpec],
        nms: Suppression,
        static_assigner: ATSSAssigner | None = None,
        assigner: TaskAlignedAssigner | None = None,
        num_classes: int = 80,
        act: Activation = "swish",
        fpn_strides: Sequence[int] = (32, 16, 8),
        grid_cell_scale: float = 5.0,
        grid_cell_offset: float = 0.5,
        reg_max: int = 16,
        static_assigner_epoch: int = 4,
        use_varifocal_loss: Literal[True] = True,
        loss_weight: dict[str, float] | None = None,
    ):
        _check_strides(in_specs, fpn_strides)
        super().__init__(
            in_specs=in_specs,
            num_classes=num_classes,
            cell_offset=grid_cell_offset,
            grid_cell_scale=grid_cell_scale,
            static_assigner=static_assigner,
            static_assigner_epoch=static_assigner_epoch,
            assigner=assigner,
            losses=_losses(loss_weight),
            nms=nms,
        )
        widths = [spec.channels for spec in reversed(in_specs)]
        self.stem_cls = nn.LayerList([ESEAttn(width, act) for width in widths])
        self.stem_reg = nn.LayerList([ESEAttn(width, act) for width in widths])
        # PaddleDetection starts from weights of zero: all distributions are flat, whatever their bias.
        self.pred_cls = nn.LayerList([_output(width, num_classes, prior_logit(0.01)) for width in widths])
        self.pred_reg = nn.LayerList([_output(width, 4 * (reg_max + 1), 1.0) for width in widths])
        self.proj_conv = Projection(reg_max=reg_max)

    @property
    def sides(self) -> Projection:
        """The layer that holds the distances."""
        return self.proj_conv

    @property
    def inner_channels(self) -> list[int]:
        """The neck's: nothing lies before the attention, the first and last layer of each branch but the output."""
        return [spec.channels for spec in self.in_specs]

    def begin(self, level: int, feature: Tensor) -> Tensor:
        """The neck's map."""
        return feature

    def end(self, level: int, classes: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Raw maps of classes and sides."""
        i = len(self.in_specs) - 1 - level
        mean = F.adaptive_avg_pool2d(classes, 1)
        other = mean if boxes is classes else F.adaptive_avg_pool2d(boxes, 1)
        logits = self.pred_cls[i](self.stem_cls[i](classes, mean) + classes)
        return logits, self.pred_reg[i](self.stem_reg[i](boxes, other))


def _output(channels: int, numbers: int, bias: float) -> nn.Conv2D:
    return nn.Conv2D(
        channels,
        numbers,
        3,
        padding=1,
        weight_attr=ParamAttr(initializer=Constant(0.0)),
        bias_attr=ParamAttr(initializer=Constant(bias)),
    )


def _check_strides(in_specs: Sequence[LevelSpec], strides: Sequence[int]) -> None:
    found = [spec.stride for spec in reversed(in_specs)]
    if list(strides) != found:
        raise ConfigError(
            f"PPYOLOEHead.fpn_strides is {list(strides)}, but the neck's levels have strides {found}: make them equal."
        )


def _losses(weights: dict[str, float] | None) -> TaskAlignedLosses:
    given = _loss_weights(weights)
    sides = SideLosses(GIoULoss(loss_weight=given.iou), DistributionFocalLoss(loss_weight=given.dfl), LAST_BIN_MARGIN)
    return TaskAlignedLosses(VarifocalLoss(loss_weight=given.cls), sides, ("loss_cls", "loss_iou", "loss_dfl"))


def _loss_weights(given: dict[str, float] | None) -> LossWeights:
    given = dict(given or {})
    if unknown := sorted(given.keys() - {"class", "iou", "dfl"}):
        raise ConfigError(f"PPYOLOEHead.loss_weight has no {unknown}: it weighs class, iou and dfl")
    if "class" in given:
        given["cls"] = given.pop("class")
    return LossWeights(**given)
