"""RT-DETR's hybrid encoder (Zhao et al., arXiv:2304.08069)."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Literal

import paddle
from paddle import Tensor, nn
from paddle.nn.initializer import Uniform

from ppkd.config import register
from ppkd.models.layers.conv_norm_act import ConvBNAct
from ppkd.models.layers.norm import batch_norm
from ppkd.models.layers.rep_vgg import RepVggBlock
from ppkd.models.layers.transformer_layer import TransformerLayer, sine_positions
from ppkd.models.layers.upsample import upsample2x
from ppkd.structures import LevelSpec
from ppkd.utils.errors import ConfigError


class CSPRepLayer(nn.Layer):
    """Two 1x1 convolutions, one with ``blocks`` re-parameterised ones behind it, added up; a third one widens again.

    ``expansion`` times ``out_channels`` are the channels between; there is no third convolution where that is equal.
    """

    def __init__(self, in_channels: int, out_channels: int, *, blocks: int, expansion: float):
        super().__init__()
        hidden = int(out_channels * expansion)
        self.conv1 = _unit(in_channels, hidden, 1)
        self.conv2 = _unit(in_channels, hidden, 1)
        self.bottlenecks = nn.Sequential(*(RepVggBlock(hidden, hidden, act="swish") for _ in range(blocks)))
        self.conv3 = nn.Identity() if hidden == out_channels else _unit(hidden, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, in_channels, H, W] to [N, out_channels, H, W]."""
        return self.conv3(self.bottlenecks(self.conv1(x)) + self.conv2(x))


@register(
    shared=("hidden_dim", "depth_mult", "swapped_sides"),
    inject=("encoder_layer",),
    without_effect=("feat_strides", "eval_size", "trt"),
)
class HybridEncoder(nn.Layer):
    """Attention within the coarsest maps, then down and up the pyramid; as many maps as come in, finest first.

    ``use_encoder_idx`` picks the maps, of which each goes through ``num_encoder_layers`` layers like
    ``encoder_layer``. ``expansion`` and three times ``depth_mult``, rounded, are those of :class:`CSPRepLayer`.
    ``swapped_sides`` gives images that are not square the positions that PaddleDetection gives them, which are those
    of another cell: it counts columns first, the cells row by row. Square ones have the same either way.
    """

    def __init__(
        self,
        *,
        in_specs: Sequence[LevelSpec],
        encoder_layer: TransformerLayer,
        hidden_dim: int = 256,
        use_encoder_idx: Sequence[int] = (2,),
        num_encoder_layers: int = 1,
        pe_temperature: float = 10000.0,
        expansion: float = 1.0,
        depth_mult: float = 1.0,
        act: Literal["silu"] = "silu",
        swapped_sides: bool = False,
    ):
        super().__init__()
        _check(in_specs, encoder_layer, hidden_dim, use_encoder_idx)
        self.hidden_dim, self.temperature, self.swapped_sides = hidden_dim, pe_temperature, swapped_sides
        self.use_encoder_idx = tuple(use_encoder_idx)
        self.input_proj = nn.LayerList(
            nn.Sequential(nn.Conv2D(spec.channels, hidden_dim, 1, bias_attr=False), batch_norm(hidden_dim))
            for spec in in_specs
        )
        self.encoder = nn.LayerList(_Encoder(encoder_layer, num_encoder_layers) for _ in use_encoder_idx)
        steps, blocks = range(len(in_specs) - 1), round(3 * depth_mult)

        def fuse() -> CSPRepLayer:
            return CSPRepLayer(hidden_dim * 2, hidden_dim, blocks=blocks, expansion=expansion)

        self.lateral_convs = nn.LayerList(_unit(hidden_dim, hidden_dim, 1) for _ in steps)
        self.fpn_blocks = nn.LayerList(fuse() for _ in steps)
        self.downsample_convs = nn.LayerList(_unit(hidden_dim, hidden_dim, 3, stride=2) for _ in steps)
        self.pan_blocks = nn.LayerList(fuse() for _ in steps)
        self.out_specs = tuple(LevelSpec(hidden_dim, spec.stride) for spec in in_specs)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """The maps of ``out_specs`` of the backbone's, both finest first."""
        maps = [project(features[i]) for i, project in enumerate(self.input_proj)]
        for encoder, i in zip(self.encoder, self.use_encoder_idx):  # noqa: B905  exported programs know no strict zip
            maps[i] = self._attend(encoder, maps[i])
        finest, laterals = maps[-1], []
        for i, lateral in enumerate(self.lateral_convs):
            laterals.append(lateral(finest))
            finest = self.fpn_blocks[i](paddle.concat([upsample2x(laterals[-1]), maps[-2 - i]], axis=1))
        outputs = [finest]
        for i, downsample in enumerate(self.downsample_convs):
            outputs.append(self.pan_blocks[i](paddle.concat([downsample(outputs[-1]), laterals[-1 - i]], axis=1)))
        return outputs

    def _attend(self, encoder: _Encoder, level: Tensor) -> Tensor:
        height, width = level.shape[-2:]
        sides = (width, height) if self.swapped_sides else (height, width)
        tokens = encoder(level.flatten(2).transpose([0, 2, 1]), self.positions(*sides))
        return tokens.transpose([0, 2, 1]).reshape([-1, self.hidden_dim, height, width])

    def positions(self, first: int, second: int) -> Tensor:
        """What the attention adds to cells counted in two directions, float32 [1, first * second, hidden_dim]."""
        return sine_positions(first, second, self.hidden_dim, self.temperature)


class _Encoder(nn.Layer):
    """``count`` layers that start like ``layer``, one after the other."""

    def __init__(self, layer: TransformerLayer, count: int):
        super().__init__()
        self.layers = nn.LayerList(copy.deepcopy(layer) for _ in range(count))

    def forward(self, tokens: Tensor, positions: Tensor) -> Tensor:
        for layer in self.layers:
            tokens = layer(tokens, positions)
        return tokens


def _unit(in_channels: int, out_channels: int, kernel: int, *, stride: int = 1) -> ConvBNAct:
    bound = (in_channels * kernel * kernel) ** -0.5
    init = Uniform(-bound, bound)
    return ConvBNAct(in_channels, out_channels, kernel, stride=stride, act="swish", weight_init=init)


def _check(specs: Sequence[LevelSpec], layer: TransformerLayer, channels: int, attended: Sequence[int]) -> None:
    """Raise :class:`ConfigError` for settings that do not fit each other."""
    if layer.d_model != channels or channels % 4:
        raise ConfigError(
            f"HybridEncoder.hidden_dim is {channels}, its encoder_layer.d_model {layer.d_model}: make them equal, and "
            "a multiple of 4"
        )
    if not set(attended) <= set(range(len(specs))):
        raise ConfigError(f"HybridEncoder.use_encoder_idx is {list(attended)}: choose among 0..{len(specs) - 1}")
