"""The processes that train or evaluate together, as ``paddle.distributed.launch`` starts them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from paddle import Tensor

_Item = TypeVar("_Item")


def count() -> int:
    """How many there are, from the launcher's environment."""
    return int(os.environ.get("PADDLE_TRAINERS_NUM", "1"))


def on_this_machine() -> int:
    """How many of them share this machine's cores."""
    return int(os.environ.get("PADDLE_LOCAL_SIZE") or count())


def rank() -> int:
    """The number of this process, counted from 0."""
    return int(os.environ.get("PADDLE_TRAINER_ID", "0"))


def is_first() -> bool:
    """Whether this process writes the run's files."""
    return rank() == 0


def together() -> bool:
    """Whether this process has joined others, so that they wait for each other in the functions below."""
    import paddle

    return count() > 1 and paddle.distributed.is_initialized()


def mean(local: Tensor) -> Tensor:
    """The mean of every process's ``local``, float32, without waiting for the device; no gradient."""
    from paddle import distributed

    if not together():
        return local.detach()
    total = local.detach().astype("float32").clone()
    distributed.all_reduce(total)
    return total / count()


def any_of(flag: bool) -> bool:
    """Whether ``flag`` is true in any process; this waits for the device."""
    import paddle

    if not together():
        return flag
    total = paddle.to_tensor([float(flag)])
    paddle.distributed.all_reduce(total)
    return total.item() > 0


def gather(item: _Item) -> list[_Item]:
    """Every process's ``item``, by rank."""
    from paddle import distributed

    if not together():
        return [item]
    items: list[_Item] = []
    distributed.all_gather_object(items, item)
    return items


def agree(tensors: Iterable[Tensor]) -> None:
    """Give all processes the ``tensors`` of the first one, in place."""
    from paddle import distributed

    if together():
        for tensor in tensors:
            distributed.broadcast(tensor, src=0)


def wait_for_all() -> None:
    """Return when every process has called this."""
    any_of(False)
