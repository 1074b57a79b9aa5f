"""Export a trained detector: to Paddle Inference, or to one ONNX file with a script that runs it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ppkd.cli import flags
from ppkd.cli.command import Command
from ppkd.utils.errors import ConfigError

if TYPE_CHECKING:
    from ppkd.deploy.description import Outputs

OUTPUTS: dict[str, Outputs] = {"inside": "detections", "outside": "boxes", "none": "raw", "teacher": "record"}
ONNX_ONLY = ("nms", "opset", "check_image")
NOT_HERE = {
    "--export_serving_model": "the exported folder is for Paddle Inference; Paddle Serving's own tools convert it",
    "--for_fd": "FastDeploy's file names are not written; infer_cfg.yml describes the model",
}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = flags.parser(__doc__)
    made.add_argument("--output_dir", default="output_inference", metavar="DIR", help="the model gets a folder in it")
    made.add_argument(
        "--format", choices=("paddle", "onnx"), default="paddle", help="paddle: model.json, model.pdiparams"
    )
    made.add_argument(
        "--nms", choices=tuple(OUTPUTS), help="onnx: inside the model, outside; none: raw heads; teacher: neck too"
    )
    made.add_argument("--opset", type=int, metavar="NUMBER", help="onnx: version of its operators, 13 to 19 (16)")
    made.add_argument("--check_image", metavar="FILE", help="onnx: picture to compare both models on (a drawn one)")
    flags.refuse(made, NOT_HERE)
    return made


def main(args: argparse.Namespace) -> None:
    """Load the configuration and its weights, and export on the CPU."""
    from ppkd.config import QUANTISATION, trains_int8

    cfg, slim = flags.load(args, QUANTISATION)
    quantised = slim is not None and (slim["slim"] == QUANTISATION or trains_int8(slim))
    if not quantised:
        cfg = flags.detector(cfg, slim)
    if args.format == "paddle":
        for name in ONNX_ONLY:
            if getattr(args, name) is not None:
                raise ConfigError(f"--{name} is for --format onnx; for Paddle write -o export.nms=false and the like")
        if slim is not None and quantised:
            raise ConfigError(f"{slim.path}: quantisation is for --format onnx; leave --slim_config out for float")
        from ppkd.deploy.export import export_trained

        export_trained(cfg, args.output_dir)
        return
    from ppkd.deploy.to_onnx.convert import check_quantiser
    from ppkd.deploy.to_onnx.export import OPSET, export_trained_onnx

    picture = Path(args.check_image) if args.check_image else None
    opset = OPSET if args.opset is None else args.opset
    outputs = OUTPUTS.get(args.nms)
    if slim is None or not quantised:
        export_trained_onnx(cfg, args.output_dir, outputs=outputs, opset=opset, picture=picture)
        return
    check_quantiser()
    from ppkd.deploy.int8.export import export_trained_int8

    export_trained_int8(cfg, slim, args.output_dir, outputs=outputs, opset=opset, picture=picture)


command = Command(parser, main, computes=True)
