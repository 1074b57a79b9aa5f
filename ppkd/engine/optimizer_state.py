"""An optimizer's state under the structured names of its parameters.

Paddle names a parameter after a counter of the process (``conv2d_17.w_0``), so the names in ``Optimizer.state_dict()``
depend on what was built before. Files hold ``{"backbone.conv1.weight": {"velocity": array}}`` instead.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import paddle
from paddle import Tensor

from ppkd.utils.errors import WeightsError

OptimizerState = dict[str, dict[str, np.ndarray]]


def export_state(optimizer: paddle.optimizer.Optimizer, parameters: Mapping[str, Tensor]) -> OptimizerState:
    """Every accumulator of ``optimizer`` by the names in ``parameters``; empty before the first step."""
    structured = {parameter.name: name for name, parameter in parameters.items()}
    state: OptimizerState = {}
    for kind, accumulators in optimizer._accumulators.items():
        for automatic, accumulator in accumulators.items():
            state.setdefault(structured[automatic], {})[kind] = accumulator.numpy()
    return state


def import_state(
    optimizer: paddle.optimizer.Optimizer,
    parameters: Mapping[str, Tensor],
    state: Mapping[str, Mapping[str, np.ndarray]],
) -> None:
    """Give a fresh ``optimizer`` the accumulators of :func:`export_state`.

    Raises :class:`WeightsError` when names, kinds or shapes are not this optimizer's.
    """
    strangers = sorted(set(state) - set(parameters))
    if strangers:
        raise WeightsError(
            f"the optimizer's state is of another model: it has {strangers[0]}, which is not trained here"
        )
    block = paddle.base.framework.default_main_program().global_block()
    optimizer._create_accumulators(block, [parameters[name] for name in state])
    for name, kinds in state.items():
        for kind, array in kinds.items():
            accumulator = optimizer._accumulators.get(kind, {}).get(parameters[name].name)
            if accumulator is None or tuple(accumulator.shape) != array.shape:
                raise WeightsError(
                    f"the optimizer's state is of another optimizer or model: '{kind}' of {name}, shape {array.shape}, "
                    f"does not belong to {type(optimizer).__name__} here"
                )
            accumulator.set_value(array)
