from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest

from ppkd.config import Config, build, load_config, named, register
from ppkd.config.registry import _COMPONENTS, find
from ppkd.config.value import freeze
from ppkd.utils.errors import ConfigError


class Part:
    def __init__(self, out_specs: tuple[int, ...] = ()) -> None:
        self.out_specs = out_specs


@register(shared=("norm_type",))
class TrialBackbone(Part):
    def __init__(self, *, depth: Literal[18, 50] = 50, width: float = 1.0, norm_type: str = "bn") -> None:
        super().__init__((depth, 2 * depth))
        self.depth, self.width, self.norm_type = depth, width, norm_type


@register
class TrialNeck(Part):
    def __init__(self, *, in_specs: Sequence[int], taps: Sequence[int] = (0, 1)) -> None:
        super().__init__(tuple(10 * spec for spec in in_specs))
        self.in_specs, self.taps = in_specs, taps


@register(shared=("num_classes",), aliases=("OldTrialHead",))
class TrialHead:
    def __init__(
        self,
        *,
        in_specs: Sequence[int],
        num_classes: int = 80,
        anchors: Sequence[Sequence[int]] = ((1, 2),),
        pair: tuple[int, int] | None = None,
        extra: Mapping[str, Any] | None = None,
        flag: bool = False,
    ) -> None:
        self.in_specs, self.num_classes, self.anchors = in_specs, num_classes, anchors
        self.pair, self.extra, self.flag = pair, extra, flag
        if num_classes == 13:
            raise ConfigError("num_classes is 13, an unlucky number")


@register(inject=("backbone", "neck", "head"))
class TrialDetector:
    def __init__(self, *, backbone: Part, neck: Part | None = None, head: TrialHead) -> None:
        self.backbone, self.neck, self.head = backbone, neck, head


TEXT = """\
architecture: TrialDetector
num_classes: 3
TrialDetector:
  backbone: TrialBackbone
  neck: {name: TrialNeck, taps: [1]}
  head: !TrialHead {flag: true}
TrialBackbone: {depth: 18}
TrialNeck:
  taps: [0]
TrialHead:
  anchors: [[3, 4]]
  flag: false
"""


def trial(folder: Path, *overrides: str, text: str = TEXT) -> Config:
    path = folder / "t.yml"
    path.write_text(text, encoding="utf-8")
    return load_config(path, overrides)


def test_parts_are_built_in_order_and_told_the_shapes_before_them(tmp_path: Path) -> None:
    config = trial(tmp_path)
    model = build(config, config["architecture"])
    assert model.backbone.depth == 18
    assert model.neck.in_specs == (18, 36)
    assert model.head.in_specs == (180, 360)


def test_nested_settings_win_over_the_top_level_block(tmp_path: Path) -> None:
    model = build(trial(tmp_path), "TrialDetector")
    assert model.neck.taps == [1]
    assert model.head.flag is True
    assert model.head.anchors == [[3, 4]]


def test_shared_settings_come_from_the_top_unless_set_locally(tmp_path: Path) -> None:
    assert build(trial(tmp_path), "TrialDetector").head.num_classes == 3
    assert build(trial(tmp_path, "TrialHead.num_classes=5"), "TrialDetector").head.num_classes == 5
    assert build(trial(tmp_path, "norm_type=sync_bn"), "TrialDetector").backbone.norm_type == "sync_bn"


def test_an_optional_part_may_be_null(tmp_path: Path) -> None:
    model = build(trial(tmp_path, "TrialDetector.neck=null"), "TrialDetector")
    assert model.neck is None
    assert model.head.in_specs == (18, 36)


def test_given_objects_pass_as_they_are(tmp_path: Path) -> None:
    given = Part((7,))
    model = build(trial(tmp_path), "TrialDetector", backbone=given)
    assert model.backbone is given
    assert model.neck.in_specs == (7,)
    with pytest.raises(TypeError, match="no parameters"):
        build(trial(tmp_path), "TrialBackbone", backbone=given)


def test_an_alias_is_another_name_of_the_same_settings(tmp_path: Path) -> None:
    config = trial(tmp_path, "OldTrialHead.pair=[5, 6]", "TrialDetector.head=OldTrialHead")
    head = build(config, "TrialDetector").head
    assert (head.pair, head.anchors) == ((5, 6), [[3, 4]])


@pytest.mark.parametrize(("in_file", "override"), [("TrialHead", "OldTrialHead"), ("OldTrialHead", "TrialHead")])
def test_an_override_wins_whichever_name_it_uses(tmp_path: Path, in_file: str, override: str) -> None:
    text = TEXT.replace("\nTrialHead:", f"\n{in_file}:")
    config = trial(tmp_path, f"{override}.anchors=[[5, 6]]", text=text)
    assert build(config, "TrialHead", in_specs=(1,)).anchors == [[5, 6]]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "TrialHead.anchor=[[1, 2]]",
            r"^-o: TrialHead\.anchor is not a setting of TrialHead; did you mean 'anchors'\?",
        ),
        ("TrialHead.in_spec=[1]", r"did you mean 'in_specs'\?"),
        ("num_classes=abc", r'^-o: num_classes is "abc", expected a valid integer'),
        ("num_classes=true", r"num_classes is true, expected a valid integer"),
        ("num_classes=2.5", r"num_classes is 2.5, expected a valid integer"),
        ("num_classes=null", r"num_classes is null, expected a valid integer"),
        ("TrialHead.anchors=[[1, x]]", r'TrialHead\.anchors\[0\]\[1\] is "x", expected a valid integer'),
        ("TrialHead.pair=[1, 2, 3]", r"TrialHead\.pair is \[1, 2, 3\]"),
        ("TrialHead.extra=[1]", r"TrialHead\.extra is \[1\]"),
        ("TrialBackbone.width='1'", r'TrialBackbone\.width is "1", expected a valid number'),
        ("TrialBackbone.depth=19", r"TrialBackbone\.depth is 19, expected 18 or 50"),
        ("TrialDetector.backbone=TrialBackbne", r"TrialBackbne is not among our backbones: TrialBackbone, "),
        ("TrialDetector.backbone={depth: 18, width: 2}", "expected a component"),
        ("TrialDetector.head=null", "TrialDetector needs the setting 'head'"),
        ("TrialBackbone=18", "TrialBackbone must be a mapping"),
        ("num_classes=13", r"TrialHead: num_classes is 13, an unlucky"),
    ],
)
def test_wrong_settings_say_where_what_and_the_nearest_name(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(trial(tmp_path, override), "TrialDetector")


def test_an_error_in_a_file_has_its_line(tmp_path: Path) -> None:
    config = trial(tmp_path, text=TEXT.replace("anchors:", "anchor_maks:"))
    with pytest.raises(ConfigError, match=r"t\.yml:11: TrialHead\.anchor_maks is not a setting"):
        build(config, "TrialDetector")


def test_numbers_become_what_the_constructor_wants(tmp_path: Path) -> None:
    config = trial(tmp_path, "TrialBackbone.width=2", "TrialHead.pair=[1, 2]", "TrialHead.extra={a: [1]}")
    model = build(config, "TrialDetector")
    assert isinstance(model.backbone.width, float)
    assert model.head.pair == (1, 2)
    assert model.head.extra == {"a": [1]}


@pytest.mark.parametrize("spec", ["Flip", {"Flip": {}}, {"Flip": None}, {"name": "Flip"}])
def test_all_forms_of_a_component_are_the_same(spec: str | dict[str, Any]) -> None:
    assert named(spec) == ("Flip", {})


def test_a_readers_entry_keeps_its_lines(tmp_path: Path) -> None:
    config = trial(tmp_path, text="R:\n  - Decode: {}\n  - Resize:\n      size: [1, 2]\n")
    name, settings = named(config["R"][1])
    assert name == "Resize"
    assert settings.where("size") == f"{tmp_path}/t.yml:4"


@pytest.mark.parametrize("spec", [{}, {"a": 1, "b": 2}, {"name": 3}, {"Flip": 3}, 7, ["Flip"]])
def test_what_names_no_component_is_refused(spec: Any) -> None:
    with pytest.raises(ConfigError, match="expected a component"):
        named(spec)


def test_building_changes_neither_the_config_nor_the_registry(tmp_path: Path) -> None:
    config = trial(tmp_path)
    find("no such component")
    before, components = config.to_dict(), dict(_COMPONENTS)
    first, second = (build(config, "TrialDetector") for _ in range(2))
    second.head.anchors.append("mine")
    assert first.head.anchors == [[3, 4]]
    assert config.to_dict() == before
    assert components == _COMPONENTS


def test_a_constructor_that_swallows_typos_cannot_be_registered() -> None:
    class Loose:
        def __init__(self, **kwargs: Any) -> None: ...

    with pytest.raises(TypeError, match="swallow a typo"):
        register(Loose)


def test_shared_and_injected_names_must_exist() -> None:
    class Bare:
        def __init__(self, *, a: int = 1) -> None: ...

    with pytest.raises(TypeError, match="no parameters"):
        register(shared=("b",))(Bare)


def test_settings_given_in_python_are_checked_alike() -> None:
    assert build(freeze({}), {"name": "TrialBackbone", "depth": 18}).depth == 18
    with pytest.raises(ConfigError, match=r"settings given in Python: TrialBackbone\.dept "):
        build(freeze({}), {"name": "TrialBackbone", "dept": 18})
