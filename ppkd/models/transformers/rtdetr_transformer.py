"""RT-DETR's queries (Zhao et al., arXiv:2304.08069): selected among the encoder's cells, decoded layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import paddle
from paddle import ParamAttr, Tensor, nn
from paddle.nn import functional as F
from paddle.nn.initializer import Constant, Normal, XavierUniform

from ppkd.config import register
from ppkd.models.casting import float32, full_precision
from ppkd.models.heads.tower_head import prior_logit
from ppkd.models.layers.linear import MLP, linear
from ppkd.models.layers.norm import batch_norm
from ppkd.models.layers.select import best_rows, take_rows
from ppkd.models.layers.transformer_layer import FeedForward
from ppkd.models.transformers.anchors import anchor_logits, logit, rows_at
from ppkd.models.transformers.decoder_layer import DecoderLayer, undecayed_norm
from ppkd.models.transformers.denoising import Denoising, denoising
from ppkd.models.transformers.queries import Answers, Boxes, Selection
from ppkd.structures import LevelSpec, Points
from ppkd.utils.errors import ConfigError

PRIOR = 0.01
"""The probability of a class before training."""


@register(
    shared=("num_classes", "hidden_dim", "swapped_sides"),
    without_effect=("position_embed_type", "backbone_feat_channels", "feat_strides", "eval_size"),
)
class RTDETRTransformer(nn.Layer):
    """The ``num_queries`` best cells of the neck's maps, each refined by ``num_decoder_layers`` layers.

    A decoder layer has ``nhead`` heads, ``num_decoder_points`` places for each head and level, and ``dim_feedforward``
    hidden numbers. Cells whose anchor comes nearer than ``eps`` to the image's border are left out. Training adds about
    twice ``num_denoising`` queries that restore spoilt boxes, see :func:`~ppkd.models.transformers.denoising.denoising`
    for ``label_noise_ratio`` and ``box_noise_scale``. Predictions come from the layer ``eval_idx``. ``swapped_sides``
    gives images that are not square PaddleDetection's anchors, x / height and y / width.
    """

    def __init__(
        self,
        *,
        in_specs: Sequence[LevelSpec],
        num_classes: int = 80,
        hidden_dim: int = 256,
        num_queries: int = 300,
        num_levels: int = 3,
        num_decoder_points: int = 4,
        nhead: int = 8,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 1024,
        dropout: float = 0.0,
        activation: FeedForward = "relu",
        num_denoising: int = 100,
        label_noise_ratio: float = 0.5,
        box_noise_scale: float = 1.0,
        learnt_init_query: Literal[False] = False,
        query_pos_head_inv_sig: Literal[False] = False,
        eval_idx: int = -1,
        eps: float = 1e-2,
        swapped_sides: bool = False,
    ):
        super().__init__()
        if num_levels != len(in_specs) or not -num_decoder_layers <= eval_idx < num_decoder_layers:
            raise ConfigError(
                f"RTDETRTransformer.num_levels is {num_levels} for {len(in_specs)} maps of the neck, eval_idx "
                f"{eval_idx} for {num_decoder_layers} decoder layers: make the former equal, let the latter be a layer"
            )
        self.num_classes, self.num_queries, self.num_denoising = num_classes, num_queries, num_denoising
        self.label_noise_ratio, self.box_noise_scale = label_noise_ratio, box_noise_scale
        self.num_decoder_layers, self.eval_idx = num_decoder_layers, eval_idx % num_decoder_layers
        self.eps, self.swapped_sides = eps, swapped_sides
        self.memory_specs = tuple(LevelSpec(hidden_dim, spec.stride) for spec in in_specs)
        self.input_proj = nn.LayerList(_projection(spec.channels, hidden_dim) for spec in in_specs)
        layers = [
            DecoderLayer(
                hidden_dim,
                heads=nhead,
                levels=num_levels,
                points=num_decoder_points,
                hidden=dim_feedforward,
                dropout=dropout,
                activation=activation,
            )
            for _ in range(num_decoder_layers)
        ]
        self.decoder = nn.LayerDict({"layers": nn.LayerList(layers)})
        self.denoising_class_embed = nn.Embedding(num_classes, hidden_dim, weight_attr=ParamAttr(initializer=Normal()))
        first, second = ((4, 2 * hidden_dim), (2 * hidden_dim, hidden_dim))
        self.query_pos_head = MLP(linear(*first, weight=XavierUniform()), linear(*second, weight=XavierUniform()))
        self.enc_output = nn.Sequential(
            linear(hidden_dim, hidden_dim, weight=XavierUniform()), undecayed_norm(hidden_dim)
        )
        self.enc_score_head = linear(hidden_dim, num_classes, bias=prior_logit(PRIOR))
        self.enc_bbox_head = _box_head(hidden_dim)
        self.dec_score_head = nn.LayerList(
            linear(hidden_dim, num_classes, bias=prior_logit(PRIOR)) for _ in range(num_decoder_layers)
        )
        self.dec_bbox_head = nn.LayerList(_box_head(hidden_dim) for _ in range(num_decoder_layers))

    def memory(self, neck: Sequence[Tensor]) -> list[Tensor]:
        """What queries look at: a map [N, hidden_dim, H, W] for each of the neck's, finest first."""
        return [project(neck[i]) for i, project in enumerate(self.input_proj)]

    def select(self, memory: Sequence[Tensor]) -> Selection:
        """The best cells of all levels; fewer than ``num_queries`` if there are not as many."""
        with full_precision():
            anchors, inside = anchor_logits(memory, self.eps, self.swapped_sides)
        cells = _cells(memory)
        content = self.enc_output(paddle.where(inside, cells, paddle.zeros([], cells.dtype)))
        logits = self.enc_score_head(content)
        change = self.enc_bbox_head(content)
        with full_precision():
            references = float32(change) + anchors
            index = best_rows(float32(logits).max(axis=-1), self.num_queries)
        return Selection(index, *(take_rows(rows, index) for rows in (content, references, logits)))

    def denoise(self, truth: Boxes) -> Denoising | None:
        """The queries that restore the boxes of ``truth``; None if ``num_denoising`` is 0."""
        if not self.num_denoising:
            return None
        with full_precision():
            return denoising(
                truth,
                queries=self.num_denoising,
                num_classes=self.num_classes,
                label_noise_ratio=self.label_noise_ratio,
                box_noise_scale=self.box_noise_scale,
            )

    def answer(self, memory: Sequence[Tensor], chosen: Selection, spoilt: Denoising | None = None) -> Answers:
        """What every decoder layer says of the ``chosen`` cells, behind what it says of the ``spoilt`` boxes.

        The gradient does not go back through the selection.
        """
        content, references = chosen.content.detach(), chosen.references.detach()
        if spoilt is None:
            return self.decode(memory, content, references, self.num_decoder_layers)
        hidden = spoilt.hidden(references.shape[1])
        embedding = self.denoising_class_embed.weight
        padding = paddle.zeros([1, embedding.shape[1]], embedding.dtype)
        known = F.embedding(spoilt.shown, paddle.concat([embedding, padding]))
        content = paddle.concat([known.astype(content.dtype), content], axis=1)
        references = paddle.concat([spoilt.references, references], axis=1)
        return self.decode(memory, content, references, self.num_decoder_layers, hidden)

    def answer_at(self, memory: Sequence[Tensor], points: Points) -> Answers:
        """What every decoder layer says of queries that start at ``points``.

        Their content is made of the memory's cells of ``points``, else of what lies at the centres of its boxes. As in
        :meth:`answer` the gradient does not go back through it.
        """
        known = points.cells is not None
        rows = take_rows(_cells(memory), points.cells) if known else rows_at(memory, points.boxes)
        content = self.enc_output(rows).detach()
        return self.decode(memory, content, logit(points.boxes), self.num_decoder_layers)

    def predict(self, neck: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Class logits [N, Q, C] and boxes [N, Q, 4] of the layer ``eval_idx``; those behind it are not run."""
        memory = self.memory(neck)
        chosen = self.select(memory)
        answers = self.decode(memory, chosen.content, chosen.references, self.eval_idx + 1)
        return answers.logits[-1], answers.boxes[-1]

    def decode(
        self, memory: Sequence[Tensor], queries: Tensor, references: Tensor, layers: int, hidden: Tensor | None = None
    ) -> Answers:
        """What the first ``layers`` layers say of ``queries`` [N, Q, channels] that start at ``references`` [N, Q, 4].

        A layer refines the boxes of the one before it. Its loss trains that one's boxes too, but the gradient goes no
        further back that way (Zhang et al., arXiv:2203.03605, section 3.5). ``hidden`` is that of
        :class:`~ppkd.models.layers.self_attention.SelfAttention`.
        """
        answers = Answers([], [])
        with full_precision():
            before = boxes = F.sigmoid(references)
        for i in range(layers):
            queries = self.decoder["layers"][i](queries, self.query_pos_head(boxes), boxes, memory, hidden)
            answers.queries.append(queries)
            answers.logits.append(self.dec_score_head[i](queries))
            change = self.dec_bbox_head[i](queries)
            with full_precision():
                answers.boxes.append(F.sigmoid(float32(change) + logit(before)))
                before = F.sigmoid(float32(change) + logit(boxes))
                boxes = before.detach()
        return answers


def _cells(memory: Sequence[Tensor]) -> Tensor:
    """The cells of all levels [N, channels, H, W], level by level and row by row: [N, P, channels]."""
    return paddle.concat([level.flatten(2).transpose([0, 2, 1]) for level in memory], axis=1)


def _projection(in_channels: int, channels: int) -> nn.Sequential:
    attr = ParamAttr(initializer=XavierUniform())
    conv = nn.Conv2D(in_channels, channels, 1, weight_attr=attr, bias_attr=False)
    return nn.Sequential(("conv", conv), ("norm", batch_norm(channels)))


def _box_head(channels: int) -> MLP:
    """A change of boxes that is nothing at the start."""
    zero = linear(channels, 4, weight=Constant(0.0), bias=0.0)
    return MLP(linear(channels, channels), linear(channels, channels), zero)
