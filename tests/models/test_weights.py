import numpy as np
import paddle
import pytest
from paddle import nn

from ppkd.models.weights import load_pretrain, load_weights
from ppkd.utils.errors import WeightsError
from ppkd.utils.serialization import write_weights


class Net(nn.Layer):
    def __init__(self, classes=3, width=4):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2D(3, width, 3), nn.BatchNorm2D(width))
        self.head = nn.Conv2D(width, classes, 1)


def arrays(layer):
    return {name: tensor.numpy().copy() for name, tensor in layer.state_dict().items()}


def random_arrays(layer, seed=0):
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=value.shape).astype("float32") for name, value in arrays(layer).items()}


def same(layer, wanted):
    have = arrays(layer)
    return all(np.array_equal(have[name], value) for name, value in wanted.items())


@pytest.mark.parametrize("suffix", [".pdparams", ".safetensors"])
def test_every_parameter_and_buffer_is_set_whatever_the_order(tmp_path, suffix):
    net = Net()
    wanted = random_arrays(net)
    write_weights(tmp_path / f"m{suffix}", dict(reversed(wanted.items())))
    report = load_weights(net, tmp_path / "m")
    assert same(net, wanted)
    assert report.complete
    assert str(report) == f"{len(wanted)}/{len(wanted)} tensors from {tmp_path / 'm'}"


def test_a_file_of_paddle_is_read(tmp_path):
    source, target = Net(), Net()
    paddle.save(source.state_dict(), str(tmp_path / "m.pdparams"))
    load_weights(target, str(tmp_path / "m.pdparams"))
    assert same(target, arrays(source))


def test_strict_loading_names_all_that_differs_and_sets_nothing(tmp_path):
    net = Net()
    before = arrays(net)
    given = random_arrays(Net(classes=5))
    given.pop("backbone.0.bias")
    given["extra"] = np.zeros(1, "float32")
    write_weights(tmp_path / "m.pdparams", given)
    with pytest.raises(WeightsError) as error:
        load_weights(net, tmp_path / "m.pdparams")
    for part in (
        "backbone.0.bias",
        "extra",
        "head.weight (file [5, 4, 1, 1], model [3, 4, 1, 1])",
        "nothing was loaded",
    ):
        assert part in str(error.value)
    assert same(net, before)


def test_loose_loading_sets_what_agrees_and_names_the_rest(tmp_path):
    net = Net()
    given = random_arrays(Net(classes=5))
    given["extra"] = np.zeros(1, "float32")
    write_weights(tmp_path / "m.pdparams", given)
    report = load_weights(net, tmp_path / "m", strict=False)
    assert report.unexpected == ("extra",)
    assert [name.split()[0] for name in report.mismatched] == ["head.weight", "head.bias"]
    assert report.loaded == report.total - 2
    assert same(net, {name: value for name, value in given.items() if name.startswith("backbone.")})


@pytest.mark.parametrize("load", [load_pretrain, lambda net, path: load_weights(net, path, strict=False)])
def test_a_file_in_which_nothing_fits_is_an_error(tmp_path, load):
    write_weights(tmp_path / "m.pdparams", {"other.weight": np.zeros(3, "float32")})
    with pytest.raises(WeightsError, match=r"nothing in the file fits this Net.*other\.weight"):
        load(Net(), tmp_path / "m")


def test_long_lists_are_cut_with_a_count(tmp_path):
    given = random_arrays(Net()) | {f"extra.{i}": np.zeros(1, "float32") for i in range(25)}
    write_weights(tmp_path / "m.pdparams", given)
    with pytest.raises(WeightsError, match=r"25 unused by the model: .*extra\.9, \.\.\. \(15 more\)") as error:
        load_weights(Net(), tmp_path / "m")
    assert "extra.10" not in str(error.value)


def test_a_classifier_starts_the_backbone_and_its_last_layer_is_named(tmp_path):
    net = Net()
    before = arrays(net)
    backbone = random_arrays(net.backbone)
    write_weights(tmp_path / "imagenet.pdparams", backbone | {"fc.weight": np.zeros((4, 1000), "float32")})
    report = load_pretrain(net, tmp_path / "imagenet")
    assert same(net.backbone, backbone)
    assert same(net, {name: value for name, value in before.items() if name.startswith("head.")})
    assert report.unexpected == ("fc.weight",)
    assert report.missing == ("head.weight", "head.bias")


@pytest.mark.parametrize("prefix", ["", "backbone."])
def test_a_last_stage_that_is_the_second_stage_starts_there(tmp_path, prefix):
    net = nn.Layer()
    net.backbone, net.bbox_head = nn.Layer(), nn.Layer()
    net.backbone.res4, net.bbox_head.head = nn.Linear(2, 2), nn.Layer()
    net.bbox_head.head.res5, net.bbox_head.score = nn.Linear(2, 2), nn.Linear(2, 2)
    given = {f"{prefix}{name}.weight": np.full((2, 2), 7.0, "float32") for name in ("res4", "res5")}
    write_weights(tmp_path / "imagenet.pdparams", given)
    report = load_pretrain(net, tmp_path / "imagenet")
    assert report.loaded == 2
    assert not report.unexpected
    assert (net.bbox_head.head.res5.weight.numpy() == 7).all()
    assert (net.bbox_head.score.weight.numpy() != 7).all()


def test_a_detector_of_other_classes_starts_all_but_the_head(tmp_path):
    net = Net(classes=3)
    given = random_arrays(Net(classes=80))
    write_weights(tmp_path / "coco.pdparams", given)
    report = load_pretrain(net, tmp_path / "coco")
    assert same(net, {name: value for name, value in given.items() if name.startswith("backbone.")})
    assert "head.bias (file [80], model [3])" in str(report)


def test_half_precision_is_cast_and_said(tmp_path):
    net = Net()
    given = random_arrays(net)
    half = {name: value.astype("float16") for name, value in given.items()}
    write_weights(tmp_path / "half.pdparams", half)
    report = load_weights(net, tmp_path / "half")
    assert same(net, {name: value.astype("float32") for name, value in half.items()})
    assert f"{len(given)} cast to the model's type" in str(report)


def test_bfloat16_is_read_exactly(tmp_path):
    net = Net()
    given = {name: np.round(value * 4).astype("float32") for name, value in random_arrays(net).items()}
    paddle.save({k: paddle.to_tensor(v).astype("bfloat16") for k, v in given.items()}, str(tmp_path / "b.pdparams"))
    report = load_weights(net, tmp_path / "b")
    assert same(net, given)
    assert len(report.cast) == len(given)


def test_integers_are_no_weights(tmp_path):
    given = random_arrays(Net()) | {"head.bias": np.zeros(3, "int64")}
    write_weights(tmp_path / "m.pdparams", given)
    with pytest.raises(WeightsError, match=r"head\.bias \(file int64, model float32\)"):
        load_weights(Net(), tmp_path / "m")


@pytest.mark.parametrize("load", [load_weights, load_pretrain])
def test_a_student_inside_of_a_file_is_told_how_to_get_out(tmp_path, load):
    held = {f"student_model.{name}": array for name, array in arrays(Net()).items()}
    write_weights(tmp_path / "old.pdparams", held)
    with pytest.raises(WeightsError, match=r"They hold a student inside: `ppkd convert` takes it out"):
        load(Net(), tmp_path / "old")
