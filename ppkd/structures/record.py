"""The record: raw results of a detector before any decoding, per pyramid level or per row."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ppkd.structures.specs import DetectorSpec

if TYPE_CHECKING:
    from paddle import Tensor


@dataclass(frozen=True)
class Record:
    """The tensors of every entry of ``spec``, images first; an immutable value.

    ``record["cls_logits"]`` is the list of an entry's tensors, one for each level or stage. An entry is an attribute
    too, ``record.cls_logits``: the same list, or the only tensor of rows that have a single stage.

    Attributes:
        spec: what the record holds, equal to the detector's own unless entries were left out by :meth:`only`.
        tensors: the tensors of each entry.
        real: which rows count, bool [N, R], where some are padding; None where all do, or where there are no rows.
        size: height and width of the network's input, int [2], where boxes are recorded in shares of it, else None.
        beside: what the detector itself reads besides the entries, images first: where its queries start, and those
            that training adds.
    """

    spec: DetectorSpec
    tensors: Mapping[str, list[Tensor]]
    real: Tensor | None = None
    size: Tensor | None = None
    beside: Mapping[str, list[Tensor]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if set(self.spec.entries) != set(self.tensors):
            raise ValueError(
                f"{self.spec.name} records {sorted(self.spec.entries)}, but the tensors are {sorted(self.tensors)}"
            )

    def __getitem__(self, name: str) -> list[Tensor]:
        return self.tensors[name]

    def __getattr__(self, name: str) -> Any:
        tensors = self.__dict__.get("tensors", {}).get(name)
        if tensors is None:
            raise AttributeError(f"a record without the entry {name}")
        return tensors[0] if len(tensors) == 1 and self.spec.entries[name].kind == "rows" else tensors

    def map(self, function: Callable[[Tensor], Tensor]) -> Record:
        """The record with ``function`` applied to every tensor of its entries and beside them."""
        changed, beside = (
            {name: [function(tensor) for tensor in tensors] for name, tensors in group.items()}
            for group in (self.tensors, self.beside)
        )
        return replace(self, tensors=changed, beside=beside)

    def images(self, index: Tensor) -> Record:
        """The record of the images at ``index``, int64 (M,), in that order."""
        chosen = self.map(lambda tensor: tensor.index_select(index, axis=0))
        return chosen if self.real is None else replace(chosen, real=self.real.index_select(index, axis=0))

    def only(self, names: Collection[str]) -> Record:
        """The record with no entries but ``names``, so that no memory is held and nothing converted for others."""
        kept = {name: tensors for name, tensors in self.tensors.items() if name in names}
        return self if len(kept) == len(self.tensors) else replace(self, spec=self.spec.only(names), tensors=kept)

    def thinned(self, features: Collection[str]) -> Record:
        """The record without those features that are not among ``features``; all other entries stay."""
        return self.only(
            [name for name, entry in self.spec.entries.items() if entry.role != "feature" or name in features]
        )

    def replaced(self, tensors: Mapping[str, Sequence[Tensor]]) -> Record:
        """The record with other ``tensors`` in these of its entries."""
        return replace(self, tensors={**self.tensors, **{name: list(new) for name, new in tensors.items()}})
