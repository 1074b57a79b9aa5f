"""Mask R-CNN (He et al., arXiv:1703.06870) on a feature pyramid."""

from __future__ import annotations

from dataclasses import replace

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from ppkd.config import register
from ppkd.models.assigners.mask_assigner import MaskTargets
from ppkd.models.assigners.two_stage_targets import TwoStageTargets
from ppkd.models.casting import float32, full_precision
from ppkd.models.detectors.faster_rcnn import FasterRCNN
from ppkd.models.heads.bbox_head import BBoxHead
from ppkd.models.heads.mask_head import MaskHead
from ppkd.models.heads.rpn_head import RPNHead
from ppkd.models.layers.select import take_rows
from ppkd.models.postprocess.bbox_post_process import BBoxPostProcess
from ppkd.models.postprocess.mask_post_process import MaskPostProcess
from ppkd.structures import Abilities, Batch, Record
from ppkd.structures.truth import Truth

LOGITS = "mask_logits"
"""Where a record has, beside its entries, what training says of the masks of proposals on objects."""


@register(inject=("backbone", "neck", "rpn_head", "bbox_head", "mask_head", "bbox_post_process", "mask_post_process"))
class MaskRCNN(FasterRCNN):
    """Faster R-CNN whose detections have masks: in training those of proposals on objects, else those of what is found.

    Loss terms are those of :class:`FasterRCNN` and, in training mode, ``loss_mask``.
    """

    reads_masks = True

    def __init__(
        self,
        *,
        backbone: nn.Layer,
        neck: nn.Layer | None = None,
        rpn_head: RPNHead,
        bbox_head: BBoxHead,
        mask_head: MaskHead,
        bbox_post_process: BBoxPostProcess,
        mask_post_process: MaskPostProcess,
    ):
        super().__init__(
            backbone=backbone, neck=neck, rpn_head=rpn_head, bbox_head=bbox_head, bbox_post_process=bbox_post_process
        )
        self.mask_head = mask_head
        self.mask_post_process = mask_post_process

    def abilities(self) -> Abilities:
        """Those of :class:`FasterRCNN`, and ``masks``."""
        return {**FasterRCNN.abilities(self), "masks": self.masks}

    def part(self, name: str) -> nn.Layer:
        """The sublayer that plays the role ``backbone``, ``neck`` or ``head``: both stages and masks."""
        if name == "head":
            return nn.LayerDict({"rpn_head": self.rpn_head, "bbox_head": self.bbox_head, "mask_head": self.mask_head})
        return FasterRCNN.part(self, name)

    def masks(self, record: Record, boxes: Tensor, labels: Tensor) -> Tensor:
        """Logits [N, F, side, side] of the masks of ``boxes`` [N, F, 4], of the classes ``labels`` int64 [N, F]."""
        return self.mask_head.of_rows(record["neck"], boxes, labels)

    def extract(self, batch: Batch, like: Record | None = None) -> Record:
        """As :meth:`FasterRCNN.extract`, with the logits of masks beside it in training."""
        record = self.stages(batch, like)
        if not self.training or "gt_bbox" not in batch:
            return record
        with paddle.no_grad(), full_precision():
            labels, _ = self.bbox_head.bbox_assigner(record.proposals, record.real, Truth.of(batch))
            index = self.mask_head.mask_assigner.rows(labels)
            chosen = paddle.take_along_axis(labels, index, axis=1, broadcast=False)
            boxes = take_rows(record.proposals, index)
        return replace(record, beside={LOGITS: [self.masks(record, boxes, chosen)]})

    @paddle.no_grad()
    def match(self, record: Record, truth: Truth) -> TwoStageTargets:
        """As :meth:`FasterRCNN.match`, with the masks of proposals on objects in training."""
        targets = FasterRCNN.match(self, record, truth)
        return replace(targets, masks=self._masks(record, targets, truth)) if LOGITS in record.beside else targets

    def _masks(self, record: Record, targets: TwoStageTargets, truth: Truth) -> MaskTargets:
        assigner, labels = self.mask_head.mask_assigner, targets.roi_labels
        index = assigner.rows(labels, record.beside[LOGITS][0].shape[1])
        return assigner(record.proposals, labels, targets.roi_matched, index, truth)

    def loss(self, record: Record, targets: TwoStageTargets) -> dict[str, Tensor]:
        """Scalars ``loss_rpn_cls``, ``loss_rpn_reg``, ``loss_bbox_cls``, ``loss_bbox_reg`` and ``loss_mask``."""
        terms = FasterRCNN.loss(self, record, targets)
        if targets.masks is not None:
            terms |= self.mask_head.loss(record.beside[LOGITS][0], targets.masks)
        return terms

    def predict(self, batch: Batch) -> dict[str, Tensor]:
        """As :meth:`FasterRCNN.predict`, and ``mask`` uint8 [K, H, W], 1 inside of each detection's object.

        H and W are the height and width of the batch's largest original image.
        """
        record = self.extract(batch)
        raw, places = (record.roi_logits, record.roi_deltas), (record.proposals, record.real)
        found = self.bbox_post_process(raw, places, batch["im_shape"], batch["scale_factor"])
        rows, counts = found["bbox"], found["bbox_num"]
        inputs = rows[:, 2:] * _scales(batch["scale_factor"], counts, rows)
        logits = self.mask_head(record["neck"], inputs, counts, rows[:, 0])
        origin = paddle.floor(batch["im_shape"] / batch["scale_factor"] + 0.5)
        return {**found, "mask": self.mask_post_process(F.sigmoid(float32(logits)), rows[:, 2:], origin)}


def _scales(scale_factor: Tensor, counts: Tensor, rows: Tensor) -> Tensor:
    """The factors of the corners of detections ``rows`` [K, 6], of which the images have ``counts`` [N]: [K, 4]."""
    place = paddle.arange(paddle.shape(rows)[0], dtype="int64")
    image = paddle.searchsorted(counts.astype("int64").cumsum(), place, right=True)
    return paddle.gather(paddle.concat([scale_factor.flip(axis=1)] * 2, axis=1), image)
