"""The columns of encodings: one value for each token, made when somebody asks for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from gputok.types import Array

DTYPES = {
    "ids": np.uint32,
    "type_ids": np.uint32,
    "start": np.int64,
    "end": np.int64,
    "words": np.int32,
    "special": np.uint32,
    "attention": np.uint32,
    "text": np.int32,
}


class Source(Protocol):
    """What columns can be made of."""

    def column(self, name: str) -> Array:
        """The values of all tokens."""

    def one_value(self, name: str) -> int | None:
        """The value that all tokens have, where that is known without looking at each."""


class Columns:
    """Values of n tokens, which many encodings share.

    Of an encoding mostly the ids alone are read. So a column is given as an array, as a number that all tokens have, or
    as a function that makes the array when it is first asked for; `source` makes those that are not given.

    >>> columns = Columns(3, ids=np.arange(3, dtype=np.uint32), special=1)
    >>> changed = Columns(3, columns, ids=lambda: columns.ids + 1)
    >>> changed.ids.tolist(), changed.special.tolist()
    ([1, 2, 3], [1, 1, 1])
    """

    ids: Array  # uint32[n]
    type_ids: Array  # uint32[n]
    start: Array  # int64[n], in characters of the token's input sequence
    end: Array  # int64[n]
    words: Array  # int32[n], index of the word, or -1
    special: Array  # uint32[n], 1: added by a post-processor or by padding
    attention: Array  # uint32[n], 0: padding
    text: Array  # int32[n], -1: spelled as its id is; else an index into Rows.texts

    def __init__(
        self, n: int, source: Source | None = None, **given: Array | int | Callable[[], Array]
    ) -> None:
        self._n, self._source, self._given = n, source, given

    def __len__(self) -> int:
        return self._n

    def __getattr__(self, name: str) -> Array:
        if name not in DTYPES:
            raise AttributeError(f"there is no column {name!r}")
        value = self._given.get(name)
        if value is None:
            value = self._source.column(name)
        elif isinstance(value, int):
            value = constant(DTYPES[name](value), self._n)
        elif callable(value):
            value = value()
        # Threads that meet here make the same values; what the function held can go.
        self.__dict__[name] = self._given[name] = value
        return value

    def column(self, name: str) -> Array:
        return getattr(self, name)

    def one_value(self, name: str) -> int | None:
        value = self._given.get(name)
        if value is None:
            return None if self._source is None else self._source.one_value(name)
        if isinstance(value, np.ndarray):
            return int(value[0]) if len(value) and value.strides[0] == 0 else None
        return value if isinstance(value, int) else None


def constant(value: np.generic, n: int) -> Array:
    """A column of n times the same value, in the memory of one (like `np.broadcast_to`, in a tenth of its time)."""
    return np.ndarray((n,), value.dtype, value, strides=(0,))
