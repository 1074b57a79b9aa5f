"""A small YOLOv3 with random weights that detects something everywhere, and its export."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

CONFIG = "configs/shapes/yolov3_mobilenet_v1_x0.25_160_shapes.yml"
LABELS = [
    "TestReader.inputs_def.image_shape=[3, -1, -1]",
    "TestDataset.label_list=[disc, 三角, square, cross]",
    "num_classes=4",
]


@pytest.fixture(scope="session")
def config(root: Path) -> Callable:
    """Loads the small configuration with overrides."""
    from ppkd.config import load_config

    return lambda *overrides: load_config(str(root / CONFIG), [*LABELS, *overrides])


@pytest.fixture(scope="session")
def detector(config: Callable) -> object:
    """The detector, in evaluation mode; tests must not change it."""
    import paddle
    from small_detector import scatter_statistics

    from ppkd.models import build_detector

    paddle.seed(5)
    model = build_detector(config())
    scatter_statistics(model)
    model.eval()
    return model


@pytest.fixture(scope="session")
def exported(config: Callable, detector: object, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its export with dynamic sizes; tests must not change it."""
    from ppkd.deploy.export import export_model

    return export_model(detector, config("filename=small"), tmp_path_factory.mktemp("exported"))
