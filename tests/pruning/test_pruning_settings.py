"""What a block Pruner may say, and the numbers of PaddleDetection's convolutions."""

from __future__ import annotations

import numpy as np
import pytest

from ppkd.config import load_config
from ppkd.config.value import freeze
from ppkd.experiment.experiment import Experiment
from ppkd.models import build_detector
from ppkd.models.pruning.groups import groups
from ppkd.models.pruning.search import ratios_for
from ppkd.models.pruning.settings import PruneSettings, choose
from ppkd.models.pruning.shrink import remove
from ppkd.models.pruning.trace import trace
from ppkd.report.complexity import complexity
from ppkd.utils.errors import ConfigError

CONFIG = "configs/yolov3/yolov3_mobilenet_v1_270e_voc.yml"
NUMBERS = (*range(27, 33), *range(34, 40), *range(41, 47))
RATIOS = {
    "yolov3_prune_l1_norm": [0.1, 0.2, 0.2, 0.2, 0.2, 0.1, 0.2, 0.3, 0.3, 0.3, 0.2, 0.1, 0.3, 0.4, 0.4, 0.4, 0.4, 0.3],
    "yolov3_mobilenet_v1_coco_distill_prune": [0.5] * 6 + [0.7] * 6 + [0.8] * 6,
}
PUBLISHED = {"yolov3_prune_l1_norm": 34.49, "yolov3_mobilenet_v1_coco_distill_prune": 69.4}
"""Per cent of the operations that PaddleDetection's page says these files take away."""


def slim(**block):
    return freeze({"slim": "Pruner", "Pruner": block})


@pytest.mark.slow
@pytest.mark.parametrize("file", RATIOS)
def test_paddledetections_files_take_away_what_its_page_says(root, file):
    voc = "l1_norm" in file
    model = build_detector(load_config(root / CONFIG, [] if voc else ["num_classes=80"]))
    params = [f"conv2d_{number}.w_0" for number in NUMBERS]
    settings = PruneSettings.of(slim(criterion="l1_norm", pruned_params=params, pruned_ratios=RATIOS[file]))
    before, channels = complexity(model, 608, 608), trace(model)
    chosen = choose(settings, model, groups(channels, model))
    assert len(chosen) == len(params)
    remove(model, channels, np.concatenate([c.group.weakest(model, "l1_norm", c.ratio, c.judged) for c in chosen]))
    assert 100 * (1 - complexity(model, 608, 608).gflops / before.gflops) == pytest.approx(PUBLISHED[file], abs=0.1)


@pytest.mark.parametrize(
    ("block", "answer"),
    [
        ({}, "Pruner needs pruned_params with pruned_ratios, or else a target"),
        ({"criterion": "l1_norm", "target": 0.5, "pruned_ratios": []}, "or else a target"),
        ({"criterion": "l2", "target": 0.5}, "Pruner.criterion is l2, expected one of l1_norm, fpgm"),
        ({"criterion": "fpgm", "target": 1.5}, r"Pruner.target is 1.5, expected above 0 and below 1"),
        ({"criterion": "fpgm", "pruned_params": ["a"], "pruned_ratios": [1.2]}, r"pruned_ratios\[0\] is 1.2, expected"),
        ({"criterion": "fpgm", "pruned_params": ["a"], "pruned_ratios": [-0.1]}, r"pruned_ratios\[0\] is -0.1"),
        ({"criterion": "fpgm", "pruned_params": ["a"], "pruned_ratios": []}, "1 pruned_params and 0 pruned_ratios"),
        ({"criterion": "fpgm", "target": 0.5, "targets": 1}, "Pruner.targets is not a setting.*did you mean 'target'"),
        ({"criterion": "fpgm", "target": 0.5, "batches": 0}, "Pruner.batches is 0, expected at least 1"),
        ({"criterion": "fpgm", "target": "half"}, "Pruner.target is"),
    ],
)
def test_wrong_settings_are_one_line(block, answer):
    with pytest.raises(ConfigError, match=answer) as error:
        PruneSettings.of(slim(**block))
    assert "\n" not in str(error.value)


def test_a_file_of_pruning_alone_has_no_teacher(root):
    cfg = load_config(root / "configs/shapes/yolov3_mobilenet_v1_x0.25_160_shapes.yml")
    file = freeze({"slim": "Pruner", "losses": {}, "Pruner": {"criterion": "fpgm", "target": 0.5}})
    with pytest.raises(ConfigError, match="losses is not a key of a slim file that says slim: Pruner"):
        Experiment.parse(cfg, file).check()


@pytest.fixture(scope="module")
def small(root):
    """Small detectors by name, with their groups."""
    files = ("yolov3_mobilenet_v1_x0.25_160_shapes", "picodet_s_160_shapes")
    models = [build_detector(load_config(root / "configs/shapes" / f"{file}.yml")) for file in files]
    return {type(model).__name__: (model, groups(trace(model), model)) for model in models}


@pytest.mark.parametrize(
    ("detector", "param", "answer"),
    [
        ("YOLOv3", "neck.yolo_block.0.tip.conv.weigh", "has no such weight; did you mean 'neck.yolo_block.0.tip"),
        ("YOLOv3", "conv2d_500.w_0", "this YOLOv3 has 50 convolutions: is the file for another detector"),
        ("YOLOv3", "yolo_head.yolo_output.0.weight", "whose channels cannot be removed: they are recorded"),
        (
            "PicoDet",
            "conv2d_3.w_0",
            "in PicoDet convolutions are not numbered as in PaddleDetection",
        ),
    ],
)
def test_weights_that_cannot_be_pruned_are_named(small, detector, param, answer):
    model, found = small[detector]
    settings = PruneSettings.of(slim(criterion="fpgm", pruned_params=[param], pruned_ratios=[0.5]))
    with pytest.raises(ConfigError, match=answer):
        choose(settings, model, found)


def test_the_first_weight_of_a_group_speaks_for_all(root):
    model = build_detector(load_config(root / "configs/shapes/retinanet_r18_160_shapes.yml"))
    found = groups(trace(model), model)
    first, second, *_ = next(group for group in found if len(group.members) > 1).members
    settings = PruneSettings.of(slim(criterion="fpgm", pruned_params=[second, first], pruned_ratios=[0.5, 0.1]))
    assert [(each.judged, each.ratio) for each in choose(settings, model, found)] == [(second, 0.5)]


def test_the_target_is_met_where_the_loss_grows_least():
    sizes = {"a": 0.5, "b": 0.5}
    ratios = ratios_for(
        {"a": [0.1, 0.2, 0.4], "b": [1.0, 2.0, 4.0]},
        0.7,
        lambda given: sum(sizes[name] * (1 - ratio) for name, ratio in given.items()),
    )
    assert ratios["a"] > 5 * ratios["b"]
    assert sum(sizes[name] * (1 - ratio) for name, ratio in ratios.items()) == pytest.approx(0.7, abs=1e-6)
