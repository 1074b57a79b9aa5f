"""Data and weights of a TIPC chain: drawn and random ones without a network, or the published weights."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ppkd.config import Config, load_config
from ppkd.utils import runtime
from ppkd.utils.errors import PPKDError

MARK = "drawn_for_tipc"
TRAIN_IMAGES, VAL_IMAGES, SIDE = 8, 4, 320
FOLDERS = {"train": "train2017", "val": "val2017"}


def draw_coco(folder: Path) -> None:
    """A drawn data set in COCO's layout with COCO's 80 categories, in ``folder``; another set there is left alone."""
    from ppkd.data.datasets.labels import COCO, COCO_IDS
    from ppkd.data.shapes import draw_shapes

    if folder.exists() and not (folder / MARK).is_file():
        print(f"{folder} holds a data set that was not drawn here; it is used as it is")
        return
    shutil.rmtree(folder, ignore_errors=True)
    draw_shapes(folder, images_train=TRAIN_IMAGES, images_val=VAL_IMAGES, size=SIDE, seed=0)
    categories = [{"id": number, "name": name} for number, name in zip(COCO_IDS, COCO, strict=True)]
    for split, name in FOLDERS.items():
        (folder / split).rename(folder / name)
        drawn = folder / "annotations" / f"instances_{split}.json"
        content = json.loads(drawn.read_text(encoding="utf-8"))
        drawn.rename(folder / "annotations" / f"instances_{name}.json").write_text(
            json.dumps({**content, "categories": categories}), encoding="utf-8"
        )
    (folder / MARK).touch()
    print(f"drew {TRAIN_IMAGES} training and {VAL_IMAGES} validation images into {folder}")


def random_weights(cfg: Config, output: Path) -> None:
    """The weights of a detector that was never trained."""
    from ppkd.models import build_detector
    from ppkd.utils.serialization import write_weights

    state = build_detector(cfg).state_dict()
    write_weights(output, {name: tensor.numpy() for name, tensor in state.items()})
    print(f"random weights of {cfg.name}: {output}")


def published_weights(source: str, output: Path) -> None:
    """A copy of the weights at the URL or path ``source``."""
    from ppkd.utils.download import fetch

    output.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(fetch(source, "weights"), output)
    print(f"{source}: {output}")


def prepare(args: argparse.Namespace) -> None:
    """What the parsed command line asks for."""
    student, slim = load_config(args.config), load_config(args.slim)
    teacher = slim["teacher"]
    weights = Path(args.pretrain).parent
    teacher_file = weights / f"{Path(teacher['config']).stem}.pdparams"
    if args.draw is None:
        published_weights(student["pretrain_weights"], Path(args.pretrain))
        published_weights(teacher["weights"], teacher_file)
        return
    draw_coco(args.draw)
    random_weights(student, Path(args.pretrain))
    random_weights(load_config(teacher["config"]), teacher_file)


def main() -> None:
    """Parse the command line and prepare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", required=True, help="the student's file")
    parser.add_argument("--slim", required=True, help="the distillation's file")
    parser.add_argument("--pretrain", required=True, help="where the student's weights go, the teacher's beside them")
    parser.add_argument("--draw", type=Path, help="draw the data set into this folder, make random weights")
    args = parser.parse_args()
    runtime.prepare()
    try:
        prepare(args)
    except (PPKDError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
