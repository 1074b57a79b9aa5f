"""Look into a teacher that is an ONNX graph: lists its tensors and proposes the entries of a slim file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ppkd.cli.command import Command
from ppkd.cli.flags import add_flag

if TYPE_CHECKING:
    from ppkd.distill.graphs.inspect import Candidate, Proposal


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("task", choices=("inspect",), help="list tensors with shapes and strides")
    made.add_argument("model", type=Path, metavar="MODEL.onnx")
    made.add_argument("-c", "--config", metavar="YML", help="the student, whose entries the graph's may be")
    add_flag(made, "--all", "list the tensors inside of the graph too, which entries may also name")
    return made


def main(args: argparse.Namespace) -> None:
    """Print the tensors and the proposal."""
    from ppkd.config import load_config
    from ppkd.distill.graphs.inspect import candidates, propose
    from ppkd.models import build_detector

    student = build_detector(load_config(args.config)).spec() if args.config else None
    found = candidates(args.model, inside=args.all)
    _show(found)
    proposal = propose(found, student)
    print("\n" + (_yaml(args.model, proposal) if proposal else _nothing(args.all)))


def _show(found: list[Candidate]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("tensor", "shape", "stride", "output")
    for one in found:
        table.add_row(one.name, " x ".join(map(str, one.shape)), str(one.stride or "-"), "yes" if one.output else "")
    Console(soft_wrap=True).print(table)


def _yaml(model: Path, proposal: Proposal) -> str:
    lines = ["teacher:", f"  onnx: {model}", "  entries:"]
    for name, levels in proposal.items():
        tensors = ", ".join(f"{stride}: {tensor}" for stride, tensor in levels.items())
        lines.append(f"    {name}: {{{tensors}}}")
    return "\n".join(lines)


def _nothing(everything: bool) -> str:
    further = "choose among the tensors above" if everything else "--all lists the tensors inside of the graph"
    return f"No two outputs with equally many channels lie on grids; an entry may name any tensor: {further}."


command = Command(parser, main, computes=True)
