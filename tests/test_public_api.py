"""The public Python interface, as the architecture page shows it."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from parity_fill import image_batch

import ppkd
from ppkd.utils.errors import ConfigError
from ppkd.utils.serialization import write_weights

CONFIG = "configs/shapes/yolov3_mobilenet_v1_x0.25_160_shapes.yml"


@pytest.fixture
def batch():
    return {
        "image": paddle.to_tensor(image_batch(2, 96, 64)),
        "im_shape": paddle.to_tensor([[96, 64]] * 2, dtype="float32"),
        "scale_factor": paddle.ones([2, 2]),
        "im_id": paddle.to_tensor([[1], [2]]),
        "gt_bbox": [paddle.to_tensor([[4.0, 8, 40, 60]]), paddle.zeros([0, 4])],
        "gt_class": [paddle.to_tensor([1]), paddle.zeros([0], dtype="int64")],
    }


def test_a_detector_from_yaml_to_detections(root, batch, tmp_path):
    cfg = ppkd.load_config(root / CONFIG, overrides=["num_classes=3"])
    model, other = ppkd.build_detector(cfg), ppkd.build_detector(cfg)
    write_weights(tmp_path / "other.pdparams", {k: v.numpy() for k, v in other.state_dict().items()})
    report = ppkd.load_weights(model, str(tmp_path / "other"), strict=True)
    assert str(report).startswith("241/241 tensors from ")
    for name, tensor in model.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), other.state_dict()[name].numpy())
    assert model.extract(batch).cls_logits[-1].shape == [2, 3, 3, 3, 2]
    assert set(model(batch)) == {"loss_xy", "loss_wh", "loss_obj", "loss_cls", "loss"}
    model.eval()
    result = model.predict(batch)
    assert result["bbox"].dtype == paddle.float32 and result["bbox_num"].dtype == paddle.int32
    assert result["bbox"].shape == [int(result["bbox_num"].sum().item()), 6]


def test_a_distiller_from_two_files(root, batch, tmp_path, monkeypatch):
    monkeypatch.chdir(root)
    cfg = ppkd.load_config(CONFIG)
    teacher = ppkd.build_detector(cfg)
    write_weights(tmp_path / "teacher.pdparams", {k: v.numpy() for k, v in teacher.state_dict().items()})
    overrides = [f"teacher.config={CONFIG}", f"teacher.weights={tmp_path / 'teacher'}"]
    slim = ppkd.load_config("slim/distill/yolov3_l2.yml", overrides)
    kd = ppkd.build_distiller(cfg, slim)
    terms = kd(batch)
    assert {"l2", "loss_obj", "loss"} < set(terms)
    assert kd.deployable() is kd.student
    assert list(kd.losses) == ["l2"]
    teacher.eval()
    theirs = teacher.extract(batch).objectness[0]
    np.testing.assert_array_equal(kd.teacher.detector.extract(batch).objectness[0].numpy(), theirs.numpy())


def test_distilling_is_one_call(root, monkeypatch):
    """Files, overrides and options reach the run; without options it is a plain one."""
    seen = []
    monkeypatch.chdir(root)
    monkeypatch.setattr("ppkd.experiment.training.train", lambda *run, **changed: seen.append((*run, changed)))
    slim = "slim/distill/yolov3_l2.yml"
    overrides = ["epoch=7", "slim.teacher=output/a"]
    ppkd.distill(student=CONFIG, slim=slim, overrides=overrides, options=ppkd.TrainOptions(evaluate=True))
    ppkd.distill(CONFIG, slim)
    ppkd.distill(CONFIG, slim, evaluate=True)
    (cfg, losses, options, _), plain, named = seen
    assert (cfg["epoch"], losses["teacher"], options.evaluate) == (7, "output/a", True)
    assert (plain[2], plain[3]) == (ppkd.TrainOptions(), {})
    assert (named[2], named[3]) == (ppkd.TrainOptions(), {"evaluate": True})
    assert ppkd.distill.DistillModel is not None


def test_a_wrong_option_is_refused(root):
    with pytest.raises(TypeError, match="evalute"):
        ppkd.TrainOptions(evalute=True)
    with pytest.raises(TypeError, match="evalute"):
        ppkd.train(ppkd.load_config(str(root / CONFIG)), evalute=True)


def test_public_names_are_there():
    assert all(getattr(ppkd, name) is not None for name in ppkd.__all__)


def test_distilling_names_teacher_data_and_method(root, monkeypatch, tmp_path):
    """The data sets replace the student's whole: no setting of another form is left in them."""
    seen = []
    monkeypatch.chdir(root)
    monkeypatch.setattr("ppkd.experiment.training.train", lambda *run, **changed: seen.append(run))
    data = tmp_path / "data.yml"
    data.write_text("num_classes: 2\nTrainDataset: {name: YOLODataSet, anno_path: data.yaml}\n")
    ppkd.distill(student=CONFIG, teacher="output/a b", data=data, overrides=["slim.losses.cwd.tau=2"])
    ppkd.distill(student=CONFIG, teacher="output/a", method="fgd_small", overrides=["epoch=3"])
    (cfg, how, _), (plain, small, _) = seen
    assert cfg["num_classes"] == 2 and dict(cfg["TrainDataset"]) == {"name": "YOLODataSet", "anno_path": "data.yaml"}
    assert (how["teacher"], how["losses"]["cwd"]["tau"]) == ("output/a b", 2)
    assert plain["epoch"] == 3 and small["losses"]["fgd"]["scale"] == "rms"
    with pytest.raises(ConfigError, match=r"give slim \(a\.yml\) or method \(cwd\), not both"):
        ppkd.distill(CONFIG, "a.yml", method="cwd")
    with pytest.raises(ConfigError, match=r"data is the folder .*: `ppkd init .*` writes a data file for it"):
        ppkd.distill(CONFIG, data=tmp_path)
    data.write_text("epoch: 3\nTrainDataset: {name: YOLODataSet}\n")
    with pytest.raises(ConfigError, match=r"data\.yml: no data file, which has metric, map_type, num_classes"):
        ppkd.distill(CONFIG, data=data)


def test_files_train_without_being_loaded_first(root, monkeypatch):
    seen = []

    def parse(cfg, slim, options):
        seen.append((cfg, slim, options))
        raise ConfigError("enough")

    monkeypatch.chdir(root)
    monkeypatch.setattr("ppkd.experiment.training.Experiment.parse", parse)
    with pytest.raises(ConfigError, match="enough"):
        ppkd.train(CONFIG, "slim/distill/yolov3_l2.yml", evaluate=True)
    with pytest.raises(ConfigError, match=r"the configuration x\.yml does not exist"):
        ppkd.train("x.yml")
    ((cfg, slim, options),) = seen
    assert cfg["architecture"] == "YOLOv3" and slim["slim"] == "Distill" and options.evaluate


def test_one_picture_may_stand_alone():
    from ppkd.deploy.pipeline import Found, Pipeline

    class Echo(Pipeline):
        def prepare(self, picture):
            return picture

        def detect(self, batch):
            return [Found(picture) for picture in batch]

    array = np.zeros((2, 3, 3), np.uint8)
    assert Echo(None, None).predict("a.jpg") == ["a.jpg"] and Echo(None, None).predict(["a", "b"]) == ["a", "b"]
    assert Echo(None, None).predict(array)[0] is array
