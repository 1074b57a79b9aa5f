import json
import logging

import numpy as np
import pytest
from metric_cases import Truth, annotation, coco_json, feed, random_detections, random_truth
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ppkd.metrics import COCOMetric
from ppkd.utils.errors import ConfigError, DataError

NAMES = ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]
A, B = [0, 0, 99, 99], [100, 0, 199, 99]


def reference(anno_path, bbox_json, im_ids=None):
    truth = COCO(str(anno_path))
    evaluation = COCOeval(truth, truth.loadRes(str(bbox_json)), "bbox")
    if im_ids is not None:
        evaluation.params.imgIds = sorted(im_ids)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return dict(zip(NAMES, evaluation.stats.tolist(), strict=True)), evaluation.eval["precision"]


def case(tmp_path, seed, **kwargs):
    truth = random_truth(seed, images=30)
    truth.category_ids = (18, 3, 90, 7)
    return coco_json(tmp_path / "truth.json", truth, seed, **kwargs), random_detections(truth, seed)


@pytest.mark.parametrize("seed", range(4))
def test_the_twelve_figures_are_pycocotools_up_to_rounding(tmp_path, seed):
    truth, detections = case(tmp_path, seed)
    figures = feed(COCOMetric(truth, output_dir=tmp_path), detections).accumulate()
    assert list(figures) == NAMES
    assert figures == pytest.approx(reference(truth.anno_path, tmp_path / "bbox.json")[0], abs=1e-14)
    assert 0.1 < figures["AP"] < 0.9
    assert min(figures.values()) >= 0


def test_only_evaluated_images_count(tmp_path):
    truth, detections = case(tmp_path, 5)
    some = dict(list(detections.items())[:9])
    figures = feed(COCOMetric(truth, output_dir=tmp_path), some).accumulate()
    assert figures == pytest.approx(reference(truth.anno_path, tmp_path / "bbox.json", some)[0], abs=1e-14)


def test_files_without_areas_and_crowd_flags_are_evaluated(tmp_path):
    truth, detections = case(tmp_path, 6, without=("area", "iscrowd"))
    figures = feed(COCOMetric(truth), detections).accumulate()
    converted = Truth(truth.annotations, truth.class_names)
    for a in converted.annotations:
        a.difficult[:] = 0
    assert figures == pytest.approx(feed(COCOMetric(converted), detections).accumulate(), abs=1e-12)


def test_an_annotation_numbered_0_can_be_found(tmp_path):
    truth = coco_json(tmp_path / "t.json", Truth([annotation(1, [A], [0])], ["cell"]), 1, without=("iscrowd",))
    content = json.loads(truth.anno_path.read_text())
    content["annotations"][0]["id"] = 0
    truth.anno_path.write_text(json.dumps(content))
    assert feed(COCOMetric(truth), {1: [[0, 0.9, *A]]}).accumulate()["AP"] == pytest.approx(1.0)


def test_difficult_boxes_of_voc_neither_reward_nor_punish():
    truth = Truth([annotation(1, [A, B], [0, 0], difficult=[0, 1])], ["cell"])
    for rows in ([[0, 0.9, *B], [0, 0.7, *A]], [[0, 0.7, *A]]):
        assert feed(COCOMetric(truth), {1: rows}).accumulate()["AP"] == pytest.approx(1.0)


def test_nothing_detected_gives_zeros_where_there_is_truth():
    truth = Truth([annotation(1, [A], [0]), annotation(2, [], [])], ["cell"])
    figures = feed(COCOMetric(truth), {1: [], 2: []}).accumulate()
    assert figures == {name: -1.0 if name[2:] in ("s", "m") else 0.0 for name in NAMES}


def test_images_without_truth_give_no_figure():
    truth = Truth([annotation(1, [], [])], ["cell"])
    assert set(feed(COCOMetric(truth), {1: [[0, 0.5, *A]]}).accumulate().values()) == {-1.0}


def test_false_detections_in_images_without_truth_count():
    truth = Truth([annotation(1, [A], [0]), annotation(2, [], [])], ["cell"])
    clean = feed(COCOMetric(truth), {1: [[0, 0.5, *A]], 2: []}).accumulate()
    noisy = feed(COCOMetric(truth), {1: [[0, 0.5, *A]], 2: [[0, 0.9, *B]]}).accumulate()
    assert (clean["AP50"], noisy["AP50"]) == pytest.approx((1.0, 0.5))


def test_the_result_file_has_cocos_form(tmp_path):
    truth = Truth([annotation(4, [A], [1]), annotation(2, [], [])], ["a", "b"], [5, 9])
    feed(COCOMetric(truth, output_dir=tmp_path / "new"), {4: [[1, 0.5, 10, 20, 40, 80]], 2: []}).accumulate()
    assert json.loads((tmp_path / "new" / "bbox.json").read_text()) == [
        {"image_id": 4, "category_id": 9, "bbox": [10, 20, 30, 60], "score": 0.5}
    ]


def test_predictions_only(tmp_path, caplog):
    truth = Truth([annotation(4, [A], [0])], ["a"])
    metric = feed(COCOMetric(truth, output_dir=tmp_path, save_prediction_only=True), {4: [[0, 0.5, *A]]})
    assert metric.accumulate() == {}
    with caplog.at_level(logging.INFO):
        metric.log(logging.getLogger("test"))
    assert (tmp_path / "bbox.json").exists()
    assert "save_prediction_only" in caplog.text


def test_the_log_has_pycocotools_lines(caplog):
    metric = feed(COCOMetric(Truth([annotation(1, [A], [0])], ["cell"])), {1: [[0, 0.9, *A]]})
    with caplog.at_level(logging.INFO):
        metric.log(logging.getLogger("test"))
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == " Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets=100 ] = 1.000"
    assert lines[1] == " Average Precision  (AP) @[ IoU=0.50      | area=   all | maxDets=100 ] = 1.000"
    assert lines[6] == " Average Recall     (AR) @[ IoU=0.50:0.95 | area=   all | maxDets=  1 ] = 1.000"
    assert len(lines) == 12


def test_classwise_gives_a_table_and_curves(tmp_path, caplog):
    truth, detections = case(tmp_path, 7)
    truth.class_names = ("cat", "dog/wolf", "[red] blood", "never")
    for rows in detections.values():
        rows[rows[:, 0] == 3, 0] = 0
    content = json.loads(truth.anno_path.read_text())
    content["annotations"] = [entry for entry in content["annotations"] if entry["category_id"] != 7]
    truth.anno_path.write_text(json.dumps(content))
    metric = feed(COCOMetric(truth, output_dir=tmp_path, classwise=True), detections)
    with caplog.at_level(logging.INFO):
        metric.log(logging.getLogger("test"))
    precisions = reference(truth.anno_path, tmp_path / "bbox.json")[1]
    order = np.argsort(truth.category_ids)  # pycocotools has categories by id: dog, never, cat, blood
    for place, label in enumerate(order):
        if truth.class_names[label] != "never":
            wanted = precisions[:, :, place, 0, 2].mean()
            assert metric.per_class[truth.class_names[label]] == pytest.approx(wanted, abs=1e-14)
    table = next(r.getMessage() for r in caplog.records if r.getMessage().startswith("Per-category of bbox AP"))
    assert table.isascii()
    assert f"{metric.per_class['[red] blood']:.3f}" in table
    assert "[red] blood" in table
    assert "never" not in metric.per_class
    curves = {path.name for path in (tmp_path / "bbox_pr_curve").iterdir()}
    assert curves == {f"{name}_precision_recall_curve.jpg" for name in ("cat", "dog_wolf", "_red_ blood")}


def test_an_image_that_comes_twice_counts_once():
    truth = Truth([annotation(1, [A], [0])], ["cell"])
    metric = feed(COCOMetric(truth), {1: [[0, 0.9, *A]]})
    once = metric._records()
    feed(metric, {1: [[0, 0.9, *A]]})
    assert metric._records() == once


def test_a_metric_starts_anew_after_its_figures():
    truth = Truth([annotation(1, [A], [0])], ["cell"])
    metric = feed(COCOMetric(truth), {1: [[0, 0.9, *A]]})
    assert metric.accumulate()["AP"] == metric.accumulate()["AP"] == pytest.approx(1.0)
    assert feed(metric, {1: []}).accumulate()["AP"] == 0.0


def test_a_class_that_the_data_set_lacks_is_an_error():
    metric = COCOMetric(Truth([annotation(1, [A], [0])], ["cell"]))
    with pytest.raises(DataError, match=r"class 5 in image 1.*1 classes"):
        feed(metric, {1: [[5, 0.9, *A]]})


def test_fill_rows_and_numbers_that_are_none_are_left_out(caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("ppkd"), "propagate", True)
    metric = COCOMetric(Truth([annotation(1, [A], [0])], ["cell"]))
    feed(metric, {1: [[-1, 0, 0, 0, 0, 0], [0, np.nan, *A], [0, 0.9, *A]]})
    assert len(metric._records()) == 1
    assert "not finite" in caplog.text


def test_no_image_is_an_error():
    with pytest.raises(DataError, match="no image"):
        COCOMetric(Truth([annotation(1, [A], [0])], ["cell"])).accumulate()


def test_counts_that_contradict_the_rows_are_an_error():
    metric = COCOMetric(Truth([annotation(1, [A], [0])], ["cell"]))
    with pytest.raises(DataError, match="1 detections"):
        metric.update({"im_id": np.array([[1]])}, {"bbox": np.zeros((1, 6)), "bbox_num": np.array([2])})


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cannot write into the folder .*file"):
        COCOMetric(Truth([annotation(1, [A], [0])], ["cell"]), output_dir=tmp_path / "file")
