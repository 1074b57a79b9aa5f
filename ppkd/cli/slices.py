"""PaddleDetection's flags of detection in slices, which `infer`, `eval` and `deploy` share."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from ppkd.cli.flags import add_flag, finite, number, positive
from ppkd.utils.errors import ConfigError

if TYPE_CHECKING:
    from ppkd.deploy.slices import Slicing

# The flags, and what each is in :class:`Slicing`.
_FIELDS = {
    "slice_size": "size",
    "overlap_ratio": "overlap",
    "combine_method": "method",
    "match_threshold": "threshold",
    "match_metric": "metric",
}


def add_slices(parser: argparse.ArgumentParser) -> None:
    """Add ``--slice_infer`` and the flags that say how."""
    add_flag(parser, "--slice_infer", "cut pictures into overlapping slices, for small objects")
    pair: dict[str, Any] = {"nargs": "+", "action": _Pair, "metavar": ("HEIGHT", "WIDTH")}
    parser.add_argument("--slice_size", type=positive, help="of a slice; one number for both (640)", **pair)
    parser.add_argument("--overlap_ratio", type=_share, help="of neighbours; one number for both (0.25)", **pair)
    parser.add_argument("--combine_method", choices=("nms", "nmm", "concat"), help="drop, join or keep doubles (nms)")
    parser.add_argument("--match_threshold", type=finite, metavar="NUMBER", help="least overlap of doubles (0.6)")
    parser.add_argument("--match_metric", choices=("ios", "iou"), help="overlap over the smaller box or union (ios)")


def slicing(args: argparse.Namespace, **defaults: Any) -> Slicing | None:
    """How the flags say that pictures are cut, None if they are not; ``defaults`` are fields of :class:`Slicing`.

    Raises :class:`ConfigError` for flags that have no effect without ``--slice_infer``.
    """
    given = {field: value for flag, field in _FIELDS.items() if (value := getattr(args, flag)) is not None}
    if args.slice_infer:
        from ppkd.deploy.slices import Slicing

        return Slicing(**{**defaults, **given})
    if given:
        flag = next(flag for flag, field in _FIELDS.items() if field in given)
        raise ConfigError(f"--{flag} has no effect without --slice_infer; write both, or neither")
    return None


class _Pair(argparse.Action):
    """One value or two, stored as two."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, name: str | None = None
    ) -> None:
        """Store ``values``; exit with the usage for more than two."""
        if len(values) > 2:
            parser.error(f"{name} takes a height and a width, not {len(values)} numbers")
        setattr(namespace, self.dest, (values[0], values[-1]))


_share = number(float, lambda share: 0 <= share < 1, "a share of at least 0 and below 1")
