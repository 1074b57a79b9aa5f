"""A PaddleDetection user's day on real images: their files, weights and commands, and the lines their scripts read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from commands import call as call_command
from paddledetection_files import write_files

from ppkd.config import load_config
from ppkd.models import build_detector
from ppkd.utils.serialization import write_weights

CONFIG = "configs/yolo/yolo_mine.yml"
QUICK = ("use_gpu=false", "epoch=1", "log_iter=1", "worker_num=0", "TrainReader.batch_size=4")
FEW = ("TrainDataset.sample_num=8", "EvalDataset.sample_num=3")
NUMBER = r"\d+\.\d{6}"
LINE = re.compile(
    r"^\[\d\d/\d\d \d\d:\d\d:\d\d\] ppkd\.engine\S* INFO: "
    rf"Epoch: \[0\] \[0/2\] learning_rate: {NUMBER} loss_xy: {NUMBER} loss_wh: {NUMBER} loss_obj: {NUMBER} "
    rf"loss_cls: {NUMBER} distill_loss: {NUMBER} loss: {NUMBER} eta: \S+ batch_cost: \d+\.\d{{4}} "
    r"data_cost: \d+\.\d{4} ips: \d+\.\d{4} images/s",
    re.MULTILINE,
)


@pytest.fixture(scope="module")
def home(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder: their configurations, their data, and weights of a detector of COCO's 80 classes."""
    folder = tmp_path_factory.mktemp("home")
    write_files(folder / "configs")
    (folder / "dataset").mkdir()
    (folder / "dataset/bccd").symlink_to(real_data / "bccd")
    coco = build_detector(load_config(folder / CONFIG, ["num_classes=80"]))
    write_weights(folder / "coco.pdparams", coco.state_dict())
    return folder


@pytest.fixture(scope="module")
def call(root: Path, home: Path):
    def call(tool: str, *arguments: str) -> str:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("COLUMNS", "400")
            code, said = call_command(root / tool, *arguments, folder=home)
        assert code == 0, said
        return said

    return call


@pytest.fixture(scope="module")
def trained(call, home: Path) -> str:
    """What training the student from a teacher trained just before prints."""
    call("tools/train.py", "-c", CONFIG, "-o", *QUICK, *FEW, "pretrain_weights=null", "MobileNet.scale=0.5",
         "filename=teacher")  # fmt: skip
    return call("tools/train.py", "-c", CONFIG, "--slim_config", "configs/slim/distill/yolo_mine_distill.yml", "--eval",
                "-o", *QUICK, *FEW, "pretrain_weights=coco.pdparams", "preflight.evaluate=false")  # fmt: skip


@pytest.mark.slow
def test_training_by_distillation(trained: str, home: Path) -> None:
    assert LINE.search(trained), trained
    assert "also sets LearningRate: the student keeps its own, as -c says" in trained
    report = re.search(
        r"Pretrained weights: (\d+)/(\d+) tensors from coco\.pdparams; 6 of another shape: (.*)", trained
    )
    assert report and int(report[2]) - int(report[1]) == 6
    assert "yolo_head.yolo_output.0.weight (file [255, " in report[3]
    for line in (r"Eval iter: 0", r"Total sample number: 3, average FPS: \d", r"Best test bbox ap is \d\.\d{3}\."):
        assert re.search(line, trained), line
    assert re.search(r"mAP\(0\.50, integral\) = \d+\.\d\d%", trained)
    assert "use_gpu is true" not in trained
    assert {path.suffix for path in (home / "output/yolo_mine_yolo_mine_distill").glob("model_final.*")} == {
        ".pdparams", ".pdopt", ".pdstates"
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("config", "losses"), [("ppyoloe/crn_mine", "loss_iou"), ("picodet/pico_mine", "loss_vfl")])
def test_a_day_with_todays_detectors(call, home: Path, config: str, losses: str) -> None:
    path, name = f"configs/{config}.yml", config.rpartition("/")[2]
    trained = call("tools/train.py", "-c", path, "--eval", "-o", *QUICK, *FEW)
    assert re.search(rf"Epoch: \[0\] \[0/2\] .*{losses}: {NUMBER}", trained), trained
    assert re.search(r"mAP\(0\.50, integral\) = \d+\.\d\d%", trained)
    assert ("the key 'snapshot_epoch' stands in" in trained) == (name == "pico_mine")
    weights = f"weights=output/{name}/model_final"
    figure = re.compile(r"mAP\(0\.50, integral\) = (\S+)%")
    assert figure.search(call("tools/eval.py", "-c", path, "-o", *FEW, weights))[1] == figure.search(trained)[1]
    call("tools/export_model.py", "-c", path, "--output_dir=inference", "-o", weights)
    picture = next((home / "dataset/bccd/JPEGImages").glob("*.jpg"))
    said = call("deploy/python/infer.py", f"--model_dir=inference/{name}", f"--image_file={picture}", "--device=cpu",
                "--output_dir=deployed", "--run_benchmark=True")  # fmt: skip
    assert "QPS" in said


@pytest.mark.slow
def test_evaluation_takes_paths_with_and_without_extension(trained: str, call) -> None:
    slim = ("--slim_config", "configs/slim/distill/yolo_mine_distill.yml")
    plain = call(
        "tools/eval.py",
        "-c",
        CONFIG,
        "--classwise",
        "-o",
        *FEW,
        "weights=output/yolo_mine_yolo_mine_distill/model_final",
    )
    with_slim = call(
        "tools/eval.py",
        "-c",
        CONFIG,
        *slim,
        "-o",
        *FEW,
        "weights=output/yolo_mine_yolo_mine_distill/model_final.pdparams",
    )
    figure = re.compile(r"mAP\(0\.50, integral\) = (\S+)%")
    assert figure.search(plain)[1] == figure.search(with_slim)[1]
    assert "Per-category of VOC AP" in plain
    assert "use_gpu is true, but there is no GPU" in plain or "gpu" not in plain.lower()


@pytest.mark.slow
def test_inference_export_and_deployment_know_the_classes(trained: str, call, home: Path) -> None:
    picture = next((home / "dataset/bccd/JPEGImages").glob("*.jpg"))
    weights = "weights=output/yolo_mine_yolo_mine_distill/model_final"
    said = call("tools/infer.py", "-c", CONFIG, f"--infer_img={picture}", "--save_results", "--draw_threshold=0.001",
                "-o", "use_gpu=false", weights, "TestDataset.anno_path=nowhere.txt")  # fmt: skip
    assert f"Detection bbox results save in output/infer/{picture.name}" in said
    call("tools/export_model.py", "-c", CONFIG, "--output_dir=inference", "-o", weights)
    made = yaml.safe_load((home / "inference/yolo_mine/infer_cfg.yml").read_text(encoding="utf-8"))
    assert (made["label_list"], made["arch"], made["min_subgraph_size"]) == (["RBC", "WBC", "Platelets"], "YOLO", 3)
    said = call("deploy/python/infer.py", "--model_dir=inference/yolo_mine", f"--image_file={picture}", "--device=cpu",
                "--output_dir=deployed", "--run_benchmark=True")  # fmt: skip
    for line in ("Test iter 0", "Inference Time Info", "QPS"):
        assert line in said


@pytest.mark.slow
def test_weights_convert_and_still_evaluate(trained: str, call) -> None:
    said = call(
        "tools/convert_weights.py", "output/yolo_mine_yolo_mine_distill/model_final.pdparams", "student.safetensors"
    )
    assert said.splitlines()[-1] == "classes: RBC, WBC, Platelets"
    assert "Total sample number: 3" in call("tools/eval.py", "-c", CONFIG, "-o", *FEW, "weights=student.safetensors")
