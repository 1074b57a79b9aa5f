"""What a detector can do beyond recording, by name; a loss says which of these it needs.

============ ============================================= =====================================================
``features`` ``(batch) -> list[Tensor]``                   the neck's maps of any batch, finest first
``boxes``    ``(record) -> list[Tensor]``                  corner boxes [N, P, 4] in pixels of the network's input,
                                                           level by level (rows, columns, anchors) or stage by stage
``scores``   ``(record) -> list[Tensor]``                  what ranks detections, in 0..1: [N, A, C, H, W] per level,
                                                           [N, R, C] per stage
``assign``   ``(record, truth) -> Any``                    training targets for the places of the record
``complete`` ``(record) -> Record``                        the record with all that lies behind the features of its
                                                           towers computed anew from these
``pool``     ``(record, boxes) -> Tensor``                 features [N, R, C, side, side] of corner boxes [N, R, 4]
``masks``    ``(record, boxes, labels) -> Tensor``         logits [N, R, side, side] of the masks of corner boxes
                                                           [N, R, 4], of the classes int64 [N, R]
``at``       ``(batch, like) -> Record``                   the record of ``batch`` at the rows of another's record
``points``   ``(record) -> Points``                       where the record's queries start
``answer``   ``(record, points) -> Record``               the record with what queries say that start at ``points``
``predict``  ``(batch) -> dict``                           detections in pixels of the original images
============ ============================================= =====================================================
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal

Ability = Literal[
    "features", "boxes", "scores", "assign", "complete", "pool", "masks", "at", "points", "answer", "predict"
]
Abilities = Mapping[str, Callable[..., Any]]
OF_RECORDS: tuple[Ability, ...] = ("boxes", "scores", "assign", "complete", "pool", "masks", "points", "answer")
"""Those that read a record, whichever of its entries they want."""


def chosen(abilities: Abilities, names: Collection[str]) -> Abilities:
    """Those of ``abilities`` that are among ``names``."""
    return {name: function for name, function in abilities.items() if name in names}
