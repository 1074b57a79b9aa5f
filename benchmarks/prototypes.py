"""Time and memory of choosing the prototypes of one class on one level, against the number of its instances.

    python benchmarks/prototypes.py                          # 100 to 10000 instances of 256 channels
    python benchmarks/prototypes.py --instances 100000       # what the largest classes of large data sets would need

The exponent is the slope of log(time) between neighbouring sizes: 2 is quadratic. Without a GPU the time is that of the
processor, all threads together, which other programs on the machine do not change. Memory is what Paddle allocates at
most beyond the features themselves.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ppkd.utils.runtime import prepare


def synthetic(count: int, channels: int) -> tuple[Any, Any]:
    """Features of ``count`` instances in two spaces, about ten kinds of instances."""
    import numpy as np
    import paddle

    rng = np.random.default_rng(count)
    centres = rng.standard_normal((10, channels)).astype("float32")[rng.integers(10, size=count)]
    student, teacher = (centres + 0.5 * rng.standard_normal((count, channels), np.float32) for _ in range(2))
    return paddle.to_tensor(student), paddle.to_tensor(teacher)


def measure(count: int, channels: int, rounds: int) -> tuple[float, float]:
    """Median seconds and peak MiB of choosing among ``count`` instances."""
    import paddle

    from ppkd.distill.losses.global_knowledge.prototypes.selection import Selection, select

    features = synthetic(count, channels)
    core = paddle.base.core
    gpu = paddle.get_device().startswith("gpu")
    stats, clock = ("device", time.perf_counter) if gpu else ("host", time.process_time)
    seconds = []
    getattr(core, f"{stats}_memory_stat_reset_peak_value")("Allocated", 0)
    before = getattr(core, f"{stats}_memory_stat_current_value")("Allocated", 0)
    for _ in range(rounds):
        start = clock()
        select(*features, Selection())
        seconds.append(clock() - start)
    peak = getattr(core, f"{stats}_memory_stat_peak_value")("Allocated", 0)
    return statistics.median(seconds), (peak - before) / 2**20


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instances", nargs="+", type=int, default=[100, 300, 1000, 3000, 10000])
    parser.add_argument("--channels", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    print(prepare())
    measure(64, args.channels, rounds=1)
    last: tuple[int, float] | None = None
    for count in sorted(args.instances):
        seconds, memory = measure(count, args.channels, args.rounds)
        slope = ""
        if last is not None:
            slope = f", exponent {math.log(seconds / last[1]) / math.log(count / last[0]):.2f}"
        print(f"{count:7d} instances: {seconds:9.4f} s, peak +{memory:.0f} MiB{slope}", flush=True)
        last = count, seconds


if __name__ == "__main__":
    main()
