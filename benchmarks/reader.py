"""Images per second of a training reader against decoding and resizing alone, interleaved in one run.

    python benchmarks/reader.py                                       # YOLOv3's COCO reader on drawn images
    python benchmarks/reader.py -c configs/bccd/X.yml --own_data      # a configuration's reader on its own images

Each round reads one batch with the reader and as many images with ``Decode`` and ``Resize``, both in this process and
on one thread of OpenCV, in alternating order. The ratio is the median of the rounds' ratios. The last line is the rate
of the whole loader with its worker processes.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ppkd.utils.runtime import prepare

if TYPE_CHECKING:
    from ppkd.config import Config
    from ppkd.data import DetectionDataset, Loader

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "configs" / "yolov3" / "yolov3_mobilenet_v1_270e_coco.yml"
DRAWN, SIDE = 64, 512


def drawn(folder: Path) -> DetectionDataset:
    """A data set of shapes, as large as the images of COCO."""
    from ppkd.data.datasets import COCODataSet
    from ppkd.data.shapes import draw_shapes

    draw_shapes(folder, images_train=DRAWN, images_val=0, size=SIDE, seed=0)
    return COCODataSet(str(folder), "train", "annotations/instances_train.json", allow_empty=True)


def endless(loader: Loader) -> Iterator[Any]:
    """Batches of the loader, epoch after epoch."""
    epoch = 0
    while True:
        loader.start(epoch)
        yield from loader
        epoch += 1


def bare(dataset: DetectionDataset, size: int, count: int) -> Callable[[], None]:
    """Decoding and resizing of the next ``count`` images."""
    from ppkd.data.transforms import Decode, Resize

    decode, resize = Decode(), Resize(size, keep_ratio=False)
    order = iter(range(10**9))

    def read() -> None:
        for _ in range(count):
            resize(decode({"im_file": dataset[next(order) % len(dataset)].file}))

    return read


def seconds(action: Callable[[], Any]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def compare(cfg: Config, dataset: DetectionDataset, args: argparse.Namespace) -> None:
    """Print the three rates and the ratio."""
    from ppkd.data import build_loader, build_reader

    loader = build_loader(build_reader(cfg, "Train"), dataset, worker_num=0)
    count, batches = loader.images_per_update, endless(loader)
    actions = {"reader": lambda: next(batches), "decode + resize": bare(dataset, args.size, count)}
    times: dict[str, list[float]] = {name: [] for name in actions}
    for number in range(args.rounds + 2):
        for name in sorted(actions, reverse=number % 2 == 0):
            times[name].append(seconds(actions[name]))
    kept = {name: values[2:] for name, values in times.items()}
    for name, values in kept.items():
        print(f"{name:16s} {count / statistics.median(values):8.1f} images/s in one process")
    ratios = [alone / read for alone, read in zip(kept["decode + resize"], kept["reader"], strict=True)]
    print(f"reader / decode + resize: {statistics.median(ratios):.2f} of its rate")
    helped = endless(build_loader(build_reader(cfg, "Train"), dataset, worker_num=args.worker_num))
    next(helped)
    spent = seconds(lambda: [next(helped) for _ in range(args.rounds)])
    print(f"loader with {args.worker_num} worker processes: {args.rounds * count / spent:.1f} images/s")


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-c", "--config", type=Path, default=CONFIG, help="configuration of the reader")
    parser.add_argument("--own_data", action="store_true", help="read the configuration's own TrainDataset")
    parser.add_argument("--size", type=int, default=480, help="side of the bare resize (%(default)s)")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--worker_num", type=int, default=2)
    args = parser.parse_args()
    print(prepare())

    import cv2

    from ppkd.config import load_config
    from ppkd.data import build_dataset

    cv2.setNumThreads(0)
    cfg = load_config(str(args.config))
    with tempfile.TemporaryDirectory() as folder:
        dataset = build_dataset(cfg, "TrainDataset") if args.own_data else drawn(Path(folder))
        compare(cfg, dataset, args)


if __name__ == "__main__":
    main()
