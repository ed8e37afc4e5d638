"""What every normalizer is, and how kernels change the text of pieces."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np

from gputok.components import Component, call_custom
from gputok.text.normalized_string import NormalizedString
from gputok.text.pieces import Alignment, Pieces, TextBatch, spell_out

component = dataclasses.dataclass(eq=False, repr=False)


class Normalizer(Component):
    """Base of all normalizers: text in, text out, and where each part of it came from."""

    kind: ClassVar[str] = "normalizer"
    home: ClassVar[str] = "gputok.normalizers"
    apart_at_spaces: bool = False
    """Can text be cut before each space (U+0020) and its parts be normalized apart, each space staying one?"""

    @staticmethod
    def custom(normalizer: Any) -> Normalizer:
        """A normalizer written in Python: any object with `normalize(self, normalized: NormalizedString)`.

        >>> class Shout:
        ...     def normalize(self, normalized):
        ...         normalized.uppercase(), normalized.append("!")
        >>> Normalizer.custom(Shout()).normalize_str("hey")
        'HEY!'
        """
        return Custom(normalizer)

    @classmethod
    def _required(cls) -> list[str]:
        return [field.name for field in dataclasses.fields(cls) if "None" not in str(field.type)]

    def apply(self, pieces: Pieces) -> Pieces:
        """Normalizes each piece that is not an added token, keeping the alignment if there is one."""
        return self._apply(spell_out(pieces))

    def _apply(self, pieces: Pieces) -> Pieces:
        raise NotImplementedError

    def normalize_str(self, sequence: str) -> str:
        """The normalized string."""
        if not isinstance(sequence, str):
            raise TypeError(f"sequence: '{type(sequence).__name__}' object is not an instance of 'str'")
        pieces = self.frozen().apply(Pieces.from_batch(TextBatch.from_strings([sequence])))
        return spell_out(pieces).strings()[0]

    def normalize(self, normalized: NormalizedString) -> None:
        """Normalizes in place."""
        normalized.apply(self.frozen().apply)


class Custom(Normalizer):
    """A normalizer written in Python, which sees each piece as a NormalizedString of its own."""

    in_files = False

    def __init__(self, normalizer: Any) -> None:
        self.normalizer = normalizer

    def _described(self, n_items: int, n_bytes: int | None) -> str:
        return f"Normalizer.custom({self.normalizer!r})"

    def to_dict(self) -> dict[str, Any]:
        raise ValueError("Custom Normalizer cannot be serialized")

    def normalize(self, normalized: NormalizedString) -> None:
        call_custom(self.normalizer, "normalize", normalized)

    def _apply(self, pieces: Pieces) -> Pieces:
        texts, sides = [], []
        for i, text in enumerate(pieces.strings()):
            normalized = NormalizedString(text)
            if pieces.frozen is None or not pieces.frozen[i]:
                self.normalize(normalized)
            texts.append(normalized.normalized.encode())
            if pieces.alignment is not None:
                start, end = (side + pieces.start[i] for side in normalized.alignment())
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
