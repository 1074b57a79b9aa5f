"""The soft labels of Global Knowledge (arXiv 2210.09022): divergence of classes, weighted by boxes."""

from __future__ import annotations

import paddle
from paddle import Tensor

from ppkd.distill.cells.answering import answering
from ppkd.distill.cells.levels import box_levels
from ppkd.distill.divergence import KnowledgeDistillationKLDivLoss
from ppkd.distill.losses.global_knowledge.boxes import at_level, of_objects
from ppkd.distill.losses.global_knowledge.prototypes.bank import PrototypeBank
from ppkd.distill.means import masked_mean
from ppkd.distill.pairing import LevelPair
from ppkd.distill.proposals import ProposalEntries, require_proposals
from ppkd.distill.side import Side
from ppkd.models.losses.normaliser import over_batch
from ppkd.models.postprocess.dense_decode import by_anchor, count_places
from ppkd.structures import DetectorSpec
from ppkd.structures.truth import Truth
from ppkd.utils.errors import SpecError

ROI_LEVELS = 4
"""RoI features come from so many levels, the finest ones."""


def soft_label_entries(student: DetectorSpec, teacher: DetectorSpec) -> tuple[str, ...]:
    """The entries that the soft labels read; raises :class:`SpecError` for heads without such labels."""
    if student.of("class", kind="rows"):
        entries = require_proposals("GlobalKnowledge's soft labels", student, teacher, also="features")
        return entries.features, entries.classes
    classes = student.of("class", kind="grid")
    if not classes or any(student.entries[name].coding == "yolo" for name in student.of("box")):
        raise SpecError(
            f"GlobalKnowledge has no soft labels for {student.name}, whose anchors belong to no box by overlap: "
            "set soft_label: 0 for the other parts"
        )
    return classes[:1]


def proposal_divergence(
    student: Side, teacher: Side, entries: ProposalEntries, bank: PrototypeBank, T: float
) -> Tensor:
    """The mean divergence of proposals that are assigned to an object, each weighted by how alike its features are."""
    labels = student.targets.roi_labels
    features = [side.record[entries.features][-1].detach().mean(axis=[3, 4]) for side in (student, teacher)]
    levels = range(min(ROI_LEVELS, len(bank.numbers)))
    level = box_levels(student.record[entries.boxes][-1], len(levels), inclusive=False)
    weights = at_level(level, [bank.weights(i, *features, labels) for i in levels])
    logits = (side.record[entries.classes][-1].flatten(0, 1) for side in (student, teacher))
    rows = KnowledgeDistillationKLDivLoss(reduction="none", T=T)(*logits, weights.flatten())
    return masked_mean(rows, of_objects(labels, bank.num_classes).flatten())


def anchor_divergence(
    student: Side, teacher: Side, truth: Truth, entry: str, pairs: tuple[LevelPair, ...], weights: Tensor, T: float
) -> Tensor:
    """The mean divergence of anchors of boxes, each weighted by its box.

    Args:
        student: its side.
        teacher: its side.
        truth: the boxes.
        entry: the classes.
        pairs: the levels to compare; the mean is over the anchors of all levels.
        weights: of the boxes, float32 [N, M].
        T: temperature.
    """
    classes, soft = student.record[entry], teacher.record[entry]
    found = answering(classes, student.spec.entries[entry].strides, student, truth)
    positive = found.positive.astype("float32")
    shares = paddle.take_along_axis(weights, found.box, axis=1) * positive / over_batch(positive.sum()).clip(min=1)
    by_level = shares.split(count_places(classes), axis=1)
    return KnowledgeDistillationKLDivLoss(reduction="sum", T=T)(
        paddle.concat([by_anchor(classes[pair.student]).flatten(0, 1) for pair in pairs]),
        paddle.concat([by_anchor(soft[pair.teacher]).flatten(0, 1) for pair in pairs]),
        paddle.concat([by_level[pair.student].flatten() for pair in pairs]),
    )
