"""Masks of boxes (He et al., "Mask R-CNN", arXiv:1703.06870)."""

from __future__ import annotations

from collections.abc import Sequence

import paddle
from paddle import ParamAttr, Tensor, nn
from paddle.nn.initializer import KaimingNormal

from ppkd.config import register
from ppkd.models.assigners.mask_assigner import MaskAssigner, MaskTargets
from ppkd.models.heads.mask_feat import MaskFeat
from ppkd.models.heads.roi_align import RoIAlign
from ppkd.models.losses.binary_cross_entropy import binary_cross_entropy
from ppkd.models.losses.normaliser import over_batch
from ppkd.structures import LevelSpec
from ppkd.utils.errors import ConfigError


@register(shared=("num_classes",), inject=("head", "roi_extractor", "mask_assigner"))
class MaskHead(nn.Layer):
    """A mask of each class for every box, of which the one of the box's class counts.

    ``roi_extractor`` pools, ``head`` computes and doubles the sides; ``mask_assigner`` makes targets of that size.
    """

    def __init__(
        self,
        *,
        in_specs: Sequence[LevelSpec],
        head: MaskFeat,
        roi_extractor: RoIAlign,
        mask_assigner: MaskAssigner,
        num_classes: int = 80,
        share_bbox_feat: bool = False,
    ):
        super().__init__()
        if share_bbox_feat or len(in_specs) == 1:
            raise ConfigError(
                "MaskHead reads a feature pyramid and shares no features with BBoxHead; write share_bbox_feat: false "
                "and neck: FPN, or choose FasterRCNN, which works without a pyramid."
            )
        side = 2 * roi_extractor.resolution
        if mask_assigner.mask_resolution != side:
            raise ConfigError(
                f"MaskAssigner.mask_resolution is {mask_assigner.mask_resolution}, but MaskHead doubles its "
                f"roi_extractor.resolution {roi_extractor.resolution}: write mask_resolution: {side}."
            )
        self.num_classes = num_classes
        self.roi_extractor = roi_extractor
        self.mask_assigner = mask_assigner
        self.head = head
        start = ParamAttr(initializer=KaimingNormal(fan_in=num_classes))
        self.mask_fcn_logits = nn.Conv2D(head.out_channel, num_classes, 1, weight_attr=start)

    def forward(self, features: Sequence[Tensor], boxes: Tensor, counts: Tensor, labels: Tensor) -> Tensor:
        """Logits [K, side, side] of the masks of ``boxes`` [K, 4], corners in pixels, of classes ``labels`` [K].

        The boxes are image after image, of which each has some, ``counts`` int32 [N]; ``features`` are the neck's.
        """
        logits = self.mask_fcn_logits(self.head(self.roi_extractor.rows(features, boxes, counts)))
        chosen = labels.astype("int64").clip(min=0, max=self.num_classes - 1).reshape([-1, 1, 1, 1])
        shape = [-1, 1, self.mask_assigner.mask_resolution, self.mask_assigner.mask_resolution]
        return paddle.take_along_axis(logits, chosen.expand(shape), axis=1, broadcast=False).squeeze(1)

    def of_rows(self, features: Sequence[Tensor], boxes: Tensor, labels: Tensor) -> Tensor:
        """As :meth:`forward` of as many boxes in every image: logits [N, F, side, side] of ``boxes`` [N, F, 4]."""
        counts = paddle.full([boxes.shape[0]], boxes.shape[1], dtype="int32")
        logits = self(features, boxes.flatten(0, 1), counts, labels.flatten())
        return logits.reshape([*boxes.shape[:2], *logits.shape[1:]])

    def loss(self, logits: Tensor, targets: MaskTargets) -> dict[str, Tensor]:
        """``loss_mask``, the mean over all pixels of the masks that count.

        PaddleDetection adds a mask without loss for each image that has none, and divides by these too.
        """
        counted = targets.counted
        each = binary_cross_entropy(logits, targets.masks).mean(axis=[2, 3])
        return {"loss_mask": (each * counted).sum() / over_batch(counted.sum(), least=1)}
