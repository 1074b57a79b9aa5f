"""The second stage: classes and boxes of proposals (Girshick, "Fast R-CNN", arXiv:1504.08083)."""

from __future__ import annotations

from collections.abc import Sequence

import paddle
from paddle import ParamAttr, Tensor, nn
from paddle.nn import functional as F
from paddle.nn.initializer import Normal

from ppkd.config import register
from ppkd.models.assigners.bbox_assigner import BBoxAssigner
from ppkd.models.assigners.two_stage_targets import TwoStageTargets
from ppkd.models.casting import full_precision
from ppkd.models.heads.roi_align import RoIAlign
from ppkd.models.heads.roi_head import RoIHead
from ppkd.models.losses.normaliser import over_batch
from ppkd.models.losses.smooth_l1_loss import SmoothL1Loss
from ppkd.structures import Basis, Batch, Entry, LevelSpec, Record
from ppkd.structures.boxes import encode_deltas
from ppkd.structures.truth import Truth
from ppkd.utils.errors import ConfigError

UNIT = (0.0, 0.0, 1.0, 1.0)
"""Stands for boxes that are not counted, since those without area have no offsets."""


@register(shared=("num_classes",), inject=("roi_extractor", "head", "bbox_assigner"))
class BBoxHead(nn.Layer):
    """C + 1 class logits, the background last, and four box offsets for each class, of every proposal.

    ``roi_extractor`` pools, ``head`` computes what both outputs stand on; ``with_pool`` takes the mean of its maps, and
    is true for a head that gives maps and for no other. ``bbox_weight`` multiplies the offsets.
    """

    def __init__(
        self,
        *,
        in_specs: Sequence[LevelSpec],
        roi_extractor: RoIAlign,
        head: RoIHead,
        bbox_assigner: BBoxAssigner,
        with_pool: bool = False,
        num_classes: int = 80,
        bbox_weight: Sequence[float] = (10.0, 10.0, 5.0, 5.0),
    ):
        super().__init__()
        if head.resolution not in (None, roi_extractor.resolution):
            raise ConfigError(
                f"BBoxHead.roi_extractor.resolution is {roi_extractor.resolution}, but its head's resolution is "
                f"{head.resolution}: make them equal."
            )
        if head.gives_maps != with_pool:
            given = "maps" if head.gives_maps else "no maps"
            raise ConfigError(
                f"BBoxHead.with_pool is {str(with_pool).lower()}, but {type(head).__name__} gives {given}: write "
                f"with_pool: {str(head.gives_maps).lower()}, or choose another head."
            )
        self.num_classes = num_classes
        self.bbox_weight = tuple(bbox_weight)
        self.pooled_channels = in_specs[0].channels
        self.roi_extractor = roi_extractor
        self.bbox_assigner = bbox_assigner
        self.box_loss = SmoothL1Loss(beta=0.0)
        self.head = head
        self.with_pool = with_pool
        self.bbox_score = _linear(head.out_channel, num_classes + 1, 0.01)
        self.bbox_delta = _linear(head.out_channel, 4 * num_classes, 0.001)

    def entries(self) -> dict[str, Entry]:
        """What is recorded of each proposal."""
        basis = Basis(weights=self.bbox_weight)
        return {
            "proposals": Entry.rows("box", 4, coding="corners"),
            "roi_features": Entry.rows("feature", self.pooled_channels),
            "roi_logits": Entry.rows("class", self.num_classes + 1, activation="softmax"),
            "roi_deltas": Entry.rows("box", 4 * self.num_classes, coding="deltas", basis=basis),
        }

    def forward(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [N, R, C + 1] and offsets [N, R, 4 * C] of what was pooled, [N, R, channels, side, side]."""
        feature = self.head(pooled)
        if self.with_pool:
            feature = feature.mean(axis=[-2, -1])
        return self.bbox_score(feature), self.bbox_delta(feature)

    @paddle.no_grad()
    def choose(self, proposals: Tensor, number: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """The proposals that train, [N, K, 4], and their number int64 [N], among ``number`` [N] of [N, R, 4].

        The best ones of images without annotation, and of a batch without.
        """
        count = self.bbox_assigner.batch_size_per_im
        if "gt_bbox" not in batch:
            return proposals[:, :count], number.clip(max=count)
        valid = paddle.arange(proposals.shape[1]) < number.unsqueeze(1)
        with full_precision():
            return self.bbox_assigner.choose(proposals, valid, Truth.of(batch), batch.get("labelled"))

    def loss(self, record: Record, targets: TwoStageTargets) -> dict[str, Tensor]:
        """Scalars ``loss_bbox_cls`` and ``loss_bbox_reg``, sums divided by the number of proposals that count.

        Proposals of images without any box train as background; PaddleDetection leaves them out if the whole batch has
        none.
        """
        labels = targets.roi_labels
        counted = (labels >= 0).astype("float32")
        total = over_batch(counted.sum(), least=1)
        chances = F.log_softmax(record.roi_logits, axis=-1)
        own = paddle.take_along_axis(chances, labels.clip(min=0).unsqueeze(-1), axis=-1, broadcast=False).squeeze(-1)
        return {"loss_bbox_cls": -(own * counted).sum() / total, "loss_bbox_reg": self._boxes(record, targets) / total}

    def _boxes(self, record: Record, targets: TwoStageTargets) -> Tensor:
        labels = targets.roi_labels
        positive = (labels >= 0) & (labels < self.num_classes)
        by_class = record.roi_deltas.unflatten(-1, [self.num_classes, 4])
        index = labels.clip(min=0, max=self.num_classes - 1).unsqueeze(-1).unsqueeze(-1).expand([-1, -1, 1, 4])
        found = paddle.take_along_axis(by_class, index, axis=2, broadcast=False).squeeze(2)
        unit, real = paddle.to_tensor(UNIT, dtype="float32"), positive.unsqueeze(-1)
        wanted = encode_deltas(
            paddle.where(real, record.proposals, unit),
            paddle.where(real, targets.roi_matched_gt_boxes, unit),
            self.bbox_weight,
        )
        return self.box_loss(found, wanted, positive.astype("float32"))


def _linear(channels: int, numbers: int, deviation: float) -> nn.Linear:
    return nn.Linear(channels, numbers, weight_attr=ParamAttr(initializer=Normal(0.0, deviation)))
