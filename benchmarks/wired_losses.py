"""Steps of losses that read more than two maps: from the records of a detector, with its assignment and its boxes."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ppkd.models.detectors.detector import Detector
    from ppkd.structures import Batch, Record

ROOT = Path(__file__).resolve().parents[1]
RETINANET = ROOT / "configs/retinanet/retinanet_r18_fpn_1x_coco.yml"
GFL = ROOT / "configs/gfl/gfl_r18vd_1x_coco.yml"
PPYOLOE = ROOT / "configs/ppyoloe/ppyoloe_plus_crn_s_80e_coco.yml"
RTDETR = ROOT / "configs/rtdetr/rtdetr_r18vd_6x_coco.yml"
WIRED = {
    **dict.fromkeys(("FGFI", "DeFeat", "PFI", "RankMimicking", "GID", "GlobalKnowledge"), RETINANET),
    **dict.fromkeys(("LD", "ClassKD", "FeatureImitation", "CrossKD", "BCKD", "ScoreWeighted"), GFL),
    "DistillPPYOLOELoss": PPYOLOE,
    **dict.fromkeys(("KDDETR", "DETRDistill", "DETRDistillFeatures"), RTDETR),
}
"""Every loss and the detector on whose records it is measured."""


def wired_step(name: str, batch: Batch, size: int) -> Callable[[], None]:
    """One forward and backward of the loss ``name`` on random records of ``batch``, images of ``size`` pixels."""
    import paddle

    import ppkd
    from ppkd.distill import FrozenTeacher, Progress, Side, losses
    from ppkd.structures.truth import Truth

    paddle.seed(0)
    detector = ppkd.build_detector(ppkd.load_config(str(WIRED[name]), ["pretrain_weights=null"]))
    spec = detector.spec()
    loss = getattr(losses, name)(spec, spec)
    images = len(batch["gt_bbox"])
    recorded = _answers if spec.of("class", kind="rows") else _numbers
    student, teacher = (recorded(detector, images, size) for _ in range(2))
    truth = Truth.of(batch)
    sides = (
        Side(student, detector.abilities(), detector.assign(student, truth)),
        Side(teacher, FrozenTeacher(deepcopy(detector)).abilities()),
    )
    leaves = [tensor for tensors in student.tensors.values() for tensor in tensors]
    for tensor in leaves:
        tensor.stop_gradient = False

    def run() -> None:
        value = loss(*sides, truth, Progress())
        value.backward()
        value.item()
        for tensor in leaves:
            tensor.clear_gradient(set_to_zero=False)
        for layer in (loss, detector):
            layer.clear_gradients(set_to_zero=False)

    return run


def _answers(detector: Detector, images: int, size: int) -> Record:
    """What a detector that was just drawn records of noise: queries of which losses ask more than their numbers."""
    import paddle

    with paddle.no_grad():
        record = detector.extract({"image": paddle.randn([images, 3, size, size])})
    return record.map(lambda tensor: tensor.detach().clone())


def _numbers(detector: Detector, images: int, size: int) -> Record:
    """Random numbers in the shapes of the detector's record; the classes are as unlikely as at the start."""
    import paddle

    from ppkd.structures import Record

    spec, maps = detector.spec(), {}
    for name, entry in spec.entries.items():
        cells = [-(-size // stride) for stride in entry.strides]
        anchors = [[] if name == "neck" else [level.anchors] for level in entry.levels]
        maps[name] = [
            0.5 * paddle.randn([images, *count, level.channels, side, side]) - 4.0 * (entry.role == "class")
            for level, count, side in zip(entry.levels, anchors, cells, strict=True)
        ]
    return Record(spec, maps)
