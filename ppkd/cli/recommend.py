"""Find the method that helps a student on its data: what fits is probed, tried in pilots, confirmed; resumable."""

from __future__ import annotations

import argparse
from pathlib import Path

from ppkd.cli import flags
from ppkd.cli.command import Command


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = flags.parser(__doc__, slim=False)
    made.add_argument(
        "--teacher", required=True, metavar="NAME", help="trained teacher: folder of its run, its yml, or a slim file"
    )
    made.add_argument("--teacher_weights", metavar="PATH", help="its weights, where --teacher is its yml")
    made.add_argument("--budget", default="30m", metavar="TIME", help="computing time: 30m (default), 3h, 1h30m")
    made.add_argument(
        "--recipes", nargs="*", default=(), metavar="YML", help="slim files, or folders of them; else those of ppkd"
    )
    made.add_argument("--output", metavar="DIR", help="folder of the search (output/recommend_STUDENT)")
    return made


def main(args: argparse.Namespace) -> None:
    """Ask, search, and print the answer."""
    cfg = flags.load(args)[0]
    from ppkd.study.durations import seconds_of
    from ppkd.study.recommend.answer import ADVICE_FILE
    from ppkd.study.recommend.question import Question, find_recipes, find_teacher
    from ppkd.study.recommend.recommend import recommend

    teacher = find_teacher(args.teacher, args.teacher_weights)
    question = Question(
        student=args.config,
        options=tuple(args.opt),
        teacher=teacher.config,
        weights=teacher.weights,
        recipes=find_recipes(args.recipes, teacher.slim),
        budget=seconds_of(args.budget, "--budget"),
    )
    folder = Path(args.output or f"output/recommend_{cfg.name}")
    recommend(question, folder)
    report = folder / ADVICE_FILE
    print(f"{report.read_text(encoding='utf-8')}\n{report}")


command = Command(parser, main, computes=True)
