"""What a detector advertises before it has seen an image: its entries and what else it can do."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace

from ppkd.structures.entry import Activation, Entries, Kind, Role
from ppkd.utils.errors import SpecError


@dataclass(frozen=True)
class DetectorSpec:
    """The entries of a detector's record by name, and its abilities (see :mod:`ppkd.structures.abilities`)."""

    name: str
    num_classes: int
    entries: Entries
    abilities: frozenset[str] = field(default_factory=frozenset)

    def of(self, *roles: Role, kind: Kind | None = None) -> tuple[str, ...]:
        """The names of the entries of these ``roles``, of one ``kind`` where it is given, in the record's order."""
        return tuple(
            name for name, entry in self.entries.items() if entry.role in roles and (kind is None or entry.kind == kind)
        )

    def only(self, names: Collection[str]) -> DetectorSpec:
        """The same with no entries but ``names``."""
        return replace(self, entries={name: entry for name, entry in self.entries.items() if name in names})

    def require(self, names: Iterable[str], asker: str, *, kind: Kind | None = None) -> None:
        """Raise :class:`SpecError` unless every one of ``names`` is recorded, as ``kind`` where it is given.

        ``asker`` is who consumes them.
        """
        names = list(names)
        if missing := [name for name in names if name not in self.entries]:
            raise SpecError(
                f"{asker} consumes {names}, but {self.name} records {sorted(self.entries)}: it lacks {missing}. "
                f"Choose a detector that records them, or a loss that consumes only {sorted(self.entries)}."
            )
        if wrong := [name for name in names if kind not in (None, self.entries[name].kind)]:
            compared, found = ("cell by cell", "rows") if kind == "grid" else ("row by row", "a grid")
            fitting = sorted(name for name, entry in self.entries.items() if entry.kind == kind)
            raise SpecError(
                f"{asker} compares {compared}, but {self.name} records {wrong} as {found}. Choose among {fitting}, or "
                "another loss."
            )

    def require_role(self, role: Role, asker: str, *, kind: Kind) -> str:
        """The name of the first entry of that ``role`` and ``kind``; ``asker`` reads it.

        Raises :class:`SpecError` if there is none.
        """
        found = self.of(role, kind=kind)
        if not found:
            layout = "on a grid" if kind == "grid" else "as rows"
            entries = ", ".join(f"{name} ({entry.role}, {entry.kind})" for name, entry in self.entries.items())
            raise SpecError(
                f"{asker} reads an entry of the role {role} {layout}, but {self.name} records {entries}: choose "
                "another detector or loss."
            )
        return found[0]

    def require_activation(self, name: str, activation: Activation, asker: str) -> None:
        """Raise :class:`SpecError` unless the entry ``name`` has that ``activation``; ``asker`` reads it so."""
        if (found := self.entries[name].activation) != activation:
            raise SpecError(
                f"{asker} reads {name} through a {activation}, but that of {self.name} has the activation {found}: "
                "choose another detector or loss."
            )

    def require_abilities(self, names: Iterable[str], asker: str) -> None:
        """Raise :class:`SpecError` unless the detector is able to do every one of ``names``; ``asker`` needs them."""
        if missing := sorted(set(names) - self.abilities):
            raise SpecError(
                f"{asker} needs {', '.join(missing)} of {self.name}, which offers "
                f"{', '.join(sorted(self.abilities)) or 'nothing but its record'}: choose another detector or loss."
            )
