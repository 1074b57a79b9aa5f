"""``--to_static``: a compiled backbone computes, learns and saves what an eager one does."""

from __future__ import annotations

import numpy as np
import paddle
from paddle import nn

from ppkd.engine.environment import compile_backbone


class Net(nn.Layer):
    """The parts that matter of a detector."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2D(3, 4, 3, stride=2), nn.BatchNorm2D(4), nn.ReLU())
        self.head = nn.Conv2D(4, 1, 1)

    def part(self, name):
        return getattr(self, name)

    def forward(self, image):
        return self.head(self.backbone(image)).mean()


def trained(compiled):
    paddle.seed(1)
    net = Net()
    names = list(net.state_dict())
    if compiled:
        compile_backbone(net)
    optimizer = paddle.optimizer.Momentum(0.1, parameters=net.parameters())
    losses = []
    for step, size in enumerate((8, 8, 12)):
        loss = net(paddle.to_tensor(np.random.default_rng(step).standard_normal((2, 3, size, size)).astype("float32")))
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        losses.append(loss.item())
    assert list(net.state_dict()) == names
    net.eval()
    losses.append(net(paddle.ones([1, 3, 10, 10])).item())
    return losses, {name: value.numpy() for name, value in net.state_dict().items()}


def test_a_compiled_backbone_trains_as_an_eager_one():
    (eager, weights), (compiled, same) = trained(False), trained(True)
    assert np.allclose(eager, compiled, rtol=1e-6)
    for name, value in weights.items():
        assert np.allclose(value, same[name], rtol=1e-5, atol=1e-7), name
