"""Counting the words of a corpus on the workers of a Dask cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gputok import corpus
from gputok.text.word_counts import WordCounts

if TYPE_CHECKING:
    from gputok.corpus import Part
    from gputok.files.locations import StorageOptions
    from gputok.tokenizer import Tokenizer

_MERGED_AT_ONCE = 8  # counts that a worker holds and adds up


def count_words(
    tokenizer: Tokenizer,
    files: Any,
    client: Any,
    *,
    column: str | None = None,
    separator: str | None = None,
    errors: str = "strict",
    device: str | None = "cpu",
    part_bytes: int = corpus.PART_BYTES,
    memory_limit: int | str | None = None,
    storage_options: StorageOptions = None,
) -> WordCounts:
    """Counts the words of files on a Dask cluster, as `Tokenizer.count_words` does on one machine.

    The files are cut into parts, and each part is a task that any worker can do. Eight results at a time are added up on the
    workers, until one is left, which comes back. A task counts with one thread: Dask runs as many tasks at a time as a
    worker has threads.

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
        part_bytes: of the file that a task reads; see `corpus.parts`.
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
    parts = corpus.parts(files, part_bytes=part_bytes, separator=separator, storage_options=storage_options)
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
    # Not pure: a file may have changed since a call with the same arguments. The tokenizer is the result of a task, which
    # is made again if the workers that had it die.
    shared = client.submit(_given, tokenizer, pure=False)
    futures = [client.submit(_count, shared, part, options, pure=False) for part in parts]
    everything = [shared, *futures]
    try:
        while len(futures) > 1:
            groups = [futures[i : i + _MERGED_AT_ONCE] for i in range(0, len(futures), _MERGED_AT_ONCE)]
            futures = [
                group[0] if len(group) == 1 else client.submit(WordCounts.merge, group, pure=False)
                for group in groups
            ]
            everything += futures
        return WordCounts.merge(client.gather(futures))
    finally:
        client.cancel(everything)


def _given(tokenizer: Tokenizer) -> Tokenizer:
    return tokenizer


def _count(tokenizer: Tokenizer, part: Part, options: dict[str, Any]) -> WordCounts:
    return tokenizer.count_words(part, **options)
