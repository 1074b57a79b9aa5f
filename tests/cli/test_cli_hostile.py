"""Files, names and places made to break, through the commands that a user would type: one line and exit code 1."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ppkd.cli.main import main
from ppkd.data.shapes import draw_shapes
from ppkd.engine.hooks.results import Results
from ppkd.engine.position import Position
from ppkd.models import build_detector
from ppkd.utils.errors import DataError
from ppkd.utils.serialization import write_weights

CONFIG = "configs/shapes/yolov3_mobilenet_v1_x0.25_160_shapes.yml"
NAMES = (r"$\frac{1}{$ cost", "n" * 300, "a/b", "a_b")
SECONDS = 120


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_shapes(tmp_path_factory.mktemp("shapes"), images_train=4, images_val=2, size=64, seed=1)


@pytest.fixture(scope="module")
def weights(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from ppkd.config import load_config

    path = tmp_path_factory.mktemp("weights") / "model.pdparams"
    write_weights(path, build_detector(load_config(root / CONFIG)).state_dict())
    return path


@pytest.fixture
def shapes(drawn: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data set of this test's own."""
    monkeypatch.chdir(root)
    return Path(shutil.copytree(drawn, tmp_path / "shapes"))


@pytest.fixture
def settings(shapes: Path, tmp_path: Path) -> list[str]:
    data = [f"{name}Dataset.dataset_dir={shapes}" for name in ("Train", "Eval", "Test")]
    return [*data, f"save_dir={tmp_path}", "TrainReader.batch_size=2", "worker_num=0", "epoch=1", "use_gpu=false"]


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """The one line of a command that ends with 1."""

    def run(*arguments: object) -> str:
        assert main(list(map(str, arguments))) == 1
        *_, last = capsys.readouterr().err.strip().splitlines()
        assert last.startswith("error: ")
        return last

    return run


def rename(shapes: Path, names: tuple[str, ...]) -> None:
    for part in ("train", "val"):
        path = shapes / "annotations" / f"instances_{part}.json"
        content = json.loads(path.read_text())
        for category, name in zip(content["categories"], names, strict=True):
            category["name"] = name
        path.write_text(json.dumps(content))


def test_an_evaluation_of_classes_with_formulas_and_long_names_draws_every_curve(
    shapes: Path, settings: list[str], weights: Path, tmp_path: Path
) -> None:
    rename(shapes, NAMES)
    flags = ["--classwise", "--output_eval", str(tmp_path / "out"), "-o", *settings, f"weights={weights}"]
    assert main(["eval", "-c", CONFIG, *flags]) == 0
    curves = sorted(path.name for path in (tmp_path / "out" / "bbox_pr_curve").iterdir())
    assert len(curves) == 4
    assert {name.removesuffix("_precision_recall_curve.jpg") for name in curves} >= {"a_b", "a_b-2", "n" * 80}


def test_equal_class_names_are_refused_before_anything_is_trained(
    shapes: Path, settings: list[str], refused: Callable[..., str], tmp_path: Path
) -> None:
    rename(shapes, ("disc", "square", "disc", "star"))
    said = refused("train", "-c", CONFIG, "-o", *settings, "filename=run")
    assert "TrainDataset: 'disc' is the name of several classes; rename all but one" in said
    assert not list((tmp_path / "run").glob("*.pd*"))


@pytest.mark.parametrize("value", ["", "''", "' '", "null", '"a\\0b"', "[a]"])
def test_a_run_needs_a_folder(settings: list[str], refused: Callable[..., str], value: str) -> None:
    said = refused("train", "-c", CONFIG, "-o", *settings, f"save_dir={value}", "--dry_run")
    assert "save_dir" in said and "expected" in said


def test_json_that_nests_too_deeply(
    shapes: Path, settings: list[str], refused: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "bbox.json").write_text("[" * 100_000)
    said = refused("eval", "-c", CONFIG, "--json_eval", "--output_eval", tmp_path, "-o", *settings)
    assert "bbox.json: not a json file of detections (it nests too deeply)" in said
    (shapes / "annotations" / "instances_train.json").write_text('{"images":' * 100_000)
    assert "is no valid json: it nests too deeply" in refused("train", "-c", CONFIG, "-o", *settings)
    (tmp_path / "prototypes").mkdir()
    (tmp_path / "prototypes" / "gk_epoch_0.json").write_text("[" * 100_000)
    assert "gk_epoch_0.json: not a list of prototypes" in refused("prototypes", tmp_path)


def test_an_annotation_file_is_not_overwritten_by_the_detections(
    shapes: Path, settings: list[str], weights: Path, refused: Callable[..., str], tmp_path: Path
) -> None:
    (shapes / "annotations" / "instances_val.json").rename(tmp_path / "bbox.json")
    before = (tmp_path / "bbox.json").read_bytes()
    options = [*settings, f"EvalDataset.anno_path={tmp_path / 'bbox.json'}", f"weights={weights}"]
    said = refused("eval", "-c", CONFIG, "--output_eval", tmp_path, "-o", *options)
    assert "bbox.json: the result would overwrite the input" in said
    assert (tmp_path / "bbox.json").read_bytes() == before


@pytest.mark.parametrize("content", [b"\xff\xfe\x00binary", b"\x80\x81\n"])
def test_binary_lists_of_class_names(
    settings: list[str], weights: Path, refused: Callable[..., str], tmp_path: Path, content: bytes
) -> None:
    shutil.copy(weights, tmp_path / "m.pdparams")
    (tmp_path / "m.class_names.txt").write_bytes(content)
    (tmp_path / "labels.txt").write_bytes(content)
    options = [*settings, f"weights={tmp_path / 'm'}"]
    assert "m.class_names.txt: not a UTF-8 list" in refused("eval", "-c", CONFIG, "-o", *options)
    said = refused("convert", weights, tmp_path / "n.pdparams", "--label_list", tmp_path / "labels.txt")
    assert "labels.txt is no UTF-8 text" in said


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda arrays: arrays.pop("gt_bbox"), "the entry 'gt_bbox' is missing"),
        (lambda arrays: arrays.pop("im_id"), "the entry 'im_id' is missing"),
        (lambda arrays: arrays.update(image=arrays["image"].astype("int32")), "'image' is unlike"),
        (lambda arrays: arrays.update({"gt_bbox": arrays["gt_bbox"][:1]}), "batch|'gt_bbox' is unlike"),
    ],
)
def test_a_saved_batch_without_the_entries_of_this_run(
    settings: list[str], refused: Callable[..., str], tmp_path: Path, change: Callable, says: str
) -> None:
    from ppkd.config import load_config
    from ppkd.engine.saved_batch import save_batch
    from ppkd.experiment import Experiment
    from ppkd.experiment.assembly import assemble

    batch = assemble(Experiment.parse(load_config(CONFIG, settings))).loader.peek(0, 0)
    save_batch(tmp_path / "a.npz", batch)
    with np.load(tmp_path / "a.npz") as file:
        arrays = dict(file)
    change(arrays)
    np.savez(tmp_path / "a.npz", **arrays)
    said = refused("train", "-c", CONFIG, "--dry_run", "-o", *settings, f"preflight.batch={tmp_path / 'a.npz'}")
    assert "a.npz: " in said and any(text in said for text in says.split("|"))


@pytest.mark.parametrize("content", [b"\x00\xff", b"epoch;loss\n0;1\n", b"epoch,loss\nfirst,1\n"])
def test_results_that_no_run_wrote_are_named_when_it_goes_on(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "results.csv").write_bytes(content)
    with pytest.raises(DataError, match=r"results\.csv"):
        Results(tmp_path).before_train(SimpleNamespace(position=Position(epoch=1, batch=0, step=2)))


class _Page(BaseHTTPRequestHandler):
    answer = b"<!DOCTYPE html>\n<html><body>Please log in</body></html>"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.answer)))
        self.end_headers()
        self.wfile.write(self.answer)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    made = ThreadingHTTPServer(("127.0.0.1", 0), _Page)
    threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


@pytest.mark.parametrize("answer", [_Page.answer, b'{"error": "no such file"}', b"\x1f\x8b\x08compressed", b""])
def test_a_page_in_place_of_weights_is_named_and_not_kept(
    server: ThreadingHTTPServer,
    refused: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: bytes,
) -> None:
    monkeypatch.setenv("PPKD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(_Page, "answer", answer)
    url = f"http://127.0.0.1:{server.server_port}/model.pdparams"
    said = refused("convert", url, tmp_path / "n.pdparams")
    assert f"{url}: what the server answers is no weight file, it begins with {answer[:10]!r}"[:-2] in said
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def run(command: list[str], **more: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, text=True, capture_output=True, timeout=SECONDS, check=False, **{"env": environment, **more}
    )


@pytest.mark.parametrize("command", [["-m", "ppkd", "infer"], ["{root}/tools/train.py"], ["-m", "ppkd", "methods"]])
def test_a_current_folder_that_was_removed(root: Path, tmp_path: Path, command: list[str]) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    words = " ".join([sys.executable, *(word.format(root=root) for word in command), "-c", "x.yml"])
    if command[-1] == "methods":
        words = words.removesuffix(" -c x.yml")
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = run(["bash", "-c", f"cd {gone} && rmdir {gone} && exec {words}"], env=environment)
    assert done.returncode == 1
    assert done.stderr == "error: the current folder does not exist any more; change to one that does\n"


@pytest.mark.slow
def test_pipes_as_the_configuration_and_as_weights(root: Path, tmp_path: Path, settings: list[str]) -> None:
    for name in ("c.yml", "m.pdparams"):
        os.mkfifo(tmp_path / name)
    weights = f"weights={tmp_path / 'm.pdparams'}"
    for flags, says in (
        (["-c", str(tmp_path / "c.yml")], "c.yml cannot be read: it is a named pipe"),
        (["-c", CONFIG, "-o", *settings, weights], "m.pdparams: no such weights"),
    ):
        done = run([sys.executable, "-m", "ppkd", "eval", *flags], cwd=root)
        assert done.returncode == 1 and "Traceback" not in done.stderr
        assert says in done.stderr


@pytest.mark.parametrize("kind", ["categories", "annotations"])
def test_very_many_unknown_categories_take_seconds(root: Path, shapes: Path, kind: str) -> None:
    path = shapes / "annotations" / "instances_train.json"
    content = json.loads(path.read_text())
    if kind == "categories":
        content["categories"] += [{"id": 100 + index, "name": f"c{index}"} for index in range(200_000)]
        content["annotations"][0]["category_id"] = 99
    else:
        one = content["annotations"][0]
        content["annotations"] += [{**one, "id": 10**6 + i, "category_id": 10**6 + i} for i in range(200_000)]
    path.write_text(json.dumps(content))
    code = f"from ppkd.data.datasets import COCODataSet; COCODataSet({str(shapes)!r}, 'train', {str(path)!r})"
    done = run([sys.executable, "-c", code], cwd=root)
    assert "DataError: " in done.stderr
    assert "which is not among its categories" in done.stderr
