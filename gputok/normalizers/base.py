"""Normalizer, the base class of all normalizers, several of them, and normalizers that users write in Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from gputok.checks import elements, field, typed
from gputok.components import Chain, Code, Component, call_custom
from gputok.text.pieces import Pieces, TextBatch, spell_out
from gputok.text.way import Apart, Way

if TYPE_CHECKING:
    from collections.abc import Sequence as ListOf

    from gputok.text.normalized_string import NormalizedString


class Normalizer(Component):
    """Base class of all normalizers, which map text to text and keep track of the origin of each part."""

    kind: ClassVar[str] = "normalizer"
    home: ClassVar[str] = "gputok.normalizers"

    @property
    def inert(self) -> tuple[Any, Any, int] | None:
        """The characters that stay as they are in text that has no others; None: none are known.

        They are given by a two-stage table of kinds (page, member), and how many of the first kinds are theirs.
        """
        return None

    @staticmethod
    def custom(normalizer: Any) -> Normalizer:
        """Makes a normalizer from an object that a user wrote in Python.

        Args:
            normalizer: an object with the method `normalize(self, normalized: NormalizedString) -> None`, which
                changes `normalized` in place.

        Returns:
            A normalizer that calls the object. It cannot be saved.

        Example:
            >>> class Shout:
            ...     def normalize(self, normalized):
            ...         normalized.uppercase(), normalized.append("!")
            >>> Normalizer.custom(Shout()).normalize_str("hey")
            'HEY!'
        """
        return Custom(normalizer)

    def way(self, after: Way) -> Way:
        """Returns how this normalizer and the steps before it take a text apart.

        Args:
            after: how the steps before it do.
        """
        return after.changed()

    def apply(self, pieces: Pieces) -> Pieces:
        """Normalizes each piece that is not an added token. If the pieces have an alignment, the result has one."""
        return self._apply(spell_out(pieces))

    def _apply(self, pieces: Pieces) -> Pieces:
        raise NotImplementedError

    def normalize_str(self, sequence: str) -> str:
        """Normalizes a string.

        Args:
            sequence: the text.

        Returns:
            The normalized text.

        Raises:
            TypeError: if `sequence` is not a string.
        """
        typed("sequence", str, sequence)
        pieces = self.frozen().apply(Pieces.from_batch(TextBatch.from_strings([sequence])))
        return spell_out(pieces).strings()[0]

    def normalize(self, normalized: NormalizedString) -> None:
        """Normalizes a NormalizedString in place.

        Args:
            normalized: the text; its `original` stays as it is.
        """
        normalized.apply(self.frozen().apply)


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

    normalizers: ListOf[Normalizer] = field(**elements(Normalizer))

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


class BetweenSpaces:
    """The way of normalizers that handle the text between two spaces alone, and keep each space."""

    def way(self, after: Way) -> Way:
        return after.changed(Apart.SPACES)


class Custom(Code, Normalizer):
    """A normalizer that a user wrote in Python. It gets each piece as a separate NormalizedString."""

    def normalize(self, normalized: NormalizedString) -> None:
        call_custom(self.code, "normalize", normalized)

    def _apply(self, pieces: Pieces) -> Pieces:
        from gputok.text.pre_tokenized_string import PreTokenizedString

        return PreTokenizedString.changed_by(lambda text: text.normalize(self.normalize), pieces)
