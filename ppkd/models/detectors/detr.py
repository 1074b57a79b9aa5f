"""Detectors whose queries are decoded (Carion et al., arXiv:2005.12872), with a pyramid: RT-DETR, arXiv:2304.08069."""

from __future__ import annotations

from dataclasses import dataclass, replace

import paddle
from paddle import Tensor, nn

from ppkd.config import register
from ppkd.models.casting import full_precision
from ppkd.models.detectors.detector import PyramidDetector
from ppkd.models.heads.dino_head import DINOHead
from ppkd.models.losses.dino_loss import QueryTargets
from ppkd.models.losses.normaliser import over_batch
from ppkd.models.postprocess.detr_post_process import DETRPostProcess
from ppkd.models.transformers.queries import Answers, Boxes
from ppkd.models.transformers.rtdetr_transformer import RTDETRTransformer
from ppkd.structures import Abilities, Batch, DetectorSpec, Entry, Points, Record
from ppkd.structures.boxes import cxcywh_to_xyxy, xyxy_to_cxcywh
from ppkd.structures.truth import Truth


@dataclass(frozen=True)
class DETRTargets:
    """The targets of the encoder's selection and of every decoder layer, and the number of boxes, float32 []."""

    stages: list[QueryTargets]
    boxes: Tensor


@register(inject=("backbone", "neck", "transformer", "detr_head", "post_process"))
class DETR(PyramidDetector):
    """A transformer's queries, each of which answers with classes and a box.

    It records the maps that queries look at and what all decoder layers say, the encoder's selection beside it, and
    while it trains what restores spoilt boxes. Loss terms are ``loss_class``, ``loss_bbox`` and ``loss_giou`` of the
    last layer, with ``_aux`` of all others together, each with ``_dn`` behind it for the spoilt boxes.
    """

    def __init__(
        self,
        *,
        backbone: nn.Layer,
        neck: nn.Layer,
        transformer: RTDETRTransformer,
        detr_head: DINOHead,
        post_process: DETRPostProcess,
    ):
        super().__init__(backbone=backbone, neck=neck)
        self.transformer = transformer
        self.detr_head = detr_head
        self._decode = post_process

    # Paddle's tracing of Python code into a program calls super() of methods without end.
    @paddle.jit.not_to_static
    def spec(self) -> DetectorSpec:
        """The neck's maps, the memory made of them, and what the queries of every decoder layer say."""
        classes, stages = self.transformer.num_classes, self.transformer.num_decoder_layers
        memory = self.transformer.memory_specs
        return DetectorSpec(
            name=type(self).__name__,
            num_classes=classes,
            entries={
                "neck": Entry("feature", "grid", self.levels),
                "memory": Entry("feature", "grid", memory),
                "query_features": Entry.rows("feature", memory[0].channels, stages=stages),
                "query_logits": Entry.rows("class", classes, stages=stages, activation="sigmoid"),
                "query_boxes": Entry.rows("box", 4, stages=stages, coding="cxcywh"),
            },
            abilities=frozenset(self.abilities()),
        )

    def abilities(self) -> Abilities:
        """Those of every detector, ``boxes``, ``points`` and ``answer``."""
        return {**super().abilities(), "boxes": self.boxes, "points": self.points, "answer": self.answer}

    def part(self, name: str) -> nn.Layer:
        """The sublayer that plays the role ``backbone``, ``neck`` or ``head``: the transformer."""
        return self.transformer if name == "head" else super().part(name)

    def extract(self, batch: Batch, like: Record | None = None) -> Record:
        """What all decoder layers say; while it trains with boxes, what restores them beside it."""
        neck = self.features(batch)
        memory = self.transformer.memory(neck)
        chosen = self.transformer.select(memory)
        beside = {"enc_logits": [chosen.logits], "enc_boxes": [chosen.boxes], "enc_cells": [chosen.index]}
        spoilt = None
        if self.training and any(len(boxes) for boxes in batch.get("gt_bbox", ())):
            spoilt = self.transformer.denoise(shares(Truth.of(batch), paddle.shape(batch["image"])[2:]))
        answers = self.transformer.answer(memory, chosen, spoilt)
        if spoilt is not None:
            restored, answers = answers.rows(None, spoilt.shown.shape[1]), answers.rows(spoilt.shown.shape[1], None)
            beside |= {"dn_logits": restored.logits, "dn_boxes": restored.boxes}
            beside |= {"dn_labels": [spoilt.labels], "dn_targets": [spoilt.boxes]}
        tensors = {"neck": neck, "memory": [level.unsqueeze(1) for level in memory], **_entries(answers)}
        return Record(self.spec(), tensors, size=paddle.shape(batch["image"])[2:], beside=beside)

    def boxes(self, record: Record) -> list[Tensor]:
        """Corner boxes float32 [N, Q, 4] in pixels of the input, layer by layer."""
        assert record.size is not None
        sides = _sides(record.size)
        return [cxcywh_to_xyxy(stage.astype("float32")) * sides for stage in record["query_boxes"]]

    def points(self, record: Record) -> Points:
        """The cells that the encoder selected, and their boxes."""
        return Points(record.beside["enc_boxes"][0], record.beside["enc_cells"][0])

    def answer(self, record: Record, points: Points) -> Record:
        """``record`` with what all decoder layers say of queries that start at ``points``; nothing is beside it.

        The decoder looks at the record's ``memory``.
        """
        said = _entries(self.transformer.answer_at([level.squeeze(1) for level in record["memory"]], points))
        known = {name: stages for name, stages in said.items() if name in record.spec.entries}
        return replace(record.replaced(known), beside={})

    @paddle.no_grad()
    def match(self, record: Record, truth: Truth) -> DETRTargets:
        """A query for every box, in the encoder's selection and in each decoder layer."""
        assert record.size is not None
        boxes = shares(truth, record.size)
        return DETRTargets(self.detr_head.loss.match(stages(record), boxes), boxes.real.astype("float32").sum())

    def loss(self, record: Record, targets: DETRTargets) -> dict[str, Tensor]:
        """The terms of all queries, and of those that denoise: zeros where there are none.

        They are divided by the number of boxes, 1 at least, the latter by as many as all groups have.
        """
        head, beside = self.detr_head.loss, record.beside
        total = over_batch(targets.boxes, least=1)
        terms = head(stages(record), targets.stages, total)
        if "dn_labels" not in beside:
            return {**terms, **{f"{name}_dn": paddle.zeros([]) for name in terms}}
        (labels,), (boxes,) = beside["dn_labels"], beside["dn_targets"]
        wanted = QueryTargets(labels.flatten(1), boxes.flatten(1, 2))
        answers = Answers(beside["dn_logits"], beside["dn_boxes"])
        return {**terms, **head(answers, [wanted] * len(answers.boxes), total * labels.shape[1], "_dn")}

    def predict(self, batch: Batch) -> dict[str, Tensor]:
        """The best scores of the layer that predicts, in pixels of the original images."""
        logits, boxes = self.transformer.predict(self.features(batch))
        size = paddle.shape(batch["image"])[2:]
        return self._decode(logits, boxes, size, batch["im_shape"], batch["scale_factor"])


def stages(record: Record) -> Answers:
    """The encoder's selection, then what each decoder layer says."""
    beside = record.beside
    return Answers([*beside["enc_logits"], *record["query_logits"]], [*beside["enc_boxes"], *record["query_boxes"]])


def _entries(answers: Answers) -> dict[str, list[Tensor]]:
    return {"query_features": answers.queries, "query_logits": answers.logits, "query_boxes": answers.boxes}


def shares(truth: Truth, size: Tensor) -> Boxes:
    """``truth`` in shares of an input of ``size`` height and width, int [2]."""
    with full_precision():
        return Boxes(xyxy_to_cxcywh(truth.boxes / _sides(size)), truth.labels, truth.real)


def _sides(size: Tensor) -> Tensor:
    """What multiplies shares of an input of ``size`` height and width, int [2], float32 [4]: x, y, x, y."""
    return size.flip(axis=0).tile([2]).astype("float32")
