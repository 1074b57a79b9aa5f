"""When prototypes are made, and from which instances."""

from __future__ import annotations

from dataclasses import dataclass

from ppkd.distill.losses.global_knowledge.prototypes.selection import Selection


@dataclass(frozen=True)
class PrototypeSettings(Selection):
    """When and from which instances prototypes are made; the defaults are the published ones.

    Attributes:
        every: epochs from one set of prototypes to the next; the first is made before training.
        min_side: only boxes that are wider and higher than this, in pixels of the original image.
        max_images: of each class.
        max_instances: of each class. The published code has no such limit; 800 images of COCO do not reach it. The
            time to choose grows with the square of the number of instances, the memory in proportion to it.
        seed: which ones are drawn where there are more.
    """

    every: int = 1
    min_side: float = 30.0
    max_images: int = 800
    max_instances: int = 20000
    seed: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("every", "max_images", "max_instances"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: give 1 or more")
