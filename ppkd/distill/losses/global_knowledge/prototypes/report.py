"""What a run says about its prototypes: a line in the log, and a file with the chosen instances."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from ppkd.distill.losses.global_knowledge.prototypes.instances import Instances
from ppkd.distill.preparation import Material
from ppkd.utils.atomic import atomic_open
from ppkd.utils.logger import get_logger

FOLDER = "prototypes"
"""Below the run's folder."""

logger = get_logger(__name__)

Chosen = dict[int, list[list[int]]]
"""Rows of instances, by class and level."""


def report(epoch: int, material: Material, instances: Instances, chosen: Chosen, strides: Sequence[int]) -> None:
    """Log how many prototypes ``epoch`` has, and write which they are if the run has a folder."""
    images = material.images
    without = [name for label, name in enumerate(images.class_names) if label not in chosen]
    lacking = f"; no instance is large enough of {', '.join(without)}" if without else ""
    text = "Prototypes of %s for epoch %d: from %d instances of %d classes in %d images%s"
    logger.info(text, material.name, epoch, len(instances), len(chosen), len(np.unique(instances.image)), lacking)
    if images.folder is None:
        return
    classes = {
        images.class_names[label]: [[_told(material, instances, row) for row in rows] for rows in levels]
        for label, levels in chosen.items()
    }
    with atomic_open(images.folder / FOLDER / f"{material.name}_epoch_{epoch}.json") as stream:
        stream.write(json.dumps({"strides": list(strides), "classes": classes}).encode())


def _told(material: Material, instances: Instances, row: int) -> dict[str, object]:
    file = material.images.annotations[int(instances.image[row])].file
    return {"image": str(file), "box": [round(float(side), 2) for side in instances.box[row]]}
