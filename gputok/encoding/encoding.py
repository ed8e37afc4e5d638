"""Encoding: the result of encoding one text or one pair of texts, with the attributes that `tokenizers` has.

An Encoding is a view of one row of columns that a whole batch shares. Each access to an attribute makes a new list.
"""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from gputok.checks import warn
from gputok.components import give_hints
from gputok.encoding.rows import NO_SPELLING, Columns, Rows, merge, named_rows, padded
from gputok.kernels.signatures import NamedTuple
from gputok.lazy import public

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gputok.encoding.rows import Column
    from gputok.types import Direction, Ids


class _Whole(NamedTuple):
    """What an Encoding is a view of."""

    rows: Rows
    row: int
    overflowing: tuple[Encoding, ...]
    shown: Any


@public("gputok")
class Encoding:
    """The result of encoding one text or one pair of texts.

    Each access to an attribute makes a new list, so keep the list instead of accessing the attribute in a loop.
    Positions of tokens, words and characters are counted from 0; methods that find nothing return None.

    Example:
        >>> from gputok import Tokenizer, models, pre_tokenizers
        >>> tokenizer = Tokenizer(models.WordLevel({"hello": 0, "you": 1, "?": 2}, unk_token="?"))
        >>> tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        >>> encoding = tokenizer.encode("hello  dear you")
        >>> encoding.tokens, encoding.offsets
        (['hello', '?', 'you'], [(0, 5), (7, 11), (12, 15)])
        >>> encoding.char_to_token(13), encoding.token_to_chars(1)
        (2, (7, 11))
    """

    __slots__ = ("__dict__", "_later", "_whole")

    _later: tuple[Any, ...] | None
    """A tuple as long as attributes are still to be computed: item 0 (`Texts` of pipeline/encode/text.py) computes them
    from the other items. Its methods with the names of attributes take this tuple; if one returns None, its method
    `encoding` makes all attributes. None: `_whole` has all attributes."""
    _whole: _Whole

    def __init__(self) -> None:
        self._set(_EMPTY, 0, (), None)

    @classmethod
    def of(cls, rows: Rows, row: int = 0, overflowing: Sequence[Encoding] = (), shown: Any = None) -> Encoding:
        """Makes a view of one row; overflowing: the parts that truncation cut off; shown: the texts that it encodes."""
        encoding = cls.__new__(cls)
        encoding._set(rows, row, overflowing, shown)
        return encoding

    def _set(self, rows: Rows, row: int, overflowing: Sequence[Encoding], shown: Any) -> None:
        self._whole, self._later = _Whole(rows, row, tuple(overflowing), shown), None

    def _made(self) -> _Whole:
        """Returns `_whole`, which is computed now if `_later` is a tuple."""
        if (later := self._later) is not None:
            self._whole = later[0].encoding(later)._made()
            self._later = None
        return self._whole

    def row(self) -> Rows:
        """Returns the row of this encoding alone."""
        rows, row, _, _ = self._made()
        return rows.take(np.array([row]))

    def column(self, name: str) -> Column:
        """Returns a column of `Columns`, such as "ids": an array [n_tokens] that others may share: only read it."""
        if (later := self._later) is not None and (found := later[0].column(later, name)) is not None:
            return found
        rows, row, _, _ = self._made()
        return getattr(rows.columns, name)[rows.first[row] : rows.last[row]]

    def __repr__(self) -> str:
        names = "ids, type_ids, tokens, offsets, attention_mask, special_tokens_mask, overflowing"
        return f"Encoding(num_tokens={len(self)}, attributes=[{names}])"

    def __len__(self) -> int:
        if (later := self._later) is not None:
            return later[0].length(later)
        rows, row, _, _ = self._made()
        return int(rows.last[row] - rows.first[row])

    def __getstate__(self) -> bytes:
        return json.dumps(self._to_dict(), ensure_ascii=False, separators=(",", ":")).encode()

    def __setstate__(self, state: bytes) -> None:
        self._set(*from_dict(json.loads(state))._made())

    def __copy__(self) -> Encoding:
        if (later := self._later) is None:
            return Encoding.of(*self._whole)
        copied = Encoding.__new__(Encoding)
        copied._later = later
        return copied

    def _to_dict(self) -> dict[str, Any]:
        ranges = {str(sequence): {"start": a, "end": b} for sequence, (a, b) in sorted(self._ranges.items())}
        overflowing = [part._to_dict() for part in self._made().overflowing]
        names = ("ids", "type_ids", "tokens", "word_ids", "offsets", "special_tokens_mask", "attention_mask")
        values = {"words" if name == "word_ids" else name: getattr(self, name) for name in names}
        return values | {"overflowing": overflowing, "sequence_ranges": ranges}

    @property
    def _ranges(self) -> dict[int, tuple[int, int]]:
        rows, row, _, _ = self._made()
        return {sequence: rows.range_of(sequence, row) for sequence in rows.ranges}

    def _range(self, sequence: int) -> tuple[int, int]:
        return self._ranges.get(sequence, (0, len(self)))

    def _listed(self, name: str) -> list[int]:
        later = self._later
        return self.column(name).tolist() if later is None else later[0].listed(later, name)

    @property
    def ids(self) -> list[int]:
        """The ids of the tokens, as language models take them."""
        return self._listed("ids")

    @property
    def ids_array(self) -> Ids:
        """The ids of the tokens, uint32[n_tokens], without copying where possible: do not write to the array."""
        return self._array("ids")

    @property
    def type_ids_array(self) -> Ids:
        """`type_ids` as an array, uint32[n_tokens]: do not write to the array."""
        return self._array("type_ids")

    @property
    def attention_mask_array(self) -> Ids:
        """`attention_mask` as an array, uint32[n_tokens]: do not write to the array."""
        return self._array("attention")

    def _array(self, name: str) -> Ids:
        column = self.column(name)
        return cast("Ids", column) if column.dtype == np.uint32 else column.astype(np.uint32)

    @property
    def type_ids(self) -> list[int]:
        """For each token, the type id that the post-processor gave to its input sequence."""
        return self._listed("type_ids")

    @property
    def tokens(self) -> list[str]:
        """The tokens as text."""
        if (later := self._later) is not None and (found := later[0].tokens(later)) is not None:
            return found
        rows, row, _, _ = self._made()
        return rows.token_texts(row)

    @property
    def offsets(self) -> list[tuple[int, int]]:
        """For each token, its characters: the token comes from `text[start:end]`."""
        if (later := self._later) is not None and (found := later[0].offsets(later)) is not None:
            return found
        return list(zip(self.column("start").tolist(), self.column("end").tolist(), strict=True))

    @property
    def offsets_in_bytes(self) -> list[tuple[int, int]]:
        """For each token, the bytes of its characters: the token comes from `text.encode()[start:end]`.

        A token for a part of a character has the whole character, as in `offsets`; `Tokenizer.byte_ends` tells bytes.

        Raises:
            ValueError: the encoding no longer has its text, since it was pickled or merged.

        Example:
            >>> from gputok import Tokenizer, models
            >>> Tokenizer(models.BPE({"é": 0, "a": 1}, [])).encode("éa").offsets_in_bytes
            [(0, 2), (2, 3)]
        """
        if (texts := self.texts) is None:
            raise ValueError("this encoding no longer has its text, since it was pickled or merged: encode it again")
        found = np.stack([self.column("start"), self.column("end")], 1)
        for sequence, text in enumerate(texts):
            a, b = self._range(sequence)
            words = [text] if isinstance(text, str) else text
            which = 0 if isinstance(text, str) else self.column("words")[a:b, None]
            codes = np.frombuffer("".join(words).encode("utf-32-le"), np.uint32)
            n_before = np.cumsum([0, *(1 + (codes[:, None] >= (0x80, 0x800, 0x10000)).sum(1))])
            begin = np.cumsum([0, *map(len, words)])[which]
            found[a:b] = n_before[np.minimum(begin + found[a:b], len(codes))] - n_before[begin]
        return [*map(tuple, found.tolist())]

    @property
    def texts(self) -> tuple[Any, ...] | None:
        """The texts that were encoded, each a string or a list of words; None: they are not known any more."""
        return self._made().shown

    def with_texts(self, texts: tuple[Any, ...] | None) -> Encoding:
        """Returns the same encoding, which knows the texts that were encoded."""
        rows, row, overflowing, _ = self._made()
        return Encoding.of(rows, row, [part.with_texts(texts) for part in overflowing], texts)

    @property
    def attention_mask(self) -> list[int]:
        """1 for each token that a model should attend to, 0 for padding."""
        return self._listed("attention")

    @property
    def special_tokens_mask(self) -> list[int]:
        """1 for each token that the post-processor or padding added, 0 for tokens of the text."""
        return self._listed("special")

    @property
    def word_ids(self) -> list[int | None]:
        """For each token, the index of its word, as cut by the pre-tokenizer; None: the token is in no word."""
        if (later := self._later) is not None and (found := later[0].word_ids(later)) is not None:
            return found
        return [None if word < 0 else word for word in self.column("words").tolist()]

    @property
    def words(self) -> list[int | None]:
        """Deprecated: use `word_ids`."""
        warn(
            "Deprecated in 0.9.4: Encoding.words is deprecated, please use Encoding.word_ids instead.",
            DeprecationWarning,
        )
        return self.word_ids

    @property
    def sequence_ids(self) -> list[int | None]:
        """For each token, the number of its input sequence (0 or 1); None: the token is not from the text."""
        ids: list[int | None] = [None] * len(self)
        for sequence in range(self.n_sequences):
            a, b = self._range(sequence)
            ids[a:b] = [sequence] * (b - a)
        return ids

    @property
    def n_sequences(self) -> int:
        """The number of input sequences: 1 for a text, 2 for a pair."""
        return len(self._made().rows.ranges) or 1

    @property
    def overflowing(self) -> list[Encoding]:
        """The tokens that truncation cut off, in parts that have at most the maximum length."""
        if (later := self._later) is not None and not later[0].overflows(later):
            return []
        return [part.__copy__() for part in self._made().overflowing]

    def set_sequence_id(self, sequence_id: int) -> None:
        """Marks all tokens as input sequence `sequence_id`."""
        _, _, overflowing, shown = self._made()
        self._set(self.row().with_sequence(sequence_id), 0, overflowing, shown)

    def word_to_tokens(self, word_index: int, sequence_index: int = 0) -> tuple[int, int] | None:
        """Finds the tokens of a word.

        Args:
            word_index: the index of the word in its input sequence.
            sequence_index: the number of the input sequence.

        Returns:
            (first, last + 1) token; None: the sequence has no such word.
        """
        a, b = self._range(sequence_index)
        words = self.column("words")[a:b]
        words = words[: np.argmax(words > word_index)] if (words > word_index).any() else words
        at = np.flatnonzero(words == _unsigned(word_index))
        return (a + int(at[0]), a + int(at[-1]) + 1) if len(at) else None

    def word_to_chars(self, word_index: int, sequence_index: int = 0) -> tuple[int, int] | None:
        """Finds the characters of a word.

        Args:
            word_index: the index of the word in its input sequence.
            sequence_index: the number of the input sequence.

        Returns:
            (first, last + 1) character of the input sequence; None: the sequence has no such word.
        """
        if (tokens := self.word_to_tokens(word_index, sequence_index)) is None:
            return None
        return int(self.column("start")[tokens[0]]), int(self.column("end")[tokens[1] - 1])

    def token_to_sequence(self, token_index: int) -> int | None:
        """Finds the input sequence of a token; None: the token is not from the text."""
        if _unsigned(token_index) > len(self):
            return None
        ranges = self._ranges
        return next((i for i, (a, b) in ranges.items() if a <= token_index < b), None) if ranges else 0

    def token_to_chars(self, token_index: int) -> tuple[int, int] | None:
        """Finds the characters of a token: (first, last + 1) in its input sequence; None: it is not from the text."""
        if self.token_to_sequence(token_index) is None or token_index >= len(self):
            return None
        return int(self.column("start")[token_index]), int(self.column("end")[token_index])

    def token_to_word(self, token_index: int) -> int | None:
        """Finds the index of the word that contains a token; None: the token is in no word."""
        if self.token_to_sequence(token_index) is None or token_index >= len(self):
            return None
        word = int(self.column("words")[token_index])
        return None if word < 0 else word

    def char_to_token(self, char_pos: int, sequence_index: int = 0) -> int | None:
        """Finds the token that contains a character.

        Args:
            char_pos: the index of the character in its input sequence.
            sequence_index: the number of the input sequence.

        Returns:
            The index of the token; None: the character is in no token.
        """
        a, b = self._range(sequence_index)
        inside = (self.column("start")[a:b] <= _unsigned(char_pos)) & (char_pos < self.column("end")[a:b])
        return a + int(np.argmax(inside)) if inside.any() else None

    def char_to_word(self, char_pos: int, sequence_index: int = 0) -> int | None:
        """Finds the index of the word that contains a character; the arguments are those of `char_to_token`."""
        token = self.char_to_token(char_pos, sequence_index)
        return None if token is None else self.token_to_word(token)

    def pad(
        self,
        length: int,
        direction: Direction = "right",
        pad_id: int = 0,
        pad_type_id: int = 0,
        pad_token: str = "[PAD]",
    ) -> None:
        """Fills up this encoding, and its overflowing parts, to `length` tokens; longer ones stay as they are.

        Args:
            length: in tokens.
            direction: "right" puts padding after the tokens, "left" before them.
            pad_id: the id of the padding token.
            pad_type_id: the type id of the padding token.
            pad_token: the text of the padding token.

        Raises:
            ValueError: if `direction` is neither "left" nor "right".
            OverflowError: if `length` is negative.
        """
        check_direction(direction)
        parts = self.overflowing  # copies: another encoding may hold the same parts
        for part in parts:
            part.pad(length, direction, pad_id, pad_type_id, pad_token)
        row = padded([self.row()], _unsigned(length), direction, pad_id, pad_type_id, pad_token)
        self._set(merge(row), 0, parts, self._made().shown)

    def truncate(self, max_length: int, stride: int = 0, direction: Direction = "right") -> None:
        """Cuts this encoding to `max_length` tokens and puts the rest into `overflowing`.

        Args:
            max_length: in tokens.
            stride: each overflowing part repeats this number of tokens of the part before.
            direction: "right" keeps the first tokens, "left" the last.

        Raises:
            ValueError: if `direction` is neither "left" nor "right", or `stride` is not less than `max_length`.
            OverflowError: if a number is negative.
        """
        check_direction(direction)
        if _unsigned(max_length) >= len(self):
            return
        row = self.row()
        kept, overflow, _ = row.truncate(np.array([max_length]), _unsigned(stride), direction)
        shown = self._made().shown
        parts = [self.__copy__()] if max_length == 0 else views(overflow, [shown] * len(overflow.first))
        self._set(kept, 0, parts, shown)

    @staticmethod
    def merge(encodings: Sequence[Encoding], growing_offsets: bool = True) -> Encoding:
        """Joins encodings in order. Each overflowing part is joined with the other encodings and with their parts.

        Args:
            encodings: the encodings to join.
            growing_offsets: True: the offsets of each encoding continue after those of the encoding before.

        Raises:
            TypeError: if an item is not an Encoding.
        """
        for one in encodings:
            if not isinstance(one, Encoding):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise TypeError(f"{type(one).__name__!r} object is not an instance of 'Encoding'")
        return functools.reduce(lambda merged, one: merged._followed_by(one, growing_offsets), encodings, Encoding())

    def _followed_by(self, other: Encoding, growing: bool) -> Encoding:
        """Joins two encodings, as `merge_with` of `tokenizers` does.

        The overflowing parts: each of `self` with `other` and with each of `other`, then `self` with each of `other`.
        """
        parts: list[Encoding] = []
        for part in self._made().overflowing:
            parts.append(part._followed_by(other, growing))
            parts.extend(part._followed_by(more, growing) for more in other._made().overflowing)
        parts.extend(self._followed_by(more, growing) for more in other._made().overflowing)
        a, b = self.row(), other.row()
        if growing and len(self):
            shift = self.column("end")[-1]
            b = b.replace(start=b.columns.start + shift, end=b.columns.end + shift)
        return Encoding.of(merge([a, b]), 0, parts, None)

    def _repr_html_(self) -> str:
        from gputok.encoding.html import encoding_html

        return encoding_html(self, self.texts)


give_hints(Encoding, {"input_ids": "use `ids`", "token_type_ids": "use `type_ids`", "offset_mapping": "use `offsets`"})


def views(
    rows: Rows, texts: Sequence[Any] | None = None, overflowing: Sequence[Sequence[Encoding]] | None = None
) -> list[Encoding]:
    """Makes an Encoding of each row; texts: what was encoded, for display; overflowing: the parts that were cut off."""
    n = len(rows.first)
    shown = [None] * n if texts is None else texts
    parts: Sequence[Sequence[Encoding]] = [()] * n if overflowing is None else overflowing
    return [Encoding.of(rows, row, part, text) for row, (part, text) in enumerate(zip(parts, shown, strict=True))]


def from_dict(value: dict[str, Any]) -> Encoding:
    """Makes an Encoding of the JSON form that pickles of Encodings have."""
    n = len(value["ids"])
    offsets = np.array(value["offsets"], np.int64).reshape(n, 2)
    columns = Columns(
        n,
        **{column: np.array(value[name], np.uint32) for column, name in _JSON.items()},
        start=offsets[:, 0],
        end=offsets[:, 1],
        words=np.array([-1 if word is None else word for word in value["words"]], np.int32),
        text=np.arange(n, dtype=np.int32),
    )
    spans = value["sequence_ranges"].items()
    ranges = {int(sequence): (np.array([span["start"]]), np.array([span["end"]])) for sequence, span in spans}
    rows = Rows(columns, np.array([0]), np.array([n]), NO_SPELLING, tuple(value["tokens"]), ranges)
    return Encoding.of(rows, 0, [from_dict(part) for part in value["overflowing"]], None)


def check_direction(direction: str) -> None:
    """Raises ValueError unless the direction is "left" or "right"."""
    if direction not in ("left", "right"):
        raise ValueError(f"Unknown `direction`: `{direction}`. Use one of `left` or `right`")


def _unsigned(number: int) -> int:
    if number < 0:
        raise OverflowError(f"expected an index or a length, got the negative number {number}")
    return number


_EMPTY = named_rows([], [], 1)
_JSON = {"ids": "ids", "type_ids": "type_ids", "special": "special_tokens_mask", "attention": "attention_mask"}
"""Columns -> their names in JSON, of those that are the same there."""
