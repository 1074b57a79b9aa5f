"""The head of generalised focal loss, versions 1 and 2 (Li et al., arXiv:2006.04388 and arXiv:2011.12885)."""

from __future__ import annotations

from collections.abc import Sequence

import paddle
from paddle import Tensor
from paddle.nn import functional as F

from ppkd.config import register
from ppkd.models.assigners.atss_assigner import ATSSAssigner
from ppkd.models.assigners.cell_targets import CellTargets, cell_targets
from ppkd.models.heads.cell_grid import CellGrid
from ppkd.models.heads.dgqp import DGQP
from ppkd.models.heads.fcos_feat import FCOSFeat
from ppkd.models.heads.integral import Integral
from ppkd.models.heads.tower_head import TowerHead, check_levels, output_conv, prior_logit
from ppkd.models.layers.scale import ScaleReg
from ppkd.models.losses.distribution_focal_loss import DistributionFocalLoss
from ppkd.models.losses.giou_loss import GIoULoss
from ppkd.models.losses.normaliser import over_batch
from ppkd.models.losses.quality_focal_loss import QualityFocalLoss
from ppkd.models.losses.side_losses import SideLosses
from ppkd.models.postprocess.dense_decode import DensePostProcess, join_levels
from ppkd.models.postprocess.suppression import Suppression
from ppkd.structures import Basis, Entry, LevelSpec, Record, scores
from ppkd.structures.boxes import paired_overlap
from ppkd.structures.truth import Truth
from ppkd.utils.errors import ConfigError

# The authors' margin, which PaddleDetection's GFL and PicoDet share; its PP-YOLOE has another.
LAST_BIN_MARGIN = 0.1
EPS = 1e-6


@register(
    shared=("num_classes",),
    inject=("conv_feat", "dgqp_module", "bbox_assigner", "loss_qfl", "loss_class", "loss_dfl", "loss_bbox", "nms"),
    aliases=("LDGFLHead",),
    without_effect=("loss_ld", "loss_ld_vlr", "loss_kd"),
)
class GFLHead(TowerHead):
    """Per cell C class logits and, for each of the four sides, a distribution over 0..``reg_max`` strides.

    ``dgqp_module`` makes it version 2, whose scores are multiplied by a predicted quality; its class convolution has
    one output more, as in published weights, that nothing reads. ``prior_prob`` is every class's probability at the
    start, ``nms_pre`` how many cells of a level are decoded. ``cell_offset`` moves the cells' points by so many
    strides; ``grid_cell_scale`` strides is the side of a cell's anchor, which only the assigner sees. ``loss_qfl`` may
    be called ``loss_class``; ``feat_in_chan`` repeats ``conv_feat.feat_out``. ``LDGFLHead`` is PaddleDetection's name
    for a student of LD, whose distillation losses are in the slim file here.
    """

    def __init__(
        self,
        *,
        in_specs: Sequence[LevelSpec],
        conv_feat: FCOSFeat,
        loss_dfl: DistributionFocalLoss,
        loss_bbox: GIoULoss,
        nms: Suppression,
        loss_qfl: QualityFocalLoss | None = None,
        loss_class: QualityFocalLoss | None = None,
        dgqp_module: DGQP | None = None,
        bbox_assigner: ATSSAssigner | None = None,
        num_classes: int = 80,
        fpn_stride: Sequence[int] = (8, 16, 32, 64, 128),
        prior_prob: float = 0.01,
        reg_max: int = 16,
        feat_in_chan: int | None = None,
        nms_pre: int = 1000,
        cell_offset: float = 0.0,
        grid_cell_scale: float = 8.0,
    ):
        check_levels("GFLHead", in_specs, conv_feat, fpn_stride, "fpn_stride")
        super().__init__(in_specs=in_specs, num_classes=num_classes, conv_feat=conv_feat)
        self.cells = CellGrid(tuple(spec.stride for spec in self.in_specs), cell_offset, grid_cell_scale)
        self.dgqp_module = dgqp_module
        self.bbox_assigner = bbox_assigner or ATSSAssigner()
        self.loss_qfl = _class_loss(loss_qfl, loss_class, dgqp_module)
        channels = _tower_channels(conv_feat, feat_in_chan)
        self.gfl_head_cls = output_conv(channels, num_classes + (dgqp_module is not None), prior_logit(prior_prob))
        self.gfl_head_reg = output_conv(channels, 4 * (reg_max + 1))
        self.scales = [f"p{stride.bit_length() - 1}_feat" for stride in fpn_stride]
        for name in self.scales:
            self.add_sublayer(name, ScaleReg())
        self.distribution_project = Integral(reg_max=reg_max)
        self.side_losses = SideLosses(loss_bbox, loss_dfl, LAST_BIN_MARGIN)
        self._post_process = DensePostProcess(
            nms=nms,
            nms_pre=nms_pre,
            decode=self.distribution_project.decode,
            activation=F.sigmoid if dgqp_module is None else paddle.assign,
        )

    def entries(self) -> dict[str, Entry]:
        """What :meth:`numbers` gives."""
        basis, sides = Basis(offset=self.cells.offset), self.levels(self.distribution_project.channels)
        numbers = {
            "cls_logits": Entry("class", "grid", self.levels(self.num_classes), activation="sigmoid"),
            "box_dist": Entry("box", "grid", sides, coding="distribution", basis=basis),
        }
        if self.dgqp_module is not None:
            numbers["quality"] = Entry("quality", "grid", self.levels(1))
        return {**numbers, **self.tower_entries()}

    @property
    def post_process(self) -> DensePostProcess:
        """Decodes the best cells of each level."""
        return self._post_process

    def outputs(self, level: int, classes: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Raw maps [N, C, H, W], in version 2 [N, C + 1, H, W], and of sides [N, 4 * (reg_max + 1), H, W]."""
        return self.gfl_head_cls(classes), getattr(self, self.scales[level])(self.gfl_head_reg(boxes))

    def complete(self, cls_features: list[Tensor], box_features: list[Tensor]) -> dict[str, list[Tensor]]:
        """The raw maps behind the towers' features, in version 2 with the quality of the boxes."""
        classes, sides = self.end(cls_features, box_features)
        numbers = {
            "cls_logits": [raw[:, : self.num_classes].unsqueeze(1) for raw in classes],
            "box_dist": [raw.unsqueeze(1) for raw in sides],
        }
        if self.dgqp_module is not None:
            numbers["quality"] = [self.dgqp_module(raw).unsqueeze(1) for raw in sides]
        return numbers

    def boxes(self, record: Record) -> list[Tensor]:
        """Corner boxes float32 [N, H * W, 4] of all cells, in pixels of the input, level by level."""
        return self.distribution_project.boxes(record.box_dist, self.cells.points(record.box_dist))

    @paddle.no_grad()
    def assign(self, record: Record, truth: Truth) -> CellTargets:
        """Class and box for every cell of ``record``; any image may be without boxes."""
        points = self.cells.points(record.cls_logits)
        anchors = self.cells.anchors(paddle.concat(points))
        matches = self.bbox_assigner(anchors, [level.shape[0] for level in points], truth)
        return cell_targets(points, anchors, truth, matches, self.num_classes)

    def loss(self, record: Record, targets: CellTargets) -> dict[str, Tensor]:
        """Scalars ``loss_qfl``, ``loss_bbox`` and ``loss_dfl``.

        The first is divided by the positive cells of the batch, counting one at least for each image; the others are
        means over positive cells that the cells' best scores weight, whose sum counts as one at least, as in
        PaddleDetection; the authors' own code adds 1e-6 to it.
        """
        ranked = join_levels(scores(record))
        classes = ranked if self.dgqp_module else join_levels(record.cls_logits)
        weight = ranked.detach().astype("float32").max(axis=-1) * targets.positive
        terms = self.side_losses(self.distribution_project, join_levels(record.box_dist), weight, targets)
        shared, union = paired_overlap(terms.predicted.detach(), terms.wanted)
        quality = targets.positive * shared / union.clip(min=EPS)
        # PaddleDetection's reader counts at least one positive cell for each image, one without boxes too.
        positives = over_batch(targets.positive.sum(axis=1).clip(min=1).sum())
        total = over_batch(weight.sum()).clip(min=1)
        return {
            "loss_qfl": self.loss_qfl(classes, targets.labels, quality) / positives,
            "loss_bbox": terms.box / total,
            "loss_dfl": terms.distribution / total,
        }

    def detect(self, record: Record, scale_factor: Tensor) -> dict[str, Tensor]:
        """Detections in pixels of the original images, as ``predict`` of a detector returns them."""
        classes = scores(record) if self.dgqp_module else record.cls_logits
        return self.post_process(classes, record.box_dist, self.cells.points(record.cls_logits), scale_factor)


def _class_loss(
    loss_qfl: QualityFocalLoss | None, loss_class: QualityFocalLoss | None, dgqp_module: DGQP | None
) -> QualityFocalLoss:
    loss = loss_class if loss_qfl is None else loss_qfl
    if loss is None or None not in (loss_qfl, loss_class):
        raise ConfigError("GFLHead needs either loss_qfl or loss_class: a QualityFocalLoss")
    if loss.use_sigmoid == (dgqp_module is not None):
        raise ConfigError(
            f"GFLHead.loss_qfl.use_sigmoid is {loss.use_sigmoid}: expected false with a dgqp_module, whose scores are "
            "probabilities, and true without one."
        )
    return loss


def _tower_channels(conv_feat: FCOSFeat, repeated: int | None) -> int:
    if repeated not in (None, conv_feat.feat_out):
        raise ConfigError(
            f"GFLHead.feat_in_chan is {repeated}, but conv_feat.feat_out is {conv_feat.feat_out}: make them equal, "
            "or leave feat_in_chan away."
        )
    return conv_feat.feat_out
