"""What every normalizer is, and how kernels change the text of pieces."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar, Self

from gputok.components import Component
from gputok.text import Alignment, Array, Pieces, TextBatch

if TYPE_CHECKING:
    from gputok.normalized_string import NormalizedString

component = dataclasses.dataclass(eq=False, repr=False)


class Normalizer(Component):
    """Base of all normalizers: text in, text out, and where each part of it came from."""

    kind: ClassVar[str] = "normalizer"
    apart_at_spaces: bool = False
    """Can text be cut before each space (U+0020) and its parts be normalized apart, each space staying one?"""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        if cls is Normalizer:
            raise TypeError(
                "Normalizer is a base class: make one of its subclasses, or Normalizer.custom(...)"
            )
        return super().__new__(cls)

    @staticmethod
    def custom(normalizer: Any) -> Normalizer:
        """A normalizer written in Python: any object with `normalize(self, normalized: NormalizedString)`.

        >>> class Shout:
        ...     def normalize(self, normalized):
        ...         normalized.uppercase(), normalized.append("!")
        >>> Normalizer.custom(Shout()).normalize_str("hey")
        'HEY!'
        """
        from .sequence import Custom

        return Custom(normalizer)

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Self:
        """A normalizer from its JSON form; on the base class, of the type that `type` names."""
        if not isinstance(value, dict):
            raise ValueError(f"a normalizer is a JSON object, not {value!r}")
        if cls is Normalizer:
            types = {kind.__name__: kind for kind in cls.__subclasses__() if dataclasses.is_dataclass(kind)}
            name = value.get("type")
            if name not in types:
                raise ValueError(f"{name!r} is no normalizer; the types are {', '.join(sorted(types))}")
            try:
                return types[name].from_dict(value)
            except RecursionError:
                raise ValueError("normalizers are nested too deeply") from None
        for field in dataclasses.fields(cls):
            if field.name not in value and "None" not in str(field.type):
                raise ValueError(f"{cls.__name__}: the field {field.name!r} is missing")
        try:
            return super().from_dict(value)
        except TypeError as error:
            raise ValueError(f"{cls.__name__}: {error}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        kind = {"bool": bool, "bool | None": bool | None, "str": str}.get(
            type(self).__annotations__.get(name), object
        )
        if not isinstance(value, kind):
            raise TypeError(f"{name}: '{type(value).__name__}' object is not an instance of '{kind}'")
        super().__setattr__(name, value)

    def apply(self, pieces: Pieces) -> Pieces:
        """Normalizes each piece that is not an added token, keeping the alignment if there is one."""
        return self._apply(spelled_out(pieces))

    def _apply(self, pieces: Pieces) -> Pieces:
        raise NotImplementedError

    def normalize_str(self, sequence: str) -> str:
        """The normalized string."""
        if not isinstance(sequence, str):
            raise TypeError(f"sequence: '{type(sequence).__name__}' object is not an instance of 'str'")
        pieces = self.frozen().apply(Pieces.from_batch(TextBatch.from_strings([sequence])))
        return spelled_out(pieces).strings()[0]

    def normalize(self, normalized: NormalizedString) -> None:
        """Normalizes in place."""
        normalized._normalize(self.frozen())


def spelled_out(pieces: Pieces) -> Pieces:
    """The characters of the ByteLevel alphabet, written out where bytes stand for them."""
    if not pieces.byte_level:
        return pieces
    from gputok.pre_tokenizers import spell_out

    return spell_out(pieces)


def rewritten(pieces: Pieces, kernel: Any, *arguments: Any) -> Pieces:
    """What a kernel makes of the pieces, with its alignment."""
    aligned = pieces.alignment is not None
    edited = kernel(pieces.data, pieces.start, pieces.end, pieces.frozen, *arguments, aligned)
    return replaced(pieces, *edited)


def replaced(pieces: Pieces, data: Array, offsets: Array, source: Array) -> Pieces:
    """New text for the pieces; source is explained in kernels/cpu/normalize.py."""
    from gputok.kernels.cpu.normalize import follow

    alignment = pieces.alignment and Alignment(*follow(source, *pieces.alignment))
    return pieces._replace(data=data, start=offsets[:-1], end=offsets[1:], alignment=alignment)
