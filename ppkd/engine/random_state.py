"""All random streams of a process as plain arrays and numbers, and back."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np
import paddle

_Batch = TypeVar("_Batch")


def seed_everything(seed: int) -> None:
    """Start the streams of Paddle, NumPy and Python from ``seed``."""
    paddle.seed(seed)
    np.random.seed(seed)
    random.seed(seed)


def capture() -> dict[str, Any]:
    """The state of every stream: Paddle's generators of the present device, NumPy's global one, Python's."""
    kind, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    version, words, next_gauss = random.getstate()
    return {
        "paddle": [_encode(state) for state in paddle.get_rng_state()],
        "numpy": {"kind": kind, "keys": keys, "rest": (int(position), int(has_gauss), float(gauss))},
        "python": {"version": version, "words": np.array(words, np.int64), "next_gauss": next_gauss},
    }


def restore(state: Mapping[str, Any]) -> None:
    """Continue every stream where :func:`capture` found it.

    Paddle's are skipped when the state was captured with another number of devices.
    """
    present = paddle.get_rng_state()
    if len(present) == len(state["paddle"]):
        paddle.set_rng_state([_decode(type(old), new) for old, new in zip(present, state["paddle"], strict=True)])
    numpy = state["numpy"]
    np.random.set_state((numpy["kind"], numpy["keys"], *numpy["rest"]))
    python = state["python"]
    random.setstate((python["version"], tuple(python["words"].tolist()), python["next_gauss"]))


def batches_apart(loader: Iterable[_Batch]) -> Iterator[_Batch]:
    """The batches of ``loader``, whose start leaves NumPy's global stream as it was.

    Paddle's ``DataLoader`` draws a seed for its worker processes from that stream whenever an iterator starts, so a
    resumed run, which starts one more, or another number of workers would continue with other random numbers.
    """
    batches = iter(loader)
    before = np.random.get_state()
    first = next(batches, None)
    np.random.set_state(before)
    if first is not None:
        yield first
        yield from batches


def _encode(state: Any) -> dict[str, Any]:
    device, seed, offset, engine = state.__getstate__()
    return {"device": device, "seed": seed, "offset": offset, "engine": np.array(engine, np.uint8)}


def _decode(kind: Any, state: Mapping[str, Any]) -> Any:
    made = kind.__new__(kind)
    made.__setstate__((state["device"], state["seed"], state["offset"], state["engine"].tolist()))
    return made
