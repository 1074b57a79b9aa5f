"""Train a detector; with --slim_config, distil it from a teacher."""

from __future__ import annotations

import argparse
import json

from ppkd.cli import flags
from ppkd.cli.command import Command
from ppkd.utils.errors import ConfigError
from ppkd.utils.logger import get_logger
from ppkd.utils.trackers import TRACKERS

NOT_HERE = {
    "-t --teacher_config": "write --slim_config SLIM.yml -o slim.teacher.config=YML (slim/distill/ has examples)",
    "--teacher_pretrained": "write --slim_config SLIM.yml -o slim.teacher.weights=PATH (slim/distill/ has examples)",
    "-p --resume_checkpoint": "write -r PATH",
    "--fp16": "write --amp",
    "--save_prediction_only": "write `ppkd eval` (tools/eval.py) --save_prediction_only",
    "--save_proposals": "proposals are not written; a second stage trains with its first",
    "--proposals_path": "proposals are not read; a second stage trains with its first",
}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = flags.parser(__doc__, required=False)
    made.add_argument(
        "-r",
        "--resume",
        metavar="PATH",
        help="checkpoint, or folder of a run, to go on from; without -c as the run began",
    )
    made.add_argument(
        "--baseline", metavar="DIR", help="folder of another run that the end and the report compare with"
    )
    made.add_argument("--vdl_log_dir", metavar="DIR", help="where VisualDL's scalars go (vdl_log_dir/scalar)")
    made.add_argument("--profiler_options", metavar="TEXT", help='"batch_range=[10,20];profile_path=model.profile"')
    made.add_argument("--tune", choices=("batch",), help="the largest TrainReader.batch_size that fits")
    flags.add_flag(made, "--eval", "evaluate every checkpoint and keep the best one as best_model")
    flags.add_flag(made, "--overwrite", "replace the run that is in the folder already")
    flags.add_flag(made, "--force", "resume although the teacher or settings have changed")
    flags.add_flag(made, "--fleet", "connect several processes by Paddle's fleet")
    flags.add_flag(
        made, "--auto_scale_lr", "scale base_lr from LearningRate.base_batch_size to the images of an update"
    )
    flags.add_flag(made, "--enable_ce", "seed 0 and no shuffling, to compare runs number by number")
    flags.add_flag(made, "--amp", "mixed precision")
    flags.add_flag(made, "--dry_run", "check everything that can be checked before the first step, and stop")
    flags.add_flag(made, "--use_vdl", "write scalars for VisualDL")
    for name in TRACKERS:
        flags.add_flag(made, f"--use_{name}", f"write scalars by the package {TRACKERS[name][0]}")
    flags.add_flag(made, "--to_static", "let the student's backbone run as a static graph")
    flags.refuse(made, NOT_HERE)
    return made


def main(args: argparse.Namespace) -> None:
    """Load the configurations and train."""
    if args.config is None:
        _take_up(args)
    cfg, slim = flags.load(args)
    from ppkd.experiment import TrainOptions, train

    options = TrainOptions(
        evaluate=args.eval,
        resume=args.resume,
        overwrite=args.overwrite,
        enable_ce=args.enable_ce,
        amp=args.amp,
        baseline=args.baseline,
        dry_run=args.dry_run,
        use_vdl=args.use_vdl,
        vdl_log_dir=args.vdl_log_dir,
        trackers=[name for name in TRACKERS if getattr(args, f"use_{name}")],
        profiler_options=args.profiler_options,
        force=args.force,
        fleet=args.fleet,
        auto_scale_lr=args.auto_scale_lr,
        to_static=args.to_static,
        tune=args.tune,
    )
    train(cfg, slim, options)


def _take_up(args: argparse.Namespace) -> None:
    """Set the flags that a run began with: its files and its folder, and ``--eval`` if it was evaluated."""
    if args.resume is None:
        raise ConfigError("which configuration? Write -c CONFIG, or -r RUN to go on with a run")
    from ppkd.experiment.folder import begun

    run = begun(args.resume)
    args.config, args.slim_config = str(run.config), run.slim and str(run.slim)
    place = run.folder if run.folder.name else run.folder.absolute()
    args.opt = [f"save_dir={json.dumps(str(place.parent))}", f"filename={json.dumps(place.name)}", *args.opt]
    if run.evaluated and not args.eval:
        get_logger("ppkd").info("%s was evaluated, and goes on so (--eval)", run.folder)
        args.eval = True


command = Command(parser, main, computes=True)
