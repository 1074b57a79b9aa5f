"""No figure improves because an image cannot be read."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data.reader_cases import make_config, write_coco
from paddle import nn

from ppkd.data import build_dataset, build_loader, build_reader
from ppkd.engine.evaluation import evaluate
from ppkd.metrics import COCOMetric, Metric, VOCMetric


class Oracle(nn.Layer):
    """Finds every box of the batch where it is."""

    def predict(self, batch: dict[str, Any]) -> dict[str, np.ndarray]:
        rows = []
        for boxes, labels, scale in zip(
            batch["gt_bbox"], batch["gt_class"], batch["scale_factor"].numpy(), strict=True
        ):
            corners = boxes.numpy() / np.tile(scale[::-1], 2)
            score = np.full(len(corners), 0.9)
            rows.append(np.column_stack([labels.numpy(), score, corners]).astype(np.float32).reshape(-1, 6))
        return {"bbox": np.concatenate(rows), "bbox_num": np.array([len(found) for found in rows])}


def figure(folder: Path, kind: type[Metric]) -> float:
    cfg = make_config(folder / "c.yml", folder)
    dataset = build_dataset(cfg, "EvalDataset")
    metric = kind(dataset)
    return evaluate(Oracle(), build_loader(build_reader(cfg, "Eval"), dataset), metric)[metric.headline]


@pytest.mark.parametrize("kind", [COCOMetric, VOCMetric])
@pytest.mark.parametrize("harm", ["unreadable", "missing"])
def test_boxes_of_an_image_that_cannot_be_read_count_as_missed(
    tmp_path: Path, kind: type[Metric], harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    write_coco(tmp_path, 9)
    assert figure(tmp_path, kind) == pytest.approx(1)
    for name in ("4.png", "7.png"):
        if harm == "missing":
            (tmp_path / "images" / name).unlink()
        else:
            (tmp_path / "images" / name).write_bytes(b"")
    with caplog.at_level(logging.WARNING, "ppkd"):
        found = figure(tmp_path, kind)
    assert found == pytest.approx(7 / 9, abs=0.06)
    messages = [record.getMessage() for record in caplog.records]
    assert any("4.png" in message and "counts as one without detections" in message for message in messages)
    assert any("2 images could not be read: all boxes in them count as missed" in message for message in messages)
