"""Time of a distillation step whose teacher's answers are recorded, against the student's step alone.

    python benchmarks/cache.py                                 # YOLOv3 MobileNetV1 from ResNet34 with CWD
    python benchmarks/cache.py --student configs/retinanet/retinanet_r18_fpn_1x_coco.yml \
        --teacher configs/retinanet/retinanet_r50_fpn_1x_coco.yml --losses "{fgd: {type: FGD}}"

Random weights, drawn shapes, one process. The recorded step also reads, checks and converts the answers, which loaders
do beside the step. Each round times every variant once, in alternating order; a ratio is the median of the rounds'.
Before that the losses of both teachers are compared: their largest relative difference over a batch of each view.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.step import RATE, ROOT, Step, complete, interleave, print_ratios
from ppkd.utils.runtime import prepare

if TYPE_CHECKING:
    from ppkd.experiment.assembly import Assembly

IMAGES, CLASSES = 8, 4


def assemble_run(args: argparse.Namespace, folder: Path) -> Assembly:
    """A run on drawn shapes with a cache in ``folder``, which is filled."""
    import paddle

    from ppkd.config import load_config
    from ppkd.data.shapes import draw_shapes
    from ppkd.experiment.assembly import assemble
    from ppkd.experiment.experiment import Experiment
    from ppkd.models import build_detector
    from ppkd.utils.serialization import write_weights

    size = args.size
    shapes = draw_shapes(folder / "shapes", images_train=IMAGES, images_val=1, size=size, seed=0)
    teacher = folder / "teacher.yml"
    teacher.write_text(f"_BASE_: [{ROOT / args.teacher}]\nnum_classes: {CLASSES}\npretrain_weights: null\n")
    paddle.seed(0)
    write_weights(folder / "teacher.pdparams", build_detector(load_config(str(teacher))).state_dict())
    cache = {"dir": str(folder / "cache"), "views": 2, "dtype": args.dtype}
    block = {"config": str(teacher), "weights": str(folder / "teacher"), "cache": cache}
    (folder / "slim.yml").write_text(f"slim: Distill\nteacher: {json.dumps(block)}\nlosses: {args.losses}\n")
    steps = f"Decode: {{}}, RandomFlip: {{}}, Resize: {{target_size: [{size}, {size}], keep_ratio: false}}"
    overrides = [
        f"TrainReader.sample_transforms=[{steps}, NormalizeImage: {{}}, Permute: {{}}]",
        "TrainReader.batch_transforms=[]",
        "TrainReader.mixup_epoch=-1",
        f"TrainReader.batch_size={args.batch_size}",
        "TrainReader.shuffle=false",
        f"TrainDataset={{name: COCODataSet, dataset_dir: {shapes}, image_dir: train, "
        "anno_path: annotations/instances_train.json}",
        f"num_classes={CLASSES}",
        "EvalReader=null",
        "EvalDataset=null",
        "pretrain_weights=null",
        "worker_num=0",
        f"save_dir={folder}",
    ]
    cfg = load_config(str(ROOT / args.student), overrides)
    return assemble(Experiment.parse(cfg, load_config(str(folder / "slim.yml"))))


def variants(assembly: Assembly, size: int) -> dict[str, Step]:
    """What to compare, each a complete step; the last is what the others are measured against."""
    import paddle

    from ppkd.distill import DistillModel
    from ppkd.distill.cache.teacher import CachedTeacher

    recorded = assembly.distilled
    assert recorded is not None and isinstance(recorded.teacher, CachedTeacher)
    online = DistillModel(recorded.student, recorded.teacher.inner, dict(recorded.losses.items()))
    parts = (recorded, online, recorded.student)
    optimizers = [paddle.optimizer.Momentum(RATE, parameters=part.parameters()) for part in parts]
    loader = assembly.loader
    batch, answers, images = loader.peek(0, 0), loader.recorded, list(range(size))

    def read() -> None:
        found = {key: paddle.to_tensor(array) for key, array in answers(0, images).items()}
        complete(recorded({**batch, **found})["loss"], optimizers[0])

    return {
        "recorded teacher": read,
        "online teacher": lambda: complete(online(batch)["loss"], optimizers[1]),
        "student alone": lambda: complete(recorded.student(batch)["loss"], optimizers[2]),
    }


def difference(assembly: Assembly) -> float:
    """The largest relative difference of a loss between the recorded and the online teacher."""
    from ppkd.distill import DistillModel
    from ppkd.distill.cache.teacher import CachedTeacher

    model = assembly.distilled
    assert model is not None and isinstance(model.teacher, CachedTeacher)
    model.eval()
    online = DistillModel(model.student, model.teacher.inner, dict(model.losses.items()))
    differences = []
    for epoch in range(2):
        batch = assembly.loader.peek(epoch, 0)
        found, expected = model(batch), online(batch)
        differences += [abs(found[name].item() / expected[name].item() - 1) for name in model.losses]
    return max(differences)


def main() -> None:
    """Print the difference of the losses, medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--student", default="configs/yolov3/yolov3_mobilenet_v1_270e_coco.yml")
    parser.add_argument("--teacher", default="configs/yolov3/yolov3_r34_270e_coco.yml")
    parser.add_argument("--losses", default="{cwd: {type: CWD}}")
    parser.add_argument("--dtype", default="float16")
    parser.add_argument("--batch_size", type=int, default=4)
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--processor", action="store_true", help="count processor seconds, where others compute too")
    args = parser.parse_args()
    print(prepare())
    with tempfile.TemporaryDirectory() as folder:
        assembly = assemble_run(args, Path(folder))
        print(f"largest relative difference of a loss, {args.dtype}: {difference(assembly):.1e}")
        assembly.trainer.model.train()
        clock = time.process_time if args.processor else time.perf_counter
        times = interleave(variants(assembly, args.batch_size), args.rounds, clock)
    print(f"{args.batch_size} x {args.size} px, {args.rounds} rounds")
    print_ratios(times)


if __name__ == "__main__":
    main()
