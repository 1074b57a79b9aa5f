"""Names of PaddleDetection that ppkd does not have, and what is answered to them."""

from __future__ import annotations

_TWO_STAGES = "of two stages there is FasterRCNN on a pyramid, the files faster_rcnn_*_fpn_*"
_PPYOLOE = "PP-YOLOE's files of sizes s, m, l and x work, ppyoloe_crn_* and ppyoloe_plus_crn_*"
_ANSWERS = {
    "the files picodet_*_lcnet.yml of PicoDet's folder work, which have LCNet, LCPAN and PicoHeadV2": (
        *("ESNet", "ShuffleNetV2", "CSPPAN", "PicoHead"),
    ),
    _PPYOLOE: (
        "PPYOLOEWithAuxHead",
        "SimpleConvHead",
        "PPYOLOEContrastHead",
        "PPYOLOFPN",
        "PPYOLOPAN",
        "PPYOLOTinyFPN",
    ),
    f"its transformer (-SOD) is not built; {_PPYOLOE}": ("CustomCSPPAN.num_layers", "CustomCSPPAN.use_trans"),
    f"rotated boxes are not built; {_PPYOLOE}": ("PPYOLOERHead", "FCOSRHead", "S2ANet"),
    "masks are not built": ("PPYOLOE.with_mask", "MaskHead", "PPYOLOEInsHead", "SOLOv2", "QueryInst"),
    f"masks are not built; {_TWO_STAGES}": ("MaskRCNN",),
    _TWO_STAGES: ("CascadeRCNN", "SwinTransformer", "Res5Head", "SparseRCNN"),
    f"the variant without a pyramid (C4) is not built; {_TWO_STAGES}": ("BBoxHead.with_pool",),
    "semi-supervised training is not built; UnlabelledDataset of a slim file distils on images without boxes": (
        *("DenseTeacher", "ARSL_FCOS", "Semi_RTDETR", "UnsupTrainDataset", "SemiTrainReader", "ssod_method"),
    ),
    "tracking is not built": (
        *("FairMOT", "JDE", "DeepSORT", "ByteTrack", "CenterTrack", "EvalMOTDataset", "TestMOTDataset"),
    ),
    "keypoints are not built": ("TopDownHRNet", "HigherHRNet", "TinyPose3DHRNet", "TinyPose3DHRHeatmapNet", "PETR"),
    "pictures are evaluated at one scale: write Resize": ("MultiscaleTestResize",),
    "a slim file is given with --slim_config, beside -c with the student's configuration": ("slim",),
}
INSTEAD = {name: answer for answer, names_ in _ANSWERS.items() for name in names_}
"""What is answered to names of PaddleDetection that ppkd does not have, where there is more to say."""


def instead(name: str) -> str:
    """The end of a message on ``name``: what there is instead, or nothing."""
    return f"; {INSTEAD[name]}" if name in INSTEAD else ""
