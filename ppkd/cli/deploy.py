"""Detect objects in pictures or a video with an exported model."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ppkd.cli.command import Command
from ppkd.cli.flags import add_flag, boolean, finite, positive, refuse
from ppkd.cli.slices import add_slices, slicing
from ppkd.utils import runtime
from ppkd.utils.errors import ConfigError, DataError
from ppkd.utils.logger import get_logger, setup_logger

if TYPE_CHECKING:
    from ppkd.deploy.description import Description
    from ppkd.deploy.infer_cfg import InferConfig
    from ppkd.deploy.pipeline import Pipeline

    Model = InferConfig | Description

PADDLE_ENGINES = ("paddle", "onednn")
ENGINES = (*PADDLE_ENGINES, "onnxruntime", "openvino", "tensorrt")
_SHAPES = "shapes are collected and TensorRT is tuned by Paddle itself, from the exported folder"
_TRACKING = "objects are detected, not tracked; keep PaddleDetection's script for that"
NOT_HERE = {
    "--use_gpu": "write --device GPU",
    "--enable_mkldnn_bfloat16": "write --engine onednn, which computes in float32",
    "--use_fd_format": "write --model_dir with the folder of `ppkd export`",
    **dict.fromkeys(
        (
            "--trt_min_shape",
            "--trt_max_shape",
            "--trt_opt_shape",
            "--trt_calib_mode",
            "--collect_trt_shape_info",
            "--tuned_trt_shape_file",
        ),
        _SHAPES,
    ),
    **dict.fromkeys(
        ("--tracker_config", "--reid_model_dir", "--reid_batch_size", "--action_file", "--window_size", "--random_pad"),
        _TRACKING,
    ),
    "--task_type": "detection is the only task",
}


def parser() -> argparse.ArgumentParser:
    """PaddleDetection's flags."""
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--model_dir", required=True, help="folder that `ppkd export` wrote, or its model.onnx")
    made.add_argument(
        "--engine", choices=ENGINES, help="what computes: paddle, or onnxruntime where there is no Paddle model"
    )
    made.add_argument("--image_file", help="one picture; wins over --image_dir")
    made.add_argument("--image_dir", help="folder of pictures")
    made.add_argument("--video_file", help="a video; wins over pictures")
    made.add_argument(
        "--camera_id", type=int, default=-1, help="a camera's number; wins over all others; end with Ctrl-C"
    )
    made.add_argument("--batch_size", type=positive, default=1, help="pictures per batch")
    made.add_argument("--threshold", type=finite, default=0.5, help="lowest score that is drawn")
    made.add_argument(
        "--output_dir", default="output/deploy", metavar="DIR", help="folder of the results (%(default)s)"
    )
    made.add_argument("--device", type=str.upper, choices=("CPU", "GPU"), default="CPU")
    made.add_argument("--run_mode", choices=("paddle", "trt_fp32", "trt_fp16"), default="paddle")
    made.add_argument("--cpu_threads", type=positive, default=1)
    made.add_argument("--save_images", type=boolean, default=True, metavar="BOOL", help="write drawn pictures")
    add_flag(made, "--save_results", "write all detections to bbox.json")
    add_flag(made, "--enable_mkldnn", "the same as --engine onednn: faster, low-order bits differ")
    add_flag(made, "--run_benchmark", "time each batch as the mean of several runs; draw nothing")
    add_slices(made)
    refuse(made, NOT_HERE)
    return made


def main(args: argparse.Namespace) -> None:
    """Does what the parsed flags say; the time that it took is printed even if some pictures could not be read."""
    from ppkd.deploy.slices import SlicedPipeline

    cut = slicing(args)
    if cut and args.run_benchmark:
        raise ConfigError("--run_benchmark times whole pictures; leave --slice_infer out")
    camera = args.camera_id >= 0
    if not (camera or args.video_file or args.image_file or args.image_dir):
        raise DataError("nothing to detect in: give --image_file, --image_dir, --video_file or --camera_id")
    setup_logger()
    get_logger("ppkd").info(runtime.prepare())
    predictor, config = _predictor(args)
    try:
        task = _detect_video if camera or args.video_file else _benchmark if args.run_benchmark else _detect_pictures
        task(SlicedPipeline(predictor, cut, args.batch_size) if cut else predictor, config, args)
    finally:
        print(predictor.timing.report())


def _predictor(args: argparse.Namespace) -> tuple[Pipeline, Model]:
    """What computes, and what the model says of itself."""
    engine = args.engine or _usual_engine(Path(args.model_dir), args.enable_mkldnn)
    if engine not in PADDLE_ENGINES:
        from ppkd.deploy.onnx_predictor import OnnxPredictor

        if args.enable_mkldnn:
            raise ConfigError(f"--enable_mkldnn is for Paddle's models, not for --engine {engine}")
        made = OnnxPredictor(
            args.model_dir, engine=engine, device=args.device, run_mode=args.run_mode, cpu_threads=args.cpu_threads
        )
        return made, made.config
    try:
        from ppkd.deploy.predictor import Predictor
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"--engine {engine}: {error}; Paddle's models need ppkd and Paddle, model.onnx does not"
        ) from error
    runtime.import_paddle()
    predictor = Predictor(
        args.model_dir,
        device=args.device,
        run_mode=args.run_mode,
        cpu_threads=args.cpu_threads,
        enable_mkldnn=args.enable_mkldnn or engine == "onednn",
    )
    return predictor, predictor.config


def _usual_engine(model: Path, onednn: bool) -> str:
    """Paddle, unless the folder has an ONNX file alone."""
    alone = model.suffix == ".onnx" or ((model / "model.onnx").is_file() and not list(model.glob("*.pdiparams")))
    return "onednn" if onednn else "onnxruntime" if alone else "paddle"


def _detect_pictures(pipeline: Pipeline, config: Model, args: argparse.Namespace) -> None:
    from ppkd.deploy.pictures import detect_pictures, find_pictures
    from ppkd.deploy.results import Results

    pictures = find_pictures(args.image_file, args.image_dir)
    results = Results(
        args.output_dir,
        config.label_list,
        config.category_ids,
        threshold=args.threshold,
        save_images=args.save_images,
        announce=_announce,
        tell=print,
    )
    results.check_inputs(pictures)
    try:
        detect_pictures(pipeline, pictures, results.add, batch_size=args.batch_size, progress=_iteration)
    finally:
        print(results.tally.total("--threshold"))
        if args.save_results:
            _announce(results.write_json())


def _benchmark(pipeline: Pipeline, config: Model, args: argparse.Namespace) -> None:
    from ppkd.deploy.pictures import find_pictures, readable_batches

    pictures = find_pictures(args.image_file, args.image_dir)
    for number, batch in enumerate(readable_batches(pipeline, pictures, args.batch_size)):
        _iteration(number)
        pipeline.benchmark([prepared for _, prepared in batch])


def _iteration(number: int) -> None:
    print(f"Test iter {number}")


def _announce(path: Path) -> None:
    print(f"save result to: {path}")


def _detect_video(pipeline: Pipeline, config: Model, args: argparse.Namespace) -> None:
    from ppkd.deploy.video import detect_video

    path = detect_video(
        pipeline,
        args.video_file if args.camera_id < 0 else args.camera_id,
        args.output_dir,
        config.label_list,
        threshold=args.threshold,
        progress=lambda frame: print(f"detect frame: {frame}"),
    )
    _announce(path)


command = Command(parser, main)
