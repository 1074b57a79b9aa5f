"""Weights of dense detectors that PaddleDetection has no file of: parts of its models, changed where they must be."""

from __future__ import annotations

import re

import pytest
from parity_fill import load_keys

from ppkd.config import load_config
from ppkd.models import build_detector

Keys = list[tuple[str, list[int]]]
STEM = [(3, 32), (32, 32), (32, 64)]
TAPS = 9


def part(model: str, *roles: str) -> Keys:
    return [(name, shape) for name, shape in load_keys(model) if name.startswith(tuple(f"{role}." for role in roles))]


def deformable(keys: Keys, *stages: int) -> Keys:
    """Before every deformable kernel, what predicts two offsets and a mask for each of its taps."""
    pattern = rf"backbone\.res[{''.join(map(str, stages))}]\..*branch2b(\.\d)?\.conv\.weight"
    found: Keys = []
    for name, shape in keys:
        if re.fullmatch(pattern, name):
            stem = name.removesuffix("conv.weight")
            found.append((f"{stem}conv_offset.weight", [3 * TAPS, shape[0], 3, 3]))
            found.append((f"{stem}conv_offset.bias", [3 * TAPS]))
        found.append((name, shape))
    return found


def resnext(keys: Keys) -> Keys:
    """32 groups of 4, 8, 16 and 32 channels: the inner convolutions are twice as wide, each group's part small."""
    found: Keys = []
    for name, shape in keys:
        wide = list(shape)
        if ".branch2a." in name or ".branch2b." in name:
            wide[0] *= 2
        if name.endswith("branch2b.conv.weight"):
            wide[1] = wide[0] // 32
        if name.endswith("branch2c.conv.weight"):
            wide[1] *= 2
        found.append((name.replace("conv1.conv1", "conv1.res_conv1"), wide))
    return found


def deep_stem(keys: Keys) -> Keys:
    """Variant d of a Res2Net: three convolutions before the stages instead of one."""
    found: Keys = []
    for i, (inner, outer) in enumerate(STEM):
        name = f"backbone.res1.conv1_{i + 1}"
        found.append((f"{name}.conv.weight", [outer, inner, 3, 3]))
        found += [(f"{name}.norm.{entry}", [outer]) for entry in ("weight", "bias", "_mean", "_variance")]
    return found + [(name, shape) for name, shape in keys if ".res1." not in name]


R101 = part("retinanet_r101_fpn", "backbone")
RES2NET = deep_stem(part("faster_rcnn_res2net101_OVERRIDE", "backbone"))
NECK = part("gfl_r50_fpn", "neck")
HEADS = {
    "gfl": part("gfl_r50_fpn", "head"),
    "gflv2": part("gflv2_r50_fpn", "head"),
    "retinanet": part("retinanet_r50_fpn", "head"),
}
MODELS = {
    "gfl_r101_fpn_mstrain_2x": R101,
    "gfl_r101_dcn_fpn_mstrain_2x": deformable(R101, 3, 4, 5),
    "gfl_x101_32x4d_fpn_mstrain_2x": resnext(R101),
    "gfl_x101_32x4d_dcn_fpn_mstrain_2x": deformable(resnext(R101), 4, 5),
    "gfl_res2net101_vd_26w_4s_dcn_fpn_mstrain_2x": deformable(RES2NET, 4, 5),
    "gflv2_r101_fpn_mstrain_2x": R101,
    "gflv2_r101_dcn_fpn_mstrain_2x": deformable(R101, 3, 4, 5),
    "gflv2_x101_32x4d_dcn_fpn_mstrain_2x": deformable(resnext(R101), 4, 5),
    "gflv2_res2net101_vd_26w_4s_dcn_fpn_mstrain_2x": deformable(RES2NET, 4, 5),
    "retinanet_x101_32x4d_fpn_1x": resnext(R101),
    "retinanet_x101_32x4d_fpn_2x": resnext(R101),
}


@pytest.mark.parametrize("name", MODELS)
def test_weights_are_those_of_published_parts(root, name):
    kind = name.split("_", 1)[0]
    folder = "retinanet" if kind == "retinanet" else "gfl"
    state = build_detector(load_config(root / "configs" / folder / f"{name}_coco.yml")).state_dict()
    found = [(key, list(tensor.shape)) for key, tensor in state.items()]
    assert [one for one in found if one[0].startswith("backbone.")] == MODELS[name]
    assert [one for one in found if not one[0].startswith("backbone.")] == NECK + HEADS[kind]
