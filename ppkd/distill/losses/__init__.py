"""Distillation losses, a file or folder for each method: formulas on tensors, and the classes that wire them."""

from ppkd.distill.cells.regions import RegionFinder
from ppkd.distill.divergence import KDQualityFocalLoss, KnowledgeDistillationKLDivLoss
from ppkd.distill.losses.bckd import BCKD
from ppkd.distill.losses.class_kd import ClassKD
from ppkd.distill.losses.clock import CLoCK, CLoCKFeatureLoss
from ppkd.distill.losses.crosskd import CrossKD
from ppkd.distill.losses.cwd import CWD, CWDFeatureLoss
from ppkd.distill.losses.defeat import DeFeat, DeFeatFeatureLoss, DeFeatHead, DeFeatHeadLoss
from ppkd.distill.losses.detrdistill import DETRDistill, DETRDistillFeatures
from ppkd.distill.losses.fbkd import FBKD, FBKDFeatureLoss
from ppkd.distill.losses.feature_imitation import FeatureImitation
from ppkd.distill.losses.fgd import FGD, FGDFeatureLoss
from ppkd.distill.losses.fgfi import FGFI, FGFIFeatureLoss
from ppkd.distill.losses.gid import GID
from ppkd.distill.losses.global_knowledge import GlobalKnowledge
from ppkd.distill.losses.kd_detr import KDDETR
from ppkd.distill.losses.ld import LD
from ppkd.distill.losses.mask_kd import MaskKD, MaskKDLoss
from ppkd.distill.losses.mgd import MGD, MGDFeatureLoss
from ppkd.distill.losses.mimic import Mimic, MimicFeatureLoss
from ppkd.distill.losses.output_l2 import OutputL2
from ppkd.distill.losses.pfi import PFI, PFIFeatureLoss
from ppkd.distill.losses.pkd import PKD, PKDFeatureLoss
from ppkd.distill.losses.ppyoloe import DistillPPYOLOELoss
from ppkd.distill.losses.rank_mimicking import RankMimicking, RankMimickingLoss
from ppkd.distill.losses.score_weighted import ScoreWeighted
from ppkd.distill.losses.yolov3_fine_grained import DistillYOLOv3Loss, YOLOv3FineGrained

__all__ = [
    "BCKD",
    "CWD",
    "FBKD",
    "FGD",
    "FGFI",
    "GID",
    "KDDETR",
    "LD",
    "MGD",
    "PFI",
    "PKD",
    "CLoCK",
    "CLoCKFeatureLoss",
    "CWDFeatureLoss",
    "ClassKD",
    "CrossKD",
    "DETRDistill",
    "DETRDistillFeatures",
    "DeFeat",
    "DeFeatFeatureLoss",
    "DeFeatHead",
    "DeFeatHeadLoss",
    "DistillPPYOLOELoss",
    "DistillYOLOv3Loss",
    "FBKDFeatureLoss",
    "FGDFeatureLoss",
    "FGFIFeatureLoss",
    "FeatureImitation",
    "GlobalKnowledge",
    "KDQualityFocalLoss",
    "KnowledgeDistillationKLDivLoss",
    "MGDFeatureLoss",
    "MaskKD",
    "MaskKDLoss",
    "Mimic",
    "MimicFeatureLoss",
    "OutputL2",
    "PFIFeatureLoss",
    "PKDFeatureLoss",
    "RankMimicking",
    "RankMimickingLoss",
    "RegionFinder",
    "ScoreWeighted",
    "YOLOv3FineGrained",
]
