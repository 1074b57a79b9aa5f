"""Detect objects in pictures with a trained detector: draws boxes, class names and scores."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ppkd.utils.cli import add_flag, boolean, load, parser, run


def make_parser() -> argparse.ArgumentParser:
    """The flags."""
    made = parser(__doc__ or "")
    made.add_argument("--infer_img", metavar="FILE", help="one picture; wins over the others")
    made.add_argument("--infer_dir", metavar="DIR", help="folder of pictures")
    made.add_argument("--infer_list", metavar="TXT", help="paths, one per line, below --infer_dir or the list's folder")
    made.add_argument("--output_dir", default="output", metavar="DIR", help="folder of the results (output)")
    made.add_argument("--draw_threshold", type=float, default=0.5, help="lowest score that is drawn (0.5)")
    made.add_argument("--visualize", type=boolean, default=True, metavar="BOOL", help="write drawn pictures (true)")
    add_flag(made, "--save_results", "write all detections to bbox.json")
    add_flag(made, "--use_vdl", "log the pictures for VisualDL")
    made.add_argument("--vdl_log_dir", default="vdl_log_dir/image", metavar="DIR", help="VisualDL's folder")
    return made


def main(args: argparse.Namespace) -> None:
    """Load the configuration and detect."""
    cfg, _ = load(args)

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
    )


if __name__ == "__main__":
    sys.exit(run(main, make_parser()))
