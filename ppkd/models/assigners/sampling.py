"""Balanced samples of positive and negative candidates of all images at once, without waiting for the device."""

from __future__ import annotations

from dataclasses import dataclass

import paddle
from paddle import Tensor

from ppkd.utils.errors import ConfigError


@dataclass(frozen=True)
class Sample:
    """Chosen rows, the positive ones first: positions ``index`` int64 [N, K], and ``kept`` bool [N, K], which count."""

    index: Tensor
    kept: Tensor

    def mask(self, candidates: int) -> Tensor:
        """Which of so many ``candidates`` are chosen, bool [N, candidates]."""
        votes = paddle.zeros([self.index.shape[0], candidates])
        return paddle.put_along_axis(votes, self.index, self.kept.astype("float32"), axis=1, reduce="add") > 0


def check_sample(asker: str, count: int, fraction: float) -> None:
    """Raise :class:`ConfigError` unless a sample of so many rows can hold a positive one."""
    if not 1 <= int(count * fraction) <= count:
        raise ConfigError(
            f"{asker}.batch_size_per_im is {count} and fg_fraction {fraction}: expected a fraction of 0..1 that leaves "
            "one positive at least must fit."
        )


def sample(positive: Tensor, negative: Tensor, priority: Tensor, *, count: int, fraction: float) -> Sample:
    """``count`` candidates of each image, at most ``fraction`` of them positive, filled up with negative ones.

    ``positive`` and ``negative`` are bool [N, P]; ``priority`` float32 [N, P] is 0 or more, the greater the sooner
    chosen (Ren et al., arXiv:1506.01497, section 3.1.3).
    """
    none = paddle.full_like(priority, -1.0)
    candidates = priority.shape[1]
    best, first = paddle.topk(paddle.where(positive, priority, none), min(int(count * fraction), candidates), axis=1)
    wanted = best >= 0
    best, second = paddle.topk(paddle.where(negative, priority, none), min(count, candidates), axis=1)
    left = count - wanted.astype("int64").sum(axis=1, keepdim=True)
    filling = (best >= 0) & (paddle.arange(best.shape[1]) < left)
    return Sample(paddle.concat([first, second], axis=1), paddle.concat([wanted, filling], axis=1))


def priorities(images: int, candidates: int, shuffled: Tensor | None) -> Tensor:
    """Priorities float32 [images, candidates] in 0..1 for :func:`sample`.

    Random ones from Paddle's generator in the images that are ``shuffled``, bool [images], descending ones in the
    others and, where it is None, in all.
    """
    ordered = paddle.arange(candidates, 0, -1, dtype="float32").expand([images, candidates]) / candidates
    if shuffled is None:
        return ordered
    return paddle.where(shuffled.unsqueeze(1), paddle.rand([images, candidates]), ordered)
