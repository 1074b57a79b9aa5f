"""The base of distillation losses: what they consume and need, how levels pair, how much they weigh."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypedDict, Unpack

from paddle import Tensor, nn

from ppkd.distill.balance import Share
from ppkd.distill.explanation import Explanation, differences
from ppkd.distill.pairing import checked_pairs
from ppkd.distill.preparation import Material
from ppkd.distill.schedule import WeightSchedule
from ppkd.distill.side import Progress, Side
from ppkd.distill.wiring import FeatureSettings, FeatureWiring, Levels, Project, Scale, check_settings, widths
from ppkd.structures import Ability, DetectorSpec, Kind
from ppkd.structures.truth import Truth
from ppkd.utils.errors import ConfigError


class Wiring(TypedDict, total=False):
    """The settings that every distillation loss has.

    Keys:
        weight: factor on the loss in the total, by default the loss's published one; or ``{share: 0.5}``, so much that
            the loss's gradient is that part of the task's, see :class:`ppkd.distill.balance.Balance`.
        schedule: how the weight changes with the epoch.
        scale: the unit of feature maps, by default ``none``, see :class:`ppkd.distill.wiring.FeatureSettings`.
        project: what adapts the student's feature maps, by default ``needed``, see there.
        levels: how much the levels of a pyramid weigh, by default ``all`` the same, see there.
    """

    weight: float | Share
    schedule: WeightSchedule | None
    scale: Scale
    project: Project
    levels: Levels


@dataclass(frozen=True)
class Needs:
    """The abilities that a loss uses, of the student and of the teacher."""

    student: Sequence[Ability] = ()
    teacher: Sequence[Ability] = ()


class DistillLoss(nn.Layer):
    """A loss between what a student and a teacher record.

    A subclass builds its adapters from the two specs in its constructor and computes one unweighted scalar in
    :meth:`forward`. It names no detector: any pair that records what it ``consumes``, and has the abilities that it
    ``needs``, will do.

    Args:
        student: what the student records.
        teacher: what the teacher records.
        consumes: entries of both records that the loss reads.
        needs: abilities that it uses.
        kind: the layout of the entries, where only one will do.
        decoded: entries of boxes that are compared decoded, in pixels, whatever their numbers are relative to.
        strides: pair levels of these strides only; by default all that both detectors have.
        wiring: see :class:`Wiring`.

    Raises:
        SpecError: an entry is not recorded, or not in that layout; an ability is missing; no level pairs; class counts
            or anchors of paired levels differ, or what box numbers are relative to.
        ConfigError: the wiring asks for something that the loss does not have.
    """

    paper: ClassVar[str] = ""
    """The arXiv number of the paper that the loss is from, or its id at OpenReview where it has none."""
    needs_truth: ClassVar[bool] = False
    """Whether it reads ground truth, so that it is computed on the labelled images alone."""
    default_weight: ClassVar[float] = 1.0
    """The weight where none is set."""
    by_level: ClassVar[bool] = False
    """Whether it is a sum over the levels of feature maps, so that these can weigh differently."""

    def __init__(
        self,
        student: DetectorSpec,
        teacher: DetectorSpec,
        *,
        consumes: Sequence[str],
        needs: Needs | None = None,
        kind: Kind | None = None,
        decoded: Collection[str] = (),
        strides: Collection[int] | None = None,
        **wiring: Unpack[Wiring],
    ) -> None:
        super().__init__()
        asker = type(self).__name__
        self.consumes = tuple(consumes)
        self.needs = needs or Needs()
        weight = wiring.get("weight", self.default_weight)
        self.gradient_share = weight.share if isinstance(weight, Share) else None
        """How many times the task's gradient it shall have, where that is to decide its weight."""
        self.weight = 1.0 if isinstance(weight, Share) else weight
        self.schedule = wiring.get("schedule") or WeightSchedule()
        for spec, abilities in ((student, self.needs.student), (teacher, self.needs.teacher)):
            spec.require(self.consumes, asker, kind=kind)
            spec.require_abilities(abilities, asker)
        self.pairs = {
            name: checked_pairs(asker, name, student, teacher, decoded=name in decoded, strides=strides)
            for name in self.consumes
        }
        self.wiring = self._wire(student, teacher, wiring)
        self.channels = {
            name: self.wiring.channels.get(name) or [widths(name, pair, student, teacher) for pair in pairs]
            for name, pairs in self.pairs.items()
        }
        """The student's and the teacher's channels of every pair of each entry, with all anchors, behind the wiring."""

    def _wire(self, student: DetectorSpec, teacher: DetectorSpec, wiring: Wiring) -> FeatureWiring:
        settings = FeatureSettings(
            wiring.get("scale", "none"), wiring.get("project", "needed"), wiring.get("levels", "all")
        )
        maps = student.of("feature", kind="grid")
        features = {name: pairs for name, pairs in self.pairs.items() if name in maps}
        check_settings(type(self).__name__, settings, features, [*self.needs.student, *self.needs.teacher])
        if settings.levels == "objects" and not self.by_level:
            raise ConfigError(f"{type(self).__name__} is no sum over levels, which could weigh: leave levels out")
        return FeatureWiring(features, student, teacher, settings)

    def __call__(self, student: Side, teacher: Side, truth: Truth, at: Progress) -> Tensor:
        """The unweighted loss, a scalar, of what both sides recorded."""
        value: Tensor = super().__call__(*self.wiring(student, teacher), truth, at)
        return value

    @abstractmethod
    def forward(self, student: Side, teacher: Side, truth: Truth, at: Progress) -> Tensor:
        """The unweighted loss, a scalar, of both sides as the wiring gives them."""

    def explain(self, student: Side, teacher: Side, truth: Truth, at: Progress) -> Explanation:
        """What can be drawn of the loss on a batch, of what it would be called with; no gradients are needed.

        By default how far the two sides are apart in every cell of what is compared.
        """
        return differences(self.pairs, *self.wiring(student, teacher))

    def due(self, epoch: int) -> bool:
        """Whether :meth:`prepare` must be called before the first step of ``epoch``; most losses need no such thing."""
        return False

    def prepare(self, epoch: int, material: Material) -> None:
        """Make what the loss needs from the training set and both detectors, in evaluation mode without gradients.

        What is to survive a resume belongs into buffers: they are saved with the adapters. A loss that was never
        prepared must still have a value.
        """

    def prepares(self, epoch: int) -> bool:
        """Whether :meth:`prepare` is called before ``epoch``: it is due, and the weight is not 0 for good."""
        return bool(self.weight) and not self.schedule.ended(epoch) and self.due(epoch)

    def weight_at(self, epoch: float) -> float:
        """The weight in force at ``epoch``; of a loss with a share the factor on what the balance gives."""
        return self.weight * self.schedule.factor(epoch)
