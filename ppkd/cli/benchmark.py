"""Compare models on engines: latency, size, memory and AP, in one table and one picture."""

from __future__ import annotations

import argparse

from ppkd.cli import flags
from ppkd.cli.command import Command

ENGINES = ("paddle", "onednn", "onnxruntime", "openvino", "tensorrt")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument(
        "models", nargs="+", metavar="[NAME=]PATH", help="configurations, runs' folders, exported folders, ONNX files"
    )
    made.add_argument("--engines", nargs="+", choices=ENGINES, default=ENGINES[:4], help="(all but tensorrt)")
    made.add_argument("--batch_sizes", nargs="+", type=flags.positive, default=[1], metavar="NUMBER", help="(1)")
    made.add_argument("--rounds", type=flags.positive, default=30, help="timed runs of each (30)")
    made.add_argument("--warmup", type=flags.positive, default=3, help="untimed runs of each before (3)")
    made.add_argument("--cpu_threads", type=flags.positive, default=1, help="threads of every engine (1)")
    made.add_argument("--evaluate", type=flags.boolean, default=True, metavar="BOOL", help="AP of each on each engine")
    made.add_argument("--eval_config", metavar="YML", help="whose EvalDataset all models are evaluated on")
    made.add_argument("--output_dir", default="output/benchmark", metavar="DIR", help="(output/benchmark)")
    return made


def main(args: argparse.Namespace) -> None:
    """Measure, and print the table."""
    from ppkd.benchmark.report import markdown
    from ppkd.benchmark.run import benchmark
    from ppkd.config import load_config

    lines = benchmark(
        args.models,
        args.output_dir,
        engines=args.engines,
        batch_sizes=args.batch_sizes,
        rounds=args.rounds,
        warmup=args.warmup,
        cpu_threads=args.cpu_threads,
        evaluate=args.evaluate,
        eval_config=load_config(args.eval_config) if args.eval_config else None,
    )
    print(markdown(lines), end="")


command = Command(parser, main, computes=True)
