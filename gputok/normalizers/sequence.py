"""Several normalizers, and those written in Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from gputok.components import call_custom
from gputok.text import Alignment, Pieces

from .base import Normalizer, component

if TYPE_CHECKING:
    from gputok.normalized_string import NormalizedString


@component
class Sequence(Normalizer):
    """Normalizers one after the other; a Sequence among them is taken apart.

    >>> from gputok.normalizers import Prepend, Strip
    >>> Sequence([Strip(), Prepend("_")])[1]
    Prepend(prepend="_")
    """

    normalizers: list[Normalizer]

    def __post_init__(self) -> None:
        if not isinstance(self.normalizers, list):
            raise TypeError(
                f"normalizers: '{type(self.normalizers).__name__}' object is not an instance of 'list'"
            )
        flat: list[Normalizer] = []
        for normalizer in map(Normalizer.adopt, self.normalizers):
            if not isinstance(normalizer, Normalizer):
                raise TypeError(f"normalizers: {normalizer!r} is not a Normalizer")
            flat += normalizer.normalizers if isinstance(normalizer, Sequence) else [normalizer]
        self.normalizers = flat

    @property
    def apart_at_spaces(self) -> bool:  # type: ignore[override]
        return all(normalizer.apart_at_spaces for normalizer in self.normalizers)

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Self:
        """From JSON, in which a Sequence in a Sequence stays one."""
        if not isinstance(value.get("normalizers"), list):
            raise ValueError(
                f"Sequence: the field 'normalizers' must be a list, not {value.get('normalizers')!r}"
            )
        sequence = cls([])
        sequence.normalizers = [Normalizer.from_dict(item) for item in value["normalizers"]]
        return sequence

    def __len__(self) -> int:
        return len(self.normalizers)

    def __getitem__(self, index: int) -> Normalizer:
        return self.normalizers[_place(index, len(self))]

    def __setitem__(self, index: int, value: Normalizer) -> None:
        value = Normalizer.adopt(value)
        if not isinstance(value, Normalizer) or isinstance(value, Sequence):
            raise TypeError(f"a normalizer that is no Sequence can be put in a Sequence, not {value!r}")
        self.normalizers[_place(index, len(self))] = value

    def __getnewargs__(self) -> tuple[list]:
        return ([],)

    def _apply(self, pieces: Pieces) -> Pieces:
        for normalizer in self.normalizers:
            pieces = normalizer.apply(pieces)
        return pieces


class Custom(Normalizer):
    """A normalizer written in Python, which sees each piece as a NormalizedString of its own."""

    def __init__(self, normalizer: Any) -> None:
        self.normalizer = normalizer

    def _described(self, n_items: int, n_bytes: int | None) -> str:
        return f"Normalizer.custom({self.normalizer!r})"

    def to_dict(self) -> dict[str, Any]:
        raise ValueError("Custom Normalizer cannot be serialized")

    def normalize(self, normalized: NormalizedString) -> None:
        call_custom(self.normalizer, "normalize", normalized)

    def _apply(self, pieces: Pieces) -> Pieces:
        from gputok.normalized_string import NormalizedString

        texts, sides = [], []
        for i, text in enumerate(pieces.strings()):
            normalized = NormalizedString(text)
            if pieces.frozen is None or not pieces.frozen[i]:
                self.normalize(normalized)
            texts.append(normalized.normalized.encode())
            if pieces.alignment is not None:
                start, end = (side + pieces.start[i] for side in normalized._alignment())
                before, after = pieces.alignment
                # an empty range, before the first character, stays empty
                filled = end > start
                end = np.where(filled, after[end - filled], before[start] if len(text) else 0)
                sides.append((before[start] if len(text) else np.zeros_like(end), end))
        offsets = np.cumsum([0, *map(len, texts)], dtype=np.int64)
        alignment = None
        if pieces.alignment is not None:
            columns = [*zip(*sides, strict=True)] or [(), ()]
            start, end = (np.concatenate([np.zeros(0, np.int32), *column]) for column in columns)
            alignment = Alignment(start.astype(np.int32), end.astype(np.int32))
        data = np.frombuffer(b"".join(texts), np.uint8)
        return pieces._replace(data=data, start=offsets[:-1], end=offsets[1:], alignment=alignment)


def _place(index: int, n: int) -> int:
    if index < 0:
        raise OverflowError(f"can't convert negative int to unsigned: {index}")
    if index >= n:
        raise IndexError(f"Index not found: {index} of {n}")
    return index
