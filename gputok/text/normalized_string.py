"""NormalizedString: a string, what normalizers made of it, and where each part of that came from."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from gputok.text import edit
from gputok.text.pieces import Alignment, Pieces, TextBatch, check_lengths, spell_out
from gputok.types import Array, public

if TYPE_CHECKING:
    from gputok.automaton.pattern import Regex

_BEHAVIORS = ("removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous")


@public("gputok")
class NormalizedString:
    """A string and its normalized form, aligned.

    It holds one of the `Pieces` that also carry batches through a tokenizer, so a normalizer has one
    implementation for both.

    >>> text = NormalizedString("Élan")
    >>> text.nfd(), text.lowercase(), text.filter(str.isascii)
    (None, None, None)
    >>> text, text[1:3]
    (NormalizedString(original="Élan", normalized="elan"), NormalizedString(original="la", normalized="la"))

    Unlike the namesake, text inserted before the first character (by `Replace` with an empty match) is no
    obstacle for what comes later; there it raises.
    """

    def __init__(self, sequence: str):
        batch = TextBatch.from_strings([sequence])
        check_lengths(batch.offsets[:-1], batch.offsets[1:])
        starts = np.flatnonzero((batch.data & 0xC0) != 0x80).astype(np.int32)
        sizes = np.diff(starts, append=np.int32(len(batch.data)))
        alignment = Alignment(np.repeat(starts, sizes), np.repeat(starts + sizes, sizes).astype(np.int32))
        self._original = sequence
        # where the original begins, in bytes, in that of the string this was cut from
        self._original_shift = 0
        self._pieces = Pieces.from_batch(batch)._replace(alignment=alignment)

    @classmethod
    def of(cls, original: str, shift: int, data: Array, alignment: Alignment) -> NormalizedString:
        """A part of a text that begins at its byte `shift`; data (uint8[n]) is its normalized form."""
        part = cls.__new__(cls)
        whole = np.array([0, len(data)])
        part._original, part._original_shift = original, shift
        part._pieces = Pieces(data, whole[:1], whole[1:], np.array([0, 1]), None, alignment)
        return part

    @property
    def original(self) -> str:
        """The string as it was."""
        return self._original

    @property
    def normalized(self) -> str:
        """The string as it is now."""
        return self._bytes().tobytes().decode()

    def _bytes(self) -> Array:  # uint8[n]
        return self._pieces.data[self._pieces.start[0] : self._pieces.end[0]]

    def _alignment(self) -> Alignment:
        """For each byte of the normalized string, bytes of the original."""
        span = slice(self._pieces.start[0], self._pieces.end[0])
        return Alignment(self._pieces.alignment.start[span], self._pieces.alignment.end[span])

    def __repr__(self) -> str:
        return f'NormalizedString(original="{self.original}", normalized="{self.normalized}")'

    def __str__(self) -> str:
        return self.normalized

    # ---- by functions on pieces

    def apply(self, change: Callable[..., Pieces], *arguments: Any) -> None:
        """Becomes what `change(pieces, *arguments)` makes of it: a function of `gputok.text.edit`, or a normalizer's `apply`."""
        self._pieces = spell_out(change(self._pieces, *arguments))

    def nfd(self) -> None:
        """Canonical decomposition."""
        self.apply(edit.normalize_form, "nfd")

    def nfkd(self) -> None:
        """Compatibility decomposition."""
        self.apply(edit.normalize_form, "nfkd")

    def nfc(self) -> None:
        """Canonical decomposition, then composition."""
        self.apply(edit.normalize_form, "nfc", True)

    def nfkc(self) -> None:
        """Compatibility decomposition, then canonical composition."""
        self.apply(edit.normalize_form, "nfkc", True)

    def lowercase(self) -> None:
        """Each character in lower case, whatever its neighbours."""
        self.apply(edit.map_characters, "lowercase")

    def uppercase(self) -> None:
        """Each character in upper case."""
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
        """Puts `content` in place of each match of the pattern; an empty string matches nothing."""
        if pattern != "":
            self.apply(edit.replace, pattern, _string("content", content))

    def prepend(self, s: str) -> None:
        """Puts s before the string, if that isn't empty; s comes from where its first character does."""
        self.apply(edit.prepend, _string("s", s))

    # ---- by hand

    def _rebuild(self, data: bytes, start: Array, end: Array) -> None:
        """New bytes with the originals of each: int32[n]."""
        n = np.array([0, len(data)])
        alignment = Alignment(start.astype(np.int32), end.astype(np.int32))
        self._pieces = Pieces(np.frombuffer(data, np.uint8), n[:1], n[1:], np.array([0, 1]), None, alignment)

    def append(self, s: str) -> None:
        """Puts s after the string; it comes from where the last character does."""
        added, (start, end) = s.encode(), self._alignment()
        last = (start[-1:], end[-1:]) if len(start) else (np.zeros(1, np.int32), np.zeros(1, np.int32))
        data = self._bytes().tobytes() + added
        self._rebuild(
            data,
            *(np.append(a, np.repeat(b, len(added))) for a, b in zip((start, end), last, strict=True)),
        )

    def clear(self) -> None:
        """Removes everything."""
        nothing = np.zeros(0, np.int32)
        self._rebuild(b"", nothing, nothing)

    def filter(self, func: Callable[[str], bool]) -> None:
        """Keeps the characters of which func is true."""
        self._edit(lambda character: character if func(character) else "")

    def map(self, func: Callable[[str], str]) -> None:
        """Replaces each character by the one that func returns."""
        self._edit(lambda character: func(character)[0])

    def for_each(self, func: Callable[[str], object]) -> None:
        """Calls func for each character."""
        for character in self.normalized:
            func(character)

    def _edit(self, func: Callable[[str], str]) -> None:
        if not callable(func):
            raise TypeError(f"a function of one character is needed, not {func!r}")
        new = [func(character).encode() for character in self.normalized]
        first = np.flatnonzero((self._bytes() & 0xC0) != 0x80)
        source = np.repeat(first, [len(part) for part in new])
        start, end = self._alignment()
        self._rebuild(b"".join(new), start[source], end[source])

    # ---- parts

    def __getitem__(self, key: int | slice | tuple[int, int]) -> NormalizedString | None:
        return self.slice(key)

    def slice(self, range: int | slice | tuple[int, int]) -> NormalizedString | None:
        """The part with these characters of the normalized string, and what it came from; None outside of it.

        As in the namesake, what is counted from the end is counted in bytes.
        """
        n_bytes = len(self._bytes())
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
        place = np.flatnonzero((self._bytes() & 0xC0) != 0x80)  # of each character
        if first == last == 0:
            return self._part(0, 0)
        if first >= len(place):
            return None
        end = place[last] if last < len(place) else n_bytes
        return self._part(int(place[first]), int(place[first] if first == last else end))

    def _part(self, start: int, end: int) -> NormalizedString:
        """The part with bytes start:end of the normalized string."""
        alignment = self._alignment()
        low, high = (
            (start, end) if start == end else (int(alignment.start[start]), int(alignment.end[end - 1]))
        )
        original = self._original.encode()[low:high].decode(errors="ignore")
        sides = ((side[start:end] - low).astype(np.int32) for side in alignment)
        data = self._bytes()[start:end].copy()
        return NormalizedString.of(original, self._original_shift + low, data, Alignment(*sides))

    def split(self, pattern: str | Regex, behavior: str) -> list[NormalizedString]:
        """Cuts at the matches of the pattern.

        behavior says what becomes of a match: "removed", "isolated", "merged_with_previous", "merged_with_next", or
        "contiguous" (isolated, but neighbouring matches stay together).
        """
        if behavior not in _BEHAVIORS:
            raise ValueError(
                f"Wrong value for SplitDelimiterBehavior, expected one of: `{', '.join(_BEHAVIORS)}`, not {behavior!r}"
            )
        return [self._part(start, end) for start, end in _merged(self._spans(pattern), behavior)]

    def _spans(self, pattern: str | Regex) -> list[tuple[int, int, bool]]:
        """The whole string as matches (True) and what lies between them."""
        n_bytes = len(self._bytes())
        if pattern == "" or n_bytes == 0:
            return [(0, n_bytes, False)]
        starts, ends, _ = edit.find_matches(pattern, self._pieces)
        offset, spans, last = int(self._pieces.start[0]), [], 0
        for start, end in zip((starts - offset).tolist(), (ends - offset).tolist(), strict=True):
            spans += [(last, start, False)] * (last < start) + [(start, end, True)]
            last = end
        return spans + [(last, n_bytes, False)] * (last < n_bytes)


def _merged(spans: list[tuple[int, int, bool]], behavior: str) -> list[tuple[int, int]]:
    if behavior in ("removed", "isolated"):
        return [(start, end) for start, end, matched in spans if behavior == "isolated" or not matched]
    backwards = behavior == "merged_with_next"
    merged: list[list[int]] = []
    before = False  # whether the last span was a match
    for start, end, matched in reversed(spans) if backwards else spans:
        if merged and (matched == before if behavior == "contiguous" else matched and not before):
            merged[-1][0 if backwards else 1] = start if backwards else end
        else:
            merged.append([start, end])
        before = matched
    return [(start, end) for start, end in (reversed(merged) if backwards else merged)]


def _string(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name}: '{type(value).__name__}' object is not an instance of 'str'")
    return value
