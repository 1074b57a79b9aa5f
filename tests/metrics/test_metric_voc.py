import logging

import numpy as np
import paddle
import pytest
from metric_cases import Truth, annotation, feed, random_detections, random_truth
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ppkd.metrics import ClassRow, VOCMetric
from ppkd.metrics.coco_truth import ground_truth

FAR = [300, 300, 340, 340]
A, B, C = [0, 0, 99, 99], [100, 0, 199, 99], [0, 100, 99, 199]


def plain_overlap(p, g):
    width = min(p[2], g[2]) - max(p[0], g[0]) + 1
    height = min(p[3], g[3]) - max(p[1], g[1]) + 1
    if width <= 1 or height <= 1:
        return 0.0
    areas = [(b[2] - b[0] + 1) * (b[3] - b[1] + 1) for b in (p, g)]
    return width * height / (sum(areas) - width * height)


def plain_average_precision(truth, detections, label, kind, threshold=0.5):
    """One class by the devkit's procedure: all detections of all images, best first, one after the other."""
    boxes = {a.im_id: a.gt_bbox[a.gt_class == label].astype(float).tolist() for a in truth.annotations}
    difficult = {a.im_id: a.difficult[a.gt_class == label].tolist() for a in truth.annotations}
    positives = sum(not flag for flags in difficult.values() for flag in flags)
    queue = [(im_id, row) for im_id, rows in detections.items() for row in rows.astype(float) if row[0] == label]
    queue.sort(key=lambda item: item[1][1], reverse=True)
    taken, true, points = set(), 0, []
    for im_id, row in queue:
        best, place = max(((plain_overlap(row[2:], g), -i) for i, g in enumerate(boxes[im_id])), default=(0, 0))
        if best > threshold and difficult[im_id][-place]:
            continue
        if best > threshold and (im_id, place) not in taken:
            taken.add((im_id, place))
            true += 1
        points.append((true / positives, true / (len(points) + 1)))
    if kind == "11point":
        return sum(max((p for r, p in points if r >= t / 10), default=0) for t in range(11)) / 11
    total = previous = 0
    for index, (recall, _) in enumerate(points):
        total += (recall - previous) * max(p for _, p in points[index:])
        previous = recall
    return total


@pytest.mark.parametrize("kind", ["11point", "integral"])
@pytest.mark.parametrize("seed", range(4))
def test_figures_are_those_of_a_plain_loop(kind, seed):
    truth = random_truth(seed, images=30)
    detections = random_detections(truth, seed)
    metric = feed(VOCMetric(truth, map_type=kind), detections)
    wanted = [plain_average_precision(truth, detections, label, kind) for label in range(4)]
    assert metric.accumulate()["mAP"] == pytest.approx(np.mean(wanted), abs=1e-12)
    assert [row.ap for row in metric.table] == pytest.approx(wanted, abs=1e-12)
    assert 0.2 < np.mean(wanted) < 0.9


@pytest.mark.parametrize("seed", range(2))
def test_coco_style_is_the_plain_loop_at_ten_overlaps_and_its_mean(seed):
    truth = random_truth(seed, images=30)
    detections = random_detections(truth, seed)
    metric = feed(VOCMetric(truth, map_type="coco_style"), detections)
    figures = metric.accumulate()
    wanted = {
        f"AP{percent}": np.mean(
            [plain_average_precision(truth, detections, label, "integral", percent / 100) for label in range(4)]
        )
        for percent in (50, 55, 60, 65, 70, 75, 80, 85, 90, 95)
    }
    assert list(figures) == ["AP", *wanted]
    assert {name: figures[name] for name in wanted} == pytest.approx(wanted, abs=1e-12)
    assert figures["AP"] == pytest.approx(np.mean(list(wanted.values())), abs=1e-12)
    assert metric.headline == "AP"
    at_half = VOCMetric(truth, map_type="integral")
    assert feed(at_half, detections).accumulate()["mAP"] == figures["AP50"] > figures["AP75"] > figures["AP95"]
    assert metric.table == at_half.table


def test_coco_style_of_a_case_worked_by_hand_and_its_line_in_the_log(caplog):
    truth = Truth([annotation(1, [A], [0])], ["cell", "never"])
    overlapping = [0, 0, 99, 71]  # 0.72 of the box: right at 0.5 to 0.7
    metric = feed(VOCMetric(truth, map_type="coco_style"), {1: [[0, 0.9, *overlapping]]})
    assert metric.accumulate()["AP"] == pytest.approx(0.5)
    with caplog.at_level(logging.INFO):
        metric.log(logging.getLogger("test"))
    assert caplog.records[-1].getMessage().startswith("AP = 50.00%, AP50 = 100.00%, AP55 = 100.00%")
    assert (
        caplog.records[-1]
        .getMessage()
        .endswith("AP70 = 100.00%, AP75 = 0.00%, AP80 = 0.00%, AP85 = 0.00%, AP90 = 0.00%, AP95 = 0.00%")
    )


def worked_case():
    """Three boxes in two images; by score: true, false, true, double of the first, true.

    Precisions 1, 1/2, 2/3, 2/4, 3/5 at recalls 1/3, 1/3, 2/3, 2/3, 1.
    """
    truth = Truth([annotation(7, [A, B], [0, 0]), annotation(3, [C], [0])], ["cell"])
    detections = {
        7: [[0, 0.9, *A], [0, 0.8, *FAR], [0, 0.6, *A], [0, 0.5, *B]],
        3: [[0, 0.7, *C]],
    }
    return truth, detections


def test_the_11_point_figure_of_a_case_worked_by_hand():
    metric = feed(VOCMetric(worked_case()[0], map_type="11point"), worked_case()[1])
    by_hand = (4 * 1 + 3 * 2 / 3 + 4 * 3 / 5) / 11  # recalls 0 to 0.3, 0.4 to 0.6, 0.7 to 1
    assert metric.accumulate()["mAP"] == pytest.approx(by_hand, abs=1e-12)
    assert metric.table == [ClassRow("cell", 3, 5, 1.0, pytest.approx(by_hand))]


def test_the_integral_figure_of_a_case_worked_by_hand():
    metric = feed(VOCMetric(worked_case()[0], map_type="integral"), worked_case()[1])
    assert metric.accumulate()["mAP"] == pytest.approx((1 + 2 / 3 + 3 / 5) / 3, abs=1e-12)


def test_the_integral_takes_the_best_precision_still_to_come():
    truth = Truth([annotation(1, [A, B], [0, 0])], ["cell"])
    detections = {1: [[0, 0.9, *FAR], [0, 0.8, *A], [0, 0.7, *B]]}  # precisions 0, 1/2, 2/3
    assert feed(VOCMetric(truth, map_type="integral"), detections).accumulate()["mAP"] == pytest.approx(2 / 3)


def test_the_log_is_the_line_that_parsers_read(caplog):
    metric = feed(VOCMetric(worked_case()[0]), worked_case()[1])
    with caplog.at_level(logging.INFO):
        metric.log(logging.getLogger("test"))
    table, line = (record.getMessage() for record in caplog.records)
    assert line == "mAP(0.50, 11point) = 76.36%"
    assert [word for word in table.splitlines()[2].split() if word != "|"] == ["class", "gts", "dets", "recall", "ap"]
    assert [word for word in table.splitlines()[4].split() if word != "|"] == ["cell", "3", "5", "1.000", "0.764"]
    assert table.isascii()


def test_difficult_boxes_neither_reward_nor_punish():
    truth = Truth([annotation(1, [A, B], [0, 0], difficult=[0, 1])], ["cell"])
    found, missed = [[0, 0.9, *B], [0, 0.8, *B], [0, 0.7, *A]], [[0, 0.7, *A]]
    for rows in (found, missed):
        metric = feed(VOCMetric(truth), {1: rows})
        assert metric.accumulate()["mAP"] == 1.0
        assert metric.table[0].gts == 1


def test_difficult_boxes_count_when_asked():
    truth = Truth([annotation(1, [A, B], [0, 0], difficult=[0, 1])], ["cell"])
    metric = feed(VOCMetric(truth, evaluate_difficult=True, map_type="integral"), {1: [[0, 0.7, *A]]})
    assert metric.accumulate()["mAP"] == 0.5


def test_corners_are_pixels_unless_normalized():
    truth = Truth([annotation(1, [[0, 0, 9, 9]], [0])], ["cell"])
    rows = {1: [[0, 0.9, 0, 0, 9, 4]]}  # 10 x 5 of 10 x 10 pixels, or 9 x 4 of 9 x 9
    assert feed(VOCMetric(truth, overlap_thresh=0.48), rows).accumulate()["mAP"] == 1.0
    assert feed(VOCMetric(truth, overlap_thresh=0.48, is_bbox_normalized=True), rows).accumulate()["mAP"] == 0.0


def test_an_overlap_of_exactly_the_threshold_is_not_enough():
    truth = Truth([annotation(1, [[0, 0, 9, 9]], [0])], ["cell"])
    rows = {1: [[0, 0.9, 0, 0, 9, 4]]}
    assert feed(VOCMetric(truth), rows).accumulate()["mAP"] == 0.0


def test_classes_without_truth_are_left_out_of_the_mean():
    truth = Truth([annotation(1, [A], [0])], ["cell", "never"])
    metric = feed(VOCMetric(truth), {1: [[0, 0.9, *A], [1, 0.9, *B]]})
    assert metric.accumulate()["mAP"] == 1.0
    assert metric.table[1] == ClassRow("never", 0, 1, None, None)


def test_only_evaluated_images_count():
    truth = random_truth(1)
    detections = random_detections(truth, 1)
    some = dict(list(detections.items())[:7])
    subset = Truth(truth.annotations[:7], truth.class_names)
    assert feed(VOCMetric(truth), some).accumulate() == feed(VOCMetric(subset), some).accumulate()


def test_the_order_of_rows_and_batches_does_not_matter():
    truth = random_truth(2)
    detections = random_detections(truth, 2)
    unique = np.random.default_rng(0).permutation(sum(map(len, detections.values()))) / 1e4 + 0.1
    taken = 0
    for rows in detections.values():
        rows[:, 1] = unique[taken : taken + len(rows)]
        taken += len(rows)
    shuffled = {i: np.random.default_rng(i).permutation(detections[i]) for i in reversed(detections)}
    expected = feed(VOCMetric(truth), detections).accumulate()
    assert feed(VOCMetric(truth), shuffled, batch_size=5).accumulate() == pytest.approx(expected, abs=1e-12)


def test_nothing_detected_gives_zero():
    truth = Truth([annotation(1, [A], [0]), annotation(2, [], [])], ["cell"])
    empty = {1: [], 2: []}
    assert feed(VOCMetric(truth), empty).accumulate() == {"mAP": 0.0}
    assert feed(VOCMetric(truth, map_type="integral"), empty).accumulate() == {"mAP": 0.0}


def test_nothing_to_detect_gives_zero():
    truth = Truth([annotation(1, [], [])], ["cell"])
    assert feed(VOCMetric(truth), {1: [[0, 0.5, *A]]}).accumulate() == {"mAP": 0.0}


@pytest.mark.parametrize("seed", range(3))
def test_the_integral_is_near_cocos_101_points(seed):
    """101 samples of a curve that falls from at most 1 to 0 miss at most a step's width of area, here 1/100.

    COCO matches on float boxes and to the best free one, so the boxes are normalized and few overlap.
    """
    truth = random_truth(seed, images=40, largest=60.0)
    for a in truth.annotations:
        a.difficult[:] = 0
    detections = random_detections(truth, seed)
    metric = feed(VOCMetric(truth, map_type="integral", is_bbox_normalized=True), detections)
    coco = COCO()
    coco.dataset = ground_truth(truth, dict.fromkeys(detections))
    coco.createIndex()
    evaluation = COCOeval(coco, coco.loadRes(metric._records()), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert metric.accumulate()["mAP"] == pytest.approx(evaluation.stats[1], abs=0.02)


def test_paddle_tensors_are_taken():
    truth = Truth([annotation(1, [A], [0])], ["cell"])
    metric = VOCMetric(truth)
    result = {"bbox": paddle.to_tensor([[0, 0.9, *A]], "float32"), "bbox_num": paddle.to_tensor([1], "int32")}
    metric.update({"im_id": paddle.to_tensor([[1]])}, result)
    assert metric.accumulate() == {"mAP": 1.0}
