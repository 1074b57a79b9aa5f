"""Makes tests/fixtures/graphs: a pyramid of PyTorch's as an ONNX graph, and what PyTorch computes of some images.

Needs torch 2.13 and onnx, in an environment of their own: python tests/distill/make_torch_graph.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

FOLDER = Path(__file__).resolve().parents[1] / "fixtures/graphs"
CHANNELS, CLASSES, STRIDES = 6, 3, (4, 8)
NAMES = [f"{kind}{stride}" for kind in ("p", "logits") for stride in STRIDES]


class Pyramid(nn.Module):
    """Two levels, and a head of one layer that both share."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, CHANNELS, 4, 4), nn.BatchNorm2d(CHANNELS), nn.ReLU())
        self.down = nn.Sequential(nn.Conv2d(CHANNELS, CHANNELS, 3, 2, 1), nn.SiLU())
        self.head = nn.Conv2d(CHANNELS, CLASSES, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        fine = self.stem(image)
        levels = (fine, self.down(fine))
        return (*levels, *(self.head(level) for level in levels))


def main() -> None:
    torch.manual_seed(0)
    model = Pyramid()
    model(torch.randn(8, 3, 32, 32))
    model.eval()
    image = torch.randn(2, 3, 16, 24)
    axes = {"image": {0: "n", 2: "h", 3: "w"}, **{name: {0: "n", 2: "h", 3: "w"} for name in NAMES}}
    torch.onnx.export(
        model,
        (image,),
        str(FOLDER / "torch_pyramid.onnx"),
        input_names=["image"],
        output_names=NAMES,
        dynamic_axes=axes,
        opset_version=17,
        dynamo=False,
    )
    with torch.no_grad():
        found = {name: level.numpy() for name, level in zip(NAMES, model(image), strict=True)}
    np.savez_compressed(FOLDER / "torch_pyramid.npz", image=image.numpy(), **found)


if __name__ == "__main__":
    main()
