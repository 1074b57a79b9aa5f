"""A teacher whose answers are recorded."""

from __future__ import annotations

from ppkd.distill.cache.settings import CacheSettings
from ppkd.distill.teacher import Teacher
from ppkd.structures import Abilities, Batch, DetectorSpec, Record
from ppkd.structures.abilities import chosen
from ppkd.utils.errors import TrainingError

OF_RECORDS_ALONE = ("boxes", "scores", "assign")
"""The abilities that read recorded numbers and compute nothing of the image anew."""


def recorded_spec(spec: DetectorSpec) -> DetectorSpec:
    """What of a teacher's ``spec`` can be recorded: grids, and what its abilities read of these.

    Rows depend on what the student proposes; ``complete``, ``pool``, ``at`` and ``predict`` need the detector at work.
    """
    grids = {name: entry for name, entry in spec.entries.items() if entry.kind == "grid"}
    whole = all(entry.kind == "grid" for entry in spec.entries.values() if entry.role != "feature")
    abilities = spec.abilities & set(OF_RECORDS_ALONE) if whole else frozenset[str]()
    return DetectorSpec(f"{spec.name} in a cache", spec.num_classes, grids, abilities)


class CachedTeacher:
    """Answers from what a batch brings along of ``inner``'s records, once :meth:`use` was called; else asks ``inner``.

    Args:
        name: the teacher's in the slim file.
        inner: the teacher that is recorded.
        spec: :func:`recorded_spec` of it.
        entries: those that losses read, which alone are recorded.
        settings: how.
    """

    def __init__(self, name: str, inner: Teacher, entries: set[str], settings: CacheSettings) -> None:
        self.name, self.inner, self.settings = name, inner, settings
        self._spec = recorded_spec(inner.spec())
        self.recorded = self._spec.only(entries)
        self._in_use = False

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """The inner teacher's."""
        return self.inner.class_names

    def spec(self) -> DetectorSpec:
        """What it could record."""
        return self._spec

    def abilities(self) -> Abilities:
        """Those of the inner teacher that read records alone."""
        return chosen(self.inner.abilities(), self._spec.abilities)

    def keys(self) -> dict[str, list[str]]:
        """The keys of the recorded tensors in a batch, by entry."""
        return {
            entry: [f"{self.name}.{entry}.{i}" for i in range(len(one.levels))]
            for entry, one in self.recorded.entries.items()
        }

    def use(self) -> None:
        """Answer from recorded tensors from now on."""
        self._in_use = True

    def ask(self, batch: Batch) -> Record:
        """What the inner teacher records of ``batch``, entries that are kept alone."""
        found = self.inner(batch, None)
        return Record(self.recorded, {name: list(found[name]) for name in self.recorded.entries})

    def __call__(self, batch: Batch, like: Record | None = None) -> Record:
        """The record of ``batch``, float32; raises :class:`TrainingError` for a batch that brings no answers."""
        if not self._in_use:
            return self.ask(batch)
        keys = self.keys()
        if missing := [key for names in keys.values() for key in names if key not in batch]:
            raise TrainingError(
                f"the {self.name}'s answers to this batch are not recorded ({missing[0]}): only training batches have "
                "them; leave teacher.cache out for this"
            )
        return Record(
            self.recorded, {entry: [batch[key].astype("float32") for key in names] for entry, names in keys.items()}
        )

    def fingerprint(self) -> str:
        """The inner teacher's."""
        return self.inner.fingerprint()
