"""Time and memory of each loss alone, forward and backward, and FGD against the same formula written plainly.

    python benchmarks/losses.py                       # batch 4, 512 px, 5 levels of 256 channels
    python benchmarks/losses.py --boxes 1 50 --rounds 5 --losses FGD
    python benchmarks/losses.py --losses GID RankMimicking      # on the records of a RetinaNet with 80 classes
    python benchmarks/losses.py --losses LD ClassKD CrossKD     # on those of a GFL
    python benchmarks/losses.py --losses KDDETR DETRDistill     # on those of an RT-DETR

Every round runs all variants once, in alternating order, so that a drift of the machine's speed hits all of them;
ratios are medians of the rounds' ratios. Memory is what Paddle allocates at most during a step beyond inputs and
parameters: gradients, and whatever forward keeps for backward.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.plain_fgd import plain_fgd
from benchmarks.wired_losses import WIRED, wired_step
from ppkd.utils.runtime import prepare

if TYPE_CHECKING:
    from ppkd.structures import Batch

STRIDES = (8, 16, 32, 64, 128)
LOSSES = ("FGD", "CWD", "PKD", "MGD", "Mimic", "FBKD", "CLoCK", *WIRED)
PLAIN = "FGD, plain"
Step = Callable[[], None]
Variant = tuple[str, int]


def random_batch(images: int, size: int, boxes: int) -> Batch:
    """Random boxes between 16 pixels and half of the image."""
    import numpy as np
    import paddle

    rng = np.random.default_rng(boxes)
    low = rng.uniform(0, 0.5 * size, (images, boxes, 2))
    corners = np.concatenate([low, low + rng.uniform(16, 0.5 * size, (images, boxes, 2))], axis=2)
    return {
        "gt_bbox": [paddle.to_tensor(one) for one in corners.astype("float32")],
        "im_shape": paddle.full([images, 2], float(size)),
    }


def step(name: str, boxes: int, args: argparse.Namespace) -> Step:
    """One forward and backward of a loss over all levels."""
    import paddle

    from ppkd.distill import losses

    batch = random_batch(args.batch_size, args.size, boxes)
    if name in WIRED:
        return wired_step(name, batch, args.size)
    paddle.seed(0)
    kind = getattr(losses, f"{name.split(',')[0]}FeatureLoss")
    formulas = [kind(student_channels=args.channels, teacher_channels=args.channels) for _ in STRIDES]
    shapes = [[args.batch_size, args.channels, args.size // stride, args.size // stride] for stride in STRIDES]
    students, teachers = ([paddle.randn(shape) for shape in shapes] for _ in range(2))
    for student in students:
        student.stop_gradient = False
    calls = [partial(plain_fgd, formula) for formula in formulas] if name == PLAIN else formulas
    levels = list(zip(calls, students, teachers, strict=True))

    def run() -> None:
        loss = paddle.add_n([call(student, teacher, batch) for call, student, teacher in levels])
        loss.backward()
        loss.item()
        for student, formula in zip(students, formulas, strict=True):
            student.clear_gradient(set_to_zero=False)
            formula.clear_gradients(set_to_zero=False)

    return run


def interleave(steps: dict[Variant, Step], rounds: int) -> dict[Variant, list[float]]:
    """Seconds of each step in each round, after two rounds of warm-up."""
    times: dict[Variant, list[float]] = {variant: [] for variant in steps}
    for number in range(rounds + 2):
        for variant in list(steps) if number % 2 else reversed(steps):
            start = time.perf_counter()
            steps[variant]()
            if number >= 2:
                times[variant].append(time.perf_counter() - start)
    return times


def peak(run: Step) -> float:
    """MiB that Paddle holds at most during a step, beyond what it held before."""
    import paddle

    core = paddle.base.core
    stats = "device" if paddle.get_device().startswith("gpu") else "host"
    current, highest, reset = (
        getattr(core, f"{stats}_memory_stat_{what}_value") for what in ("current", "peak", "reset_peak")
    )
    reset("Allocated", 0)
    before = current("Allocated", 0)
    run()
    return (highest("Allocated", 0) - before) / 2**20


def ratio(times: dict[Variant, list[float]], first: Variant, second: Variant) -> float:
    """Median of the rounds' ratios of two variants."""
    return statistics.median(a / b for a, b in zip(times[first], times[second], strict=True))


def report(steps: dict[Variant, Step], times: dict[Variant, list[float]], args: argparse.Namespace) -> None:
    """Print medians, peak memory, and FGD's two ratios."""
    for (name, boxes), seconds in times.items():
        milliseconds, memory = 1e3 * statistics.median(seconds), peak(steps[name, boxes])
        print(f"{name:13} {boxes:3d} boxes: median {milliseconds:6.1f} ms, peak +{memory:.0f} MiB")
    if "FGD" not in args.losses:
        return
    for boxes in args.boxes:
        print(f"FGD, {boxes} boxes: {ratio(times, ('FGD', boxes), (PLAIN, boxes)):.3f} of the plain formula")
    few, many = min(args.boxes), max(args.boxes)
    print(f"FGD, {many} boxes against {few}: {ratio(times, ('FGD', many), ('FGD', few)):.3f}")


def main() -> None:
    """Measure the chosen losses; all but FGD see the largest number of boxes only."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--losses", nargs="+", default=list(LOSSES), choices=LOSSES)
    parser.add_argument("--boxes", nargs="+", type=int, default=[1, 5, 20, 50], help="boxes per image")
    parser.add_argument("--batch_size", type=int, default=4)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--channels", type=int, default=256, help="of losses on maps; RetinaNet's has 256")
    parser.add_argument("--rounds", type=int, default=10)
    args = parser.parse_args()
    print(prepare())
    variants = [(name, boxes) for name in ("FGD", PLAIN) for boxes in args.boxes if "FGD" in args.losses]
    variants += [(name, max(args.boxes)) for name in args.losses if name != "FGD"]
    steps = {variant: step(*variant, args) for variant in variants}
    report(steps, interleave(steps, args.rounds), args)


if __name__ == "__main__":
    main()
