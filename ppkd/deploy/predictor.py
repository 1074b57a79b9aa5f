"""The exported Paddle program as a Python object."""

from __future__ import annotations

from pathlib import Path

from ppkd.deploy.engine import Device, InferenceEngine, RunMode, model_files
from ppkd.deploy.infer_cfg import FILE_NAME, InferConfig
from ppkd.deploy.pipeline import Pipeline
from ppkd.deploy.preprocess import Preprocess


class Predictor(Pipeline):
    """Runs what ``ppkd export`` wrote, with nothing but the three files in ``model_dir``.

    ``predictor.predict(["a.jpg", rgb_array], batch_size=2)`` gives one float32 (k, 6) array per picture: class, score,
    x1, y1, x2, y2 in the picture's pixels. Names of the classes are in ``predictor.config.label_list``.
    Raises :class:`WeightsError` for missing, changed or unreadable files and :class:`ConfigError` for a device or
    run mode that this Paddle does not have.
    """

    def __init__(
        self,
        model_dir: Path | str,
        *,
        device: Device = "CPU",
        run_mode: RunMode = "paddle",
        cpu_threads: int = 1,
        enable_mkldnn: bool = False,
    ) -> None:
        path = Path(model_dir) / FILE_NAME
        self.config = InferConfig.read(path).at_one_size()
        self.config.check_files(model_files(Path(model_dir)))
        engine = InferenceEngine(
            model_dir,
            device=device,
            run_mode=run_mode,
            cpu_threads=cpu_threads,
            enable_mkldnn=enable_mkldnn,
            min_subgraph_size=self.config.min_subgraph_size,
        )
        super().__init__(engine, Preprocess(self.config, str(path)))
