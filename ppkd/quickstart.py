"""The main job on a data set that ppkd draws itself: teacher, student, distilled student, export, pictures, summary."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ppkd.utils.errors import TrainingError
from ppkd.utils.itself import command_line, environment, shown

if TYPE_CHECKING:
    from ppkd.report.summary import RunSummary

TEACHER = "yolov3_mobilenet_v1_x0.5_160_shapes"
STUDENT = "yolov3_mobilenet_v1_x0.25_160_shapes"
SLIM = "yolov3_l2"
DATA = Path("dataset/shapes")
"""Where the configurations look for the data set."""


@dataclass(frozen=True)
class Size:
    """How much the quickstart does: images drawn and epochs trained (None: as the configurations say)."""

    train: int
    val: int
    epochs: int | None = None


FULL = Size(train=400, val=100)
REDUCED = Size(train=16, val=8, epochs=1)


@dataclass(frozen=True)
class Run:
    """A model of the summary: its title, its folder's name and what its configuration is."""

    title: str
    name: str
    config: str
    slim: bool = False


RUNS = (
    Run("teacher", "teacher", TEACHER),
    Run("student alone", "student", STUDENT),
    Run("student distilled", "distilled", STUDENT, slim=True),
)


class Quickstart:
    """The commands of the main job, in order.

    Args:
        output: folder for runs, exported models and pictures.
        data: folder of the data set.
        size: how much to do.
    """

    def __init__(self, output: Path, *, data: Path = DATA, size: Size = FULL) -> None:
        self.output = output
        self.data = data
        self.size = size

    def run(self) -> None:
        """Run every command, each printed before it runs, then print the summary and write ``summary.md``.

        Raises :class:`TrainingError` when a command fails.
        """
        started = time.perf_counter()
        commands = self.commands()
        for number, (title, command) in enumerate(commands, start=1):
            print(f"\n[{number}/{len(commands)}] {title}\n$ {shown(*command)}", flush=True)
            execute(command)
        self.summarise()
        print(f"Done in {(time.perf_counter() - started) / 60:.1f} minutes.")

    def commands(self) -> list[tuple[str, list[str]]]:
        """Title and arguments of every command of ppkd."""
        size = ["--train", str(self.size.train), "--val", str(self.size.val)]
        steps = [("Draw the data set", ["draw-shapes", "--output", str(self.data), *size])]
        steps += [(f"Train the {run.title}", self._train(run)) for run in RUNS]
        steps += [(f"Evaluate the {run.title}", self._evaluate(run)) for run in RUNS]
        steps += [(f"Export the {run.title}", self._export(run)) for run in RUNS]
        steps.append(("Draw what the exported distilled student finds", self._infer(RUNS[-1])))
        return steps

    def summarise(self) -> None:
        """Print the table of the three models and where the files are; write the table to ``summary.md``."""
        from rich.console import Console

        from ppkd.report.summary import markdown, table

        rows = [self._row(run) for run in RUNS]
        Console().print(table(rows, title="Shapes at 160 x 160, figures on the validation images"))
        (self.output / "summary.md").write_text(markdown(rows), encoding="utf-8")
        places = {"exported models": "inference", "pictures": "pictures", "this table": "summary.md"}
        for title, place in places.items():
            print(f"{title}: {self.output / place}")

    def _train(self, run: Run) -> list[str]:
        command = ["train", "-c", run.config, "--eval", "--overwrite"]
        options = [f"save_dir={self.output}", f"filename={run.name}", *self._data()]
        if self.size.epochs is not None:
            options += [f"epoch={self.size.epochs}", "TrainReader.batch_size=4", "worker_num=0"]
        if run.slim:
            command += ["--slim_config", SLIM]
            options += [f"slim.teacher.config={TEACHER}", f"slim.teacher.weights={self._best(RUNS[0])}"]
        return [*command, "-o", *options]

    def _evaluate(self, run: Run) -> list[str]:
        output = ["--output_eval", str(self.output / run.name)]
        return ["eval", "-c", run.config, *output, "-o", f"weights={self._best(run)}", *self._data()]

    def _export(self, run: Run) -> list[str]:
        output = ["--output_dir", str(self.output / "inference")]
        options = [f"weights={self._best(run)}", f"filename={run.name}", *self._data()]
        return ["export", "-c", run.config, *output, "-o", *options]

    def _infer(self, run: Run) -> list[str]:
        model = ["--model_dir", str(self.output / "inference" / run.name), "--image_dir", str(self.data / "val")]
        return ["deploy", *model, "--threshold", "0.3", "--output_dir", str(self.output / "pictures")]

    def _best(self, run: Run) -> Path:
        return self.output / run.name / "best_model.pdparams"

    def _data(self) -> list[str]:
        if self.data == DATA:
            return []
        return [f"{name}Dataset.dataset_dir={self.data}" for name in ("Train", "Eval", "Test")]

    def _row(self, run: Run) -> RunSummary:
        from ppkd.config import load_config
        from ppkd.models import build_detector
        from ppkd.report.complexity import complexity, cpu_latency
        from ppkd.report.summary import RunSummary

        figures = json.loads((self.output / run.name / "metrics.json").read_text(encoding="utf-8"))
        cost = complexity(build_detector(load_config(run.config)), 160, 160)
        return RunSummary(
            run.title,
            ap=figures["AP"],
            ap50=figures["AP50"],
            ap75=figures["AP75"],
            parameters=cost.parameters,
            gflops=cost.gflops,
            latency_ms=cpu_latency(self.output / "inference" / run.name),
            files=self.output / run.name,
        )


def execute(command: Sequence[str]) -> None:
    """Run a command of ppkd in a process of its own, its output passed through.

    Raises :class:`TrainingError` naming the command when it fails.
    """
    done = subprocess.run(command_line(*command), env=environment(), check=False)
    if done.returncode:
        raise TrainingError(f"this command ended with {done.returncode}: {shown(*command)}")
