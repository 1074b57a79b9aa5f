"""Nothing that a PaddleDetection user passes is ignored: flags and slim files that mean nothing here are refused."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import pytest
from paddledetection_files import write_files

from ppkd.cli import deploy, eval, export, flags, infer, train
from ppkd.utils.errors import ConfigError

COMMANDS = {"train": train, "eval": eval, "infer": infer, "export": export}
OTHERS = {
    "slim/ofa/yolo_mine_ofa.yml": "slim: OFA is training of a once-for-all network",
}


def arguments(folder: Path, slim: str, name: str = "train", *more: str) -> argparse.Namespace:
    given = ["-c", str(folder / "yolo/yolo_mine.yml"), "--slim_config", str(folder / slim), *more]
    return COMMANDS[name].parser().parse_args(given)


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("slim", OTHERS)
def test_every_tool_refuses_slim_files_that_are_no_distillation(tmp_path: Path, name: str, slim: str) -> None:
    args = arguments(write_files(tmp_path), slim, name)
    with pytest.raises(
        ConfigError, match=rf"{slim}:\d: {OTHERS[slim]}, which ppkd does not do: it distils, prunes"
    ) as error:
        COMMANDS[name].main(args)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("PTQ", "slim: PTQ is quantisation after training, which"),
        ("OFA", "slim: OFA is training of a once-for-all network, which"),
        ("UnstructuredPruner", "slim: UnstructuredPruner is unstructured pruning, which"),
        ("PrunerQAT", "slim: PrunerQAT is pruning and quantisation-aware training at once, which"),
        ("Distil", "a slim file says `slim: Distill`, .*; did you mean 'Distill'"),
        ("{}", "a slim file says `slim: Distill`"),
        (
            "null",
            "`slim: Distill`, `slim: Pruner`, `slim: DistillPrune`, `slim: QAT`, `slim: DistillQAT`$",
        ),
    ],
)
def test_each_kind_of_slim_file_is_called_what_it_is(tmp_path: Path, said: str, answer: str) -> None:
    args = arguments(write_files(tmp_path), "slim/quant/yolo_mine_qat.yml", "eval", "-o", f"slim.slim={said}")
    with pytest.raises(ConfigError, match=answer):
        flags.load_detector(args)


def test_a_tool_that_needs_no_teacher_says_that_the_slim_file_has_no_effect(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    args = arguments(write_files(tmp_path), "slim/distill/yolo_mine_distill.yml", "export")
    with caplog.at_level(logging.INFO, logger="ppkd"):
        cfg = flags.load_detector(args)
    assert cfg["architecture"] == "YOLOv3"
    assert [text.partition("distill.yml ")[2] for text in caplog.messages] == [
        "has no effect here: a distilled student is a plain detector"
    ]


FLAGS = [
    (module, flag)
    for module in (train, eval, infer, export, deploy)
    for names in module.NOT_HERE
    for flag in names.split()
]


@pytest.mark.parametrize(("module", "flag"), FLAGS)
def test_a_flag_of_theirs_is_refused_by_its_name_with_what_to_do(
    module: object, flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        module.parser().parse_args(["--model_dir" if module is deploy else "-c", "x", flag, "1"])
    said = capsys.readouterr().err.splitlines()[-1]
    answer = next(text for names, text in module.NOT_HERE.items() if flag in names.split())
    assert said.endswith(f"error: {flag} is not a flag here: {answer}")


@pytest.mark.parametrize(
    ("module", "theirs"),
    [
        (train, "--eval -r --resume --slim_config --enable_ce --amp --fleet --use_vdl --vdl_log_dir --use_wandb"
                " --to_static --save_prediction_only --profiler_options --save_proposals --proposals_path"),
        (eval, "--output_eval --json_eval --slim_config --bias --classwise --save_prediction_only --amp --slice_infer"
               " --slice_size --overlap_ratio --combine_method --match_threshold --match_metric"),
        (infer, "--infer_dir --infer_list --infer_img --output_dir --draw_threshold --save_threshold --slim_config"
                " --use_vdl --do_eval --vdl_log_dir --save_results --slice_infer --slice_size --overlap_ratio"
                " --combine_method --match_threshold --match_metric --visualize --rtn_im_file"),
        (export, "--output_dir --export_serving_model --slim_config --for_fd"),
    ],
)  # fmt: skip
def test_every_flag_of_their_tools_is_taken_or_answered(module: object, theirs: str) -> None:
    known = {name for action in module.parser()._actions for name in action.option_strings}
    assert [flag for flag in theirs.split() if flag not in known] == []
