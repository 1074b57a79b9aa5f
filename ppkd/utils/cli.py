"""What the command lines share: common flags, loading of configurations, errors without tracebacks."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from ppkd.config import Config, load_config, split_overrides
from ppkd.utils import runtime
from ppkd.utils.errors import ConfigError, PPKDError
from ppkd.utils.logger import get_logger, setup_logger

INTERRUPTED = 130
_TRUE = ("true", "yes", "on", "1")
_FALSE = ("false", "no", "off", "0")


def boolean(text: str) -> bool:
    """``true``/``false`` in any usual spelling; raises what argparse turns into a usage error."""
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise argparse.ArgumentTypeError(f"expected true or false, not '{text}'")


def add_flag(parser: argparse.ArgumentParser, name: str, text: str) -> None:
    """A boolean flag that may stand alone or take a value: ``--eval``, ``--use_vdl=true``, ``--use_vdl false``."""
    parser.add_argument(name, type=boolean, nargs="?", const=True, default=False, metavar="BOOL", help=text)


class Former(argparse.Action):
    """A flag that users of older tools may have in their fingers: a usage error that names what to write today."""

    def __init__(self, option_strings: Sequence[str], dest: str, *, today: str) -> None:
        super().__init__(option_strings, dest, nargs="?", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        self.today = today

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: object, name: str | None = None
    ) -> None:
        """Exit with the usage and the message."""
        parser.error(f"{name} is not a flag here: {self.today}")


def parser(description: str, *, slim: bool = True) -> argparse.ArgumentParser:
    """A parser with ``-c``, ``-o`` and, unless ``slim`` is false, ``--slim_config``."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("-c", "--config", required=True, metavar="YML", help="configuration of the detector")
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
        made.add_argument("--slim_config", metavar="YML", help="configuration of the distillation")
    return made


def load(args: argparse.Namespace) -> tuple[Config, Config | None]:
    """The detector's configuration and, with ``--slim_config``, the distillation's, each with its part of ``-o``.

    Raises :class:`ConfigError` for an unreadable file, a malformed override, or ``slim.`` without a slim file.
    """
    own, slim_overrides = split_overrides(args.opt)
    slim_path = getattr(args, "slim_config", None)
    if slim_path is None:
        if slim_overrides:
            raise ConfigError(f"-o slim.{slim_overrides[0]}: there is no --slim_config that it could change")
        return load_config(args.config, own), None
    return load_config(args.config, own), load_config(slim_path, slim_overrides)


def run(
    main: Callable[[argparse.Namespace], None], made: argparse.ArgumentParser, argv: Sequence[str] | None = None
) -> int:
    """Parse ``argv``, prepare the process, run ``main`` and return the exit code.

    A :class:`PPKDError`, and a file or folder that the system refuses, is printed as ``error: ...`` on standard error
    and gives 1; an interrupt gives 128 + signal.
    """
    args = made.parse_args(argv)
    setup_logger()
    get_logger("ppkd").info(runtime.prepare())
    runtime.import_paddle()
    try:
        main(args)
    except (PPKDError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as interrupt:
        from ppkd.engine.signals import Interrupted

        return interrupt.exit_code if isinstance(interrupt, Interrupted) else INTERRUPTED
    return 0
