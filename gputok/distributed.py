"""Counting the words of a corpus on the workers of a Dask cluster."""

from __future__ import annotations

import dataclasses
import itertools
import operator
from typing import TYPE_CHECKING, Any

from gputok import corpus
from gputok.text.partitions import N_PARTITIONS, collected, dealt
from gputok.text.word_counts import WordCounts

if TYPE_CHECKING:
    from collections.abc import Callable

    from gputok.corpus import Part
    from gputok.files.locations import StorageOptions
    from gputok.tokenizer import Tokenizer

_MERGED_AT_ONCE = 8  # counts that a worker holds and adds up
_LEAST_PART_BYTES = 32 << 20
_MOST_UNITS = 32  # the number of units of _LEAST_PART_BYTES that a part has at most


def count_words(
    tokenizer: Tokenizer,
    files: Any,
    client: Any,
    *,
    column: str | None = None,
    separator: str | None = None,
    errors: str = "strict",
    device: str | None = "cpu",
    part_bytes: int | None = None,
    memory_limit: int | str | None = None,
    storage_options: StorageOptions = None,
) -> WordCounts:
    """Counts the words of files on a Dask cluster, as `Tokenizer.count_words` does on one machine.

    The files are cut into parts, and each part is a task that any worker can do. Eight results at a time are added up on the
    workers, until eight for each thread are left. Their words are then shared out by the hash, so that each thread
    adds up a share of all words, and the shares come back. A task counts with one thread: Dask runs as many tasks at a
    time as a worker has threads.

    When a worker dies, Dask has others do again what it did; the result is the same. Three workers that die while they do the
    same task end the call (Dask's `allowed-failures`).

    Args:
        tokenizer: its normalizer, pre-tokenizer and added tokens cut the text into words.
        files: paths, folders, globs or URLs, which all workers see under the same names.
        client: a `distributed.Client`.
        column: of JSON Lines and Parquet.
        separator: as in `Tokenizer.train`.
        errors: "strict" or "replace", for what is not UTF-8.
        device: "cpu", or "auto" if each worker process has a GPU of its own, as those of `dask-cuda`.
        part_bytes: of the file that a task reads; see `corpus.parts`. None: up to 1 GB at the start, and down to 32 MB at
            the end, so that most words are counted in few tasks and no thread is without work for long.
        memory_limit: of each task, as in `Tokenizer.count_words`.
        storage_options: of the file systems of URLs.

    Returns:
        The counts, equal to those of `tokenizer.count_words(files)`.

    Raises:
        What `Tokenizer.count_words` does, for the part that a worker could not count, and what Dask does when workers
        are lost.

    Example:
        with distributed.Client("tcp://scheduler:8786") as client:
            words = gputok.distributed.count_words(tokenizer, "s3://bucket/corpus/*.parquet", client)
    """
    threads = max(1, sum(client.nthreads().values()))  # 0: workers are yet to come
    parts = _parts(files, part_bytes, threads, separator=separator, storage_options=storage_options)
    options = {
        "column": column,
        "separator": separator,
        "errors": errors,
        "device": device,
        "memory_limit": memory_limit,
        "storage_options": storage_options,
        "threads": 1,
        "progress": False,
    }
    everything: list[Any] = []

    def submit(function: Callable[..., Any], *arguments: Any, priority: int = 0) -> Any:
        # Not pure: a file may have changed since a call with the same arguments.
        everything.append(client.submit(function, *arguments, pure=False, priority=priority))
        return everything[-1]

    def merged(counts: list[Any], most: int) -> list[Any]:
        """Adds up eight at a time, until at most so many are left."""
        while len(counts) > most:
            groups = [counts[i : i + _MERGED_AT_ONCE] for i in range(0, len(counts), _MERGED_AT_ONCE)]
            counts = [group[0] if len(group) == 1 else submit(WordCounts.merge, group) for group in groups]
        return counts

    try:
        # The tokenizer is the result of a task, which is made again if the workers that had it die.
        shared = submit(_given, tokenizer)
        # By priority, since Dask takes tasks that were submitted at about the same time in any order.
        counts = [submit(_count, shared, part, options, priority=-i) for i, part in enumerate(parts)]
        counts = merged(counts, _MERGED_AT_ONCE * threads)
        # From here on there would be fewer merges than threads: each thread adds up a share of the words instead.
        shares = 1 if tokenizer.pipeline.added.tokens else min(threads, N_PARTITIONS)
        if shares > 1:
            shared_out = [submit(_shares, each, shares) for each in counts]
            columns = [[submit(operator.getitem, each, i) for each in shared_out] for i in range(shares)]
        else:  # added tokens may turn the words of some parts into others, with other keys
            columns = [counts]
        last = [submit(WordCounts.merge, merged(column, _MERGED_AT_ONCE)) for column in columns]
        return _joined(client.gather(last))
    finally:
        client.cancel(everything)


def _parts(
    files: Any, part_bytes: int | None, threads: int, least_bytes: int = _LEAST_PART_BYTES, **options: Any
) -> list[Part]:
    """Cuts files into parts of the size that was asked for, or of sizes that become smaller towards the end."""
    if part_bytes is not None:
        return corpus.parts(files, part_bytes=part_bytes, **options)
    units = corpus.parts(files, part_bytes=least_bytes, **options)
    joined: list[Part] = []
    for first, last in itertools.pairwise(_guided(len(units), threads)):
        part = units[first]
        for unit in units[first + 1 : last]:
            if (unit.file, unit.start) == (part.file, part.stop):
                part = dataclasses.replace(part, stop=unit.stop)
            else:  # of another file, or of the same file given once more
                joined.append(part)
                part = unit
        joined.append(part)
    return joined


def _guided(n: int, threads: int) -> list[int]:
    """Divides n units among threads: three quarters evenly, then three quarters of the rest, and so on.

    Guided self-scheduling (Polychronopoulos and Kuck 1987), but all threads get a part of each size.

    Returns:
        Where each part begins, and n.

    Example:
        >>> _guided(31, threads=2)
        [0, 11, 22, 25, 28, 29, 30, 31]
    """
    edges = [0]
    while edges[-1] < n:
        size = min(max(1, 3 * (n - edges[-1]) // (4 * threads)), _MOST_UNITS)
        edges += [min(edges[-1] + size * (i + 1), n) for i in range(threads)]
    return sorted({*edges})


def _given(tokenizer: Tokenizer) -> Tokenizer:
    return tokenizer


def _count(tokenizer: Tokenizer, part: Part, options: dict[str, Any]) -> WordCounts:
    return tokenizer.count_words(part, **options)


def _shares(counts: WordCounts, n: int) -> list[WordCounts]:
    """Words by the range of partitions that they belong to; the first words of all have the lowest keys."""
    parts, ends = [*dealt(counts.columns())], [N_PARTITIONS * i // n for i in range(n + 1)]
    return [
        WordCounts(*collected(parts[first:last], counts.byte_level, None))
        for first, last in itertools.pairwise(ends)
    ]


def _joined(shares: list[WordCounts]) -> WordCounts:
    """The words of all shares, one share behind the other."""
    columns = [share.columns() for share in shares]
    byte_level = any(words.byte_level for words in columns)
    return WordCounts(*collected(columns, byte_level, None))
