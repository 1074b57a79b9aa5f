"""Operations and parameters: by hand, against Paddle's own count, and without traces in the model."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import paddle
import pytest
from paddle import nn

from ppkd.report.complexity import complexity


class Net(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2D(3, 8, 3, stride=2, padding=1)
        self.depthwise = nn.Conv2D(8, 8, 3, padding=1, groups=8, bias_attr=False)
        self.norm = nn.BatchNorm2D(8)
        self.linear = nn.Linear(8, 5)
        self.unused = nn.Linear(8, 5)

    def forward(self, image: paddle.Tensor) -> paddle.Tensor:
        return self.linear(self.norm(self.depthwise(self.conv(image))).mean(axis=[2, 3]))

    def extract(self, batch: dict[str, paddle.Tensor]) -> paddle.Tensor:
        return self(batch["image"])


def test_by_hand() -> None:
    found = complexity(Net(), 32, 48)
    pixels = 16 * 24
    operations = pixels * 8 * (27 + 1) + pixels * 8 * 9 + 2 * pixels * 8 + 8 * 5
    assert found.gflops == pytest.approx(operations / 1e9, rel=1e-12)
    assert found.parameters == (8 * 27 + 8) + 8 * 9 + 16 + 45 * 2


@pytest.mark.filterwarnings("ignore:Conversion of an array:DeprecationWarning")
def test_equals_paddle() -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        expected = paddle.flops(Net(), [1, 3, 64, 64])
    assert complexity(Net(), 64, 64).gflops == pytest.approx(expected / 1e9, rel=1e-12)


def test_transposed_convolution_counts_its_input() -> None:
    class Up(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.up = nn.Conv2DTranspose(3, 4, 2, stride=2, bias_attr=False)

        def extract(self, batch: dict[str, paddle.Tensor]) -> paddle.Tensor:
            return self.up(batch["image"])

    assert complexity(Up(), 8, 8).gflops * 1e9 == pytest.approx(8 * 8 * 3 * 4 * 4)


def test_leaves_model_and_random_numbers_alone() -> None:
    model = Net()
    model.train()
    model.norm.training = False
    names = list(model.state_dict())
    paddle.seed(3)
    expected = paddle.rand([4]).numpy()
    paddle.seed(3)
    complexity(model, 16, 16)
    assert np.array_equal(paddle.rand([4]).numpy(), expected)
    assert list(model.state_dict()) == names
    assert [model.training, model.norm.training, model.conv.training] == [True, False, True]
    assert not any(layer._forward_post_hooks for layer in model.sublayers())
