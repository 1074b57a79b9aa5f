import pytest
from metric_cases import Truth, annotation

from ppkd.config import load_config, runtime
from ppkd.data.annotation import Annotation
from ppkd.metrics import COCOMetric, VOCMetric, build_metric
from ppkd.utils.errors import ConfigError

TRUTH = Truth([annotation(1, [[0, 0, 9, 9]], [0])], ["cell"])


@pytest.fixture
def config(tmp_path):
    def write(text):
        path = tmp_path / "c.yml"
        path.write_text("architecture: YOLOv3\n" + text)
        return load_config(str(path))

    return write


def built(cfg, truth, **options):
    return build_metric(cfg, runtime(cfg), truth, **options)


def test_coco_is_the_default(config):
    metric = built(config("num_classes: 1\n"), TRUTH, output_dir=None)
    assert isinstance(metric, COCOMetric)
    assert metric.headline == "AP"


@pytest.mark.parametrize(("kind", "headline"), [("11point", "mAP"), ("integral", "mAP"), ("coco_style", "AP")])
def test_voc_has_its_kind_from_the_configuration(config, kind, headline):
    cfg = config(f"num_classes: 1\nmetric: VOC\nmap_type: {kind}\n")
    metric = built(cfg, TRUTH, output_dir=None, classwise=True)
    assert isinstance(metric, VOCMetric)
    assert (metric.map_type, metric.headline, metric.classwise) == (kind, headline, True)


def test_another_number_of_classes_names_the_line(config):
    with pytest.raises(ConfigError, match=r"c\.yml:2: num_classes is 3, .* 1 classes \(cell\)"):
        built(config("num_classes: 3\n"), TRUTH, output_dir=None)


def test_images_without_annotations_can_only_be_predicted(config, tmp_path):
    bare = Truth([Annotation.bare(tmp_path / "1.jpg", 1)], ["cell"])
    cfg = config("num_classes: 1\n")
    with pytest.raises(ConfigError, match="no annotated box"):
        built(cfg, bare, output_dir=tmp_path)
    assert built(cfg, bare, output_dir=tmp_path, save_prediction_only=True).save_prediction_only
