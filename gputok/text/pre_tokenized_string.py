"""PreTokenizedString: a text as pre-tokenizers and models that are written in Python see it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from gputok.encoding.encoding import Encoding, from_dict
from gputok.kernels.cpu.rewrite import gather
from gputok.lazy import public
from gputok.text.normalized_string import NormalizedString
from gputok.text.pieces import Alignment, Pieces, spell_out
from gputok.types import Bytes, Positions


@public("gputok")
class Token:
    """A token of a model: its id, its text, and its bytes in the piece of text.

    Args:
        id: the id of the token.
        value: the token as text.
        offsets: (first, last + 1) byte of the piece that the token covers.

    Example:
        >>> Token(3, "he", (0, 2)).as_tuple()
        (3, 'he', (0, 2))
    """

    __slots__ = ("_fields",)

    def __init__(self, id: int, value: str, offsets: tuple[int, int]) -> None:
        self._fields = (id, value, offsets)

    @property
    def id(self) -> int:
        """The id of the token."""
        return self._fields[0]

    @property
    def value(self) -> str:
        """The token as text."""
        return self._fields[1]

    @property
    def offsets(self) -> tuple[int, int]:
        """(first, last + 1) byte of the piece that the token covers."""
        return self._fields[2]

    def as_tuple(self) -> tuple[int, str, tuple[int, int]]:
        """Returns (id, value, offsets)."""
        return self._fields


class _Split(NamedTuple):
    """A part of the text, and its tokens; None: no model has tokenized the part yet."""

    normalized: NormalizedString
    tokens: list[Token] | None = None


@public("gputok")
class PreTokenizedString:
    """A text cut into splits; each split knows the part of the text that it comes from.

    `split`, `normalize` and `tokenize` call a function for each split that has no tokens yet.

    Args:
        sequence: the text.

    Example:
        >>> text = PreTokenizedString("one two")
        >>> text.split(lambda i, part: part.split(" ", "removed"))
        >>> text.normalize(lambda part: part.uppercase())
        >>> text.tokenize(lambda part: [Token(len(part), part, (0, len(part)))])
        >>> [(part, offsets, [token.id for token in tokens]) for part, offsets, tokens in text.get_splits()]
        [('ONE', (0, 3), [3]), ('TWO', (4, 7), [3])]
    """

    __slots__ = ("_original", "_splits")

    def __init__(self, sequence: str) -> None:
        self._original = sequence
        self._splits: list[_Split] = [_Split(NormalizedString(sequence))]

    @classmethod
    def of(cls, data: Bytes, offsets: Positions, token: Positions) -> PreTokenizedString:
        """Makes the splits of a text from the pieces of one document.

        data: uint8[n], UTF-8; offsets: int64[n_pieces + 1]; token: int64[n_pieces], the id of an added token, or -1.
        """
        raw = data.tobytes()
        text = cls(raw.decode())
        text._splits = []
        for a, b, id in zip(offsets.tolist(), offsets[1:].tolist(), token.tolist(), strict=False):
            part = NormalizedString(raw[a:b].decode()).shifted(a)
            text._splits.append(_Split(part, None if id < 0 else [Token(id, part.normalized, (0, b - a))]))
        return text

    @classmethod
    def changed_by(cls, code: Callable[[PreTokenizedString], None], pieces: Pieces) -> Pieces:
        """Lets a function, mostly of a user, cut and change the text of each document; returns the new pieces."""
        data, offsets = gather(pieces.data, pieces.start, pieces.end)
        token = np.full(pieces.n_pieces, -1) if pieces.token is None else pieces.token
        # Of each new piece: its bytes, the starts and the ends of their origins in `data`, the id of its added token or
        # -1, and how many of the bytes lie beyond the piece
        parts: list[tuple[Any, ...]] = []
        rows = [0]
        for first, last in itertools.pairwise(pieces.rows.tolist()):
            begin, ends = offsets[first], offsets[first : last + 1]
            text = cls.of(data[begin : ends[-1]], ends - begin, token[first:last])
            empty = [split for split, _ in text._splits if not split.original]
            code(text)
            for split, tokens in text._splits:
                # What is inserted into an empty piece comes from no byte: for len(data), `_composed` gives 0
                shift = len(data) if split in empty else begin + split.original_shift
                sides = [side + shift for side in split.alignment()]
                cuts = [(0, None, -1)] if tokens is None else [(*token.offsets, token.id) for token in tokens]
                spelled, n_beyond = split.normalized_bytes(), 0
                if split.original and not split.normalized:  # the piece has no bytes: one beyond it keeps the origin
                    sides = [np.array([shift]), np.array([shift + len(split.original.encode())])]
                    spelled, n_beyond = np.zeros(1, np.uint8), 1
                parts += [(spelled[a:b], sides[0][a:b], sides[1][a:b], id, n_beyond) for a, b, id in cuts]
            rows.append(len(parts))
        columns = [*zip(*parts, strict=True)] or [()] * 5
        new_data, start, end = (np.concatenate([np.zeros(0, np.int64), *column]) for column in columns[:3])
        stops, ids = np.cumsum([0, *map(len, columns[0])], dtype=np.int64), np.array(columns[3], np.int64)
        origin = pieces.alignment and _composed(pieces, pieces.alignment, offsets, start, end)
        token = ids if (ids >= 0).any() else None
        stop = stops[1:] - np.array(columns[4], np.int64)
        return Pieces(new_data.astype(np.uint8), stops[:-1], stop, np.array(rows, np.int64), token, origin)

    def split(self, func: Callable[[int, NormalizedString], list[NormalizedString]]) -> None:
        """Replaces each split by the parts that `func(index, normalized)` returns, without empty parts.

        Args:
            func: called with the index of the split and its text. The parts should come from `split` or `slice` of
                that text; otherwise their offsets are wrong.

        Raises:
            TypeError: if `func` is not a function, or returns something other than NormalizedStrings.
        """
        _check_callable(func, "split", "(index: int, normalized: NormalizedString) -> list[NormalizedString]")
        splits: list[_Split] = []
        for i, split in enumerate(self._splits):
            if split.tokens is not None:
                splits.append(split)
                continue
            splits += [_Split(part) for part in _checked(func(i, split.normalized)) if part.normalized]
        self._splits = splits

    def normalize(self, func: Callable[[NormalizedString], object]) -> None:
        """Calls `func(normalized)` for each split; `func` changes its argument in place."""
        _check_callable(func, "normalize", "(normalized: NormalizedString)")
        for split in self._splits:
            if split.tokens is None:
                func(split.normalized)

    def tokenize(self, func: Callable[[str], list[Token]]) -> None:
        """Gives each split the tokens that `func(text)` returns."""
        _check_callable(func, "tokenize", "(text: str) -> list[Token]")
        self._splits = [
            split if split.tokens is not None else split._replace(tokens=list(func(split.normalized.normalized)))
            for split in self._splits
        ]

    def get_splits(
        self, offset_referential: str = "original", offset_type: str = "char"
    ) -> list[tuple[str, tuple[int, int], list[Token] | None]]:
        """Lists the splits.

        Args:
            offset_referential: "original" or "normalized": the text that offsets count in.
            offset_type: "char" or "byte": the unit of offsets.

        Returns:
            (text, (first, last + 1), tokens) for each split; tokens is None before `tokenize`. As in `tokenizers`,
            "char" offsets in the normalized text are only right if it is as long as the original.

        Raises:
            ValueError: if an argument is not one of these words.
        """
        _check_choice("offset_referential", offset_referential, ("original", "normalized"))
        _check_choice("offset_type", offset_type, ("byte", "char"))
        characters = _characters(self._original)
        found: list[tuple[str, tuple[int, int], list[Token] | None]] = []
        at = 0
        for normalized, tokens in self._splits:
            text = normalized.normalized
            start, n_bytes = at, len(text.encode())
            at += n_bytes
            if offset_referential == "original":
                start, n_bytes = normalized.original_shift, len(normalized.original.encode())
            offsets = start, start + n_bytes
            found.append((text, _in_characters(offsets, characters) if offset_type == "char" else offsets, tokens))
        return found

    def to_encoding(self, type_id: int = 0, word_idx: int | None = None) -> Encoding:
        """Makes an Encoding of the tokens of all splits.

        Args:
            type_id: the type id of all tokens.
            word_idx: the word index of all tokens; None: the index of their split.

        Raises:
            ValueError: if a split has not been tokenized.
        """
        characters = _characters(self._original)
        tokens: list[tuple[int, NormalizedString, Token]] = []
        for i, split in enumerate(self._splits):
            if split.tokens is None:
                raise ValueError("a split has not been tokenized: call PreTokenizedString.tokenize first")
            tokens += [(i, split.normalized, token) for token in split.tokens]
        return from_dict(
            {
                "ids": [token.id for *_, token in tokens],
                "type_ids": [type_id] * len(tokens),
                "tokens": [token.value for *_, token in tokens],
                "words": [i if word_idx is None else word_idx for i, *_ in tokens],
                "offsets": [_in_characters(_origin(part, *token.offsets), characters) for _, part, token in tokens],
                "special_tokens_mask": [0] * len(tokens),
                "attention_mask": [1] * len(tokens),
                "overflowing": [],
                "sequence_ranges": {},
            }
        )

    def cut(self, apply: Callable[[Pieces], Pieces], *, whole: bool = False) -> None:
        """Applies a function on Pieces, in which each split without tokens is a row: its new pieces replace the split.

        whole: aligns a new split with all of the original of its old split, also what was removed; False: with the
            bytes that it comes from.
        """
        splits = [split.normalized for split in self._splits if split.tokens is None]
        original = [(split.original_shift, len(split.original.encode())) for split in splits] if whole else None
        parts = iter(_parts(self._original.encode(), spell_out(apply(_pieces(splits))), original))
        self._splits = [
            new for split in self._splits for new in ([split] if split.tokens is not None else map(_Split, next(parts)))
        ]


def _composed(pieces: Pieces, origin: Alignment, offsets: Positions, start: Positions, end: Positions) -> Alignment:
    """Returns the origin of the bytes start[i]:end[i] (int64[n]) of the packed pieces.

    origin: of the bytes of the pieces; offsets: of the packed pieces. An empty range has an empty origin.
    """
    packed = np.arange(offsets[-1], dtype=np.int64) + np.repeat(pieces.start - offsets[:-1], np.diff(offsets))
    first = np.append(origin.start[packed], np.int32(0))[start]
    return Alignment(first, np.where(start < end, np.append(0, origin.end[packed])[end], first).astype(np.int32))


def _pieces(splits: list[NormalizedString]) -> Pieces:
    """Packs the splits, each in a row of its own, aligned with the bytes of the text that they were cut from."""
    data = [split.normalized_bytes() for split in splits]
    sides = [[side + np.int32(split.original_shift) for side in split.alignment()] for split in splits]
    offsets = np.cumsum([0, *map(len, data)], dtype=np.int64)
    start, end = (np.concatenate([np.zeros(0, np.int32), *(pair[i] for pair in sides)]) for i in (0, 1))
    packed = np.concatenate([np.zeros(0, np.uint8), *data])
    rows = np.arange(len(splits) + 1)
    return Pieces(packed, offsets[:-1], offsets[1:], rows, None, Alignment(start, end))


def _parts(original: bytes, pieces: Pieces, whole: list[tuple[int, int]] | None) -> list[list[NormalizedString]]:
    """The pieces of each row as NormalizedStrings.

    whole: for each row, (first byte, length) of what its pieces are aligned with; None: with what each comes from.
    """
    if pieces.alignment is None:
        raise ValueError("a function given to PreTokenizedString.cut dropped the alignment of the pieces")
    start, end = pieces.alignment
    rows: list[list[NormalizedString]] = []
    for i, (first, last) in enumerate(itertools.pairwise(pieces.rows.tolist())):
        rows.append([])
        for a, b in zip(pieces.start[first:last].tolist(), pieces.end[first:last].tolist(), strict=True):
            low, high = (int(start[a]), int(end[b - 1])) if a < b else (0, 0)
            if whole:
                low, high = whole[i][0], sum(whole[i])
            aligned = Alignment(start[a:b] - np.int32(low), end[a:b] - np.int32(low))
            text = original[low:high].decode(errors="ignore")
            rows[-1].append(NormalizedString.of(text, low, pieces.data[a:b], aligned))
    return rows


def _origin(normalized: NormalizedString, start: int, end: int) -> tuple[int, int]:
    """The bytes of the whole text that bytes start:end of a split come from; a range outside of the split stays."""
    shift, alignment = normalized.original_shift, normalized.alignment()
    if start == end:
        return shift + start, shift + end
    if not 0 <= start < end <= len(alignment.start):
        return start, end
    return shift + int(alignment.start[start]), shift + int(alignment.end[end - 1])


def _characters(text: str) -> Positions:
    """int64[n_bytes]: for each byte, the index of its character."""
    return np.cumsum((np.frombuffer(text.encode(), np.uint8) & 0xC0) != 0x80) - 1


def _in_characters(offsets: tuple[int, int], characters: Positions) -> tuple[int, int]:
    """Converts byte offsets to character offsets; offsets that begin after the text stay, as in `tokenizers`."""
    start, end = offsets
    if start >= len(characters):
        return offsets
    first = int(characters[start])
    if end < len(characters):
        return first, int(characters[end])
    return first, (int(characters[end - 1]) if end <= len(characters) else first + 1) + 1


def _checked(parts: Iterable[object]) -> Iterator[NormalizedString]:
    """The parts; raises TypeError for the first that is not a NormalizedString."""
    for part in parts:
        if not isinstance(part, NormalizedString):
            raise TypeError(f"split: '{type(part).__name__}' object is not an instance of 'NormalizedString'")
        yield part


def _check_callable(func: object, name: str, signature: str) -> None:
    if not callable(func):
        raise TypeError(f"{name}: expected a function {signature}, got {func!r}")


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name}: expected one of {', '.join(choices)}, got {value!r}")
