"""What the log and the figures of an epoch say of weights that hold a share of the gradient."""

from __future__ import annotations

from ppkd.distill.balance import Balance
from ppkd.engine.hooks.base import Hook, TrainingRun
from ppkd.utils.logger import get_logger

logger = get_logger(__name__)


class BalanceLog(Hook):
    """A line for each balanced loss after an epoch, and its weight, share and cosine among the epoch's figures."""

    def __init__(self, balance: Balance) -> None:
        self._balance = balance

    def after_epoch(self, run: TrainingRun, epoch: int) -> None:
        """Write them."""
        for name, one in self._balance.standing().items():
            text = "%s: weight %.4g, %.3g of the task's gradient (asked %.3g), cosine %.2f, negative in %.0f %%"
            asked = self._balance.shares[name]
            logger.info(text, name, one.weight, one.share, asked, one.cosine, 100 * one.against)
            run.events.put({f"{name}_weight": one.weight, f"{name}_share": one.share, f"{name}_cosine": one.cosine})
