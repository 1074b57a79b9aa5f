"""The soft labels of Global Knowledge (arXiv 2210.09022): divergence of classes, weighted by boxes."""

from __future__ import annotations

from collections.abc import Sequence

import paddle
from paddle import Tensor

from ppkd.distill.cells.answering import Answering
from ppkd.distill.cells.levels import box_levels
from ppkd.distill.divergence import KnowledgeDistillationKLDivLoss
from ppkd.distill.losses.global_knowledge.boxes import at_level, of_objects
from ppkd.distill.losses.global_knowledge.prototypes.bank import PrototypeBank
from ppkd.distill.means import masked_mean
from ppkd.distill.pairing import LevelPair
from ppkd.distill.proposals import ProposalEntries, require_proposals
from ppkd.distill.side import Side
from ppkd.models.losses.normaliser import over_batch
from ppkd.models.postprocess.dense_decode import count_places, join_levels
from ppkd.structures import DetectorSpec
from ppkd.utils.errors import SpecError

ROI_LEVELS = 4
"""RoI features come from so many levels, the finest ones, and by the extractor's rule, whatever the input's size."""


def soft_label_entries(student: DetectorSpec, teacher: DetectorSpec) -> tuple[str, ...]:
    """The entries that soft labels read; raises :class:`SpecError` for a student whose head has no such labels."""
    if student.of("class", kind="rows"):
        entries = require_proposals(
            "GlobalKnowledge", student, teacher, also="features", mend="set soft_label: 0 for the other parts"
        )
        return entries.features, entries.classes
    classes = student.of("class", kind="grid")
    if not classes or any(student.entries[name].coding == "yolo" for name in student.of("box")):
        reason = "whose anchors belong to no box by overlap" if classes else "which records no classes"
        raise SpecError(
            f"GlobalKnowledge has no soft labels for {student.name}, {reason}, from {teacher.name}: set soft_label: 0 "
            "for the other parts"
        )
    return classes[:1]


def proposal_divergence(
    formula: KnowledgeDistillationKLDivLoss,
    student: Side,
    teacher: Side,
    entries: ProposalEntries,
    bank: PrototypeBank,
) -> Tensor:
    """The mean divergence of proposals of objects, weighted by how much both sides agree on their RoI features.

    ``formula`` returns the divergence of every row, here and below.
    """
    labels = student.targets.roi_labels
    features = [side.record[entries.features][-1].detach().mean(axis=[3, 4]) for side in (student, teacher)]
    levels = range(min(ROI_LEVELS, bank.numbers.shape[0]))
    level = box_levels(student.record[entries.boxes][-1], len(levels), inclusive=False)
    weights = at_level(level, [bank.weights(i, *features, labels) for i in levels])
    logits, soft_logits = (side.record[entries.classes][-1].flatten(0, 1) for side in (student, teacher))
    rows = formula(logits, soft_logits, weights.flatten())
    return masked_mean(rows, of_objects(labels, bank.num_classes).flatten())


def anchor_divergence(
    formula: KnowledgeDistillationKLDivLoss,
    classes: tuple[list[Tensor], list[Tensor]],
    pairs: Sequence[LevelPair],
    found: Answering,
    weights: Tensor,
) -> Tensor:
    """The mean divergence of the anchors that answer for boxes, weighted by their boxes.

    Args:
        formula: as above.
        classes: the student's and the teacher's logits [N, A, C, H, W], level by level.
        pairs: the levels to compare; the mean is over the anchors of all the student's levels.
        found: which anchors of the student's levels answer.
        weights: of the boxes, float32 [N, M].
    """
    student, teacher = classes
    positive = found.positive.astype("float32")
    shares = paddle.take_along_axis(weights, found.box, axis=1) * positive / over_batch(positive.sum()).clip(min=1)
    by_level = shares.split(count_places(student), axis=1)
    logits = join_levels([student[pair.student] for pair in pairs])
    soft_logits = join_levels([teacher[pair.teacher] for pair in pairs])
    chosen = paddle.concat([by_level[pair.student] for pair in pairs], axis=1)
    return formula(logits.flatten(0, 1), soft_logits.flatten(0, 1), chosen.flatten()).sum()
