"""Labels of proposals and the choice of those that train (Girshick, "Fast R-CNN", arXiv:1504.08083, section 2.3)."""

from __future__ import annotations

import paddle
from paddle import Tensor

from ppkd.config import register
from ppkd.models.assigners.anchor_targets import IGNORED
from ppkd.models.assigners.max_iou_assigner import Matches, MaxIoUAssigner
from ppkd.models.assigners.sampling import check_sample, priorities, sample
from ppkd.models.layers.select import take_rows
from ppkd.structures.truth import Truth


@register(shared=("num_classes",), without_effect=("assign_on_cpu", "cascade_iou"))
class BBoxAssigner:
    """``batch_size_per_im`` proposals of each image train, at most ``fg_fraction`` of them on objects.

    A proposal is on an object if it overlaps a box by ``fg_thresh`` or more, background if it overlaps every box by
    less than ``bg_thresh``. ``use_random`` false takes the best-scored instead of random ones. No proposal is on a box
    around a crowd; with ``ignore_thresh`` above 0 those that overlap one by more do not count.
    """

    def __init__(
        self,
        *,
        num_classes: int = 80,
        batch_size_per_im: int = 512,
        fg_fraction: float = 0.25,
        fg_thresh: float = 0.5,
        bg_thresh: float = 0.5,
        ignore_thresh: float = -1.0,
        use_random: bool = True,
    ):
        self.num_classes = num_classes
        check_sample("BBoxAssigner", batch_size_per_im, fg_fraction)
        self.batch_size_per_im = batch_size_per_im
        self.fg_fraction = fg_fraction
        self.use_random = use_random
        self.ignore_thresh = ignore_thresh
        self.matcher = MaxIoUAssigner(positive_overlap=fg_thresh, negative_overlap=bg_thresh, allow_low_quality=False)

    def choose(
        self, proposals: Tensor, valid: Tensor, truth: Truth, labelled: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The proposals that train: corner boxes float32 [N, K, 4], zeros behind, and their number int64 [N].

        ``proposals`` float32 [N, R, 4], best first, are those that ``valid`` bool [N, R] says; the boxes of ``truth``
        join them. Of images that are not ``labelled``, bool [N], the best are taken, else random ones.
        """
        proposals = paddle.concat([proposals, truth.boxes], axis=1)
        valid = paddle.concat([valid, truth.scores > 0], axis=1)
        matches = self.matcher(proposals, truth, crowd_overlap=self.ignore_thresh)
        images, candidates = valid.shape
        everywhere = paddle.ones([images], dtype="bool") if labelled is None else labelled
        chosen = sample(
            matches.positive & valid,
            matches.negative & valid,
            priorities(images, candidates, everywhere if self.use_random else None),
            count=self.batch_size_per_im,
            fraction=self.fg_fraction,
        )
        front = paddle.argsort((~chosen.kept).astype("int32"), axis=1, stable=True)[:, : self.batch_size_per_im]
        index = paddle.take_along_axis(chosen.index, front, axis=1, broadcast=False)
        number = chosen.kept.astype("int64").sum(axis=1)
        counting = (paddle.arange(index.shape[1]) < number.unsqueeze(1)).astype("float32").unsqueeze(-1)
        return take_rows(proposals, index) * counting, number

    def __call__(self, proposals: Tensor, valid: Tensor, truth: Truth) -> tuple[Tensor, Tensor]:
        """Labels and matched boxes int64 [N, R] each, as in ``TwoStageTargets``, of ``proposals`` [N, R, 4]."""
        matches = self.matcher(proposals, truth, crowd_overlap=self.ignore_thresh)
        return self._labels(matches, valid, truth), matches.box

    def _labels(self, matches: Matches, valid: Tensor, truth: Truth) -> Tensor:
        classes = paddle.take_along_axis(truth.labels, matches.box, axis=1, broadcast=False)
        background = paddle.full_like(classes, self.num_classes)
        ignored = paddle.full_like(classes, IGNORED)
        labels = paddle.where(matches.positive, classes, paddle.where(matches.negative, background, ignored))
        return paddle.where(valid, labels, ignored)
