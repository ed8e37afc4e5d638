"""Every source of text becomes batches: packed UTF-8 bytes and offsets, whole documents, of bounded size.

    read(source)        files, folders, globs, Arrow data, datasets, iterators of strings -> TextBatch, TextBatch, ...
    read_texts(texts)   the same for an iterable whose strings are documents, never paths
    total_bytes(source) how much there is to read, where that is known before reading it

| source                                     | one document is                                                      |
|--------------------------------------------|----------------------------------------------------------------------|
| plain text (any other name)                | a line, cut at \\n only, ending kept; with `separator=` what lies between two separators |
| `.jsonl`, `.json`, `.ndjson`               | the field `column` of a line's object                                |
| `.parquet`                                 | a row of `column`                                                    |
| each of these with `.gz`, `.xz`, `.zst`    | as without                                                           |
| a folder, a glob                           | as above, for the files below it (hidden ones aside) in sorted order |
| `datasets.Dataset`, `IterableDataset`      | a row of `column`                                                    |
| PyArrow arrays and tables, and whatever exports Arrow data (pandas, polars) | a row; of a table, of `column` |
| iterators of `str`, or of lists of `str`   | a string                                                             |

A missing value (null) is an empty document, so that rows and documents keep step. `column` may be left out
where there is one called "text" or only one of strings. Memory is bounded by the batch size and the longest
document.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from gputok.corpus.packing import Errors, cuts, packed
from gputok.text.pieces import TextBatch

__all__ = ["BATCH_BYTES", "read", "read_texts", "total_bytes"]

BATCH_BYTES = 1 << 21
"""Aimed at by default: large beside the cost of handing a batch over, small enough that malloc hands the same memory
out again (measured: reading takes a fifth of the time that it takes with 16 MB)."""

# where the classes of `datasets` live
_DATASETS = ("datasets.arrow_dataset", "datasets.iterable_dataset", "datasets.dataset_dict")


def read(
    source: Any,
    *,
    column: str | None = None,
    separator: str | None = None,
    errors: Errors = "strict",
    batch_bytes: int = BATCH_BYTES,
) -> Iterator[TextBatch]:
    """Batches of the documents of `source`, each of about `batch_bytes` bytes (whole documents, so it can be more).

    A string, a path, or a list of them names files, folders or globs; every other iterable is one of texts.
    A batch's `offsets` begin at 0 and end at `len(data)`; `data` may be a read-only view of Arrow's memory.
    With `separator`, plain text is cut there instead of after `\\n`, and the separators are left out.
    `errors="replace"` puts U+FFFD for what is not UTF-8, as `bytes.decode` does.

    Raises FileNotFoundError for a path or glob that names nothing; ValueError for text that is not UTF-8 (with
    its file and byte), a column that is not there, a file that is broken off or not of its kind, or an argument
    that says nothing about the source; TypeError for an item that is no text. Each names where.

    >>> batch, = read(iter(["one", ["two", "three"]]))
    >>> batch.offsets.tolist()
    [0, 3, 6, 11]
    """
    if errors not in ("strict", "replace"):
        raise ValueError(f"errors={errors!r}: must be 'strict' or 'replace'")
    if separator == "":
        raise ValueError(
            "separator='' cuts nothing; use one that does not occur to take each file as one document"
        )
    if batch_bytes < 1:
        raise ValueError(f"batch_bytes={batch_bytes}: must be at least 1")
    if _is_paths(source):
        from gputok.corpus import files

        options = files.Options(column, separator, errors, batch_bytes)
        paths = files.find(source)
        return _regroup((batch for path in paths for batch in files.read(path, options)), batch_bytes)
    if separator is not None:
        raise ValueError("separator= cuts plain text files; this source already has its documents apart")
    return read_texts(source, column=column, errors=errors, batch_bytes=batch_bytes)


def read_texts(
    texts: Iterable[Any],
    *,
    column: str | None = None,
    errors: Errors = "strict",
    batch_bytes: int = BATCH_BYTES,
) -> Iterator[TextBatch]:
    """`read` for texts that are in Python already: a list of strings is documents here, not file names.

    >>> [batch.n_documents for batch in read_texts(["a line", "another"])]
    [2]
    """
    if not _is_columnar(texts) and (isinstance(texts, bytes | dict) or not isinstance(texts, Iterable)):
        raise TypeError(
            f"{type(texts).__name__} is no source of text: pass file names, Arrow data, or an iterator of str"
        )
    return _regroup(_batches(texts, column, errors, batch_bytes), batch_bytes)


def total_bytes(source: Any, *, column: str | None = None) -> int | None:
    """The bytes of text that `read` will give, or None where only reading tells (iterators, compressed files, ...).

    With a `separator` it is an upper bound, since separators are left out.
    """
    if isinstance(source, TextBatch):
        return int(source.offsets[-1] - source.offsets[0])
    if _is_paths(source):
        from gputok.corpus import files

        return files.total_bytes(files.find(source))
    if _is_columnar(source):
        from gputok.corpus import columns

        return columns.total_bytes(source, column)
    return None


def _is_paths(source: Any) -> bool:
    if isinstance(source, list | tuple) and not isinstance(source, TextBatch):
        return all(isinstance(item, str | os.PathLike) for item in source)
    return isinstance(source, str | os.PathLike)


def _is_columnar(source: Any) -> bool:
    exports_arrow = hasattr(source, "__arrow_c_array__") or hasattr(source, "__arrow_c_stream__")
    return exports_arrow or type(source).__module__ in _DATASETS


def _batches(source: Any, column: str | None, errors: Errors, batch_bytes: int) -> Iterator[TextBatch]:
    """The documents of anything but files, in batches of any size."""
    if isinstance(source, TextBatch):
        start, stop = source.offsets[0], source.offsets[-1]
        yield TextBatch(source.data[start:stop], source.offsets - start)
    elif _is_columnar(source):
        from gputok.corpus import columns

        yield from columns.read(source, column, errors, batch_bytes)
    else:
        yield from _from_python(source, column, errors, batch_bytes)


def _from_python(
    items: Iterable[Any], column: str | None, errors: Errors, batch_bytes: int
) -> Iterator[TextBatch]:
    """Strings, lists of strings, or batches and Arrow data as they come; strings are the one Python loop here."""
    items = iter(items)
    first = list(itertools.islice(items, 1))
    items = itertools.chain(first, items)
    if first and (isinstance(first[0], TextBatch) or _is_columnar(first[0])):
        for item in items:
            yield from _batches(item, column, errors, batch_bytes)
        return
    runs, n_before = _runs(items), 0
    while held := _take(runs, batch_bytes):
        yield packed(held, lambda i, n=n_before: f"text {n + i} of the iterator", errors)
        n_before += len(held)


def _runs(items: Iterable[Any]) -> Iterator[Sequence[Any]]:
    """The texts, many at a time where a list holds them anyway; what is no string is named when it is packed."""
    for item in items:
        if isinstance(item, list | tuple):
            yield from (item[i : i + 1024] for i in range(0, len(item), 1024))
        elif isinstance(item, str | bytes | dict) or not isinstance(item, Iterable):
            yield (item,)
        else:
            yield from ((text,) for text in item)


def _take(runs: Iterator[Sequence[Any]], n_chars: int) -> list[Any]:
    """The next texts, about so many characters of them."""
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


def _regroup(batches: Iterable[TextBatch], batch_bytes: int) -> Iterator[TextBatch]:
    """Cuts large batches and joins small ones (a folder of small files, Arrow chunks of few rows)."""
    held: list[TextBatch] = []
    size = 0
    for batch in batches:
        for part in _cut(batch, batch_bytes):
            held.append(part)
            size += len(part.data)
            if 2 * size >= batch_bytes:
                yield _joined(held)
                held, size = [], 0
    if held:
        yield _joined(held)


def _cut(batch: TextBatch, batch_bytes: int) -> Iterator[TextBatch]:
    """Parts of about equal size between documents, as views; none is empty."""
    data, offsets = batch
    for first, last in itertools.pairwise(cuts(offsets, batch_bytes)):
        start, stop = offsets[first], offsets[last]
        yield TextBatch(data[start:stop], offsets[first : last + 1] - start if first else offsets[: last + 1])


def _joined(batches: list[TextBatch]) -> TextBatch:
    if len(batches) == 1:
        return batches[0]
    starts = np.cumsum([0, *(len(batch.data) for batch in batches)])
    offsets = [batch.offsets[1:] + start for batch, start in zip(batches, starts[:-1], strict=True)]
    return TextBatch(
        np.concatenate([batch.data for batch in batches]), np.concatenate([starts[:1], *offsets])
    )
