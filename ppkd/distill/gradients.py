"""Gradients of single loss terms by the parameters of the student's neck, which every loss reaches."""

from __future__ import annotations

from collections.abc import Sequence

import paddle
from paddle import Tensor

from ppkd.models.detectors.detector import Detector

RAISED = 1024.0
"""Terms are multiplied by this and gradients divided: those of float16 networks would be rounded to zero. A power of
two, so that nothing changes elsewhere."""


def neck_parameters(student: Detector) -> list[Tensor]:
    """What is trained of the student's neck, of its backbone where it has none.

    No adapter is among it, and all losses on any part behind reach it.
    """
    return [parameter for parameter in student.before_heads.parameters() if not parameter.stop_gradient]


def gradients(terms: Sequence[Tensor | None], parameters: Sequence[Tensor]) -> Tensor:
    """The gradient of each scalar of ``terms`` by all ``parameters`` in one row, float32 [terms, numbers].

    Zeros where there is no term, or a parameter is not reached. The graph of the terms stays, and gradients of
    parameters are not touched.
    """
    return paddle.stack([_gradient(term, parameters) for term in terms])


def _gradient(term: Tensor | None, parameters: Sequence[Tensor]) -> Tensor:
    if term is None or term.stop_gradient:
        return paddle.zeros([sum(parameter.size for parameter in parameters)])
    found = paddle.grad(term * RAISED, list(parameters), retain_graph=True, allow_unused=True)
    parts = [
        paddle.zeros([parameter.size]) if gradient is None else gradient.astype("float32").flatten()
        for parameter, gradient in zip(parameters, found, strict=True)
    ]
    return paddle.concat(parts) / RAISED
