"""Reads documents that are not in files: Arrow data, datasets, and iterables of strings."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from gputok.checks import brief, warn
from gputok.corpus.options import Errors
from gputok.corpus.packing import checked, packed
from gputok.files.arrow import check_offsets
from gputok.text.pieces import TextBatch

# the modules that define the classes of `datasets`
_DATASETS = ("datasets.arrow_dataset", "datasets.iterable_dataset", "datasets.dataset_dict")


def is_columnar(source: Any) -> bool:
    """True if a source is Arrow data, or a dataset, which contains Arrow data."""
    exports_arrow = hasattr(source, "__arrow_c_array__") or hasattr(source, "__arrow_c_stream__")
    return exports_arrow or type(source).__module__ in (*_DATASETS, "pyarrow._dataset")


def text_batches(
    source: Any, column: str | None, errors: Errors, batch_bytes: Callable[[int], int]
) -> Iterator[TextBatch]:
    """Reads a TextBatch, Arrow data, a dataset or an iterable; batch_bytes: bytes before -> about those of a batch."""
    if isinstance(source, TextBatch):
        yield _of_caller(source, errors)
    elif is_columnar(source):
        from gputok.corpus import columns

        yield from columns.read(source, column, errors, batch_bytes(0))
    else:
        yield from _from_python(source, column, errors, batch_bytes)


def check_batch(batch: TextBatch) -> None:
    """Checks the arrays of a batch that the user made; with wrong offsets, kernels would read other memory."""
    data, offsets = batch
    for name, array, dtype in (("data", data, np.uint8), ("offsets", offsets, np.int64)):
        if not isinstance(array, np.ndarray) or array.dtype != dtype or array.ndim != 1:
            raise TypeError(f"the TextBatch: {name} must be an array of {np.dtype(dtype)}, not {brief(array)}")
    if not len(offsets):
        raise ValueError("the TextBatch: offsets must have one number more than there are documents, not none")
    check_offsets(offsets, len(data), "the TextBatch")


def _of_caller(batch: TextBatch, errors: Errors) -> TextBatch:
    check_batch(batch)
    data, offsets = batch
    start, stop = offsets[0], offsets[-1]
    return checked(
        TextBatch(np.ascontiguousarray(data[start:stop]), offsets - start),
        errors,
        lambda byte: f"the TextBatch, document {int(np.searchsorted(offsets - start, byte, 'right')) - 1}",
    )


def _from_python(
    items: Iterable[Any], column: str | None, errors: Errors, batch_bytes: Callable[[int], int]
) -> Iterator[TextBatch]:
    """Yields the documents of an iterable: of strings and lists of strings, or of batches or Arrow data."""
    if isinstance(items, str):
        warn("one string: each of its characters is a text; pass a list of texts, [text]")
    items = iter(items)
    first = list(itertools.islice(items, 1))
    items = itertools.chain(first, items)
    if first and (isinstance(first[0], TextBatch) or is_columnar(first[0])):
        for item in items:
            yield from text_batches(item, column, errors, batch_bytes)
        return
    if column is not None and first:
        raise ValueError(f"column={column!r} chooses a column of rows; these are texts, without columns")
    texts, n_before, n_bytes = _Texts(items), 0, 0
    while held := texts.take(size := batch_bytes(n_bytes)):
        n, batch = len(held), packed(held, lambda i, n=n_before: f"text {n + i} of the iterator", errors)
        del held  # the texts, which are not needed any more
        yield batch
        n_before, n_bytes = n_before + n, n_bytes + size


class _Texts:
    """The texts of an iterator of texts, or of lists and other iterables of texts."""

    def __init__(self, items: Iterator[Any]) -> None:
        from gputok.kernels.builtins import builtin_functions

        self._outer = self._items = items
        builtins = builtin_functions()
        self._take = builtins.take if builtins else _taken

    def take(self, n_chars: int) -> list[Any]:
        """Returns the next texts, of about `n_chars` characters. The last may be no text, which `packed` reports."""
        held: list[Any] = []
        while n_chars > 0:
            n_before = len(held)
            n_chars = self._take(self._items, held, n_chars)
            if len(held) == n_before:
                if self._items is self._outer:
                    break
                self._items = self._outer
            elif type(item := held[-1]) is str:
                continue
            elif isinstance(item, str):
                n_chars -= 1 + len(item)
            elif self._items is self._outer and isinstance(item, Iterable) and not isinstance(item, bytes | dict):
                self._items = iter(held.pop())
            else:
                break
        return held


def _taken(items: Iterator[Any], held: list[Any], n_chars: int) -> int:
    """Does what `take` of kernels/builtins.py does, where there is none: moves items, returns the rest of n_chars."""
    for item in items:
        held.append(item)
        if type(item) is not str:
            break
        n_chars -= 1 + len(item)
        if n_chars <= 0:
            break
    return n_chars
