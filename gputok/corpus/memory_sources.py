"""Documents that are not in files: Arrow data, datasets, and iterables of strings."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from gputok.corpus.packing import packed
from gputok.text.pieces import TextBatch

if TYPE_CHECKING:
    from gputok.corpus.packing import Errors

# where the classes of `datasets` live
_DATASETS = ("datasets.arrow_dataset", "datasets.iterable_dataset", "datasets.dataset_dict")


def is_columnar(source: Any) -> bool:
    """Whether a source is Arrow data, or a dataset, which holds some."""
    exports_arrow = hasattr(source, "__arrow_c_array__") or hasattr(source, "__arrow_c_stream__")
    return exports_arrow or type(source).__module__ in (*_DATASETS, "pyarrow._dataset")


def text_batches(source: Any, column: str | None, errors: Errors, batch_bytes: int) -> Iterator[TextBatch]:
    """The documents of anything but files, in batches of any size."""
    if isinstance(source, TextBatch):
        start, stop = source.offsets[0], source.offsets[-1]
        yield TextBatch(source.data[start:stop], source.offsets - start)
    elif is_columnar(source):
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
    if first and (isinstance(first[0], TextBatch) or is_columnar(first[0])):
        for item in items:
            yield from text_batches(item, column, errors, batch_bytes)
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
