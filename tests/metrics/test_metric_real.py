import numpy as np
import pytest
from metric_cases import feed

from ppkd.data.datasets.coco import COCODataSet
from ppkd.data.datasets.voc import VOCDataSet
from ppkd.metrics import COCOMetric, VOCMetric


def coco(folder):
    return COCODataSet(
        dataset_dir=str(folder / "coco_tiny"),
        image_dir="val2017",
        anno_path="annotations/instances_val2017.json",
        allow_empty=True,
    )


def voc(folder):
    return VOCDataSet(
        dataset_dir=str(folder / "bccd"), anno_path="ImageSets/Main/test.txt", label_list="label_list.txt"
    )


@pytest.mark.parametrize("metric", [COCOMetric, VOCMetric])
@pytest.mark.parametrize("open_set", [coco, voc])
def test_the_truth_itself_is_a_perfect_result_on_real_sets(real_data, metric, open_set):
    dataset = open_set(real_data)
    truth = {
        a.im_id: np.column_stack([a.gt_class, np.full(len(a.gt_class), 0.9), a.gt_bbox]) for a in dataset.annotations
    }
    taken = feed(metric(dataset), truth)
    assert taken.accumulate()[taken.headline] > 0.99
