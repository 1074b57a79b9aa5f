"""Time of a distillation step, as the trainer makes it, against the student's step plus a bare teacher forward.

    python benchmarks/step.py                                  # YOLOv3 MobileNetV1 from ResNet34, both losses
    python benchmarks/step.py --size 160 --batch_size 2 --rounds 40

Each round times every variant once, in alternating order, so that a drift of the machine's speed hits all. A ratio is
the median of the rounds' ratios. The guarded step also makes sure that losses and gradients are finite.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ppkd.utils.runtime import prepare

if TYPE_CHECKING:
    import paddle

    from ppkd.distill import DistillModel
    from ppkd.structures import Batch

ROOT = Path(__file__).resolve().parents[1]
Step = Callable[[], None]
RATE = 1e-6


def build(slim: Path, student: Path, teacher: Path) -> DistillModel:
    """The distillation model of a slim file, with random weights on both sides."""
    from ppkd.config import load_config
    from ppkd.distill.build import build_losses
    from ppkd.distill.model import DistillModel
    from ppkd.distill.teacher import FrozenTeacher
    from ppkd.models import build_detector

    models = [build_detector(load_config(str(path))) for path in (student, teacher)]
    losses = build_losses(load_config(str(slim)), models[0].spec(), models[1].spec())
    return DistillModel(models[0], FrozenTeacher.of_losses(models[1], losses.values()), losses)


def random_batch(images: int, size: int, boxes: int = 8) -> Batch:
    """A batch of noise with random boxes."""
    import numpy as np
    import paddle

    rng = np.random.default_rng(0)
    corners = [np.sort(rng.uniform(0, size, (boxes, 2, 2)), axis=1).reshape(boxes, 4) for _ in range(images)]
    return {
        "image": paddle.to_tensor(rng.standard_normal((images, 3, size, size)).astype("float32")),
        "im_shape": paddle.full([images, 2], float(size)),
        "scale_factor": paddle.ones([images, 2]),
        "im_id": paddle.arange(images).reshape([images, 1]),
        "gt_bbox": [paddle.to_tensor(one.astype("float32")) for one in corners],
        "gt_class": [paddle.to_tensor(rng.integers(0, 80, boxes)) for _ in range(images)],
    }


def variants(model: DistillModel, batch: Batch) -> dict[str, Step]:
    """What to compare, each a complete training step; the last is what the others are measured against."""
    import paddle

    from ppkd.distill.teacher import FrozenTeacher
    from ppkd.engine.position import Position
    from ppkd.engine.update import Update

    optimizers = [
        paddle.optimizer.Momentum(RATE, parameters=part.parameters()) for part in (model, model, model.student)
    ]
    update = Update(model, optimizers[1], folder=Path())

    def distil() -> None:
        complete(model(batch)["loss"], optimizers[0])

    def guarded() -> None:
        terms = update([batch], RATE, Position())
        assert terms is not None
        terms["loss"].item()

    teacher = model.teacher
    assert isinstance(teacher, FrozenTeacher)

    def apart() -> None:
        with paddle.no_grad():
            teacher.detector.extract(batch)
        complete(model.student(batch)["loss"], optimizers[2])

    return {
        "distillation step": distil,
        "distillation step, guarded": guarded,
        "student step + teacher forward": apart,
    }


def complete(loss: paddle.Tensor, optimizer: paddle.optimizer.Optimizer) -> None:
    loss.backward()
    optimizer.step()
    optimizer.clear_grad()
    loss.item()


def interleave(
    steps: dict[str, Step], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Seconds of each step in each round by ``clock``, after two rounds of warm-up."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(rounds + 2):
        order = list(steps) if number % 2 else list(reversed(steps))
        for name in order:
            start = clock()
            steps[name]()
            if number >= 2:
                times[name].append(clock() - start)
    return times


def print_ratios(times: dict[str, list[float]]) -> None:
    """Print each variant's median, and the median of its rounds' ratios to the last variant."""
    last = list(times.values())[-1]
    for label, seconds in times.items():
        ratio = statistics.median(a / b for a, b in zip(seconds, last, strict=True))
        print(f"  {label}: median {1e3 * statistics.median(seconds):.0f} ms, ratio {ratio:.3f}")


def main() -> None:
    """Print medians and the ratio for every slim file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--student", default="configs/yolov3/yolov3_mobilenet_v1_270e_coco.yml")
    parser.add_argument("--teacher", default="configs/yolov3/yolov3_r34_270e_coco.yml")
    parser.add_argument("--slim", nargs="+", default=["yolov3_l2", "yolov3_fine_grained"])
    parser.add_argument("--batch_size", type=int, default=4)
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--rounds", type=int, default=20)
    args = parser.parse_args()
    print(prepare())
    for name in args.slim:
        model = build(ROOT / f"slim/distill/{name}.yml", ROOT / args.student, ROOT / args.teacher)
        model.train()
        times = interleave(variants(model, random_batch(args.batch_size, args.size)), args.rounds)
        print(f"{name}: {args.batch_size} x {args.size} px, {args.rounds} rounds")
        print_ratios(times)


if __name__ == "__main__":
    main()
