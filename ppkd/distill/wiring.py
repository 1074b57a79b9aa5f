"""How a loss sees the feature maps of both sides: in which unit, through which projection, and with which levels."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import paddle
from paddle import Tensor, nn

from ppkd.distill.maps import feature_norm, projector
from ppkd.distill.pairing import LevelPair
from ppkd.distill.side import Side
from ppkd.structures import DetectorSpec, Record
from ppkd.utils import processes
from ppkd.utils.errors import ConfigError

Scale = Literal["none", "rms", "standardize"]
Project = Literal["needed", "always", "mlp"]
Levels = Literal["all", "objects"]

CONTINUING = ("complete", "pool", "masks", "answer")
"""Abilities that go on from recorded maps, which have to be the detector's own."""
READING = (*CONTINUING, "features")
"""Those, and the one that gives maps to compare with recorded ones: up to a factor, these have to be the same."""


@dataclass(frozen=True)
class FeatureSettings:
    """What a loss asks of its feature maps; by default they are compared as they are recorded.

    Attributes:
        scale: the unit of the maps. ``rms``: the teacher's are divided by their root mean square, one number for each
            level, which is measured before the first step. ``standardize``: both have zero mean and unit deviation in
            each channel over images and cells, as in DAMO-YOLO (arXiv 2211.15444) and PKD (arXiv 2207.02039).
        project: what adapts the student's channels. ``needed``: what the formula has where they differ. ``always``: a
            trained 1x1 convolution before the formula; ``mlp``: two, with a ReLU between.
        levels: how much the levels of a pyramid weigh. ``objects``: in proportion to the places that are assigned to
            objects of the training set; the weights of the levels that have any add up to their number.
    """

    scale: Scale = "none"
    project: Project = "needed"
    levels: Levels = "all"

    @property
    def changed(self) -> list[str]:
        """The settings that are not at their default, as ``name: value``."""
        default = FeatureSettings()
        return [f"{name}: {value}" for name, value in vars(self).items() if value != getattr(default, name)]


class FeatureWiring(nn.Layer):
    """Brings the feature maps of both sides into the form that a loss asks for; without settings, changes nothing.

    What is measured before the first step is kept in buffers, which are saved and resumed with the loss. Before that
    they are ones, so that maps are as recorded and levels weigh the same.

    Args:
        pairs: the paired levels of each feature entry.
        student: what the student records.
        teacher: what the teacher records.
        settings: what is asked for.
    """

    def __init__(
        self,
        pairs: Mapping[str, Sequence[LevelPair]],
        student: DetectorSpec,
        teacher: DetectorSpec,
        settings: FeatureSettings,
    ) -> None:
        super().__init__()
        self.settings = settings
        self.pairs = {name: tuple(levels) for name, levels in pairs.items()}
        recorded = {name: [widths(name, pair, student, teacher) for pair in levels] for name, levels in pairs.items()}
        projects = settings.project != "needed" or settings.scale == "standardize"
        self.channels = {
            name: [(wide, wide) if projects else (own, wide) for own, wide in levels]
            for name, levels in recorded.items()
        }
        """The student's and the teacher's channels of every pair, as the loss gets them."""
        if projects:
            self.projectors = nn.LayerDict(
                {name: nn.LayerList([self._projector(*both) for both in levels]) for name, levels in recorded.items()}
            )
        self.strides = sorted({pair.stride for levels in self.pairs.values() for pair in levels})
        if settings.scale == "rms":
            self.register_buffer("rms", paddle.ones([sum(map(len, self.pairs.values()))]))
        if settings.levels == "objects":
            self.register_buffer("level_weights", paddle.ones([len(self.strides)]))

    def forward(self, student: Side, teacher: Side) -> tuple[Side, Side]:
        """Both sides as the loss gets them; paired maps may have other channels than the specs say."""
        if self.settings.scale == "none" and self.settings.project == "needed":
            return student, teacher
        own, other = ({name: list(side.record[name]) for name in self.pairs} for side in (student, teacher))
        place = 0
        for name, levels in self.pairs.items():
            for index, pair in enumerate(levels):
                own[name][pair.student] = self._student(name, index, own[name][pair.student])
                other[name][pair.teacher] = self._teacher(place, other[name][pair.teacher])
                place += 1
        return _with_maps(student, own), _with_maps(teacher, other)

    def squares(self, teacher: Record) -> Tensor:
        """The mean squares of the teacher's paired maps, float32 [maps], in the order of the pairs."""
        maps = [teacher[name][pair.teacher] for name, levels in self.pairs.items() for pair in levels]
        return paddle.stack([(one * one).mean() for one in maps])

    def set_unit(self, squares: Tensor) -> None:
        """Take the mean ``squares`` of all batches that were looked at as the unit, the same in all processes.

        A map of zeros keeps the unit one.
        """
        mean = processes.mean(squares)
        self.rms.set_value(paddle.where(mean > 0, mean, paddle.ones_like(mean)).sqrt())

    def set_levels(self, positives: Mapping[int, float]) -> None:
        """Weigh each stride by its share of ``positives``; with none at all they go on weighing the same."""
        counts = [positives.get(stride, 0.0) for stride in self.strides]
        if total := sum(counts):
            used = sum(count > 0 for count in counts)
            self.level_weights.set_value(paddle.to_tensor([used * count / total for count in counts], "float32"))

    def weights(self, strides: Sequence[int]) -> Tensor | None:
        """The weights of levels at ``strides``, float32 [len(strides)]; ``None`` where all weigh the same."""
        if self.settings.levels == "all":
            return None
        return self.level_weights.index_select(paddle.to_tensor([self.strides.index(one) for one in strides]))

    def _projector(self, own: int, wide: int) -> nn.Layer:
        return projector(own, wide, self.settings.project)

    def _student(self, name: str, index: int, level: Tensor) -> Tensor:
        if self.settings.project != "needed" or self.settings.scale == "standardize":
            level = self.projectors[name][index](as_map(level))
        return feature_norm(level) if self.settings.scale == "standardize" else level

    def _teacher(self, place: int, level: Tensor) -> Tensor:
        if self.settings.scale == "standardize":
            return feature_norm(as_map(level))
        return level / self.rms[place] if self.settings.scale == "rms" else level


def check_settings(asker: str, settings: FeatureSettings, features: Collection[str], needs: Collection[str]) -> None:
    """Raise :class:`ConfigError` for settings of maps that the loss ``asker`` has not, or needs as they are recorded.

    ``features`` are the feature entries that it consumes, ``needs`` the abilities of either side that it uses.
    """
    asked = ", ".join(settings.changed)
    if asked and not features:
        raise ConfigError(f"{asker} has {asked}, but compares no feature maps: leave scale, project and levels out")
    only_scaled = settings.scale == "rms" and settings.project == "needed"
    if settings.scale == "none" and settings.project == "needed":
        return
    if kept := [name for name in needs if name in (CONTINUING if only_scaled else READING)]:
        raise ConfigError(
            f"{asker} has {asked}, but needs {', '.join(dict.fromkeys(kept))}, where maps are as they are recorded: "
            "leave scale and project out"
        )


def as_map(level: Tensor) -> Tensor:
    """A level of a head's entry, [N, A, K, H, W], as one map of A * K channels; a map as it is."""
    return level if level.ndim == 4 else level.flatten(1, 2)


def widths(name: str, pair: LevelPair, student: DetectorSpec, teacher: DetectorSpec) -> tuple[int, int]:
    """How many channels the maps of a pair are recorded with."""
    own, other = student.entries[name].levels[pair.student], teacher.entries[name].levels[pair.teacher]
    return own.channels * own.anchors, other.channels * other.anchors


def _with_maps(side: Side, maps: Mapping[str, Sequence[Tensor]]) -> Side:
    return replace(side, record=side.record.replaced(maps))
