"""A student that starts with weights of its teacher."""

from __future__ import annotations

from ppkd.config import Config
from ppkd.models.detectors.detector import Detector
from ppkd.utils.errors import ConfigError
from ppkd.utils.logger import get_logger

logger = get_logger(__name__)


def inherit_matching(student: Detector, teacher: Detector) -> None:
    """Give the student everything outside the backbone that the teacher has under the same name and shape."""
    own, other = student.state_dict(), teacher.state_dict()
    fitting = (name for name in own if name in other and own[name].shape == other[name].shape)
    taken = [name for name in fitting if not name.startswith("backbone.")]
    for name in taken:
        own[name].set_value(other[name])
    logger.info("Student inherits from the teacher what fits outside the backbone: %d tensors", len(taken))


def inherit_part(student: Detector, teacher: Detector, part: str, slim: Config) -> None:
    """Give the student the teacher's ``part``; raises :class:`ConfigError` unless all names and shapes are equal."""
    own, other = student.part(part).state_dict(), teacher.part(part).state_dict()
    shapes = [{name: tuple(tensor.shape) for name, tensor in state.items()} for state in (own, other)]
    if shapes[0] != shapes[1]:
        differing = sorted(name for name, _ in shapes[0].items() ^ shapes[1].items())
        raise ConfigError(
            f"{slim.where('student.inherit')}: the student's {part} is not the teacher's: {len(differing)} names or "
            f"shapes differ, first {differing[0]}. Leave {part} out of student.inherit."
        )
    student.part(part).set_state_dict({name: tensor.clone() for name, tensor in other.items()})
    logger.info("Student inherits the teacher's %s: %d tensors", part, len(other))
