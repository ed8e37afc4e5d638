"""Several normalizers, one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gputok.checks import instances, per_field
from gputok.components import Chain
from gputok.normalizers.base import Normalizer, component

if TYPE_CHECKING:
    from collections.abc import Sequence as ListOf

    from gputok.text.pieces import Pieces
    from gputok.text.way import Way


@component
class Sequence(Chain, Normalizer):
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
        for normalizer in self.normalizers:
            after = normalizer.way(after)
        return after

    @property
    def inert(self) -> tuple[Any, Any, int] | None:
        """Those of the only element; None if there are several."""
        return self.normalizers[0].inert if len(self.normalizers) == 1 else None

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
