"""Many encodings in columns that they share: what the pipeline computes with from the model's tokens on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gputok.text import Array

if TYPE_CHECKING:
    from gputok.encoding import Encoding

# White_Space of Unicode, which is not what `str.isspace` asks, and the space of the ByteLevel alphabet.
_SPACES = "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000Ġ"


class Spelling(dict):
    """The texts of ids, each looked up when it is first asked for."""

    def __init__(self, lookup: Callable[[int], str | None]) -> None:
        super().__init__()
        self._lookup = lookup
        self._margins = np.full((0, 2), -1, np.int32)

    def __missing__(self, token_id: int) -> str:
        text = self[token_id] = self._lookup(token_id) or ""
        return text

    def texts(self, ids: Array) -> list[str]:
        return list(map(self.__getitem__, ids.tolist()))

    def margins(self, ids: Array) -> Array:
        """int32[t, 2]: the white space (in characters) at the start and at the end of each token's text."""
        if len(ids) == 0:
            return np.zeros((0, 2), np.int32)
        margins = self._margins
        if (missing := int(ids.max()) + 1 - len(margins)) > 0:
            margins = np.concatenate([margins, np.full((missing, 2), -1, np.int32)])
        found = margins[ids]
        if (unknown := found[:, 0] < 0).any():
            new = np.unique(ids[unknown])
            margins = margins.copy() if margins is self._margins else margins
            margins[new] = [margin(text) for text in self.texts(new)]
            found = margins[ids]
        self._margins = margins  # replaced, never changed: other threads may be reading the old one
        return found


def margin(text: str) -> tuple[int, int]:
    """The number of white space characters at the start and at the end of a text."""
    return len(text) - len(text.lstrip(_SPACES)), len(text) - len(text.rstrip(_SPACES))


class Columns(NamedTuple):
    """One value for each token. A column with one value for all may be a broadcast array."""

    ids: Array  # uint32[t]
    type_ids: Array  # uint32[t]
    start: Array  # int64[t], in characters of the token's input sequence
    end: Array  # int64[t]
    words: Array  # int32[t], index of the word, or -1
    special: Array  # uint32[t], 1: added by a post-processor or by padding
    attention: Array  # uint32[t], 0: padding
    text: Array  # int32[t], -1: spelled as its id is; else an index into Rows.texts


_DTYPES = Columns(np.uint32, np.uint32, np.int64, np.int64, np.int32, np.uint32, np.uint32, np.int32)


@dataclasses.dataclass(frozen=True, slots=True)
class Rows:
    """Many encodings: row i has the tokens first[i]:last[i] of the columns. Rows may overlap."""

    columns: Columns
    first: Array  # int64[m]
    last: Array  # int64[m]
    spelling: Spelling
    texts: tuple[str, ...] = ()  # texts of tokens that are not spelled as their id is
    ranges: dict[int, tuple[Array, Array]] = dataclasses.field(default_factory=dict)
    """Sequence -> where its tokens are in each row: int64[m] first, int64[m] last, counted from the row's start."""
    sequence: int | None = None
    """The input sequence that these rows are, while a post-processor works; None: its own tokens."""

    @property
    def lengths(self) -> Array:
        return self.last - self.first

    def replace(self, **columns: Array | int) -> Rows:
        """The same rows with other columns; a number stands for a column of it."""
        n = len(self.columns.ids)
        new = {
            name: value if isinstance(value, np.ndarray) else constant(getattr(_DTYPES, name)(value), n)
            for name, value in columns.items()
        }
        return dataclasses.replace(self, columns=self.columns._replace(**new))

    def with_sequence(self, sequence: int) -> Rows:
        """Calls all tokens of each row the input sequence of that number."""
        everything = np.zeros(len(self.first), np.int64), self.lengths
        return dataclasses.replace(self, ranges={**self.ranges, sequence: everything})

    def token_texts(self, row: int) -> list[str]:
        a, b = int(self.first[row]), int(self.last[row])
        own = self.columns.text[a:b]
        texts = self.spelling.texts(self.columns.ids[a:b]) if (own < 0).any() else [""] * (b - a)
        for at in np.flatnonzero(own >= 0).tolist():
            texts[at] = self.texts[own[at]]
        return texts

    def trim_offsets(self, add_prefix_space: bool) -> Rows:
        """Takes the white space at the ends of each token's text out of its offsets.

        With `add_prefix_space`, one space at the start of the first token is one that was added, and stays.
        """
        if (self.first[1:] < self.last[:-1]).any():  # the first token of a row can be inside of another
            self = self.apart()
        ids, start, end = self.columns.ids, self.columns.start, self.columns.end
        margins = self.spelling.margins(ids)
        if self.texts and len(named := np.flatnonzero(self.columns.text >= 0)):
            margins[named] = np.array([margin(text) for text in self.texts], np.int32)[
                self.columns.text[named]
            ]
        if not margins.any():
            return self
        leading, trailing = margins[:, 0].astype(np.int64), margins[:, 1]
        if add_prefix_space:
            opening = start == 0
            opening[self.first[self.lengths > 0]] = True
            leading[opening & (leading == 1)] = 0
        start = np.minimum(start + leading, end)
        end = np.where((trailing > 0) & (end >= trailing), np.maximum(end - trailing, start), end)
        return self.replace(start=start, end=end)

    def apart(self) -> Rows:
        """The same rows, each with tokens of its own."""
        at, last = _indices(self.first, self.last), np.cumsum(self.lengths)
        columns = Columns(*(column[at] for column in self.columns))
        return dataclasses.replace(self, columns=columns, first=last - self.lengths, last=last)

    def truncate(self, max_length: Array, stride: int, direction: str) -> tuple[Rows, Rows, Array]:
        """Cuts each row to max_length[i] tokens, int64[m].

        Returns the rows cut, the rows of what overflows (the following windows of `max_length` tokens, of which
        each repeats `stride` tokens of the one before), and the row that each of these belongs to, int64[k].
        """
        lengths = self.lengths
        cut = np.flatnonzero(lengths > max_length)
        if len(cut) == 0:
            nothing = np.zeros(0, np.int64)
            return self, dataclasses.replace(self, first=nothing, last=nothing, ranges={}), nothing
        if (bad := cut[(max_length[cut] > 0) & (max_length[cut] <= stride)]).size:
            raise ValueError(
                f"`stride` is {stride}, but must be less than the max length of {max_length[bad[0]]} tokens "
                "(which special tokens and a pair's other sequence make shorter than the one that was set)"
            )
        width = max_length[cut]
        step = np.where(width > 0, width - stride, 1)
        n_more = np.where(
            width > 0, -((width - lengths[cut]) // step), 1
        )  # windows after the first, rounded up
        owner = np.repeat(cut, n_more)
        k = np.arange(len(owner)) - np.repeat(np.cumsum(n_more) - n_more, n_more) + 1  # 1, 2, ... in each row
        width, shift, n = np.repeat(width, n_more), k * np.repeat(step, n_more), lengths[owner]
        first, last = self.first.copy(), self.last.copy()
        if direction == "right":
            last[cut] = first[cut] + max_length[cut]
            begin, stop = shift, np.minimum(shift + width, n)
        else:
            first[cut] = last[cut] - max_length[cut]
            begin, stop = np.maximum(n - shift - width, 0), n - shift
        whole = width == 0  # nothing is kept: all of the row overflows
        begin, stop = np.where(whole, 0, begin), np.where(whole, n, stop)
        origin = self.first[owner]
        kept = dataclasses.replace(self, first=first, last=last, ranges={})
        return kept, dataclasses.replace(self, first=origin + begin, last=origin + stop, ranges={}), owner

    def pad(self, length: int, direction: str, pad_id: int, pad_type_id: int, pad_token: str) -> Rows:
        """Fills each row that is shorter up to `length` tokens."""
        missing = np.maximum(length - self.lengths, 0)
        padding = named_rows([pad_id], [pad_token], missing, type_id=pad_type_id).replace(attention=0)
        return merge([self, padding] if direction == "right" else [padding, self])

    def take(self, rows: Array) -> Rows:
        """Some of the rows, in the order given."""
        ranges = {sequence: (a[rows], b[rows]) for sequence, (a, b) in self.ranges.items()}
        return dataclasses.replace(self, first=self.first[rows], last=self.last[rows], ranges=ranges)

    def encodings(self, texts: Sequence[Any] | None = None) -> list[Encoding]:
        """The rows as the objects that users get; `texts`: what was encoded in each row, for display."""
        from gputok.encoding import view

        shown = texts if texts is not None else [None] * len(self.first)
        return [view(self, row, (), text) for row, text in enumerate(shown)]


def named_rows(ids: Sequence[int], tokens: Sequence[str], repeats: Array, *, type_id: int = 0) -> Rows:
    """Row i is repeats[i] times the same special tokens, which are not part of any text."""
    n = int(repeats.sum())
    columns = Columns(
        ids=np.tile(np.array(ids, np.uint32), n),
        type_ids=constant(np.uint32(type_id), n * len(ids)),
        start=constant(np.int64(0), n * len(ids)),
        end=constant(np.int64(0), n * len(ids)),
        words=constant(np.int32(-1), n * len(ids)),
        special=constant(np.uint32(1), n * len(ids)),
        attention=constant(np.uint32(1), n * len(ids)),
        text=np.tile(np.arange(len(ids), dtype=np.int32), n),
    )
    last = np.cumsum(repeats, dtype=np.int64) * len(ids)
    return Rows(columns, last - repeats * len(ids), last, NO_SPELLING, tuple(tokens))


def merge(parts: Sequence[Rows]) -> Rows:
    """Row i is what all parts have in row i, one after the other."""
    if len(parts) == 1:
        return parts[0]
    lengths = [part.lengths for part in parts]
    ends = np.cumsum(np.stack(lengths), axis=0)  # int64[parts, m], from the start of the row
    last = np.cumsum(ends[-1])
    first = last - ends[-1]
    sources = [_indices(part.first, part.last) for part in parts]
    targets = [_indices(first + end - n, first + end) for end, n in zip(ends, lengths, strict=True)]
    spellings = [part.spelling for part in parts if part.spelling is not NO_SPELLING]
    spelling = spellings[0] if spellings else NO_SPELLING
    if any(other is not spelling for other in spellings):
        parts = [_spelled_out(part) for part in parts]  # from different tokenizers: each token names its text
    texts: list[str] = []
    ranges: dict[int, tuple[Array, Array]] = {}
    text_columns = []
    for part, end, n in zip(parts, ends, lengths, strict=True):
        text = part.columns.text
        text_columns.append(np.where(text >= 0, text + np.int32(len(texts)), text) if texts else text)
        texts.extend(part.texts)
        ranges |= {sequence: (a + end - n, b + end - n) for sequence, (a, b) in part.ranges.items()}
    total = int(last[-1]) if len(last) else 0
    columns = [[getattr(part.columns, name) for part in parts] for name in Columns._fields[:-1]] + [
        text_columns
    ]
    merged = Columns(*(_scatter(column, sources, targets, total) for column in columns))
    return Rows(merged, first, last, spelling, tuple(texts), ranges)


def _scatter(column: list[Array], sources: list, targets: list, total: int) -> Array:
    values = {part[0].item() for part in column if len(part) and part.strides[0] == 0}
    if len(values) == 1 and all(part.strides[0] == 0 or len(part) == 0 for part in column):
        return constant(column[0].dtype.type(values.pop()), total)
    out = np.empty(total, column[0].dtype)
    for part, source, target in zip(column, sources, targets, strict=True):
        out[target] = part[source]
    return out


def constant(value: np.generic, n: int) -> Array:
    """A column of n times the same value, in the memory of one (like `np.broadcast_to`, in a tenth of its time)."""
    return np.ndarray((n,), value.dtype, value, strides=(0,))


def _indices(first: Array, last: Array) -> Array | slice:
    """The positions first[0]:last[0], first[1]:last[1], ... in a row: a slice where they touch."""
    if len(first) == 0:
        return slice(0, 0)
    if (first[1:] == last[:-1]).all():
        return slice(int(first[0]), int(last[-1]))
    lengths = last - first
    return np.arange(lengths.sum()) + np.repeat(first - np.cumsum(lengths) + lengths, lengths)


def _spelled_out(part: Rows) -> Rows:
    """The same rows with the text of every token in `texts`."""
    texts = [text for row in range(len(part.first)) for text in part.token_texts(row)]
    at = _indices(part.first, part.last)
    text = np.full(len(part.columns.ids), -1, np.int32)
    text[at] = np.arange(len(texts), dtype=np.int32)
    return dataclasses.replace(
        part, columns=part.columns._replace(text=text), texts=tuple(texts), spelling=NO_SPELLING
    )


NO_SPELLING = Spelling(lambda token_id: "")
