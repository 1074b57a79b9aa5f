"""Names of PaddleDetection that ppkd does not have, and what is answered to them."""

from __future__ import annotations

_TWO_STAGES = (
    "of two stages there are FasterRCNN and, on a pyramid, MaskRCNN, on convolutional backbones, the files "
    "faster_rcnn_{r,x}* and mask_rcnn_{r,x}*_fpn_*"
)
_PPYOLOE = "PP-YOLOE's files of sizes s, m, l and x work, ppyoloe_crn_* and ppyoloe_plus_crn_*"
_PICODET = (
    "the files picodet_*_lcnet.yml in configs/picodet work, with LCNet, LCPAN and PicoHeadV2; those below its "
    "legacy_model have older parts"
)
_QUERIES = "of queries there is RT-DETR, the files rtdetr_r*vd_* and rtdetr_hgnetv2_*"
_ANSWERS = {
    _PICODET: ("ESNet", "ShuffleNetV2", "CSPPAN", "PicoHead"),
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
    "masks are built for MaskRCNN alone": ("PPYOLOE.with_mask", "PPYOLOEInsHead", "SOLOv2", "QueryInst"),
    _TWO_STAGES: ("CascadeRCNN", "SparseRCNN"),
    "the backbones here are convolutional": ("SwinTransformer", "VisionTransformer", "VisionTransformer2D"),
    _QUERIES: (
        "DETRTransformer",
        "DeformableTransformer",
        "DINOTransformer",
        "GroupDINOTransformer",
        "QRDeformableTransformer",
        "RTDETRTransformerv2",
    ),
    f"masks are not built; {_QUERIES}": ("MaskHybridEncoder", "MaskRTDETR", "MaskDINO"),
    "semi-supervised training is not built; UnlabelledDataset of a slim file distils on images without boxes": (
        *("DenseTeacher", "ARSL_FCOS", "Semi_RTDETR", "DETR.post_process_semi", "UnsupTrainDataset"),
        *("SemiTrainReader", "ssod_method"),
    ),
    "tracking is not built": (
        *("FairMOT", "JDE", "DeepSORT", "ByteTrack", "CenterTrack", "EvalMOTDataset", "TestMOTDataset"),
    ),
    "keypoints are not built": ("TopDownHRNet", "HigherHRNet", "TinyPose3DHRNet", "TinyPose3DHRHeatmapNet", "PETR"),
    "training by label co-tuning is not built": ("BBoxHead.cot_classes",),
    "a slim file is given with --slim_config, beside -c with the student's configuration": ("slim",),
}
INSTEAD = {name: answer for answer, names_ in _ANSWERS.items() for name in names_}
"""What is answered to names of PaddleDetection that ppkd does not have, where there is more to say."""


def instead(name: str) -> str:
    """The end of a message on ``name``: what there is instead, or nothing."""
    return f"; {INSTEAD[name]}" if name in INSTEAD else ""
