"""Many encodings as rows of shared columns. A column has one value for each token, and is made at its first access."""

from __future__ import annotations

import functools
import itertools
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from gputok.kernels.signatures import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

    from gputok.types import Ids, Positions, Positions32

    Span = tuple[Positions, Positions] | None
    """first, last: int64[m]: where the tokens of a sequence are in each row, counted from the start of the row;
    None: all tokens of each row belong to the sequence."""
    Column: TypeAlias = npt.NDArray[np.integer[Any]]  # the values of all tokens in one column; DTYPES has the dtype


DTYPES: dict[str, type[np.integer[Any]]] = {
    "ids": np.uint32,
    "type_ids": np.uint32,
    "start": np.int64,
    "end": np.int64,
    "words": np.int32,
    "special": np.uint32,
    "attention": np.uint32,
    "text": np.int32,
}


class Columns:
    """The columns of n tokens, which many encodings share.

    Most callers only read the ids, so columns are lazy.

    Args:
        n: the number of tokens.
        source: computes the columns that `columns` lacks.
        columns: by name: an array, a number that all tokens have in common, or a function that is called at the first
            access and returns the array.

    Example:
        >>> columns = Columns(3, ids=np.arange(3, dtype=np.uint32), special=1)
        >>> changed = Columns(3, columns, ids=lambda: columns.ids + 1)
        >>> changed.ids.tolist(), changed.special.tolist()
        ([1, 2, 3], [1, 1, 1])
    """

    ids: Ids  # uint32[n]
    type_ids: Ids  # uint32[n]
    start: Positions  # int64[n], in characters of the token's input sequence
    end: Positions  # int64[n]
    words: Positions32  # int32[n], index of the word, or -1
    special: Ids  # uint32[n], 1: added by a post-processor or by padding
    attention: Ids  # uint32[n], 0: padding
    text: Positions32  # int32[n], -1: the vocabulary has the text of the id; else an index into Rows.texts

    def __init__(
        self, n: int, source: Columns | _Merged | None = None, /, **columns: Column | int | Callable[[], Column]
    ) -> None:
        self._n, self._source, self._columns = n, source, columns

    def __len__(self) -> int:
        return self._n

    def __getattr__(self, name: str) -> Column:
        if name not in DTYPES:
            raise AttributeError(f"Columns has no column {name!r}; its columns are {', '.join(DTYPES)}")
        value = self._columns.get(name)
        if value is None:
            if self._source is None:
                raise AttributeError(f"Columns has neither the column {name!r} nor a source that computes the column")
            value = self._source.column(name)
        elif isinstance(value, int):
            value = constant(DTYPES[name](value), self._n)
        elif callable(value):
            value = value()
        # Threads that arrive here together compute the same values. Replacing the function frees the data it holds.
        self.__dict__[name] = self._columns[name] = value
        return value

    def column(self, name: str) -> Column:
        """Returns a column by its name, as a `source` of other columns must."""
        return getattr(self, name)

    def one_value(self, name: str) -> int | None:
        """Returns the value that all tokens have in a column; None: they differ, or finding out would take a loop."""
        value = self._columns.get(name)
        if value is None:
            return None if self._source is None else self._source.one_value(name)
        if isinstance(value, int):
            return value
        if callable(value):
            return None
        return int(value[0]) if len(value) and value.strides[0] == 0 else None


def constant(value: np.integer[Any], n: int) -> Column:
    """A column of n equal values that uses the memory of one value: `np.broadcast_to` in a tenth of its time."""
    return np.ndarray((n,), value.dtype, value, strides=(0,))


# The property White_Space of Unicode, which differs from `str.isspace`, and the space of the ByteLevel alphabet.
_SPACES = "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000Ġ"


MOST_IDS = 1 << 20  # the most ids that have entries in a table, or objects of their numbers


class LazyTable(dict[int, Any]):
    """Id -> the result of a function for this id, computed at the first access."""

    def __init__(self, make: Callable[[int], Any]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, id: int) -> Any:
        found = self._make(id)
        if len(self) < MOST_IDS:
            self[id] = found
        return found


class Spelling(LazyTable):
    """Id -> the text of the token; "" if `lookup` gives None."""

    def __init__(self, lookup: Callable[[int], str | None]) -> None:
        super().__init__(lambda id: lookup(id) or "")

    def texts(self, ids: npt.NDArray[np.integer[Any]]) -> list[str]:
        """The texts of some ids, in order."""
        return [*map(self.__getitem__, ids.tolist())]

    def margins(self, ids: Ids) -> Positions32:
        """int32[n_ids, 2]: the number of white space characters at the start and at the end of each token's text."""
        distinct, which = np.unique(ids, return_inverse=True)
        return np.array([margin(text) for text in self.texts(distinct)], np.int32).reshape(-1, 2)[which]


def margin(text: str) -> tuple[int, int]:
    """The number of white space characters at the start and at the end of a text."""
    return len(text) - len(text.lstrip(_SPACES)), len(text) - len(text.rstrip(_SPACES))


class Rows(NamedTuple):
    """Many encodings: row i has the tokens first[i]:last[i] of the columns. Rows may overlap."""

    columns: Columns
    first: Positions  # int64[m]
    last: Positions  # int64[m]
    spelling: Spelling
    texts: tuple[str, ...] = ()  # texts of tokens that the vocabulary does not know, see Columns.text
    ranges: Mapping[int, Span] = MappingProxyType({})  # input sequence -> where its tokens are in each row
    sequence: int | None = None
    """While a post-processor works: the input sequence of these rows; None: the tokens that the post-processor adds."""

    @property
    def lengths(self) -> Positions:
        """int64[m]: the number of tokens of each row."""
        return self.last - self.first

    def replace(self, **columns: Column | int | Callable[[], Column]) -> Rows:
        """Returns the same rows with some columns replaced; `Columns` explains the values."""
        return self._replace(columns=Columns(len(self.columns), self.columns, **columns))

    def with_sequence(self, sequence: int) -> Rows:
        """Marks all tokens of each row as input sequence `sequence`."""
        return self._replace(ranges={**self.ranges, sequence: None})

    def range_of(self, sequence: int, row: int) -> tuple[int, int]:
        """The tokens of an input sequence in a row: (first, last + 1), counted from the start of the row."""
        span = self.ranges[sequence]
        if span is None:
            return 0, int(self.last[row] - self.first[row])
        return int(span[0][row]), int(span[1][row])

    def token_texts(self, row: int) -> list[str]:
        """The texts of the tokens of a row."""
        a, b = int(self.first[row]), int(self.last[row])
        number = self.columns.text[a:b]
        texts = self.spelling.texts(self.columns.ids[a:b]) if (number < 0).any() else [""] * (b - a)
        for i in np.flatnonzero(number >= 0).tolist():
            texts[i] = self.texts[number[i]]
        return texts

    def trim_offsets(self, add_prefix_space: bool) -> Rows:
        """Narrows the offsets of each token so that they leave out white space at both ends of the token's text.

        With `add_prefix_space`, a single space at the start of a row was added by the tokenizer, and does not count.
        """
        # If rows overlap, the first token of a row may also be a later token of another row.
        rows = self.apart() if np.count_nonzero(self.first[1:] < self.last[:-1]) else self
        trimmed = functools.cache(functools.partial(_trimmed, rows, add_prefix_space))
        return rows.replace(start=lambda: trimmed()[0], end=lambda: trimmed()[1])

    def apart(self) -> Rows:
        """Returns the same rows without overlap: tokens that rows share are copied."""
        at, last = _indices(self.first, self.last), np.cumsum(self.lengths)
        columns = {name: self.columns.column(name)[at] for name in DTYPES}
        n = int(last[-1]) if len(last) else 0
        return self._replace(columns=Columns(n, **columns), first=last - self.lengths, last=last)

    def truncate(self, max_length: Positions, stride: int, direction: str) -> tuple[Rows, Rows, Positions]:
        """Cuts each row i to max_length[i] tokens, as `Encoding.truncate` does.

        Returns the truncated rows; the overflow, in windows of at most max_length[i] tokens; and the row of each
        window. Raises ValueError if `stride` is not less than a positive max_length of a row that must be cut.
        """
        lengths = self.lengths
        cut = np.flatnonzero(lengths > max_length)
        if len(cut) == 0:
            nothing = np.zeros(0, np.int64)
            return self, self._replace(first=nothing, last=nothing, ranges={}), nothing
        if (bad := cut[(max_length[cut] > 0) & (max_length[cut] <= stride)]).size:
            raise ValueError(
                f"`stride` is {stride}, but must be less than the max length of {max_length[bad[0]]} tokens "
                "(which special tokens and a pair's other sequence make shorter than the one that was set)"
            )
        width = max_length[cut]
        step = np.where(width > 0, width - stride, 1)
        # the number of windows after the first, rounded up
        n_more: Positions = np.where(width > 0, -((width - lengths[cut]) // step), 1)
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
        whole = width == 0  # max_length 0: all tokens of the row overflow
        begin, stop = np.where(whole, 0, begin), np.where(whole, n, stop)
        origin = self.first[owner]
        kept = self._replace(first=first, last=last, ranges={})
        return kept, self._replace(first=origin + begin, last=origin + stop, ranges={}), owner

    def take(self, rows: Positions) -> Rows:
        """Selects rows by their numbers, in that order."""
        ranges = {sequence: span and (span[0][rows], span[1][rows]) for sequence, span in self.ranges.items()}
        return self._replace(first=self.first[rows], last=self.last[rows], ranges=ranges)


def named_rows(ids: Sequence[int], tokens: Sequence[str], n_rows: int, *, type_id: int = 0) -> Rows:
    """Makes n_rows equal rows of special tokens, which belong to no text. All rows share the same columns."""
    first = np.zeros(n_rows, np.int64)
    return Rows(_special_columns(tuple(ids), type_id), first, first + len(ids), NO_SPELLING, tuple(tokens))


@functools.lru_cache(maxsize=256)
def _special_columns(ids: tuple[int, ...], type_id: int) -> Columns:
    text = np.arange(len(ids), dtype=np.int32)
    return _columns_of_none(len(ids), ids=np.array(ids, np.uint32), type_ids=type_id, attention=1, text=text)


def _columns_of_none(n: int, **columns: Column | int) -> Columns:
    """Columns of tokens that come from no text."""
    return Columns(n, start=0, end=0, words=-1, special=1, **columns)


def padded(parts: list[Rows], length: int, direction: str, pad_id: int, pad_type_id: int, pad_token: str) -> list[Rows]:
    """Adds a part of padding to the parts of rows, so that each row has at least `length` tokens."""
    missing: Positions = np.maximum(length - sum(part.lengths for part in parts), 0)
    if not np.count_nonzero(missing):
        return parts
    columns = _columns_of_none(int(missing.max()), ids=pad_id, type_ids=pad_type_id, attention=0, text=0)
    padding = Rows(columns, np.zeros_like(missing), missing, NO_SPELLING, (pad_token,))
    return [*parts, padding] if direction == "right" else [padding, *parts]


def merge(parts: Sequence[Rows]) -> Rows:
    """Joins rows: row i of the result has the tokens of row i of each part, one part after the other."""
    if len(parts) == 1:
        return parts[0]
    spelling = NO_SPELLING
    for part in parts:
        if part.spelling is not NO_SPELLING and part.spelling is not spelling:
            if spelling is not NO_SPELLING:  # parts of different tokenizers: store the text of every token
                return merge([_spelled_out(part) for part in parts])
            spelling = part.spelling
    lengths = [part.lengths for part in parts]
    ends = [*itertools.accumulate(lengths)]  # int64[m] each, from the start of the row
    last = ends[-1].cumsum()
    first = last - ends[-1]
    texts: tuple[str, ...] = ()
    ranges: dict[int, Span] = {}
    for part, end, n in zip(parts, ends, lengths, strict=True):
        texts += part.texts
        for sequence, span in part.ranges.items():
            before = end - n
            ranges[sequence] = (before, end) if span is None else (before + span[0], before + span[1])
    n = int(last[-1]) if len(last) else 0
    return Rows(Columns(n, _Merged(parts, first, ends, n)), first, last, spelling, texts, ranges)


class _Merged(NamedTuple):
    """Computes the columns of merged rows."""

    parts: Sequence[Rows]
    first: Positions  # int64[m], of the merged rows
    # For each part int64[m]: where the tokens of the part end in each row, counted from the start of the row.
    ends: Sequence[Positions]
    n: int  # tokens

    def one_value(self, name: str) -> int | None:
        if name == "text" and sum(len(part.texts) > 0 for part in self.parts) > 1:
            return None  # equal numbers stand for different texts in different parts
        values = {part.columns.one_value(name) for part in self.parts if len(part.columns)}
        return values.pop() if len(values) == 1 else None

    def column(self, name: str) -> Column:
        if (value := self.one_value(name)) is not None:
            return constant(DTYPES[name](value), self.n)
        joined, begin, n_texts = np.empty(self.n, DTYPES[name]), self.first, 0
        for part, end in zip(self.parts, self.ends, strict=True):
            stop, values = self.first + end, part.columns.one_value(name)
            if values is None:
                values = part.columns.column(name)[_indices(part.first, part.last)]
            if name == "text" and n_texts:
                values = np.where(values >= 0, values + np.int32(n_texts), values)
            joined[_indices(begin, stop)] = values
            n_texts += len(part.texts)
            begin = stop
        return joined


def _trimmed(rows: Rows, add_prefix_space: bool) -> tuple[Positions, Positions]:
    """The columns start and end, int64[n_tokens], that `Rows.trim_offsets` computes."""
    columns = rows.columns
    start, end = columns.start, columns.end
    margins = rows.spelling.margins(columns.ids)
    if rows.texts and len(named := np.flatnonzero(columns.text >= 0)):
        margins[named] = np.array([margin(text) for text in rows.texts], np.int32)[columns.text[named]]
    if not margins.any():
        return start, end
    leading, trailing = margins[:, 0].astype(np.int64), margins[:, 1]
    if add_prefix_space:
        opening = start == 0
        opening[rows.first[rows.lengths > 0]] = True
        leading[opening & (leading == 1)] = 0
    start: Positions = np.minimum(start + leading, end)
    narrowed: Positions = np.maximum(end - trailing, start)
    return start, np.where((trailing > 0) & (end >= trailing), narrowed, end)


def _indices(first: Positions, last: Positions) -> Positions | slice:
    """The positions first[0]:last[0], first[1]:last[1], ... as one index: a slice if these ranges are adjacent."""
    if len(first) == 0:
        return slice(0, 0)
    if len(first) == 1 or (first[1:] == last[:-1]).all():
        return slice(int(first[0]), int(last[-1]))
    lengths = last - first
    return np.arange(int(lengths.sum())) + np.repeat(first - np.cumsum(lengths) + lengths, lengths)


def _spelled_out(part: Rows) -> Rows:
    """Returns the same rows with the text of every token in `texts`."""
    texts = [text for row in range(len(part.first)) for text in part.token_texts(row)]
    at = _indices(part.first, part.last)
    text = np.full(len(part.columns), -1, np.int32)
    text[at] = np.arange(len(texts), dtype=np.int32)
    return part.replace(text=text)._replace(texts=tuple(texts), spelling=NO_SPELLING)


NO_SPELLING = Spelling(lambda token_id: "")
