"""Backbones keep the promises of their specs; frozen parts neither train nor drift."""

from __future__ import annotations

from functools import partial

import numpy as np
import paddle
import pytest
from parity_fill import fill_model, image_batch, load_keys

from ppkd.models.backbones.darknet import DarkNet
from ppkd.models.backbones.hgnet_v2 import PPHGNetV2
from ppkd.models.backbones.mobilenet_v1 import MobileNetV1
from ppkd.models.backbones.res2net import Res2Net, Res2NetBlock
from ppkd.models.backbones.resnet import ResNet, block_names
from ppkd.models.backbones.resnet_blocks import ConvNorm
from ppkd.utils.errors import ConfigError

BUILDERS = {
    "mobilenet": lambda: MobileNetV1(scale=0.25, feature_maps=(2, 6, 13)),
    "resnet18_d": lambda: ResNet(depth=18, variant="d", return_idx=(1, 3)),
    "resnet18_d_dcn": lambda: ResNet(depth=18, variant="d", freeze_at=-1, dcn_v2_stages=(3,)),
    "resnet50_a_short": lambda: ResNet(depth=50, variant="a", num_stages=2, return_idx=(0, 1)),
    "resnext50_b_short": lambda: ResNet(depth=50, groups=32, base_width=4, num_stages=2, return_idx=(1,)),
    "resnext50_dcn_short": lambda: ResNet(
        depth=50, groups=32, base_width=4, num_stages=2, return_idx=(1,), dcn_v2_stages=(1,)
    ),
    "res2net50_d_dcn_short": lambda: Res2Net(variant="d", num_stages=2, return_idx=(0, 1), dcn_v2_stages=(1,)),
    "res2next50_short": lambda: Res2Net(width=8, scales=3, groups=4, num_stages=2, return_idx=(1,)),
    "darknet_short": lambda: DarkNet(num_stages=3, return_idx=(1, 2)),
}


@pytest.mark.parametrize("name", BUILDERS)
def test_maps_are_what_out_specs_say(name):
    backbone = BUILDERS[name]()
    backbone.eval()
    with paddle.no_grad():
        maps = backbone(paddle.randn([1, 3, 64, 96]))
    expected = [[1, spec.channels, 64 // spec.stride, 96 // spec.stride] for spec in backbone.out_specs]
    assert [feature.shape for feature in maps] == expected
    assert [spec.stride for spec in backbone.out_specs] == sorted(spec.stride for spec in backbone.out_specs)


@pytest.mark.parametrize(("freeze_at", "frozen"), [(-1, ()), (0, ("conv1", "res2")), (1, ("conv1", "res2", "res3"))])
def test_resnet_freezes_the_stem_and_the_first_stages(freeze_at, frozen):
    backbone = ResNet(depth=18, freeze_at=freeze_at, freeze_norm=False)
    backbone.train()
    sum(level.sum() for level in backbone(paddle.randn([2, 3, 32, 32]))).backward()
    for name, parameter in backbone.named_parameters():
        if not name.endswith(("_mean", "_variance")):
            assert (parameter.grad is None) is name.startswith(frozen), name


def test_res2net_freezes_the_stem_and_the_first_stages():
    backbone = Res2Net(width=4, num_stages=3, return_idx=(2,), freeze_at=1, freeze_norm=False)
    trained = {name for name, parameter in backbone.named_parameters() if not parameter.stop_gradient}
    assert trained
    assert all(name.startswith("res4.") for name in trained)


@pytest.mark.parametrize(("depth", "published"), [(50, "res2net50"), (101, "res2net101_OVERRIDE")])
def test_res2net_has_the_names_and_shapes_of_the_reference(depth, published):
    keys = [(name.removeprefix("backbone."), shape) for name, shape in load_keys(f"faster_rcnn_{published}")]
    found = [(name, list(tensor.shape)) for name, tensor in Res2Net(depth=depth).state_dict().items()]
    assert found == keys[: len(found)]
    assert keys[len(found)][0].startswith("neck.")


def test_hgnet_gives_the_numbers_of_the_reference():
    """Means and deviations of the maps that PaddleDetection's PPHGNetV2 makes of this image with these weights."""
    backbone = PPHGNetV2(arch="L")
    fill_model(backbone, [(r".*aggregation_excitation_conv\.bn\.weight", 0.3, 0.0)])
    backbone.train()
    with paddle.no_grad():
        maps = [level.numpy().astype("float64") for level in backbone(paddle.to_tensor(image_batch(1, 64, 96)))]
    assert [level.mean() for level in maps] == pytest.approx([0.05908623, 0.12754054, 0.03457619], rel=1e-5)
    assert [level.std() for level in maps] == pytest.approx([0.08908301, 0.10782130, 0.05126645], rel=1e-5)


def test_hgnet_trains_all_but_its_stem_at_the_given_rates():
    backbone = PPHGNetV2(arch="L", lr_mult_list=[0.0, 0.1, 0.2, 0.3, 0.4], freeze_norm=False, return_idx=[3])
    rates = {}
    for name, parameter in backbone.named_parameters():
        if not parameter.stop_gradient:
            rates.setdefault(".".join(name.split(".")[:2]), set()).add(parameter.optimize_attr["learning_rate"])
    assert rates == {"stages.0": {0.1}, "stages.1": {0.2}, "stages.2": {0.3}, "stages.3": {0.4}}


@pytest.mark.parametrize("stride", [1, 2])
def test_shares_of_a_res2net_block_build_on_each_other_unless_it_strides(stride):
    """A change of one share of the channels reaches the later ones' 3x3 convolutions in blocks of stride 1 only."""
    conv = partial(ConvNorm, freeze_norm=True)
    block = Res2NetBlock(8, 8, 2, stride, first=True, scales=4, groups=1, deformable=False, conv=conv)
    block.eval()
    seen = []
    for share in block.branch2b:
        share.register_forward_post_hook(lambda layer, given, made: seen.append(made))
    x = paddle.randn([1, 8, 6, 6])
    with paddle.no_grad():
        block(x)
        block.branch2a.norm.bias[:2] = 5.0
        block(x)
    moved = [not paddle.allclose(before, after).item() for before, after in zip(seen[:3], seen[3:], strict=True)]
    assert moved == ([True, True, True] if stride == 1 else [True, False, False])


def test_res2net_can_be_saved_as_a_program(tmp_path):
    backbone = Res2Net(width=4, num_stages=2, return_idx=(1,))
    backbone.eval()
    x = paddle.randn([1, 3, 32, 64])
    shape = paddle.static.InputSpec([None, 3, None, None])
    paddle.jit.save(paddle.jit.to_static(backbone, input_spec=[shape]), str(tmp_path / "saved"))
    saved = paddle.jit.load(str(tmp_path / "saved"))(x)
    np.testing.assert_allclose(saved.numpy(), backbone(x)[0].numpy(), rtol=1e-5, atol=1e-6)


def test_resnet_freezes_its_norms_by_default():
    backbone = ResNet(depth=18)
    before = {name: tensor.numpy().copy() for name, tensor in backbone.state_dict().items()}
    backbone.train()
    backbone(paddle.randn([2, 3, 32, 32]) + 1)
    norms = [layer for layer in backbone.sublayers() if isinstance(layer, paddle.nn.BatchNorm2D)]
    assert all(norm.weight.stop_gradient and norm.bias.stop_gradient for norm in norms)
    for name, tensor in backbone.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), before[name], err_msg=name)


def test_darknet_freezes_up_to_a_stage():
    backbone = DarkNet(num_stages=3, return_idx=(2,), freeze_at=1)
    trained = {name for name, parameter in backbone.named_parameters() if not parameter.stop_gradient}
    assert trained
    assert all(name.startswith(("stage.2.", "stage.1.downsample")) for name in trained)


def test_learning_rates_and_decays_reach_the_parameters():
    resnet = ResNet(depth=18, lr_mult_list=(0.5, 1.0, 1.0, 0.1), freeze_at=-1, freeze_norm=False, norm_decay=0.25)
    assert resnet.res2[0].branch2a.conv.weight.optimize_attr["learning_rate"] == 0.5
    assert resnet.res5[1].branch2b.norm.bias.optimize_attr["learning_rate"] == 0.1
    assert resnet.conv1[0].norm.weight.regularizer._coeff == 0.25
    assert resnet.conv1[0].conv.weight.regularizer is None
    mobilenet = MobileNetV1(scale=0.25, conv_learning_rate=0.3, conv_decay=0.125)
    kernel = mobilenet.conv6._pointwise_conv._conv.weight
    assert kernel.optimize_attr["learning_rate"] == 0.3
    assert kernel.regularizer._coeff == 0.125


def test_deformable_convolution_starts_as_a_plain_one():
    """Zero offsets and masks of one half: half of what the same kernel gives undeformed."""
    backbone = ResNet(depth=50, freeze_at=-1, num_stages=1, return_idx=(0,), dcn_v2_stages=(0,))
    layer = backbone.res2[0].branch2b
    x = paddle.randn([1, 64, 6, 6])
    plain = paddle.nn.functional.conv2d(x, layer.conv.weight, padding=1)
    assert paddle.allclose(layer.convolve(x), 0.5 * plain, atol=1e-5)


def test_names_of_long_stages():
    assert block_names(3, 4) == ["res3a", "res3b", "res3c", "res3d"]
    assert block_names(4, 23)[:3] == ["res4a", "res4b1", "res4b2"]
    assert len(block_names(4, 23)) == 23


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: MobileNetV1(feature_maps=(4, 14)), r"feature_maps is \[4, 14\]"),
        (lambda: ResNet(return_idx=(1, 4)), r"return_idx is \[1, 4\]"),
        (lambda: ResNet(depth=18, groups=32), "depth is 18"),
        (lambda: ResNet(lr_mult_list=(1.0,)), "lr_mult_list has 1 numbers"),
        (lambda: Res2Net(num_stages=2, return_idx=(2,)), r"Res2Net.return_idx is \[2\]"),
        (lambda: DarkNet(return_idx=(5,)), r"return_idx is \[5\]"),
    ],
)
def test_wrong_settings_are_named(build, words):
    with pytest.raises(ConfigError, match=words):
        build()
