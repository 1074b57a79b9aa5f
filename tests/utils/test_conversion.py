"""Weights between formats: the student alone, and the names of its classes."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest

from ppkd.utils.class_names import class_names, write_class_names
from ppkd.utils.conversion import convert, student_only
from ppkd.utils.errors import WeightsError
from ppkd.utils.serialization import read_weights, write_state, write_weights

PLAIN = {"backbone.conv.weight": np.arange(6, dtype="float32").reshape(2, 3), "head.bias": np.ones(4, "float32")}


def under(prefix, arrays=PLAIN):
    return {prefix + name: array for name, array in arrays.items()}


def equal(ours, theirs):
    return ours.keys() == theirs.keys() and all(np.array_equal(ours[name], theirs[name]) for name in ours)


TEACHER = {name: array + 7 for name, array in PLAIN.items()}
CHECKPOINTS = {
    "plain": (PLAIN, ""),
    "paddle_2_table": ({**PLAIN, "StructuredToParameterName@@": {"head.bias": "linear_0.b_0"}}, ""),
    "paddle_2_pairs": ({name: ("linear_0.b_0", array) for name, array in PLAIN.items()}, ""),
    "data_parallel": (under("_layers."), ""),
    "distill_model": (
        {**under("student_model."), **under("teacher_model.", TEACHER), "distill_loss.align.weight": np.ones(2)},
        " under student_model; left out: 2 tensors under teacher_model, 1 tensors under distill_loss",
    ),
    "student_and_losses": (
        {**under("student."), "losses.fgd.formulas.0.conv.weight": np.ones(3)},
        " under student; left out: 1 tensors under losses",
    ),
    "wrapped_twice": (
        {**under("_layers.distill_model.student_model."), **under("_layers.distill_model.teacher_model.", TEACHER)},
        " under student_model; left out: 2 tensors under teacher_model",
    ),
    "plain_with_a_teacher": ({**PLAIN, **under("teacher.", TEACHER)}, "; left out: 2 tensors under teacher"),
    "everything": (
        {"model": TEACHER, "ema": PLAIN, "optimizer": {"lr": 0.1}, "epoch": 3},
        " under ema; left out: model (dict), optimizer (dict), epoch (int)",
    ),
    "last_epoch": ({**PLAIN, "last_epoch": 7}, "; left out: last_epoch (int)"),
}


@pytest.mark.parametrize("name", CHECKPOINTS)
@pytest.mark.parametrize("protocol", [2, 4])
def test_only_the_student_is_kept_and_the_rest_is_named(tmp_path, name, protocol):
    content, said = CHECKPOINTS[name]
    (tmp_path / "old.pdparams").write_bytes(pickle.dumps(content, protocol=protocol))
    report = convert(tmp_path / "old", tmp_path / "new.safetensors")
    assert equal(read_weights(tmp_path / "new.safetensors"), PLAIN)
    assert str(report) == f"2 tensors{said}"


def test_a_file_without_any_detector_is_refused(tmp_path):
    with pytest.raises(WeightsError, match=r"run\.pdopt: no weights of a detector in it; its entries: LR_Scheduler"):
        student_only({"LR_Scheduler": {"last_epoch": 3}}, "run.pdopt")
    write_weights(tmp_path / "m.pdparams", PLAIN)
    with pytest.raises(WeightsError, match=r"expected a file name that ends in \.pdparams or \.safetensors"):
        convert(tmp_path / "m", tmp_path / "m.onnx")


def test_names_of_classes_travel_there_and_back(tmp_path):
    write_weights(tmp_path / "run.pdparams", PLAIN)
    write_state(tmp_path / "run.pdstates", {"class_names": ["Katze", "犬"]})
    convert(tmp_path / "run", tmp_path / "packed.safetensors")
    assert class_names(tmp_path / "packed.safetensors") == class_names(tmp_path / "packed") == ("Katze", "犬")
    convert(tmp_path / "packed", tmp_path / "back.pdparams")
    assert class_names(tmp_path / "back.pdparams") == ("Katze", "犬")
    assert equal(read_weights(tmp_path / "back"), PLAIN)


def test_names_that_nothing_tells_are_unknown(tmp_path):
    write_weights(tmp_path / "m.pdparams", PLAIN)
    write_weights(tmp_path / "n.safetensors", PLAIN)
    assert class_names(tmp_path / "m") is None
    assert class_names(tmp_path / "n.safetensors") is None
    assert class_names(tmp_path / "absent") is None


def test_a_list_beside_the_weights_wins_over_the_runs_states(tmp_path):
    write_state(tmp_path / "m.pdstates", {"class_names": ["a"]})
    write_class_names(tmp_path / "m.pdparams", ["b"])
    assert class_names(tmp_path / "m.pdparams") == ("b",)


def test_states_of_another_program_tell_no_names(tmp_path):
    (tmp_path / "m.pdstates").write_bytes(b"no pickle")
    assert class_names(tmp_path / "m.pdparams") is None


def test_the_command(root, tmp_path):
    content = {**under("student_model."), **under("teacher_model.", TEACHER)}
    (tmp_path / "old.pdparams").write_bytes(pickle.dumps(content))
    (tmp_path / "labels.txt").write_text("cat\ndog\n", encoding="utf-8")
    command = [sys.executable, str(root / "tools/convert_weights.py"), "old", "new.safetensors"]
    done = subprocess.run([*command, "--label_list", "labels.txt"], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        "new.safetensors: 2 tensors under student_model; left out: 2 tensors under teacher_model",
        "classes: cat, dog",
    ]
    failed = subprocess.run(
        [command[0], command[1], "none", "x.pdparams"], cwd=tmp_path, capture_output=True, text=True
    )
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: none: no such weights")
