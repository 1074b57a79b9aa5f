"""The region proposal network (Ren et al., "Faster R-CNN", arXiv:1506.01497)."""

from __future__ import annotations

from collections.abc import Sequence

import paddle
from paddle import ParamAttr, Tensor, nn
from paddle.nn import functional as F
from paddle.nn.initializer import Normal

from ppkd.config import register
from ppkd.models.assigners.anchor_targets import AnchorTargets
from ppkd.models.assigners.rpn_target_assign import RPNTargetAssign
from ppkd.models.heads.anchor_generator import AnchorGenerator
from ppkd.models.heads.proposal_generator import ProposalGenerator
from ppkd.models.losses.binary_cross_entropy import binary_cross_entropy
from ppkd.models.losses.smooth_l1_loss import SmoothL1Loss
from ppkd.models.postprocess.dense_decode import join_levels
from ppkd.structures import Entry, LevelSpec, Record
from ppkd.structures.truth import Truth
from ppkd.utils.errors import ConfigError


class RPNFeat(nn.Layer):
    """A 3x3 convolution with ReLU, the same for all levels."""

    def __init__(self, channels: int):
        super().__init__()
        self.rpn_conv = _conv(channels, channels, 3)

    def forward(self, feature: Tensor) -> Tensor:
        """[N, channels, H, W] to the same shape."""
        return F.relu(self.rpn_conv(feature))


@register(inject=("anchor_generator", "rpn_target_assign", "train_proposal", "test_proposal"))
class RPNHead(nn.Layer):
    """Per level and anchor one logit, object or not, and four box offsets, by convolutions that all levels share.

    ``train_proposal`` and ``test_proposal`` say which anchors become proposals in the two modes.
    """

    def __init__(
        self,
        *,
        in_specs: Sequence[LevelSpec],
        anchor_generator: AnchorGenerator | None = None,
        rpn_target_assign: RPNTargetAssign | None = None,
        train_proposal: ProposalGenerator | None = None,
        test_proposal: ProposalGenerator | None = None,
    ):
        super().__init__()
        self.in_specs = tuple(in_specs)
        self.anchor_generator = anchor_generator or AnchorGenerator()
        self.rpn_target_assign = rpn_target_assign or RPNTargetAssign()
        self.train_proposal = train_proposal or ProposalGenerator()
        self.test_proposal = test_proposal or ProposalGenerator()
        self.num_anchors = self.anchor_generator.num_anchors
        self.box_loss = SmoothL1Loss(beta=0.0)
        channels = _check(self.in_specs, self.anchor_generator.strides)
        self.rpn_feat = RPNFeat(channels)
        self.rpn_rois_score = _conv(channels, self.num_anchors, 1)
        self.rpn_rois_delta = _conv(channels, 4 * self.num_anchors, 1)

    def entries(self) -> dict[str, Entry]:
        """What :meth:`forward` gives."""
        basis = self.anchor_generator.basis
        return {
            "rpn_logits": Entry("quality", "grid", self._levels(1), activation="sigmoid", basis=basis),
            "rpn_deltas": Entry("box", "grid", self._levels(4), coding="deltas", basis=basis),
        }

    def _levels(self, channels: int) -> tuple[LevelSpec, ...]:
        return tuple(LevelSpec(channels, spec.stride, self.num_anchors) for spec in self.in_specs)

    def forward(self, features: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Logits [N, A, 1, H, W] and offsets [N, A, 4, H, W] of the neck's features, level by level."""
        logits, deltas = [], []
        for level in features:
            feature = self.rpn_feat(level)
            score, delta = self.rpn_rois_score(feature), self.rpn_rois_delta(feature)
            logits.append(score.unsqueeze(2))
            deltas.append(delta.reshape([0, self.num_anchors, 4, *delta.shape[2:]]))
        return logits, deltas

    def propose(self, logits: Sequence[Tensor], deltas: Sequence[Tensor], im_shape: Tensor) -> tuple[Tensor, Tensor]:
        """Corner boxes float32 [N, R, 4], best first, zeros behind, and their number int64 [N]."""
        generator = self.train_proposal if self.training else self.test_proposal
        return generator(logits, deltas, self.anchor_generator(logits), im_shape)

    @paddle.no_grad()
    def assign(self, record: Record, truth: Truth) -> AnchorTargets:
        """Targets of the anchors of ``record``: of random ones in training mode, of the first in evaluation mode."""
        anchors = paddle.concat(self.anchor_generator(record.rpn_logits))
        return self.rpn_target_assign(anchors, truth, shuffled=self.training)

    def loss(self, record: Record, targets: AnchorTargets) -> dict[str, Tensor]:
        """Scalars ``loss_rpn_cls`` and ``loss_rpn_reg``, sums divided by the number of anchors to be chosen."""
        logits = join_levels(record.rpn_logits).squeeze(-1)
        counted = (targets.labels >= 0).astype("float32")
        chosen = self.rpn_target_assign.batch_size_per_im * logits.shape[0]
        objects = (binary_cross_entropy(logits, targets.positive) * counted).sum()
        boxes = self.box_loss(join_levels(record.rpn_deltas), targets.deltas, targets.positive)
        return {"loss_rpn_cls": objects / chosen, "loss_rpn_reg": boxes / chosen}


def _conv(channels: int, numbers: int, kernel: int) -> nn.Conv2D:
    attr = ParamAttr(initializer=Normal(0.0, 0.01))
    return nn.Conv2D(channels, numbers, kernel, padding=kernel // 2, weight_attr=attr)


def _check(in_specs: Sequence[LevelSpec], strides: Sequence[float]) -> int:
    """The channels of the levels; raises :class:`ConfigError` unless the anchors have their strides."""
    found = [spec.stride for spec in in_specs]
    if list(strides) != found:
        raise ConfigError(
            f"RPNHead.anchor_generator.strides is {list(strides)}, but the neck's levels have strides {found}: make "
            "them equal."
        )
    return in_specs[0].channels
