"""Faster R-CNN (Ren et al., arXiv:1506.01497), on a feature pyramid (Lin et al., arXiv:1612.03144) or without."""

from __future__ import annotations

import paddle
from paddle import Tensor, nn

from ppkd.config import register
from ppkd.models.assigners.two_stage_targets import TwoStageTargets
from ppkd.models.detectors.detector import PyramidDetector
from ppkd.models.heads.bbox_head import BBoxHead
from ppkd.models.heads.rpn_head import RPNHead
from ppkd.models.layers.select import take_rows
from ppkd.models.postprocess.bbox_post_process import BBoxPostProcess
from ppkd.structures import Abilities, Batch, DetectorSpec, Entry, Record
from ppkd.structures.truth import Truth


@register(inject=("backbone", "neck", "rpn_head", "bbox_head", "bbox_post_process"))
class FasterRCNN(PyramidDetector):
    """A first stage proposes boxes, a second classifies and refines them.

    In training mode the second stage sees a sample of the proposals and the boxes of the ground truth, in evaluation
    mode the best proposals. Without a ``neck`` both stages read the backbone's one map ("C4"). Loss terms are
    ``loss_rpn_cls``, ``loss_rpn_reg``, ``loss_bbox_cls`` and ``loss_bbox_reg``.
    """

    def __init__(
        self,
        *,
        backbone: nn.Layer,
        neck: nn.Layer | None = None,
        rpn_head: RPNHead,
        bbox_head: BBoxHead,
        bbox_post_process: BBoxPostProcess,
    ):
        super().__init__(backbone=backbone, neck=neck)
        self.rpn_head = rpn_head
        self.bbox_head = bbox_head
        self.bbox_post_process = bbox_post_process

    @property
    def post_process(self) -> BBoxPostProcess:
        """Decoding and suppression."""
        return self.bbox_post_process

    # Paddle's tracing of Python code into a program calls super() of methods without end.
    @paddle.jit.not_to_static
    def spec(self) -> DetectorSpec:
        """The maps that both stages read, and their numbers."""
        return DetectorSpec(
            name=type(self).__name__,
            num_classes=self.bbox_head.num_classes,
            entries={
                "neck": Entry("feature", "grid", self.levels),
                **self.bbox_head.entries(),
                **self.rpn_head.entries(),
            },
            abilities=frozenset(self.abilities()),
        )

    def abilities(self) -> Abilities:
        """Those of every detector, ``pool`` and ``at``."""
        return {**super().abilities(), "pool": self.pool, "at": self.extract}

    def part(self, name: str) -> nn.Layer:
        """The sublayer that plays the role ``backbone``, ``neck`` or ``head``: both stages."""
        if name == "head":
            return nn.LayerDict({"rpn_head": self.rpn_head, "bbox_head": self.bbox_head})
        return super().part(name)

    def pool(self, record: Record, boxes: Tensor) -> Tensor:
        """What the second stage gets: [N, R, C, side, side] of the neck's maps at corner ``boxes`` [N, R, 4]."""
        return self.bbox_head.roi_extractor(record["neck"], boxes)

    def extract(self, batch: Batch, like: Record | None = None) -> Record:
        """Both stages' raw numbers; at the proposals of ``like``, if it has any."""
        return self.stages(batch, like)

    def stages(self, batch: Batch, like: Record | None) -> Record:
        """What :meth:`extract` returns; a method of another name, since tracing does not go into those overridden."""
        neck = self.features(batch)
        rpn_logits, rpn_deltas = self.rpn_head(neck)
        if like is not None and "proposals" in like.tensors:
            proposals, real = like.proposals, like.real
        else:
            proposals, number = self.rpn_head.propose(rpn_logits, rpn_deltas, _im_shape(batch))
            if self.training:
                proposals, number = self.bbox_head.choose(proposals, number, batch)
            real = paddle.arange(proposals.shape[1]) < number.unsqueeze(1)
        pooled = self.bbox_head.roi_extractor(neck, proposals)
        logits, deltas = self.bbox_head(pooled)
        rows = {"proposals": proposals, "roi_features": pooled, "roi_logits": logits, "roi_deltas": deltas}
        tensors = {name: [tensor] for name, tensor in rows.items()}
        maps = {"neck": neck, "rpn_logits": rpn_logits, "rpn_deltas": rpn_deltas}
        return Record(self.spec(), {**maps, **tensors}, real)

    @paddle.no_grad()
    def match(self, record: Record, truth: Truth) -> TwoStageTargets:
        """The anchors that count and their targets, and a label for every proposal."""
        labels, matched = self.bbox_head.bbox_assigner(record.proposals, record.real, truth)
        return TwoStageTargets(self.rpn_head.assign(record, truth), labels, matched, take_rows(truth.boxes, matched))

    def loss(self, record: Record, targets: TwoStageTargets) -> dict[str, Tensor]:
        """Scalars ``loss_rpn_cls``, ``loss_rpn_reg``, ``loss_bbox_cls`` and ``loss_bbox_reg``."""
        return {**self.rpn_head.loss(record, targets.rpn), **self.bbox_head.loss(record, targets)}

    def predict(self, batch: Batch) -> dict[str, Tensor]:
        """Decoded and suppressed detections in pixels of the original images."""
        record = self.extract(batch)
        raw, places = (record.roi_logits, record.roi_deltas), (record.proposals, record.real)
        return self.bbox_post_process(raw, places, batch["im_shape"], batch["scale_factor"])


def _im_shape(batch: Batch) -> Tensor:
    """Height and width of the images, float32 [N, 2]; those of the input where the batch does not tell."""
    if "im_shape" in batch:
        return batch["im_shape"]
    size = paddle.shape(batch["image"])
    return size[2:].astype("float32").unsqueeze(0).expand([size[0], 2])
