"""Several teachers in one run, and a teacher that is no detector."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import paddle
import pytest
from recorded import RecordedTeacher, write_answers
from toy import ToyDetector, toy_batch

from ppkd.config import load_config
from ppkd.distill import DistillModel, FrozenTeacher, build_distiller
from ppkd.distill.build import check_slim
from ppkd.distill.losses import CWD, FGD, GID, OutputL2, YOLOv3FineGrained
from ppkd.distill.preflight import check_teachers, first_losses
from ppkd.models import build_detector
from ppkd.utils.errors import ConfigError, SpecError
from ppkd.utils.serialization import write_weights

sys.path.append(str(Path(__file__).resolve().parents[1] / "contracts"))

from pairs import detector

STUDENT = "configs/shapes/yolov3_mobilenet_v1_x0.25_160_shapes.yml"
LARGER = "configs/shapes/yolov3_mobilenet_v1_x0.5_160_shapes.yml"


@pytest.fixture
def two():
    paddle.seed(0)
    return ToyDetector(), FrozenTeacher(ToyDetector(channels=6)), FrozenTeacher(ToyDetector(channels=8))


def test_every_loss_learns_from_its_own_teacher(two):
    student, big, sibling = two
    student.eval()
    losses = {"l2": OutputL2(student.spec(), big.spec()), "fine": YOLOv3FineGrained(student.spec(), sibling.spec())}
    both = DistillModel(student, {"big": big, "sibling": sibling}, losses, {"fine": "sibling"})
    terms = both(toy_batch())
    for name, teacher in (("l2", big), ("fine", sibling)):
        alone = DistillModel(student, teacher, {name: losses[name]})(toy_batch())
        assert terms[name].item() == alone[name].item()
    assert both.teacher is big
    assert both.fingerprints() == {"big": big.fingerprint(), "sibling": sibling.fingerprint()}
    assert len(set(both.fingerprints().values())) == 2
    terms["loss"].backward()
    assert all(p.grad is None for one in (big, sibling) for p in one.detector.parameters())


def test_a_teacher_from_whom_no_loss_learns_is_not_asked(two):
    student, big, sibling = two
    sibling.detector.head.register_forward_pre_hook(lambda *_: pytest.fail("the other teacher was asked"))
    losses = {"l2": OutputL2(student.spec(), big.spec())}
    assert "l2" in DistillModel(student, {"big": big, "sibling": sibling}, losses)(toy_batch())


def test_recorded_answers_teach_as_their_detector_does(tmp_path):
    paddle.seed(0)
    student, teacher, batch = ToyDetector(), ToyDetector(channels=6), toy_batch()
    student.eval()
    write_answers(teacher, batch, tmp_path)
    recorded = RecordedTeacher(teacher.spec(), tmp_path)
    losses = {
        "l2": OutputL2(student.spec(), recorded.spec()),
        "fine": YOLOv3FineGrained(student.spec(), recorded.spec()),
        "cwd": CWD(student.spec(), recorded.spec()),
    }
    batch["im_shape"] = paddle.full([2, 2], 16.0)
    found, online = (DistillModel(student, one, losses)(batch) for one in (recorded, FrozenTeacher(teacher)))
    assert {name: found[name].item() for name in losses} == {name: online[name].item() for name in losses}


def test_what_a_recorded_teacher_cannot_do_is_said_when_a_loss_is_built(tmp_path):
    online = detector("RetinaNet", seed=0).spec()
    recorded = RecordedTeacher(online, tmp_path).spec()
    assert GID(online, online).needs.teacher
    with pytest.raises(SpecError, match=r"GID needs .*boxes.* of RetinaNet, which offers scores"):
        GID(online, recorded)


def test_preflight_reports_every_teacher(two, caplog):
    student, big, sibling = two
    losses = {"l2": OutputL2(student.spec(), big.spec()), "fine": YOLOv3FineGrained(student.spec(), sibling.spec())}
    model = DistillModel(student, {"big": big, "sibling": sibling}, losses, {"fine": "sibling"})
    with caplog.at_level(logging.INFO):
        check_teachers(model, ("a", "b", "c"))
        assert set(first_losses(model, toy_batch(), 0, prepared=True).distilled) == {"l2", "fine"}
    assert f"Big: fingerprint {big.fingerprint()[:12]}" in caplog.text
    assert f"Sibling: fingerprint {sibling.fingerprint()[:12]}" in caplog.text


@pytest.fixture
def slim_file(root, tmp_path, monkeypatch):
    """Writes a slim file with two teachers, whose weights are random."""
    monkeypatch.chdir(root)
    for name in (STUDENT, LARGER):
        paddle.seed(len(name))
        built = build_detector(load_config(name, ["pretrain_weights=null"]))
        write_weights(tmp_path / name.rsplit("/")[-1].replace(".yml", ".pdparams"), built.state_dict())

    def write(losses, teachers=None):
        given = teachers or (
            f"teachers:\n  big: {{config: {LARGER}, weights: {tmp_path / LARGER.rsplit('/')[-1][:-4]}}}\n"
            f"  sibling: {{config: {STUDENT}, weights: {tmp_path / STUDENT.rsplit('/')[-1][:-4]}}}\n"
        )
        file = tmp_path / "slim.yml"
        file.write_text(f"slim: Distill\n{given}losses:\n{losses}")
        return load_config(str(file))

    return write


def test_a_slim_file_names_its_teachers(slim_file):
    slim = slim_file("  l2: {type: OutputL2}\n  near: {type: CWD, teacher: sibling, weight: 2.0}\n")
    model = build_distiller(load_config(STUDENT, ["pretrain_weights=null"]), slim)
    assert [model.teacher_of(name) for name in ("l2", "near")] == ["big", "sibling"]
    assert list(model.fingerprints()) == ["big", "sibling"]
    assert model.losses["near"].weight == 2.0


@pytest.mark.parametrize(
    ("losses", "teachers", "message"),
    [
        (
            "  l2: {type: OutputL2, teacher: bug}\n",
            None,
            r"losses.l2.teacher is bug, but the teachers are big, sibling; did you mean 'big'\?",
        ),
        ("  l2: {type: OutputL2}\n", "teachers: {}\n", "teachers must be a mapping"),
        ("  l2: {type: OutputL2}\n", "teachers: {big: {config: a.yml}}\n", "teachers.big.weights is missing"),
        (
            "  l2: {type: OutputL2}\n",
            "teachers: {big: {config: a.yml, weights: b, wieghts: c}}\n",
            "teachers.big.wieghts is not a key of a slim file.*weights",
        ),
        (
            "  l2: {type: OutputL2}\n",
            "teacher: {config: a.yml, weights: b}\nteachers: {big: {config: a.yml, weights: b}}\n",
            "there is `teacher` too",
        ),
    ],
)
def test_mistakes_in_the_teachers_are_named(slim_file, losses, teachers, message):
    with pytest.raises(ConfigError, match=message):
        check_slim(slim_file(losses, teachers))


def test_a_loss_of_features_needs_no_ability(tmp_path):
    spec = RecordedTeacher(ToyDetector().spec(), tmp_path).spec()
    assert FGD(ToyDetector().spec(), spec).needs.teacher == ()
