"""Reads documents that are not in files: Arrow data, datasets, and iterables of strings."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gputok.checks import brief
from gputok.corpus.packing import checked, packed
from gputok.files.arrow import check_offsets
from gputok.text.pieces import TextBatch

if TYPE_CHECKING:
    from gputok.corpus.options import Errors

# the modules that define the classes of `datasets`
_DATASETS = ("datasets.arrow_dataset", "datasets.iterable_dataset", "datasets.dataset_dict")

_MOST_TOGETHER = 1 << 6  # texts that follow each other
_LONG = 1 << 14  # characters of a text, after which no other text is read ahead


def is_columnar(source: Any) -> bool:
    """True if a source is Arrow data, or a dataset, which contains Arrow data."""
    exports_arrow = hasattr(source, "__arrow_c_array__") or hasattr(source, "__arrow_c_stream__")
    return exports_arrow or type(source).__module__ in (*_DATASETS, "pyarrow._dataset")


def text_batches(
    source: Any, column: str | None, errors: Errors, batch_bytes: Callable[[int], int]
) -> Iterator[TextBatch]:
    """Reads the documents of a TextBatch, of Arrow data, of a dataset or of an iterable, in batches of any size.

    batch_bytes: about the size of a batch, if texts come one by one, after so many bytes in others.

    Raises:
        TypeError: if an item is not a string.
        ValueError: if text is not UTF-8, or no such column exists.
    """
    if isinstance(source, TextBatch):
        yield _of_caller(source, errors)
    elif is_columnar(source):
        from gputok.corpus import columns

        yield from columns.read(source, column, errors, batch_bytes(0))
    else:
        yield from _from_python(source, column, errors, batch_bytes)


def check_batch(batch: TextBatch) -> None:
    """Checks the arrays of a batch that the user made, because kernels read the documents at its offsets."""
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
    """The documents of an iterable of strings, lists, batches or Arrow data. Only strings cost a Python loop."""
    if isinstance(items, str):
        warnings.warn("one string: each of its characters is a text; pass a list of texts, [text]", stacklevel=2)
    items = iter(items)
    first = list(itertools.islice(items, 1))
    items = itertools.chain(first, items)
    if first and (isinstance(first[0], TextBatch) or is_columnar(first[0])):
        for item in items:
            yield from text_batches(item, column, errors, batch_bytes)
        return
    if column is not None and first:
        raise ValueError(f"column={column!r} chooses a column of rows; these are texts, without columns")
    runs, n_before, n_bytes = _runs(items), 0, 0
    while held := _take(runs, size := batch_bytes(n_bytes)):
        yield packed(held, lambda i, n=n_before: f"text {n + i} of the iterator", errors)
        n_before, n_bytes = n_before + len(held), n_bytes + size


def _runs(items: Iterator[Any]) -> Iterator[Sequence[Any]]:
    """The texts, many at a time: those of a list, or some that follow each other. `packed` reports items that are not strings."""
    while some := _following(items):
        item = some[-1]
        if type(item) is str:
            yield some
            continue
        yield some[:-1]
        if isinstance(item, list | tuple):
            yield from (item[i : i + 1024] for i in range(0, len(item), 1024))
        elif isinstance(item, str | bytes | dict) or not isinstance(item, Iterable):
            yield (item,)
        else:
            yield from ((text,) for text in item)


def _following(items: Iterator[Any]) -> list[Any]:
    """The next texts, up to a long one or an item that is not a str.

    A short loop: to look at each text in `_runs` would take longer than to encode a line.
    """
    some: list[Any] = []
    for item in itertools.islice(items, _MOST_TOGETHER):
        some.append(item)
        if type(item) is not str or len(item) > _LONG:
            break
    return some


def _take(runs: Iterator[Sequence[Any]], n_chars: int) -> list[Any]:
    """The next texts, which have about `n_chars` characters together."""
    held: list[Any] = []
    for run in runs:
        held += run
        try:
            n_chars -= sum(map(len, run)) + len(run)
        except TypeError:
            n_chars -= len(run)
        if n_chars <= 0:
            break
    return held
