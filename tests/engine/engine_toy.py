"""A model and a loader of a few numbers that behave like the real ones; as a script, one training run of them."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import paddle
from paddle import nn

from ppkd.engine.checkpoint import Checkpointer, Identity
from ppkd.engine.ema import ModelEMA
from ppkd.engine.hooks.interrupt import StopOnSignal
from ppkd.engine.hooks.log import LogLines
from ppkd.engine.hooks.results import Results
from ppkd.engine.hooks.snapshot import Snapshot, SnapshotPlan
from ppkd.engine.non_finite import STOP_AFTER
from ppkd.engine.optim import OptimizerBuilder
from ppkd.engine.random_state import seed_everything
from ppkd.engine.schedules import LearningRate, LinearWarmup, PiecewiseDecay
from ppkd.engine.signals import Interrupted, SignalWatch
from ppkd.engine.trainer import Trainer
from ppkd.engine.update import Update
from ppkd.utils.logger import setup_logger

BATCHES = 5


class Trainable(nn.Layer):
    """Nothing to prepare, no frozen models, no schedule: what a detector alone answers."""

    def set_progress(self, epoch, step):
        """Nothing changes on the way."""

    def due(self, epoch):
        return False

    def fingerprints(self):
        return {}


class Student(Trainable):
    """Batch statistics and dropout, so that buffers and random streams matter."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2D(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2D(4)
        self.head = nn.Conv2D(4, 2, 1)
        self.drop = nn.Dropout(0.3)

    def record(self, batch):
        return self.head(self.drop(nn.functional.relu(self.norm(self.conv(batch["image"])))))

    def forward(self, batch):
        out = self.record(batch)
        terms = {"loss_a": (out[:, 0] - 1).square().mean(), "loss_b": out[:, 1].abs().mean()}
        return {**terms, "loss": terms["loss_a"] + terms["loss_b"]}

    def predict(self, batch):
        return {"bbox": self.record(batch)}

    def deployable(self):
        return self


class Distilled(Trainable):
    """A student, an adapter, a fingerprint: what a distillation model adds."""

    def __init__(self, teacher: str = "teacher-1") -> None:
        super().__init__()
        self.student = Student()
        self.losses = nn.LayerDict({"l2": nn.Conv2D(2, 3, 1)})
        self.epochs_seen: list[float] = []
        self._teacher = teacher

    def forward(self, batch):
        terms = self.student(batch)
        distill = (self.losses["l2"](self.student.record(batch)) - 0.5).square().mean()
        return {**terms, "l2": distill, "loss": terms["loss"] + distill}

    def deployable(self):
        return self.student

    def fingerprints(self):
        return {"teacher": self._teacher}

    def set_progress(self, epoch, step):
        self.epochs_seen.append(epoch)


class Loader:
    """Batches drawn from (epoch, index), as the real loader does."""

    def __init__(self, batches: int = BATCHES, delay: float = 0.0, parts: int = 1) -> None:
        self.batches = batches
        self.parts = parts
        self.delay = delay
        self.begin = (0, 0)

    def __len__(self):
        return self.batches

    def start(self, epoch, batch=0):
        self.begin = (epoch, batch)

    def __iter__(self):
        epoch, first = self.begin
        for index in range(first, self.batches):
            time.sleep(self.delay)
            rng = np.random.default_rng((7, epoch, index))
            for _ in range(self.parts):
                image = paddle.to_tensor(rng.standard_normal((2, 3, 6, 6)).astype("float32"))
                yield {"image": image, "im_id": paddle.to_tensor([[2 * index], [2 * index + 1]])}


def make_trainer(
    folder,
    *,
    kind="plain",
    optimizer="Momentum",
    epochs=3,
    delay=0.0,
    seed=3,
    extra=(),
    loader=None,
    model=None,
    interval=1,
    settings=None,
    precision=None,
    stop_after=STOP_AFTER,
):
    """A run of the toy model: ``kind`` is plain, ema, distilled or accumulated."""
    seed_everything(seed)
    model = model or (Distilled() if kind == "distilled" else Student())
    of_optimizer = {"type": optimizer, **({"momentum": 0.9} if optimizer == "Momentum" else {})}
    trained = [p for p in model.parameters() if not p.stop_gradient]
    made = OptimizerBuilder(optimizer=of_optimizer, clip_grad_by_norm=5.0).build(trained)
    ema = ModelEMA(model.deployable(), decay=0.9) if kind == "ema" else None
    parts = 2 if kind == "accumulated" else 1
    loader = loader or Loader(delay=delay, parts=parts)
    rate = LearningRate(
        base_lr=0.05, schedulers=[PiecewiseDecay(gamma=0.1, milestones=[2]), LinearWarmup(steps=4, start_factor=0.1)]
    )
    plan = SnapshotPlan(interval)
    identity = Identity(("cat", "dog"), settings or {"seed": "3"})
    update = Update(model, made, folder=Path(folder), ema=ema, precision=precision, stop_after=stop_after)
    checkpointer = Checkpointer(Path(folder), update, identity=identity)
    hooks = [LogLines(1), Snapshot(plan), *extra, Results(Path(folder)), StopOnSignal(SignalWatch())]
    return Trainer(
        update,
        rate.schedule(len(loader)),
        loader,
        epochs=epochs,
        checkpointer=checkpointer,
        hooks=hooks,
        accumulate=parts,
    )


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--kind", default="plain")
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--resume")
    args = parser.parse_args()
    setup_logger(args.folder)
    trainer = make_trainer(args.folder, kind=args.kind, delay=args.delay, seed=args.seed)
    if args.resume:
        trainer.resume(args.resume)
    try:
        trainer.train()
    except Interrupted as interrupt:
        return interrupt.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
