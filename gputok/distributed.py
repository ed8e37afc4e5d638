"""Counting the words of a corpus on the workers of a Dask cluster."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import operator
import pickle
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from gputok import corpus
from gputok.counts import partitions
from gputok.counts.files import WordColumns
from gputok.counts.partitions import N_PARTITIONS
from gputok.counts.word_counts import WordCounts
from gputok.models import BPE
from gputok.pipeline.run import CountOptions, Run
from gputok.tokenizer import Tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Unpack

    import numpy.typing as npt

    from gputok.corpus import Part
    from gputok.types import Bytes, Counts

_Words: TypeAlias = "tuple[Bytes, npt.NDArray[Any], npt.NDArray[Any], bool]"
"""Words in the order of their keys (hashes, `counts.partitions`): bytes, lengths, counts, and whether byte-level.

The result of a task is a list of n shares of words. Byte-level words and other words stay apart, since the same text
has another key in each kind; if there are both, the list has 2 * n shares. So result[i::n] is share i. A share is a
plain tuple of arrays of small numbers: Dask knows how large it is, and sends it without a copy.
"""

_MERGED_AT_ONCE = 8  # the most results of tasks that one task adds up
_FEW_BYTES = 1 << 16  # pickled steps of a tokenizer up to this size are copied into each task
_LEAST_TASK_BYTES = 32 << 20
_MOST_UNITS = 32  # the number of units of _LEAST_TASK_BYTES that a task has at most


def count_words(
    tokenizer: Tokenizer, files: Any, client: Any, *, part_bytes: int | None = None, **options: Unpack[CountOptions]
) -> WordCounts:
    """Counts the words of files on a Dask cluster, as `Tokenizer.count_words` does on one machine.

    The files are dealt to tasks, which any worker can do; a task counts with one thread, since Dask runs as many tasks
    at a time as a worker has threads. Results are added up on the workers, eight at a time, until eight for each thread
    are left. Then they are divided into shares by the hash of the words: each thread adds up one share of all words,
    and the shares come back one after the other.

    When a worker dies, Dask has others repeat its tasks; the result is the same. Three workers that die while they do
    the same task end the call (Dask's `allowed-failures`).

    Args:
        tokenizer: its normalizer, pre-tokenizer and added tokens cut the text into words.
        files: paths, folders, globs or URLs, which all workers see under the same names.
        client: a `distributed.Client`.
        part_bytes: how many bytes of a file a task reads; see `corpus.parts`. None: a task reads up to 1 GB at the
            start, of several files if they are smaller, and down to 32 MB at the end, so that most words are counted in
            few tasks and no thread is without work for long.
        options: as for `Tokenizer.count_words` (`gputok.pipeline.run.CountOptions`), but not `threads`, `progress` and
            `temporary`. `memory_limit` is that of each task. `device` is "cpu" or, if each worker process has a GPU of
            its own, as with `dask-cuda`, "cuda:0": the first GPU that the process sees.

    Returns:
        The counts, equal to those of `tokenizer.count_words(files)`, in the order of `WordCounts.merge`.

    Raises:
        What `Tokenizer.count_words` does, for the part that a worker could not count, and what Dask does when workers
        are lost.

    Example:
        with distributed.Client("tcp://scheduler:8786") as client:
            words = gputok.distributed.count_words(tokenizer, "s3://bucket/corpus/*.parquet", client)
    """
    if alone := {"threads", "progress", "temporary"} & options.keys():
        raise TypeError(f"{min(alone)}= is for one machine: a task on a worker has one thread, and shows nothing")
    threads = max(1, sum(client.nthreads().values()))  # 0 if no worker has started yet
    _, reading = Run.asked(options, CountOptions)
    source = corpus.Source.of(files, separator=reading.get("separator"), storage_options=reading.get("storage_options"))
    tasks = _tasks(source, part_bytes, threads)
    counting = {"device": "cpu", **options, "threads": 1, "progress": False}
    everything: list[Any] = []

    def submit(function: Callable[..., Any], *columns: Sequence[Any]) -> list[Any]:
        # pure=False: else Dask could return the result of an earlier call, though a file has changed since.
        futures = client.map(function, *columns, pure=False)
        everything.extend(futures)
        return futures

    try:
        steps = _steps(tokenizer)
        if len(steps) > _FEW_BYTES:  # the scheduler would have to keep them once for each task
            (steps,) = submit(bytes, [steps])
        # As soon as so few results are left that there would be fewer merges than threads, results are divided into
        # shares: then each thread adds up a share of all words.
        most, n_shares = _MERGED_AT_ONCE * threads, min(threads, N_PARTITIONS)
        n = len(tasks)
        # All at once, so that Dask sees many tasks alike: it gives each thread the next one in this order.
        results = submit(_count, [steps] * n, tasks, [counting] * n, [n_shares if n <= most else 1] * n)
        while len(results) > most:
            groups = _groups(results)
            results = submit(_merged, groups, [n_shares if len(groups) <= most else 1] * len(groups))
        shares = [submit(operator.getitem, results, [slice(i, None, n_shares)] * len(results)) for i in range(n_shares)]
        while len(shares[0]) > _MERGED_AT_ONCE:
            shares = [submit(_merged, _groups(share), [1] * len(_groups(share))) for share in shares]
        return _end_to_end(client.gather(submit(_merged, shares, [1] * n_shares)))
    finally:
        client.cancel(everything)


def _tasks(
    files: Any, part_bytes: int | None, threads: int, *, least_bytes: int = _LEAST_TASK_BYTES
) -> list[list[Part]]:
    """Deals files to tasks, in order, each of `part_bytes` bytes; None: of sizes that fall to `least_bytes`."""
    source = corpus.Source.of(files)
    if part_bytes is not None:
        return [[part] for part, _ in source.parts(part_bytes)]
    sized = [*source.parts(least_bytes)]
    begins = np.cumsum([0, *(n_bytes for _, n_bytes in sized)])
    edges = np.array(_guided(max(1, -(-int(begins[-1]) // least_bytes)), threads)) * least_bytes
    tasks = (np.searchsorted(edges[:-1], begins[:-1], "right") - 1).tolist()  # where each part begins
    numbered = zip(tasks, (part for part, _ in sized), strict=True)
    return [_joined(part for _, part in some) for _, some in itertools.groupby(numbered, operator.itemgetter(0))]


def _joined(parts: Iterable[Part]) -> list[Part]:
    """Returns the same documents in fewer parts: parts of a file that follow each other become one part."""
    joined: list[Part] = []
    for part in parts:
        if joined and (part.file, part.start) == (joined[-1].file, joined[-1].stop):
            joined[-1] = dataclasses.replace(joined[-1], stop=part.stop)
        else:  # of another file, or of the same file given once more
            joined.append(part)
    return joined


def _groups(results: list[Any]) -> list[list[Any]]:
    """Divides results into groups of at most _MERGED_AT_ONCE, each of which one task adds up."""
    return [results[i : i + _MERGED_AT_ONCE] for i in range(0, len(results), _MERGED_AT_ONCE)]


def _guided(n: int, threads: int) -> list[int]:
    """Divides n units among threads: seven eighths evenly, then seven eighths of the rest, and so on.

    Guided self-scheduling (Polychronopoulos and Kuck 1987), but all threads get a part of each size. A small task takes
    half as long again for each byte, since it finds most of its words anew; so few units are left for the end, enough
    for threads whose speeds differ by a third. Returns where each range of units begins, and n.

    >>> _guided(31, threads=2)
    [0, 13, 26, 28, 30, 31]
    """
    edges = [0]
    while edges[-1] < n:
        size = min(max(1, 7 * (n - edges[-1]) // (8 * threads)), _MOST_UNITS)
        edges += [min(edges[-1] + size * (i + 1), n) for i in range(threads)]
    return sorted({*edges})


def _steps(tokenizer: Tokenizer) -> bytes:
    """The steps that cut text into words, pickled."""
    unneeded = {"post_processor": None, "decoder": None, "truncation": None, "padding": None}
    return pickle.dumps(dataclasses.replace(tokenizer.pipeline, model=BPE(), **unneeded))


@functools.lru_cache(maxsize=4)
def _tokenizer(steps: bytes) -> Tokenizer:
    """Returns the tokenizer of pickled steps; all tasks of a process share it, so its tables are made only once."""
    return Tokenizer.of(pickle.loads(steps))


def _count(steps: bytes, parts: list[Part], options: dict[str, Any], n_shares: int) -> list[_Words]:
    words = _tokenizer(steps).count_words(parts, **options).columns()
    is_ordered = options.get("memory_limit") is not None
    return _shares(words if is_ordered else partitions.in_key_order(words), n_shares)


def _merged(lists: list[list[_Words]], n_shares: int) -> list[_Words]:
    """Adds up the words of several results, or of a share of each."""
    found = [_unpacked(words) for words in itertools.chain(*lists)]
    kinds = sorted({words.byte_level for words in found})
    by_kind = (partitions.merged([words for words in found if words.byte_level == kind]) for kind in kinds)
    return [share for words in by_kind for share in _shares(words, n_shares)]


def _shares(words: WordColumns, n: int) -> list[_Words]:
    """The words in n shares: those with the lowest keys, and so on."""
    return [_packed(partitions.share(words, i, n)) for i in range(n)]


def _end_to_end(shares: list[list[_Words]]) -> WordCounts:
    """The words of all shares, one share after the other."""
    found = [*itertools.chain(*shares)]
    found = [words for words in found if len(words[2])] or found
    if len({byte_level for *_, byte_level in found}) > 1:  # words of both kinds, if some documents have added tokens
        return WordCounts.merge(WordCounts(*_unpacked(words)) for words in found)
    data, lengths, counts = (np.concatenate([words[i] for words in found]) for i in range(3))
    return WordCounts(*_unpacked((data, lengths, counts, found[0][3])))


def _packed(words: WordColumns) -> _Words:
    return words.data, _narrow(np.diff(words.offsets)), _narrow(words.counts), words.byte_level


def _narrow(numbers: Counts) -> npt.NDArray[Any]:
    """The same numbers, which are not negative, in as few bytes as the largest of them needs."""
    return numbers.astype(np.min_scalar_type(numbers.max(initial=0)))


def _unpacked(words: _Words) -> WordColumns:
    data, lengths, counts, byte_level = words
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, dtype=np.int64, out=offsets[1:])
    return WordColumns(data, offsets, counts.astype(np.int64), byte_level)
