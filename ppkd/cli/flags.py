"""What the command lines share: common flags, and the loading of the configurations that they name."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from ppkd.utils.errors import ConfigError
from ppkd.utils.logger import get_logger

if TYPE_CHECKING:
    from ppkd.config import Config

T = TypeVar("T")

_TRUE = ("true", "yes", "on", "1")
_FALSE = ("false", "no", "off", "0")


def boolean(text: str) -> bool:
    """``true``/``false`` in any usual spelling; raises what argparse turns into a usage error."""
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise argparse.ArgumentTypeError(f"expected true or false, not '{text}'")


def number(kind: Callable[[str], T], valid: Callable[[T], bool], expected: str) -> Callable[[str], T]:
    """A type for argparse: ``kind`` of the text; unless it is ``valid``, a usage error says what was ``expected``."""

    def parse(text: str) -> T:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not valid(value):
            raise argparse.ArgumentTypeError(f"expected {expected}, not '{text}'")
        return value

    return parse


positive = number(int, lambda value: value > 0, "a whole number above 0")
finite = number(float, math.isfinite, "a finite number")


def add_flag(parser: argparse.ArgumentParser, name: str, text: str) -> None:
    """A boolean flag that may stand alone or take a value: ``--eval``, ``--use_vdl=true``, ``--use_vdl false``."""
    parser.add_argument(name, type=boolean, nargs="?", const=True, default=False, metavar="BOOL", help=text)


class Former(argparse.Action):
    """A flag of PaddleDetection's tools that is none here: a usage error that names what to write instead."""

    def __init__(self, option_strings: Sequence[str], dest: str, *, today: str) -> None:
        super().__init__(option_strings, dest, nargs="?", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        self.today = today

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: object, name: str | None = None
    ) -> None:
        """Exit with the usage and the message."""
        parser.error(f"{name} is not a flag here: {self.today}")


def refuse(parser: argparse.ArgumentParser, today: Mapping[str, str]) -> None:
    """Answer each flag of ``today``, which PaddleDetection's tool has and this one has not, with its text."""
    for name, text in today.items():
        parser.add_argument(*name.split(), action=Former, today=text)


def parser(description: str | None, *, slim: bool = True, required: bool = True) -> argparse.ArgumentParser:
    """A parser with ``-c``, which may be ``required``, ``-o`` and, unless ``slim`` is false, ``--slim_config``."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument(
        "-c", "--config", required=required, metavar="YML", help="configuration: a file or a shipped name"
    )
    made.add_argument(
        "-o",
        "--opt",
        nargs="*",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="settings that win over the files, e.g. epoch=12 TrainReader.batch_size=4 slim.losses.l2.weight=10",
    )
    if slim:
        made.add_argument("--slim_config", metavar="YML", help="configuration of the distillation or pruning")
    return made


def load(args: argparse.Namespace, *more: str) -> tuple[Config, Config | None]:
    """The detector's configuration and, with ``--slim_config``, the distillation's, each with its part of ``-o``.

    Raises :class:`ConfigError` for an unreadable file, a malformed override, ``slim.`` without a slim file, or a slim
    file that is neither trained with nor of one of the kinds ``more``.
    """
    from ppkd.config import TRAINED, load_config, require_slim, split_overrides

    own, slim_overrides = split_overrides(args.opt)
    slim_path = getattr(args, "slim_config", None)
    if slim_path is None:
        if slim_overrides:
            raise ConfigError(f"-o slim.{slim_overrides[0]}: there is no --slim_config that it could change")
        return load_config(args.config, own), None
    slim = load_config(slim_path, slim_overrides)
    require_slim(slim, *TRAINED, *more)
    return load_config(args.config, own), slim


def load_detector(args: argparse.Namespace) -> Config:
    """The detector's configuration alone, for what needs no teacher."""
    return detector(*load(args))


def detector(cfg: Config, slim: Config | None) -> Config:
    """``cfg`` of a detector that ``slim`` was trained with; a line in the log says of distillation that it is plain.

    Of a file that prunes, the configuration says that the weights tell how many channels there are.
    """
    from ppkd.config import prunes, trains_int8
    from ppkd.config.options import FROM_WEIGHTS

    if slim is not None and prunes(slim) and cfg.get("pruned") is None:
        return cfg.with_item("pruned", FROM_WEIGHTS, slim.mark("slim"))
    if slim is not None and trains_int8(slim):
        get_logger("ppkd").info("%s: computed in float here; `ppkd export --format onnx` makes INT8 of it", slim.path)
    elif slim is not None:
        get_logger("ppkd").info("%s has no effect here: a distilled student is a plain detector", slim.path)
    return cfg
