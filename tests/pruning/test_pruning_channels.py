"""Channels of zeros can be pruned from every detector without a change of what it says."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from ppkd.config import load_config
from ppkd.models import build_detector
from ppkd.models.pruning.groups import fpgm, groups, l1_norm
from ppkd.models.pruning.sensitivity import silenced
from ppkd.models.pruning.shrink import remove, resize
from ppkd.models.pruning.trace import trace
from ppkd.report.complexity import complexity

SHAPES = {
    "YOLOv3": "yolov3_mobilenet_v1_x0.25_160_shapes",
    "RetinaNet": "retinanet_r18_160_shapes",
    "GFL": "gfl_r18_160_shapes",
    "FasterRCNN": "faster_rcnn_r18_160_shapes",
    "PPYOLOE": "ppyoloe_plus_crn_160_shapes",
    "PicoDet": "picodet_s_160_shapes",
}
PART = 3


def drawn(root, name):
    """A detector in which every parameter is random: a mistake behind one of zeros would not show."""
    paddle.seed(0)
    model = build_detector(load_config(root / "configs/shapes" / f"{SHAPES[name]}.yml"))
    model.eval()
    for parameter in model.parameters():
        if parameter.ndim > 1 and not parameter.abs().max().item():
            parameter.set_value(0.05 * paddle.randn(parameter.shape))
        elif parameter.ndim == 1 and parameter.shape[0] > 1 and not parameter.stop_gradient:
            parameter.set_value(parameter + 0.1 * paddle.randn(parameter.shape))
    return model


def batch():
    image = np.random.default_rng(1).standard_normal((1, 3, 64, 96)).astype("float32")
    shape = paddle.to_tensor([[64.0, 96.0]])
    return {"image": paddle.to_tensor(image), "im_shape": shape, "scale_factor": paddle.ones([1, 2])}


@paddle.no_grad()
def numbers(model):
    """What the head says; the neck's maps have fewer channels."""
    record = model.extract(batch())
    return {name: [tensor.numpy() for tensor in record[name]] for name in record.tensors if name != "neck"}


@pytest.mark.parametrize("name", ["YOLOv3", *(pytest.param(name, marks=pytest.mark.slow) for name in list(SHAPES)[1:])])
def test_pruning_channels_of_zeros_changes_no_answer(root, name):
    model = drawn(root, name)
    channels = trace(model)
    found = groups(channels, model)
    gone = np.concatenate([group.weakest(model, "l1_norm", 1 / PART) for group in found])
    before = complexity(model, 64, 96)
    old = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    with silenced(model, channels, gone):
        expected = numbers(model)
    shapes = remove(model, channels, gone)
    answers = numbers(model)
    for entry, tensors in expected.items():
        for wanted, got in zip(tensors, answers[entry], strict=True):
            np.testing.assert_allclose(got, wanted, rtol=0, atol=3e-5 * max(1.0, np.abs(wanted).max()), err_msg=entry)
    after = complexity(model, 64, 96)
    assert after.gflops < 0.75 * before.gflops
    assert after.parameters < 0.75 * before.parameters
    state = model.state_dict()  # PicoDet has tensors under two names
    changed = {id(tensor) for key, tensor in state.items() if tuple(tensor.shape) != old[key]}
    assert {id(state[key]) for key in shapes} == changed
    assert all(list(state[key].shape) == shape for key, shape in shapes.items())
    assert [level.channels for level in model.spec().entries["neck"].levels] == [
        tensor.shape[1] for tensor in model.features(batch())
    ]
    again = build_detector(load_config(root / "configs/shapes" / f"{SHAPES[name]}.yml"))
    resize(again, shapes)
    again.eval()
    again.set_state_dict(model.state_dict())
    for entry, tensors in numbers(again).items():
        for wanted, got in zip(answers[entry], tensors, strict=True):
            np.testing.assert_array_equal(got, wanted)


def test_a_pruned_detector_trains_all_its_parameters(root):
    model = drawn(root, "YOLOv3")
    channels = trace(model)
    remove(model, channels, np.concatenate([g.weakest(model, "fpgm", 0.5) for g in groups(channels, model)]))
    model.train()
    optimizer = paddle.optimizer.Momentum(0.01, parameters=model.parameters())
    weight = dict(model.named_parameters())["neck.yolo_block.0.tip.conv.weight"]
    before = weight.numpy().copy()
    record = model.extract(batch())
    paddle.add_n([tensor.square().mean() for tensor in record["neck"]]).backward()
    assert list(weight.grad.shape) == list(before.shape)
    optimizer.step()
    assert not np.array_equal(weight.numpy(), before)


def test_the_criteria_are_those_of_the_papers():
    filters = np.float32([[1, 1], [-2, 0], [5, 5], [1.1, 1]])
    np.testing.assert_allclose(l1_norm(filters), [1, 1, 5, 1.05])
    wanted = [sum(np.linalg.norm(one - other) for other in filters) for one in filters]
    np.testing.assert_allclose(fpgm(filters), wanted, rtol=1e-6)
