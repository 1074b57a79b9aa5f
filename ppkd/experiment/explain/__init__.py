"""The page about what a run's distillation losses do: ``explain.html`` in its folder."""

from ppkd.experiment.explain.sections import sections
from ppkd.experiment.explain.write import FILE_NAME, write_explanation

__all__ = ["FILE_NAME", "sections", "write_explanation"]
