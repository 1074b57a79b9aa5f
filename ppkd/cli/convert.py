"""Write weights as .pdparams or .safetensors, with the student alone and the names of its classes."""

from __future__ import annotations

import argparse
from pathlib import Path

from ppkd.cli.command import Command


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("source", help="path or URL of weights, or of a run's checkpoint with everything in it")
    made.add_argument("target", help="file to write; its extension, .pdparams or .safetensors, says how")
    made.add_argument("--label_list", metavar="TXT", help="class names, one per line, instead of those of the source")
    return made


def main(args: argparse.Namespace) -> None:
    """Convert, and say what was kept and what was left out."""
    from ppkd.data.datasets.dataset import read_labels
    from ppkd.utils.class_names import class_names
    from ppkd.utils.conversion import convert

    names = read_labels(Path(args.label_list)) if args.label_list else None
    print(f"{args.target}: {convert(args.source, args.target, names=names)}")
    known = class_names(args.target)
    print(f"classes: {', '.join(known) if known else 'not known; --label_list gives them'}")


command = Command(parser, main)
