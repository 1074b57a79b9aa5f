"""Detect objects in pictures with a trained detector: draws boxes, class names and scores."""

from __future__ import annotations

import argparse

from ppkd.cli import flags
from ppkd.cli.command import Command
from ppkd.cli.slices import add_slices, slicing

NOT_HERE = {
    "--engine": "write `ppkd deploy --engine`, which computes exported models; this is the detector as it was trained",
    "--save_threshold": "--save_results keeps every detection with its score in bbox.json",
    "--do_eval": "write `ppkd eval` (tools/eval.py), which evaluates EvalDataset",
    "--rtn_im_file": "bbox.json of --save_results names the picture of every detection",
}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = flags.parser(__doc__)
    made.add_argument("--infer_img", metavar="FILE", help="one picture; wins over the others")
    made.add_argument("--infer_dir", metavar="DIR", help="folder of pictures")
    made.add_argument("--infer_list", metavar="TXT", help="paths, one per line, below --infer_dir or the list's folder")
    made.add_argument("--output_dir", default="output/infer", metavar="DIR", help="folder of the results (%(default)s)")
    made.add_argument("--draw_threshold", type=flags.finite, default=0.5, help="lowest score that is drawn (0.5)")
    made.add_argument(
        "--visualize", type=flags.boolean, default=True, metavar="BOOL", help="write drawn pictures (true)"
    )
    flags.add_flag(made, "--save_results", "write all detections to bbox.json")
    flags.add_flag(made, "--use_vdl", "log the pictures for VisualDL")
    made.add_argument("--vdl_log_dir", default="vdl_log_dir/image", metavar="DIR", help="VisualDL's folder")
    add_slices(made)
    flags.refuse(made, NOT_HERE)
    return made


def main(args: argparse.Namespace) -> None:
    """Load the configuration and detect."""
    cfg = flags.load_detector(args)

    from ppkd.deploy.infer import infer
    from ppkd.deploy.pictures import find_pictures

    infer(
        cfg,
        find_pictures(args.infer_img, args.infer_dir, args.infer_list),
        args.output_dir,
        draw_threshold=args.draw_threshold,
        save_results=args.save_results,
        visualize=args.visualize,
        vdl_log_dir=args.vdl_log_dir if args.use_vdl else None,
        slicing=slicing(args),
    )


command = Command(parser, main, computes=True)
