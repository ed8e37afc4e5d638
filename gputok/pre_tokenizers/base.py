"""What every pre-tokenizer is, and the cut that most of them are."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import numpy as np

from gputok.components import Component
from gputok.text import Alignment, Array, Pieces, TextBatch

if TYPE_CHECKING:
    import regex

    from gputok.kernels import Automaton
    from gputok.pre_tokenized_string import PreTokenizedString

# Between two spans of a text, the first and the second being a match (1) or not (0): is there a cut?
_CUTS = {
    "removed": ((1, 1), (1, 1)),
    "isolated": ((1, 1), (1, 1)),
    "merged_with_previous": ((1, 0), (1, 1)),
    "merged_with_next": ((1, 1), (0, 1)),
    "contiguous": ((0, 1), (1, 0)),
}
# The word of each behavior in JSON and in a `repr`.
BEHAVIORS = {name: name.title().replace("_", "") for name in _CUTS}


_OPTIONAL = {"use_regex", "prepend_scheme", "split", "length"}  # fields that a file may leave out


class SplitPlan(NamedTuple):
    """A pre-tokenizer that is one walk over the raw text, each match a word: what the fused kernels take."""

    automaton: Automaton
    byte_level: bool  # are the words' bytes to be read as characters of the ByteLevel alphabet?


class PreTokenizer(Component):
    """Base of all pre-tokenizers: what cuts pieces of text into smaller ones.

    `apply` works on packed arrays, and is what a tokenizer calls; the other two methods are for eyes and for
    components written in Python.
    """

    kind: ClassVar[str] = "pre-tokenizer"
    needs_alignment: bool = False
    """Does `apply` ask whether a piece lies at the start of its document, and so for `pieces.alignment`?

    Without it, the first piece of each document is taken to lie there, which a normalizer that strips the text can
    make wrong: `mark_starts` before it is enough.
    """

    keeps_whole: bool = False
    """Is each piece changed but never cut, and so keeps the part of the text that it comes from?"""

    apart_at_spaces: bool = False
    """Can a document be cut before each space (U+0020) and its parts be worked on as documents, with the same pieces?"""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        if cls is PreTokenizer:
            raise TypeError(
                "PreTokenizer is a base class: make one of its subclasses, or PreTokenizer.custom(...)"
            )
        return super().__new__(cls)

    def __setattr__(self, name: str, value: Any) -> None:
        check = getattr(self, f"_check_{name}", None)
        super().__setattr__(name, check(value) if check else self._typed(name, value))

    def _typed(self, name: str, value: Any) -> Any:
        """A switch must be True or False: 0 and 1 are errors, as they are there."""
        if type(self).__annotations__.get(name) == "bool" and not isinstance(value, bool):
            raise TypeError(f"{name}: '{type(value).__name__}' object is not an instance of 'bool'")
        return value

    @staticmethod
    def custom(pretok: Any) -> PreTokenizer:
        """A pre-tokenizer written in Python: any object with `pre_tokenize(self, pretok: PreTokenizedString)`.

        >>> class Halves:
        ...     def pre_tokenize(self, pretok):
        ...         pretok.split(lambda i, text: text.split("|", "removed"))
        >>> PreTokenizer.custom(Halves()).pre_tokenize_str("left|right")
        [('left', (0, 4)), ('right', (5, 10))]
        """
        from .custom import Custom

        return Custom(pretok)

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Self:
        """A pre-tokenizer from its JSON form; on the base class, of the type that `type` names."""
        if cls is not PreTokenizer:
            required = (field.name for field in dataclasses.fields(cls) if field.name not in _OPTIONAL)
            if missing := [name for name in required if name not in value]:
                raise ValueError(f"{cls.__name__}: the field {missing[0]!r} is missing")
            return super().from_dict(value)
        types = {
            kind.__name__: kind for kind in PreTokenizer.__subclasses__() if dataclasses.is_dataclass(kind)
        }
        name = value.get("type") if isinstance(value, dict) else None
        if name not in types:
            raise ValueError(f"{name!r} is no pre-tokenizer; the types are {', '.join(sorted(types))}")
        try:
            return types[name].from_dict(value)
        except (TypeError, OverflowError) as error:
            raise ValueError(f"{name}: {error}") from None

    def apply(self, pieces: Pieces) -> Pieces:
        """Cuts each piece that is not an added token; empty pieces are left out."""
        return self._apply(spell_out(pieces))

    def _apply(self, pieces: Pieces) -> Pieces:
        raise NotImplementedError

    def plan(self) -> SplitPlan | None:
        """How the fused kernels do the same to raw text in one walk, or None where that is not enough."""
        return None

    def pre_tokenize_str(self, sequence: str) -> list[tuple[str, tuple[int, int]]]:
        """The pieces of a text, each with the range of characters of `sequence` that it stands for."""
        if not isinstance(sequence, str):
            raise TypeError(f"sequence: '{type(sequence).__name__}' object is not an instance of 'str'")
        batch = TextBatch.from_strings([sequence])
        pieces = spell_out(self.frozen().apply(Pieces.from_batch(batch, aligned=True)))
        if not sequence:
            return [("", (0, 0))] * pieces.n_pieces
        character = np.cumsum((batch.data & 0xC0) != 0x80) - 1  # of each byte
        first = character[pieces.alignment.start[pieces.start]]
        stop = character[pieces.alignment.end[pieces.end - 1] - 1] + 1
        return list(zip(pieces.strings(), zip(first.tolist(), stop.tolist(), strict=True), strict=True))

    def pre_tokenize(self, pretok: PreTokenizedString) -> None:
        """Cuts, in place, the splits of `pretok` that have no tokens yet."""
        now = self.frozen()
        pretok.cut(now.apply, whole=now.keeps_whole)


def check_behavior(behavior: str) -> str:
    if not isinstance(behavior, str):
        raise TypeError(f"behavior: '{type(behavior).__name__}' object is not an instance of 'str'")
    if behavior not in BEHAVIORS:
        raise ValueError(f"behavior is {behavior!r}, expected one of: {', '.join(BEHAVIORS)}")
    return behavior


def read_behavior(name: str) -> str:
    """A behavior from the word for it in JSON."""
    names = {word: behavior for behavior, word in BEHAVIORS.items()}
    if name not in names:
        raise ValueError(f"unknown behavior {name!r}, expected one of: {', '.join(names)}")
    return names[name]


def check_character(name: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        if not isinstance(value, str):
            raise TypeError(f"{name}: '{type(value).__name__}' object is not an instance of 'str'")
        if len(value) != 1:
            raise ValueError(f"{name} is {value!r}, expected a string of length 1")
        return value

    return check


@functools.cache
def cut_rule(behavior: str, invert: bool = False) -> tuple[Array, Array]:
    """(cut bool[2, 2], drop bool[2]): how the kernels are told of a behavior; `invert` swaps matches and the rest."""
    cut, drop = np.array(_CUTS[behavior], bool), np.array([False, behavior == "removed"])
    return (cut[::-1, ::-1], drop[::-1]) if invert else (cut, drop)


def cut_pieces(
    pieces: Pieces, matcher: Automaton | regex.Pattern, behavior: str, invert: bool = False
) -> Pieces:
    """Cuts each piece where an automaton, or in rare cases a backtracking pattern, finds its matches."""
    if isinstance(matcher, tuple):
        from gputok.kernels.cpu.split import split_words
    else:
        from gputok.pattern import split_words
    rule = cut_rule(behavior, invert)
    start, end, rows = split_words(pieces.data, pieces.start, pieces.end, _frozen(pieces), matcher, *rule)
    return regroup(pieces, start, end, rows)


def regroup(pieces: Pieces, start: Array, end: Array, rows: Array) -> Pieces:
    """Pieces of which number i became the pieces rows[i]:rows[i + 1] (rows int64[n_pieces + 1])."""
    token = None if pieces.token is None else np.repeat(pieces.token, np.diff(rows))
    return pieces._replace(start=start, end=end, rows=rows[pieces.rows], token=token)


def mark_starts(pieces: Pieces) -> Pieces:
    """With an alignment that only tells where documents begin: 0 for their first byte, else 1."""
    place = np.ones(len(pieces.data), np.int32)
    first = pieces.rows[:-1][np.diff(pieces.rows) > 0]
    place[pieces.start[first][pieces.start[first] < pieces.end[first]]] = 0
    return pieces._replace(alignment=Alignment(place, place))


def rewrite(
    pieces: Pieces, replacements: dict[int, bytes], prefix: bytes = b"", before: Array | None = None
) -> Pieces:
    """Replaces bytes of the text, and puts `prefix` before the pieces for which `before` (bool[n_pieces]) is true."""
    from gputok.kernels.cpu.ragged import MAP, PREPEND, rewrite_bytes

    table = _byte_table(tuple(replacements.items()), prefix)
    mode = np.full(pieces.n_pieces, MAP if replacements else 0, np.uint8)
    if before is not None:
        mode |= before * np.uint8(PREPEND)
    frozen = _frozen(pieces)
    if frozen is not None:
        mode[frozen] = 0
    data, offsets, alignment = rewrite_bytes(
        pieces.data, pieces.start, pieces.end, mode, table, pieces.alignment
    )
    alignment = alignment and type(pieces.alignment)(*alignment)
    return pieces._replace(data=data, start=offsets[:-1], end=offsets[1:], alignment=alignment)


@functools.lru_cache(maxsize=64)
def _byte_table(replacements: tuple[tuple[int, bytes], ...], prefix: bytes) -> Array:
    """uint32[2, 257]: see `rewrite_bytes`."""
    from gputok.kernels.cpu.ragged import PREFIX

    table = np.array([np.ones(257), np.arange(257)], np.uint32)
    for byte, word in (*replacements, (PREFIX, prefix)):
        table[:, byte] = len(word), int.from_bytes(word, "little")
    return table


def starts_with(pieces: Pieces, word: bytes) -> Array:
    """bool[n_pieces]: which pieces begin with `word`."""
    found = pieces.end - pieces.start >= len(word)
    at = pieces.start[found]
    for k, byte in enumerate(word):
        found[found] = hit = pieces.data[at + k] == byte
        at = at[hit]
    return found


def spell_out(pieces: Pieces) -> Pieces:
    """Writes the characters of the ByteLevel alphabet for bytes that stand for them; added tokens stay text."""
    if not pieces.byte_level:
        return pieces
    from gputok.byte_alphabet import BYTE_CHARACTERS

    written = rewrite(pieces, {byte: character.encode() for byte, character in enumerate(BYTE_CHARACTERS)})
    return written._replace(byte_level=False)


def _frozen(pieces: Pieces) -> Array | None:
    return None if pieces.token is None else pieces.token >= 0
