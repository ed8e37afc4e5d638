"""The columns of encodings: one value for each token, computed at the first access."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from gputok.types import Ids, Positions, Positions32

    Column: TypeAlias = npt.NDArray[np.integer[Any]]
    """The values of all tokens in one column; DTYPES has the dtype."""

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


class ColumnSource(Protocol):
    """Anything that can compute columns."""

    def column(self, name: str) -> Column:
        """The values of all tokens in the column of that name."""
        ...

    def one_value(self, name: str) -> int | None:
        """The value that all tokens have in common; None: they differ, or finding out would take a loop."""
        ...


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
        self, n: int, source: ColumnSource | None = None, /, **columns: Column | int | Callable[[], Column]
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
        """See `ColumnSource`, as for `one_value`: the columns of some tokens are a source for those of others."""
        return getattr(self, name)

    def one_value(self, name: str) -> int | None:
        """See `ColumnSource`."""
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
