"""One parsed experiment: what is checked when, and what nobody needs is not asked for."""

from __future__ import annotations

import pytest

from ppkd.config import load_config
from ppkd.data.shapes import draw_shapes
from ppkd.experiment import Experiment, TrainOptions
from ppkd.experiment.assembly import assemble
from ppkd.utils.errors import ConfigError

STUDENT = "configs/shapes/yolov3_mobilenet_v1_x0.25_160_shapes.yml"
SLIM = "slim/distill/yolov3_l2.yml"


@pytest.fixture
def parse(root, tmp_path, monkeypatch):
    monkeypatch.chdir(root)

    def made(*overrides, slim=(), **options):
        cfg = load_config(STUDENT, [f"save_dir={tmp_path}", "worker_num=0", *overrides])
        return Experiment.parse(cfg, load_config(SLIM, slim) if slim else None, TrainOptions(**options))

    return made


def test_each_block_is_parsed_once(parse):
    experiment = parse("OptimizerBuilder.clip_grad_by_norm=7.0", "LearningRate.base_lr=0.25")
    experiment.check()
    assert (experiment.optimizer.clip_grad_by_norm, experiment.learning_rate.base_lr) == (7.0, 0.25)
    for block in ("optimizer", "learning_rate", "train_reader", "eval_reader"):
        assert getattr(experiment, block) is getattr(experiment, block), block


def test_slim_settings_that_concern_the_run(parse):
    plain = parse(slim=["student.inherit=[neck]", "UnlabelledDataset={name: ImageFolder}", "unlabelled_batch_size=3"])
    assert (plain.slim.inherits, plain.slim.unlabelled, plain.slim.unlabelled_batch_size) == (True, True, 3)
    assert plain.starts_trained
    bare = parse(slim=["slim=Distill"])
    assert (bare.slim.inherits, bare.slim.unlabelled, bare.slim.unlabelled_batch_size) == (False, False, None)
    assert not bare.starts_trained and parse("pretrain_weights=x").starts_trained


def test_numbers_can_be_compared_by_seed_and_order(parse):
    experiment = parse("seed=5", enable_ce=True)
    assert (experiment.runtime.seed, experiment.train_reader.settings.shuffle) == (0, False)
    assert experiment.config.where("TrainReader.shuffle") == "--enable_ce"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("epoch=0", "epoch is missing"),
        ("OptimizerBuilder.clip_grad_by_norm=-1.0", "clip_grad_by_norm is -1"),
        ("LearningRate.base_lr=-1.0", "base_lr is -1"),
        ("EvalReader.sample_transforms=[]", "EvalReader.sample_transforms needs Decode"),
    ],
)
def test_mistakes_are_found_by_the_check(parse, override, message):
    experiment = parse(override)
    with pytest.raises(ConfigError, match=message):
        experiment.check()


def test_a_run_without_evaluation_needs_no_evaluation_reader(parse, tmp_path):
    shapes = draw_shapes(tmp_path / "shapes", images_train=4, images_val=1, size=64, seed=1)
    data = ["EvalReader=null", "EvalDataset=null", f"TrainDataset.dataset_dir={shapes}", "TrainReader.batch_size=2"]
    assembly = assemble(parse(*data))
    assert len(assembly.loader) == 2 and assembly.distilled is None
