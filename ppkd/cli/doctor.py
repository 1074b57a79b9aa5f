"""Say what this installation has, what it computes on, and what is missing; ends with 1 when something needed is."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ppkd import __version__
from ppkd.cli.command import Command
from ppkd.study.recommend import journal
from ppkd.utils import runtime, visualdl
from ppkd.utils.installation import Finding, check_packages, check_paddle, version
from ppkd.utils.shipped import home, shipped

CPUINFO = Path("/proc/cpuinfo")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    return argparse.ArgumentParser(description=__doc__)


def main(args: argparse.Namespace) -> int:
    """Look, print the table, and return 1 when something is wrong."""
    before = runtime.current()
    runtime.prepare()
    findings = [_python(), _ppkd(), *check_paddle(), *check_packages(), threads(before), mkl(before), *_optional()]
    print(table(findings))
    wrong = [finding.topic for finding in findings if finding.wrong]
    print(f"\nwrong: {', '.join(wrong)}" if wrong else "\nppkd has everything that it needs")
    return int(bool(wrong))


def table(findings: Sequence[Finding]) -> str:
    """A line for each finding, those that are wrong marked at its beginning."""
    width = max(len(finding.topic) for finding in findings)
    middle = max(len(finding.found) for finding in findings)
    lines = [
        f"{'WRONG' if finding.wrong else '':<6}{finding.topic:<{width}}  {finding.found:<{middle}}  {finding.note}"
        for finding in findings
    ]
    return "\n".join(line.rstrip() for line in lines)


def threads(before: dict[str, str]) -> Finding:
    """How many cores Paddle computes on, and who said so; ``before`` is the environment that the command found."""
    name, cores = runtime.THREADS, len(os.sched_getaffinity(0))
    value = os.environ[name]
    return Finding("threads", f"{value} of {cores} cores", f"{name}={value} {_setter(before, name)}")


def mkl(before: dict[str, str], cpuinfo: Path = CPUINFO) -> Finding:
    """Which path Paddle's MKL takes on this processor; ``before`` is the environment that the command found."""
    name, value = runtime.MKL_CPU, runtime.current()[runtime.MKL_CPU]
    setting = f"{name}={value} {_setter(before, name)}" if value else f"{name} unset"
    if runtime.is_amd(cpuinfo):
        rest = "convolutions about 2.5 times faster" if value == "5" else "5 makes convolutions about 2.5 times faster"
    else:
        rest = "it helps AMD processors alone, unset it" if value else "right, it helps AMD processors alone"
    return Finding("processor", _vendor(cpuinfo), f"{setting}: {rest}")


def _setter(before: dict[str, str], name: str) -> str:
    return "(from the environment)" if before[name] else "(set by ppkd)"


def _vendor(cpuinfo: Path) -> str:
    try:
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    vendors = [line.partition(":")[2].strip() for line in lines if line.startswith("vendor_id")]
    return vendors[0] if vendors else "unknown"


def _python() -> Finding:
    return Finding("Python", ".".join(map(str, sys.version_info[:3])), sys.executable)


def _ppkd() -> Finding:
    files = len(shipped())
    note = f"{files} configurations in {home()}" if files else f"no configurations in {home()}: install ppkd anew"
    return Finding("ppkd", __version__, note, wrong=not files)


def _optional() -> list[Finding]:
    optional = {
        "visualdl": ("writes scalars and pictures for --use_vdl", visualdl.INSTALL),
        "optuna": ("keeps the journal of `ppkd recommend`", journal.INSTALL),
    }
    return [_one_optional(name, *said) for name, said in optional.items()]


def _one_optional(name: str, gives: str, install: str) -> Finding:
    found = version(name)
    return Finding(name, found or "not here", gives if found else f"optional, {gives}: {install}")


command = Command(parser, main)
