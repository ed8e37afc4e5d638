"""NormalizedString: a string, its normalized form, and the origin of each normalized character."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from gputok.automaton.pattern import BEHAVIORS, Regex, cut_rule, matcher, split_words
from gputok.checks import typed
from gputok.lazy import public
from gputok.text import edit
from gputok.text.pieces import Alignment, Pieces, TextBatch, check_lengths, spell_out
from gputok.types import Behavior, Bytes, Positions, Positions32


@public("gputok")
class NormalizedString:
    """A string and its normalized form, aligned.

    The text is kept as `Pieces`, which also carry batches through a tokenizer, so each normalizer has only one
    implementation.

    Args:
        sequence: the original text.

    Raises:
        ValueError: if the text is too long to number its bytes in 32 bits.

    Example:
        >>> text = NormalizedString("Élan")
        >>> text.nfd(), text.lowercase(), text.filter(str.isascii)
        (None, None, None)
        >>> text, text[1:3]
        (NormalizedString(original="Élan", normalized="elan"), NormalizedString(original="la", normalized="la"))

    Text may be inserted before the first character (by `Replace` with an empty match) and changed later; in
    `tokenizers` the later change raises an error.
    """

    __slots__ = ("_original", "_original_shift", "_pieces")

    def __init__(self, sequence: str) -> None:
        batch = TextBatch.from_strings([sequence])
        check_lengths(batch.offsets[:-1], batch.offsets[1:])
        starts = np.flatnonzero((batch.data & 0xC0) != 0x80)
        sizes = np.diff(starts, append=len(batch.data))
        self._original = sequence
        # If this string was cut from another one: the byte of the other original at which this original begins.
        self._original_shift = 0
        self._pieces = _one_piece(batch.data, np.repeat(starts, sizes), np.repeat(starts + sizes, sizes))

    @classmethod
    def of(cls, original: str, shift: int, data: Bytes, alignment: Alignment) -> NormalizedString:
        """Makes the part of a longer text that begins at byte `shift` of that text.

        original: before normalization; data: uint8[n], after it; alignment: of data, in bytes of `original`.
        """
        part = cls.__new__(cls)
        part._original, part._original_shift, part._pieces = original, shift, _one_piece(data, *alignment)
        return part

    def shifted(self, shift: int) -> NormalizedString:
        """The same string, as one whose original begins at byte `shift` of a longer text."""
        return NormalizedString.of(self.original, shift, self.normalized_bytes(), self.alignment())

    @property
    def original(self) -> str:
        """The string before normalization."""
        return self._original

    @property
    def normalized(self) -> str:
        """The normalized string."""
        return self.normalized_bytes().tobytes().decode()

    @property
    def original_shift(self) -> int:
        """The byte at which `original` begins in the text that this string was cut from; 0 if it was not cut."""
        return self._original_shift

    def normalized_bytes(self) -> Bytes:
        """uint8[n]: the normalized string as UTF-8."""
        return self._pieces.data[self._pieces.start[0] : self._pieces.end[0]]

    def alignment(self) -> Alignment:
        """For each byte of the normalized string, the bytes of the original that it comes from."""
        alignment = self._pieces.alignment
        if alignment is None:
            raise ValueError("a function given to NormalizedString.apply dropped the alignment of the pieces")
        span = slice(self._pieces.start[0], self._pieces.end[0])
        return Alignment(alignment.start[span], alignment.end[span])

    def __repr__(self) -> str:
        return f'NormalizedString(original="{self.original}", normalized="{self.normalized}")'

    def __str__(self) -> str:
        return self.normalized

    # ---- changes that are functions on pieces

    def apply(self, change: Callable[..., Pieces], *arguments: Any) -> None:
        """Replaces the pieces by `change(pieces, *arguments)`, such as a function of `gputok.text.edit`."""
        self._pieces = spell_out(change(self._pieces, *arguments))

    def nfd(self) -> None:
        """Decomposes characters canonically (NFD)."""
        self.apply(edit.normalize_form, "nfd")

    def nfkd(self) -> None:
        """Decomposes characters by compatibility (NFKD)."""
        self.apply(edit.normalize_form, "nfkd")

    def nfc(self) -> None:
        """Decomposes characters canonically, then composes them (NFC)."""
        self.apply(edit.normalize_form, "nfc")

    def nfkc(self) -> None:
        """Decomposes characters by compatibility, then composes them canonically (NFKC)."""
        self.apply(edit.normalize_form, "nfkc")

    def lowercase(self) -> None:
        """Converts each character to lower case, independently of its neighbours."""
        self.apply(edit.map_characters, "lowercase")

    def uppercase(self) -> None:
        """Converts each character to upper case, independently of its neighbours."""
        self.apply(edit.map_characters, "uppercase")

    def strip(self) -> None:
        """Removes white space at both ends."""
        self.apply(edit.strip, True, True)

    def lstrip(self) -> None:
        """Removes white space at the beginning."""
        self.apply(edit.strip, True, False)

    def rstrip(self) -> None:
        """Removes white space at the end."""
        self.apply(edit.strip, False, True)

    def replace(self, pattern: str | Regex, content: str) -> None:
        """Replaces each match of the pattern by `content`.

        Args:
            pattern: the text to find, or a Regex. An empty string matches nothing.
            content: the replacement.

        Raises:
            TypeError: if `content` is not a string.
        """
        if pattern != "":
            typed("content", str, content)
            self.apply(edit.replace, pattern, content)

    def prepend(self, s: str) -> None:
        """Puts `s` before the string, unless the string is empty. `s` is aligned with its first character."""
        typed("s", str, s)
        self.apply(edit.prepend, s)

    # ---- changes that no kernel of `edit` makes

    def append(self, s: str) -> None:
        """Puts `s` after the string. `s` is aligned with the last character of the string."""
        added = np.frombuffer(s.encode(), np.uint8)
        sides = (np.append(side, np.full(len(added), side[-1] if len(side) else 0)) for side in self.alignment())
        self._pieces = _one_piece(np.append(self.normalized_bytes(), added), *sides)

    def clear(self) -> None:
        """Removes everything."""
        self._pieces = NormalizedString("")._pieces

    def filter(self, func: Callable[[str], bool]) -> None:
        """Keeps the characters for which `func(character)` is true."""
        self._edit(lambda character: character if func(character) else "")

    def map(self, func: Callable[[str], str]) -> None:
        """Replaces each character by `func(character)`; if `func` returns several characters, by the first."""
        self._edit(lambda character: func(character)[0])

    def for_each(self, func: Callable[[str], object]) -> None:
        """Calls `func(character)` for each character."""
        for character in self.normalized:
            func(character)

    def _edit(self, func: Callable[[str], str]) -> None:
        if not callable(func):
            raise TypeError(f"expected a function of one character, got {func!r}")
        new = [func(character).encode() for character in self.normalized]
        first = np.flatnonzero((self.normalized_bytes() & 0xC0) != 0x80)
        source = np.repeat(first, [len(part) for part in new])
        start, end = self.alignment()
        self._pieces = _one_piece(np.frombuffer(b"".join(new), np.uint8), start[source], end[source])

    # ---- parts

    def __getitem__(self, key: int | slice | tuple[int, int]) -> NormalizedString | None:
        return self.slice(key)

    def slice(self, range: int | slice | tuple[int, int]) -> NormalizedString | None:
        """Cuts out some characters of the normalized string, with the part of the original that they come from.

        Args:
            range: an index, a slice or a pair (first, last + 1), in characters. Negative numbers count bytes from the
                end, as in `tokenizers`.

        Returns:
            The part, or None if the range begins after the end of the string.

        Raises:
            ValueError: if an index lies before the beginning of the string.
        """
        n_bytes = len(self.normalized_bytes())
        if isinstance(range, slice):
            first, last, _ = range.indices(n_bytes)
        elif isinstance(range, tuple):
            first, last = range
        else:
            first = operator.index(range)
            if -first > n_bytes:
                raise ValueError(f"{-first} is bigger than max len")
            first += n_bytes if first < 0 else 0
            last = first + 1
        starts = np.flatnonzero((self.normalized_bytes() & 0xC0) != 0x80)  # first byte of each character
        if first == last == 0:
            return self._part(0, 0)
        if first >= len(starts):
            return None
        end = int(starts[last]) if last < len(starts) else n_bytes
        return self._part(int(starts[first]), int(starts[first]) if first == last else end)

    def _part(self, start: int, end: int) -> NormalizedString:
        """Returns the bytes start:end of the normalized string, with the part of the original that they come from."""
        alignment = self.alignment()
        low, high = (start, end) if start == end else (int(alignment.start[start]), int(alignment.end[end - 1]))
        original = self._original.encode()[low:high].decode(errors="ignore")
        sides = (side[start:end] - np.int32(low) for side in alignment)
        data = self.normalized_bytes()[start:end].copy()
        return NormalizedString.of(original, self._original_shift + low, data, Alignment(*sides))

    def split(self, pattern: str | Regex, behavior: Behavior) -> list[NormalizedString]:
        """Cuts the string at the matches of the pattern.

        Args:
            pattern: the text to find, or a Regex.
            behavior: the treatment of a match: "removed", "isolated", "merged_with_previous", "merged_with_next", or
                "contiguous" (isolated, but neighbouring matches stay together).

        Returns:
            The parts, from left to right.

        Raises:
            ValueError: if `behavior` is not one of these words.

        Example:
            >>> [part.normalized for part in NormalizedString("one two").split(" ", "merged_with_next")]
            ['one', ' two']
        """
        if behavior not in BEHAVIORS:
            raise ValueError(
                f"Wrong value for SplitDelimiterBehavior, expected one of: `{', '.join(BEHAVIORS)}`, not {behavior!r}"
            )
        n_bytes = len(self.normalized_bytes())
        if pattern == "" or n_bytes == 0:
            return [self._part(0, n_bytes)]
        pieces = self._pieces
        text = pieces.data, pieces.start, pieces.end, pieces.frozen
        starts, ends, _ = split_words(text, matcher(pattern), *cut_rule(behavior), keep_empty=True)
        spans = zip((starts - pieces.start[0]).tolist(), (ends - pieces.start[0]).tolist(), strict=True)
        return [self._part(start, end) for start, end in spans]


def _one_piece(data: Bytes, start: Positions | Positions32, end: Positions | Positions32) -> Pieces:
    """Packs one text; start, end: integers of any type [len(data)], the alignment of each byte."""
    n = np.array([0, len(data)])
    alignment = Alignment(start.astype(np.int32, copy=False), end.astype(np.int32, copy=False))
    return Pieces(data, n[:1], n[1:], np.array([0, 1]), None, alignment)
