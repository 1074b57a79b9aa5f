"""Write annotations of VOC, labelme or Cityscapes as COCO json files."""

from __future__ import annotations

import argparse
from pathlib import Path

from ppkd.cli.command import Command
from ppkd.cli.flags import finite, refuse
from ppkd.utils.errors import ConfigError

NOT_HERE = {"--widerface_root_dir": "WIDER FACE is not read; keep PaddleDetection's script for it"}
VOC = ("voc_anno_dir", "voc_anno_list", "voc_label_list")
OUTLINES = ("json_input_dir", "image_input_dir")


def parser() -> argparse.ArgumentParser:
    """PaddleDetection's flags."""
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--dataset_type", required=True, choices=("voc", "labelme", "cityscape"))
    made.add_argument("--output_dir", default=".", metavar="DIR", help="folder of what is written (.)")
    made.add_argument("--voc_anno_dir", metavar="DIR", help="voc: folder of the xml files")
    made.add_argument("--voc_anno_list", metavar="TXT", help="voc: one xml file, or its name, per line")
    made.add_argument("--voc_label_list", metavar="TXT", help="voc: one class name per line")
    made.add_argument("--voc_out_name", default="voc.json", metavar="NAME", help="voc: the json's name (voc.json)")
    made.add_argument("--json_input_dir", metavar="DIR", help="labelme, cityscape: folder of the json files")
    made.add_argument("--image_input_dir", metavar="DIR", help="labelme, cityscape: folder of the pictures")
    for part, share in (("train", 1.0), ("val", 0.0), ("test", 0.0)):
        made.add_argument(
            f"--{part}_proportion", type=finite, default=share, metavar="SHARE", help=f"of the pictures ({share:g})"
        )
    made.add_argument("--seed", type=int, default=0, help="of the division into train, val and test (0)")
    refuse(made, NOT_HERE)
    return made


def main(args: argparse.Namespace) -> None:
    """Convert, and say what was written."""
    output = Path(args.output_dir)
    if args.dataset_type == "voc":
        from ppkd.data.datasets.dataset import read_labels
        from ppkd.data.to_coco.document import write
        from ppkd.data.to_coco.voc import read_voc

        folder, listing, labels = _needed(args, VOC)
        classes = read_labels(labels)
        print(write(output / args.voc_out_name, read_voc(folder, listing, classes), classes))
    else:
        from ppkd.data.to_coco.split import convert_outlines

        jsons, images = _needed(args, OUTLINES)
        shares = (args.train_proportion, args.val_proportion, args.test_proportion)
        print("\n".join(convert_outlines(args.dataset_type, jsons, images, output, shares, args.seed)))


def _needed(args: argparse.Namespace, names: tuple[str, ...]) -> list[Path]:
    """The paths of the flags ``names``; raises :class:`ConfigError` for one that is not given."""
    for name in names:
        if getattr(args, name) is None:
            raise ConfigError(f"--dataset_type {args.dataset_type} needs --{name}")
    return [Path(getattr(args, name)) for name in names]


command = Command(parser, main)
