"""``--tune batch``: the size that is found, what is never tried, and a trial of a real detector."""

from __future__ import annotations

from pathlib import Path

import pytest

from ppkd.config import load_config
from ppkd.data.shapes import draw_shapes
from ppkd.experiment import TrainOptions, train, tuning
from ppkd.experiment.tuning import available, largest, with_largest_batch
from ppkd.utils.errors import ConfigError, TrainingError

STUDENT = "configs/shapes/yolov3_mobilenet_v1_x0.25_160_shapes.yml"


class Machine:
    """Memory of which the program takes a tenth, and each image a hundredth."""

    def __init__(self, limit: float = tuning.SHARE) -> None:
        self.limit = limit
        self.tried: list[int] = []

    def __call__(self, size: int) -> float | None:
        self.tried.append(size)
        share = 0.1 + 0.01 * size
        return share if share <= self.limit else None


def test_the_batch_is_doubled_as_long_as_it_will_fit() -> None:
    machine = Machine()
    assert largest(8, 1000, machine) == 64
    assert machine.tried == [8, 16, 32, 64], "128 images would take 1.38 of the memory, and are not tried"


def test_the_batch_is_halved_until_it_fits_and_not_doubled_again() -> None:
    machine = Machine()
    assert largest(256, 1000, machine) == 64 and machine.tried == [256, 128, 64]
    with pytest.raises(TrainingError, match="one image is more than the memory holds; lower the size of the input"):
        largest(4, 100, Machine(limit=0.1))


def test_few_images_bound_it() -> None:
    assert largest(8, 20, Machine()) == 16
    assert largest(8, 8, Machine()) == 8


def test_a_trial_that_fails_though_it_was_expected_to_fit_ends_it() -> None:
    assert largest(2, 1000, Machine(limit=0.15)) == 4


def test_the_memory_is_the_systems_or_the_containers(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 8000 kB\nMemAvailable:    4000 kB\n")
    (tmp_path / "max").write_text("3000000\n")
    (tmp_path / "current").write_text("1000000\n")
    limits = [(tmp_path / "max", tmp_path / "current")]
    assert available(tmp_path / "meminfo", limits) == 2_000_000
    (tmp_path / "max").write_text("max\n")
    assert available(tmp_path / "meminfo", limits) == 4000 * 1024


@pytest.mark.parametrize(
    ("error", "memory"),
    [
        (MemoryError(), True),
        (RuntimeError("ResourceExhaustedError: Out of memory error on GPU 0"), True),
        (SystemError("(Fatal) std::bad_alloc"), True),
        (RuntimeError("shapes differ"), False),
    ],
)
def test_what_means_that_memory_is_short(error: Exception, memory: bool) -> None:
    assert tuning._is_memory(error) is memory


def test_a_resumed_run_keeps_its_batch(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    with pytest.raises(ConfigError, match="a resumed one keeps the batch that it began with"):
        train(STUDENT, options=TrainOptions(tune="batch", resume="output/a"))


@pytest.mark.slow
def test_two_updates_of_a_real_detector_are_measured(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.chdir(root)
    shapes = draw_shapes(tmp_path / "shapes", images_train=8, images_val=2, size=64, seed=1)
    data = [f"{key}Dataset.dataset_dir={shapes}" for key in ("Train", "Eval")]
    sizes = ["TrainReader.sample_transforms.2.Resize.target_size=[64,64]", "TrainReader.batch_size=2", "worker_num=0"]
    monkeypatch.setattr(tuning, "LEAST_UPDATES", 2)
    cfg = with_largest_batch(load_config(STUDENT, [*data, *sizes]), None, TrainOptions(evaluate=True))
    assert cfg["TrainReader"]["batch_size"] == 4 and cfg.where("TrainReader.batch_size") == "--tune batch"
    told = [message for message in caplog.messages if "images take" in message]
    assert len(told) == 2 and all("of the memory" in message for message in told)
    assert not (tmp_path / "output").exists()
