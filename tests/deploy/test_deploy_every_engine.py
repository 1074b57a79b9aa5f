"""Every detector, raw heads: Paddle Inference, oneDNN, onnxruntime and OpenVINO compute what the detector computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import paddle
import pytest
from settled import DETECTORS, picture, small

from ppkd.deploy.engine import Engine, InferenceEngine
from ppkd.deploy.export import export_model, raw_entries
from ppkd.deploy.infer_cfg import InferConfig
from ppkd.deploy.onnx_engines import onnx_engine
from ppkd.deploy.preprocess import Preprocess
from ppkd.deploy.to_onnx.compare import largest_difference
from ppkd.deploy.to_onnx.export import export_onnx

pytestmark = pytest.mark.slow

BOUNDS = {"paddle": 0.0, "onednn": 2e-4, "onnxruntime": 2e-4, "openvino": 2e-4}
"""Of the largest number of an output; logits of a sigmoid are compared as probabilities."""
MERGED = {**BOUNDS, "paddle": 2e-4}
"""Where the export merges branches into one convolution."""
OF = {"PPYOLOE": MERGED, "DETR": {name: bound for name, bound in MERGED.items() if name != "onednn"}}
"""RT-DETR chooses its queries by scores: the last bits decide which ones, and oneDNN's differ."""


def engines(program: Path, file: Path) -> dict[str, Engine]:
    onnx = {
        name: onnx_engine(file, name, device="CPU", run_mode="paddle", cpu_threads=1)
        for name in ("onnxruntime", "openvino")
    }
    return {"paddle": InferenceEngine(program), "onednn": InferenceEngine(program, enable_mkldnn=True), **onnx}


@pytest.mark.parametrize("name", DETECTORS)
def test_engines_agree(name: str, tmp_path: Path) -> None:
    cfg, model = small(name, "export.benchmark=true")
    program = export_model(model, cfg, tmp_path)
    file = export_onnx(model, cfg, tmp_path, picture=picture(tmp_path))
    prepare = Preprocess(InferConfig.of(cfg, ["a"] * 4, [1] * 4))
    batch = prepare.collate([prepare(picture(tmp_path)).sample])
    entries = model.spec().entries
    logits, rows = [], []
    found = {kind: engine(batch) for kind, engine in engines(program, file).items()}
    with paddle.no_grad():
        expected = {
            key: tensor.numpy()
            for key, tensor in raw_entries(model.extract({"image": paddle.to_tensor(batch["image"])})).items()
        }
    for key in expected:
        entry = entries[key.partition(".")[0]]
        logits += [key] if entry.activation == "sigmoid" else []
        rows += [key] if entry.kind == "rows" else []
    for entry in {key.partition(".")[0] for key in expected}:
        spread = [np.ptp(expected[key]) for key in expected if key.startswith(f"{entry}.")]
        assert max(spread) > 1e-3, f"{entry}: numbers that are all alike compare nothing"
    differences = {kind: largest_difference(expected, found[kind], logits, rows) for kind in found}
    assert all(differences[kind] <= bound for kind, bound in OF.get(name, BOUNDS).items()), differences
