"""Several normalizers, one after the other."""

from __future__ import annotations

from collections.abc import Sequence as ListOf
from typing import Any, Self

from gputok.fields import instances, per_field
from gputok.normalizers.base import Normalizer, component
from gputok.text.pieces import Pieces


@component
class Sequence(Normalizer):
    """Normalizers one after the other; a Sequence among them is taken apart.

    >>> from gputok.normalizers import Prepend, Strip
    >>> Sequence([Strip(), Prepend("_")])[1]
    Prepend(prepend="_")
    """

    elements = "normalizers"

    normalizers: ListOf[Normalizer]

    checks = per_field(normalizers=instances(Normalizer))

    def __init__(self, normalizers: list[Normalizer]) -> None:
        self.normalizers = normalizers
        self.normalizers = [
            part
            for one in self.normalizers
            for part in (one.normalizers if isinstance(one, Sequence) else [one])
        ]

    @property
    def apart_at_spaces(self) -> bool:  # type: ignore[override]
        return all(normalizer.apart_at_spaces for normalizer in self.normalizers)

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Self:
        """From JSON, in which a Sequence in a Sequence stays one."""
        sequence = cls([])
        sequence.normalizers = cls._read_elements(value, Normalizer)
        return sequence

    def __len__(self) -> int:
        return len(self.normalizers)

    def __getitem__(self, index: int) -> Normalizer:
        return self.normalizers[_place(index, len(self))]

    def __setitem__(self, index: int, value: Normalizer) -> None:
        value = Normalizer.adopt(value)
        if not isinstance(value, Normalizer) or isinstance(value, Sequence):
            raise TypeError(f"a normalizer that is no Sequence can be put in a Sequence, not {value!r}")
        self._set_element(_place(index, len(self)), value)

    def __getnewargs__(self) -> tuple[list]:
        return ([],)

    def _apply(self, pieces: Pieces) -> Pieces:
        for normalizer in self.normalizers:
            pieces = normalizer.apply(pieces)
        return pieces


def _place(index: int, n: int) -> int:
    if index < 0:
        raise OverflowError(f"can't convert negative int to unsigned: {index}")
    if index >= n:
        raise IndexError(f"Index not found: {index} of {n}")
    return index
