"""PicoDet's head, second version (Yu et al., arXiv:2111.00902; PaddleDetection's PP-PicoDet)."""

from __future__ import annotations

from collections.abc import Sequence

import paddle
from paddle import ParamAttr, Tensor, nn
from paddle.nn import functional as F
from paddle.nn.initializer import Constant, Normal

from ppkd.config import register
from ppkd.models.assigners.atss_assigner import ATSSAssigner
from ppkd.models.assigners.task_aligned_assigner import TaskAlignedAssigner
from ppkd.models.casting import full_precision
from ppkd.models.heads.integral import Integral
from ppkd.models.heads.pico_feat import PicoFeat
from ppkd.models.heads.task_aligned_head import TaskAlignedHead
from ppkd.models.heads.tower_head import prior_logit
from ppkd.models.layers.depthwise import DPModule
from ppkd.models.layers.norm import freeze
from ppkd.models.layers.scale import ScaleReg
from ppkd.models.losses.distribution_focal_loss import DistributionFocalLoss
from ppkd.models.losses.giou_loss import GIoULoss
from ppkd.models.losses.side_losses import SideLosses
from ppkd.models.losses.task_aligned_losses import TaskAlignedLosses
from ppkd.models.losses.varifocal_loss import VarifocalLoss
from ppkd.models.postprocess.suppression import Suppression
from ppkd.structures import LevelSpec
from ppkd.utils.errors import ConfigError

LEAST_SQUARE = 1e-9
"""What is added to a score's square, so that its root has a slope everywhere."""
LARGEST_SCORE = 1 - 1e-6
LAST_BIN_MARGIN = 0.1


@register(
    shared=("num_classes",),
    inject=("conv_feat", "static_assigner", "assigner", "loss_class", "loss_dfl", "loss_bbox", "nms"),
)
class PicoHeadV2(TaskAlignedHead):
    """A task-aligned head whose levels have layers of their own.

    With ``use_align_head`` a score is the root of the class's probability times that of one map for all classes, and
    the logits recorded are those of the scores, so that a record holds what ranks the detections.
    ``prior_prob`` is every class's probability at the start; ``feat_in_chan`` repeats ``conv_feat.feat_out``. Published
    weights have a factor for each level (``p3_feat`` and so on) that nothing reads.
    """

    def __init__(
        self,
        *,
        in_specs: Sequence[LevelSpec],
        conv_feat: PicoFeat,
        loss_class: VarifocalLoss,
        loss_dfl: DistributionFocalLoss,
        loss_bbox: GIoULoss,
        nms: Suppression,
        static_assigner: ATSSAssigner | None = None,
        assigner: TaskAlignedAssigner | None = None,
        num_classes: int = 80,
        fpn_stride: Sequence[int] = (8, 16, 32),
        prior_prob: float = 0.01,
        use_align_head: bool = True,
        static_assigner_epoch: int = 60,
        reg_max: int = 16,
        feat_in_chan: int = 96,
        cell_offset: float = 0.0,
        grid_cell_scale: float = 5.0,
    ):
        _check_levels(in_specs, conv_feat, fpn_stride, feat_in_chan)
        sides = SideLosses(loss_bbox, loss_dfl, LAST_BIN_MARGIN)
        super().__init__(
            in_specs=in_specs,
            num_classes=num_classes,
            cell_offset=cell_offset,
            grid_cell_scale=grid_cell_scale,
            static_assigner=static_assigner,
            static_assigner_epoch=static_assigner_epoch,
            assigner=assigner,
            losses=TaskAlignedLosses(loss_class, sides, ("loss_vfl", "loss_bbox", "loss_dfl")),
            nms=nms,
        )
        self.conv_feat = conv_feat
        self.distribution_project = Integral(reg_max=reg_max)
        levels = range(len(fpn_stride))
        prior = prior_logit(prior_prob)
        self.head_cls_list = nn.LayerList([_output(feat_in_chan, num_classes, prior) for _ in levels])
        self.head_reg_list = nn.LayerList([_output(feat_in_chan, 4 * (reg_max + 1), 0.0) for _ in levels])
        align = [DPModule(feat_in_chan, 1, 5, act_out=False) for _ in levels] if use_align_head else []
        self.cls_align = nn.LayerList(align)
        self._add_second_names(fpn_stride)

    def _add_second_names(self, strides: Sequence[int]) -> None:
        """Published weights hold each output convolution under two names, and factors without a use."""
        for i, stride in enumerate(strides):
            self.add_sublayer(f"head_cls{i}", self.head_cls_list[i])
            self.add_sublayer(f"head_reg{i}", self.head_reg_list[i])
            unread = self.add_sublayer(f"p{stride.bit_length() - 1}_feat", ScaleReg())
            freeze(unread)

    @property
    def sides(self) -> Integral:
        """The layer that holds the distances."""
        return self.distribution_project

    @property
    def inner_channels(self) -> list[int]:
        """Those of the tower, which classes and boxes share."""
        return [self.conv_feat.feat_out] * len(self.in_specs)

    def begin(self, level: int, feature: Tensor) -> Tensor:
        """What the tower's last two convolutions get, before the activation."""
        return self.conv_feat.lower(feature, level)

    def end(self, level: int, classes: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Raw maps of classes and sides; the tower is gone through once where both have the same features."""
        tower, weighted = self.conv_feat.upper(classes, level)
        logits = self.head_cls_list[level](weighted)
        if self.cls_align:
            logits = joint_logits(logits, self.cls_align[level](tower))
        other = weighted if boxes is classes else self.conv_feat.upper(boxes, level)[1]
        return logits, self.head_reg_list[level](other)


def joint_logits(first: Tensor, second: Tensor) -> Tensor:
    """The logits, float32, of the root of the product of the probabilities that two maps of logits stand for."""
    with full_precision():
        product = F.sigmoid(first.astype("float32")) * F.sigmoid(second.astype("float32"))
        score = (product + LEAST_SQUARE).sqrt().clip(max=LARGEST_SCORE)
        return paddle.log(score / (1 - score))


def _output(channels: int, numbers: int, bias: float) -> nn.Conv2D:
    return nn.Conv2D(
        channels,
        numbers,
        1,
        weight_attr=ParamAttr(initializer=Normal(0.0, 0.01)),
        bias_attr=ParamAttr(initializer=Constant(bias)),
    )


def _check_levels(
    in_specs: Sequence[LevelSpec], conv_feat: PicoFeat, strides: Sequence[int], feat_in_chan: int
) -> None:
    """Raise :class:`ConfigError` unless the neck has ``strides`` and all agree on channels and number of levels."""
    found = [spec.stride for spec in in_specs]
    if list(strides) != found or conv_feat.levels != len(found):
        raise ConfigError(
            f"PicoHeadV2.fpn_stride is {list(strides)} and conv_feat.num_fpn_stride {conv_feat.levels}, but the neck's "
            f"levels have strides {found}: make them equal."
        )
    channels = {*(spec.channels for spec in in_specs), conv_feat.feat_in, conv_feat.feat_out, feat_in_chan}
    if len(channels) > 1:
        raise ConfigError(
            f"PicoHeadV2: the neck's levels have {in_specs[0].channels} channels, conv_feat.feat_in is "
            f"{conv_feat.feat_in}, conv_feat.feat_out {conv_feat.feat_out} and feat_in_chan {feat_in_chan}: "
            "make them equal."
        )
