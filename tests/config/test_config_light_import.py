from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import ppkd

HEAVY = ["paddle", "numpy", "cv2", "pydantic"]


def run(code: str, root: Path) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_importing_ppkd_and_its_configuration_is_light(root: Path) -> None:
    code = f"import sys, ppkd, ppkd.config; dir(ppkd); print([m for m in {HEAVY} if m in sys.modules])"
    assert run(code, root) == "[]"


def test_loading_a_config_through_the_public_name_is_light(root: Path) -> None:
    config = "configs/yolov3/yolov3_r34_270e_coco.yml"
    code = f"import sys, ppkd; ppkd.load_config('{config}'); print([m for m in {HEAVY} if m in sys.modules])"
    assert run(code, root) == "[]"


def test_every_public_name_is_importable() -> None:
    for name in ppkd.__all__:
        assert getattr(ppkd, name) is not None
    assert callable(ppkd.distill)
    assert set(ppkd.__all__) <= set(dir(ppkd))


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(ppkd, "train_everything")
