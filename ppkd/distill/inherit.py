"""A student that starts with weights of its teacher."""

from __future__ import annotations

from paddle import Tensor

from ppkd.config import Config
from ppkd.models.detectors.detector import Detector
from ppkd.utils.errors import ConfigError
from ppkd.utils.logger import get_logger

logger = get_logger(__name__)
_NAMED = 4


def inherit_matching(student: Detector, teacher: Detector) -> None:
    """Give the student everything outside the backbone that the teacher has under the same name and shape.

    A line in the log says how many tensors that were of how many, and names those that keep their own values.
    """
    own, other = student.state_dict(), teacher.state_dict()
    outside = [name for name in own if not name.startswith("backbone.")]
    kept = {name: _difference(own[name], other.get(name)) for name in outside}
    left = [f"{name} ({reason})" for name, reason in kept.items() if reason]
    for name, reason in kept.items():
        if not reason:
            own[name].set_value(other[name])
    rest = f"; not {', '.join(left[:_NAMED])}" if left else ""
    more = f" and {len(left) - _NAMED} more" if len(left) > _NAMED else ""
    counted = f"{len(outside) - len(left)} of {len(outside)} tensors"
    logger.info("Student inherits from the teacher what fits outside the backbone: %s%s%s", counted, rest, more)


def _difference(own: Tensor, other: Tensor | None) -> str:
    """Why a tensor of the student cannot start as the teacher's; the empty string where it can."""
    if other is None:
        return "the teacher has none"
    shapes = [" x ".join(map(str, tensor.shape)) for tensor in (own, other)]
    return "" if shapes[0] == shapes[1] else f"{shapes[0]}, the teacher's {shapes[1]}"


def inherit_part(student: Detector, teacher: Detector, part: str, slim: Config) -> None:
    """Give the student the teacher's ``part``; raises :class:`ConfigError` unless all names and shapes are equal."""
    try:
        own, other = student.part(part).state_dict(), teacher.part(part).state_dict()
    except ConfigError as error:
        raise ConfigError(f"{slim.where('student.inherit')}: student.inherit names {part}, but {error}") from error
    shapes = [{name: tuple(tensor.shape) for name, tensor in state.items()} for state in (own, other)]
    if shapes[0] != shapes[1]:
        differing = sorted(name for name, _ in shapes[0].items() ^ shapes[1].items())
        raise ConfigError(
            f"{slim.where('student.inherit')}: the student's {part} is not the teacher's: {len(differing)} names or "
            f"shapes differ, first {differing[0]}. Write student.inherit=matching for what fits, or leave {part} out."
        )
    student.part(part).set_state_dict({name: tensor.clone() for name, tensor in other.items()})
    logger.info("Student inherits the teacher's %s: %d tensors", part, len(other))
