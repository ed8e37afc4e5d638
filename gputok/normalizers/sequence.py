"""Several normalizers, one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from gputok.checks import instances, per_field
from gputok.normalizers.base import Normalizer, component

if TYPE_CHECKING:
    from collections.abc import Sequence as ListOf

    from gputok.text.pieces import Pieces
    from gputok.text.way import Way


@component
class Sequence(Normalizer):
    """Applies normalizers one after the other.

    The elements can be read and replaced by index, and are the same objects that were passed.

    Args:
        normalizers: the elements; a Sequence among them is replaced by its elements.

    Example:
        >>> from gputok.normalizers import Prepend, Strip
        >>> Sequence([Strip(), Prepend("_")])[1]
        Prepend(prepend="_")
    """

    elements = "normalizers"

    normalizers: ListOf[Normalizer]

    checks = per_field(normalizers=instances(Normalizer))

    def __init__(self, normalizers: list[Normalizer]) -> None:
        self.normalizers = self._flat(normalizers)

    def way(self, after: Way) -> Way:
        """Returns how the normalizers and the steps before them take a text apart."""
        for normalizer in self.normalizers:
            after = normalizer.way(after)
        return after

    @property
    def inert(self) -> tuple[Any, Any, int] | None:
        """Those of the only element; None if there are several."""
        return self.normalizers[0].inert if len(self.normalizers) == 1 else None

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Self:
        """Makes a normalizer from its JSON form, in which a Sequence inside a Sequence stays a Sequence."""
        sequence = cls([])
        sequence.normalizers = cls._read_elements(value, Normalizer)
        return sequence

    def __len__(self) -> int:
        return len(self.normalizers)

    def __getitem__(self, index: int) -> Normalizer:
        return self.normalizers[_checked_index(index, len(self))]

    def __setitem__(self, index: int, value: Normalizer) -> None:
        value = Normalizer.adopt(value)
        if not isinstance(value, Normalizer) or isinstance(value, Sequence):
            raise TypeError(f"expected a normalizer other than a Sequence, got {value!r}")
        self._set_element(_checked_index(index, len(self)), value)

    def __getnewargs__(self) -> tuple[list[Normalizer]]:
        return ([],)

    def _apply(self, pieces: Pieces) -> Pieces:
        most = _LARGE + _MOST_TIMES * len(pieces.data)
        for number, normalizer in enumerate(self.normalizers):
            pieces = normalizer.apply(pieces)
            if len(pieces.data) > most:  # 40 times "a" -> "aa" would take a terabyte for one letter
                raise ValueError(
                    f"normalizers[{number}], {normalizer!r}: a text became more than {_MOST_TIMES:,} times as long, and has "
                    f"{len(pieces.data):,} bytes; leave out steps that make text longer"
                )
        return pieces


# No file may ask for any amount of memory: a text of a Sequence may grow to so many times its bytes, and so many more
_MOST_TIMES, _LARGE = 1000, 1 << 20


def _checked_index(index: int, n: int) -> int:
    """Returns an index into n elements; raises the errors of `tokenizers` if it is negative or too large."""
    if index < 0:
        raise OverflowError(f"can't convert negative int to unsigned: {index}")
    if index >= n:
        raise IndexError(f"Index not found: {index} of {n}")
    return index
