"""RT-DETR computes what PaddleDetection computes, from the same weights, images and denoising draw.

The bounds are those of the reference's own change when its image changes by one part in a million. Scores of cells lie
as close as 2e-6, so the reference's order of the queries is put in once it is known that they are the same cells.
``rtdetr_r18vd_nonsquare`` is what PaddleDetection makes of an image that is not square.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from functools import cache

import numpy as np
import paddle
import pytest
from paddle.nn import functional as F
from parity_fill import FOLDER, fill_model, load_case

from ppkd.config import load_config
from ppkd.models import build_detector
from ppkd.models.detectors.detr import shares, stages
from ppkd.models.transformers import rtdetr_transformer
from ppkd.models.transformers.anchors import anchor_logits
from ppkd.models.transformers.denoising import Noise
from ppkd.structures.truth import Truth

R18, R50, SWAPPED = "rtdetr_r18vd", "rtdetr_r50vd", "rtdetr_r18vd_nonsquare"
FIXED = "rtdetr_r18vd_nonsquare_fixed"
CASES = [R18, pytest.param(R50, marks=pytest.mark.slow), SWAPPED, FIXED]
SENSITIVITY = json.loads((FOLDER / "sensitivity_1e-6.json").read_text())
BOUND = 5e-6
LOSS_BOUND = {"train_frozen_bn_nodn": 3e-6, "train_frozen_bn": 3e-6, "train_ref": 1e-3}
GRADIENT_BOUND = {"train_frozen_bn_nodn": 4e-5, "train_frozen_bn": 4e-5, "train_ref": 3e-4}
TERMS = ("class", "bbox", "giou")
STEPS = [pytest.param(R18, run, id=f"{R18}-{run}") for run in LOSS_BOUND]
STEPS += [pytest.param(name, "train_frozen_bn", id=name, marks=pytest.mark.slow) for name in (R50, SWAPPED, FIXED)]
THREADS = 1


class Case:
    """A detector with a case's weights, its batch, and the reference's numbers."""

    def __init__(self, name, root, batches):
        self.name = name
        self.settings, self.arrays = load_case(name)
        path = root / "configs" / "rtdetr" / f"{self.settings['model']}_6x_coco.yml"
        self.model = build_detector(load_config(path, [f"swapped_sides={name == SWAPPED}".lower()]))
        self.batch = batches(*self.settings["input_hw"], self.settings["gt_counts"], self.settings["num_classes"])
        self.steps = {}

    def reset(self):
        self.model.clear_gradients()
        fill_model(self.model, self.settings["fill_rules"], self.settings["kept_initial"])
        return self.model

    @contextmanager
    def order(self, key):
        """Inside, the queries are the reference's cells; yields a list that gets those that were chosen."""
        own, chosen = rtdetr_transformer.best_rows, []
        index = paddle.to_tensor(self.arrays[key])

        def best_rows(scores, limit):
            chosen.append(own(scores, limit).numpy())
            return index

        rtdetr_transformer.best_rows = best_rows
        try:
            yield chosen
        finally:
            rtdetr_transformer.best_rows = own

    def noise(self, images, queries, num_classes):
        """The draw of the reference, which draws labels for the boxes alone whose label changes."""
        arrays = self.arrays
        relabel = arrays["in.dn.draw.label_uniform"].reshape(images, queries)
        most = max(self.settings["gt_counts"])
        real = np.arange(queries) % most < np.array(self.settings["gt_counts"])[:, None]
        labels = np.zeros((images, queries), "int64")
        labels[(relabel < self.settings["transformer"]["label_noise_ratio"] / 2) & real] = arrays[
            "in.dn.draw.new_label"
        ]
        signs = arrays["in.dn.draw.box_sign01"] * 2 - 1
        return Noise(*map(paddle.to_tensor, (relabel, labels, signs, arrays["in.dn.draw.box_uniform"])))

    def step(self, run):
        """The record, targets, losses and gradient norms of a training step, kept for all tests of that run."""
        if run not in self.steps:
            self.steps[run] = self._step(run)
        return self.steps[run]

    def _step(self, run):
        model = self.reset()
        model.train()
        if run != "train_ref":
            for layer in model.sublayers():
                if isinstance(layer, paddle.nn.BatchNorm2D):
                    layer.eval()
        drawn, number = Noise.drawn, model.transformer.num_denoising
        Noise.drawn = self.noise
        if run == "train_frozen_bn_nodn":
            model.transformer.num_denoising = 0
        try:
            with self.order("train_ref.topk_index" if run == "train_ref" else "eval.enc.topk_index") as chosen:
                record = model.extract(self.batch)
        finally:
            Noise.drawn, model.transformer.num_denoising = drawn, number
        targets = model.assign(record, self.batch)
        losses = model.loss(record, targets)
        sum(losses.values()).backward()
        parameters = dict(model.named_parameters())
        norms = {
            name: np.linalg.norm(parameters[name].grad.numpy().astype("float64"))
            for name in self.settings[run]["grad_norms"]
        }
        running = {
            key: model.state_dict()[key.removeprefix("train.running.")].numpy()[:256]
            for key in self.arrays
            if key.startswith("train.running.")
        }
        return record, targets, losses, norms, running, chosen[0]


@pytest.fixture(scope="module")
def known(root, batches):
    """A case by its name."""
    return cache(lambda name: Case(name, root, batches))


@pytest.fixture(scope="module", params=CASES)
def case(request, known):
    return known(request.param)


each_step = pytest.mark.parametrize(("name", "run"), STEPS)


@pytest.fixture(scope="module")
def evaluated(case):
    """Every tensor of the reference's evaluation, by its name, and the detections."""
    model, found = case.reset(), {}
    model.eval()
    transformer = model.transformer
    heads = {"output_memory": "enc_output", "logits": "enc_score_head", "bbox": "enc_bbox_head"}
    hooks = [
        getattr(transformer, layer).register_forward_post_hook(
            lambda _, __, output, key=f"enc.{part}": found.update({key: output})
        )
        for part, layer in heads.items()
    ]
    with paddle.no_grad(), case.order("eval.enc.topk_index") as chosen:
        found |= {f"backbone.{i}": level for i, level in enumerate(model.backbone(case.batch["image"]))}
        record = model.extract(case.batch)
        memory = transformer.memory(record.neck)
        selection = transformer.select(memory)
        found |= model.predict(case.batch)
    for hook in hooks:
        hook.remove()
    height, width = record.neck[-1].shape[-2:]
    sides = (width, height) if case.name == SWAPPED else (height, width)
    anchors, inside = anchor_logits(memory, transformer.eps, transformer.swapped_sides)
    found |= {f"neck.{i}": level for i, level in enumerate(record.neck)}
    found |= {
        "neck.pos_embed": model.neck.positions(*sides),
        "memory": paddle.concat([level.flatten(2).transpose([0, 2, 1]) for level in memory], axis=1),
        "enc.anchors": F.sigmoid(anchors),
        "enc.bbox": F.sigmoid(found["enc.bbox"] + anchors),
        "enc.topk_memory": selection.content,
        "enc.topk_logits": selection.logits,
        "enc.topk_bbox": F.sigmoid(selection.references),
        "enc.ref_points_unact": selection.references,
    }
    for i in range(len(record["query_logits"])):
        found |= {f"dec.{i}.logits": record["query_logits"][i], f"dec.{i}.bbox": record["query_boxes"][i]}
    return {name: tensor.numpy() for name, tensor in found.items()} | {"chosen": chosen[0], "inside": inside.numpy()}


def probe(array: np.ndarray) -> np.ndarray:
    return array.flatten()[np.linspace(0, array.size - 1, 256).astype("int64")]


def test_inputs_and_weights_are_the_references(case):
    np.testing.assert_array_equal(case.batch["image"][0].flatten()[:256].numpy(), case.arrays["in.image.first"])
    state = case.reset().state_dict()
    for name, expected in case.settings["fill_check_first4"].items():
        np.testing.assert_allclose(state[name].numpy().flatten()[:4], expected, rtol=1e-7)


def test_evaluation_tensors(case, evaluated):
    parts = [key.removeprefix("eval.").removesuffix(".shape") for key in case.arrays if key.endswith(".shape")]
    parts = [part for part in parts if not part.startswith("in.")]
    unsaid = {"neck.pos_embed", "enc.ref_points_unact"} if case.name == SWAPPED else set()
    assert set(parts) | unsaid == {key for key in evaluated if "." in key or key == "memory"}
    for part in parts:
        found, key = evaluated[part], f"eval.{part}"
        assert list(found.shape) == case.arrays[f"{key}.shape"].tolist(), part
        expected = case.arrays[f"{key}.probe"]
        atol = BOUND * np.abs(expected[np.isfinite(expected)]).max()
        np.testing.assert_allclose(probe(found), expected, rtol=0, atol=atol, err_msg=part)
        first = found[0].flatten()[:256]
        np.testing.assert_allclose(first, case.arrays[f"{key}.first"], rtol=0, atol=atol, err_msg=part)
        if np.isfinite(found).all():
            std = found.astype("float64").std()
            np.testing.assert_allclose(std, case.arrays[f"{key}.std"], rtol=BOUND, err_msg=part)


def test_the_same_cells_are_chosen(case, evaluated):
    inside = np.unpackbits(case.arrays["eval.enc.valid_mask"])[: evaluated["inside"].size].astype(bool)
    np.testing.assert_array_equal(evaluated["inside"].flatten(), inside)
    for found, wanted in zip(evaluated["chosen"], case.arrays["eval.enc.topk_index"], strict=True):
        # Cells that do not count are alike, so any of them may be taken.
        assert {cell for cell in found if inside[cell]} == {cell for cell in wanted if inside[cell]}


def test_detections(case, evaluated):
    np.testing.assert_array_equal(evaluated["bbox_num"], case.arrays["eval.bbox_num"])
    found, expected = (rows.reshape(2, -1, 6) for rows in (evaluated["bbox"], case.arrays["eval.bbox"]))
    for rows, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(rows[:, 1], wanted[:, 1], rtol=1e-5)
        near = (np.abs(rows[:, None] - wanted[None]) <= np.float32([0, 1e-5, *[1e-2] * 4])).all(axis=-1)
        assert near.any(axis=0).all()
        assert near.any(axis=1).all()


def test_the_denoising_draw(case, monkeypatch):
    monkeypatch.setattr(Noise, "drawn", case.noise)
    model, settings = case.model, case.settings["denoising"]
    truth = shares(Truth.of(case.batch), paddle.to_tensor(case.settings["input_hw"]))
    for i, count in enumerate(case.settings["gt_counts"]):
        expected = case.arrays[f"in.gt_bbox_cxcywh_norm.{i}"]
        np.testing.assert_allclose(truth.boxes[i, :count].numpy(), expected, rtol=1e-6)
    spoilt = model.transformer.denoise(truth)
    np.testing.assert_array_equal(spoilt.shown.numpy(), case.arrays["in.dn.label"])
    np.testing.assert_allclose(spoilt.references.numpy(), case.arrays["in.dn.bbox_unact"], rtol=1e-5, atol=1e-5)
    assert spoilt.labels.shape[1] == settings["num_group"]
    shape = case.arrays["in.dn.attn_mask.shape"]
    seen = np.unpackbits(case.arrays["in.dn.attn_mask"])[: shape.prod()].reshape(shape).astype(bool)
    np.testing.assert_array_equal(spoilt.hidden(settings["num_split"][1]).numpy() == 0, seen)
    for i in range(2):
        positive = np.flatnonzero(spoilt.labels[i].flatten().numpy() < case.settings["num_classes"])
        np.testing.assert_array_equal(positive, case.arrays[f"in.dn.positive_idx.{i}"])


@each_step
def test_assignments(known, name, run):
    case = known(name)
    _, targets, *_ = case.step(run)
    for i, stage in enumerate(targets.stages):
        for image in range(2):
            queries, owners = case.arrays[f"{run}.match.{i}.{image}"]
            labels = stage.labels[image].numpy()
            np.testing.assert_array_equal(np.flatnonzero(labels < case.settings["num_classes"]), queries)
            np.testing.assert_array_equal(labels[queries], case.arrays[f"in.gt_class.{image}"][owners])


@each_step
def test_losses(known, name, run):
    case = known(name)
    losses = {name: value.item() for name, value in case.step(run)[2].items()}
    losses["loss"] = sum(losses.values())
    assert losses == pytest.approx(case.settings[run]["losses"], rel=LOSS_BOUND[run])


@each_step
def test_losses_of_every_layer(known, name, run):
    case = known(name)
    record, targets, *_ = case.step(run)
    answers = stages(record)
    for i, wanted in enumerate(targets.stages):
        found = case.model.detr_head.loss.stage(answers.logits[i], answers.boxes[i], wanted, targets.boxes)
        for term in TERMS:
            expected = case.settings[run]["per_layer"][f"loss_{term}"][i]
            assert found[term].item() == pytest.approx(expected, rel=LOSS_BOUND[run]), (i, term)


@each_step
def test_gradients(known, name, run):
    case = known(name)
    assert case.step(run)[3] == pytest.approx(case.settings[run]["grad_norms"], rel=GRADIENT_BOUND[run])


def test_running_statistics_after_a_step(known):
    case = known(R18)
    running = case.step("train_ref")[4]
    assert running
    for key, found in running.items():
        expected = case.arrays[key]
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * np.abs(expected).max())
