"""Ranges of bytes of a file that are read alone, and the documents that begin in them.

A range has the documents that begin in it: its reader looks for the first end of a document behind the byte before it,
and goes on past its end to the end of the last document that it has. So ranges may be cut anywhere.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

import numpy as np

from gputok.corpus.file_kinds import file_kind
from gputok.corpus.shrunk_files import shrunk
from gputok.files.locations import File, LocalFile, OpenFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gputok.corpus.options import Options
    from gputok.types import Array

SMALL_BYTES = 1 << 20  # of smaller files a thread reads several, and no smaller ranges
REMOTE_BYTES = 8 << 20  # that a network is asked for at once
SLACK_BYTES = 1 << 12  # bytes behind a range that are read with it: mostly its last document ends there


def can_be_cut(file: File, separator: str | None) -> bool:
    """Whether ranges of a file can be read alone: what ends a document must mean so wherever reading begins.

    Where a separator can overlap with itself (as two newlines do), what comes before decides which of them count.
    """
    kind, compression = file_kind(file)
    if compression or kind in (".parquet", ".csv") or isinstance(file, OpenFile) or not file.size:
        return False
    mark = (separator or "\n").encode()
    return not any(mark.startswith(mark[i:]) for i in range(1, len(mark)))


def range_bytes(file: File, options: Options) -> int:
    """How many bytes of a file one thread reads at a time."""
    n_bytes = max(options.batch_bytes, REMOTE_BYTES if file.is_remote else SMALL_BYTES)
    # Into given memory, all that is read of a range is to be at most a batch
    return n_bytes if options.memory is None else n_bytes - 2 * SLACK_BYTES


def ranges(start: int, stop: int, n_bytes: int) -> Iterator[tuple[int, int]]:
    """Cuts start:stop into ranges of `n_bytes` bytes; the last one may be shorter."""
    for first in range(start, stop, n_bytes):
        yield first, min(first + n_bytes, stop)


def whole_documents(
    file: File, start: int, stop: int, size: int, mark: bytes, memory: Callable[[int], Array] | None = None
) -> tuple[int, Array]:
    """The bytes of the documents that begin from `start` to before `stop`, and where in the file they begin.

    size: of the file; mark: what ends a document, which does not overlap with itself; memory: what a local file is read
    into.
    """
    first = max(0, start - len(mark))  # a document begins where a mark ends
    data = _exactly(file, first, min(stop + SLACK_BYTES, size), size, memory)
    search = _pattern(mark).search
    begin = 0
    if start > 0:
        found = search(data.data[: stop - first])
        if found is None or first + found.end() >= stop:
            return start, data[:0]
        begin = found.end()
    looked_at = max(begin, stop - first - len(mark))
    while stop < size:
        found = search(data.data, looked_at)
        if found is not None:
            return first + begin, data[begin : found.end()]
        if first + len(data) == size:
            break
        # The last document goes on: twice as much at a time, so that one much longer than a range takes linear time.
        looked_at = max(begin, len(data) - len(mark) + 1)
        more = _exactly(file, first + len(data), min(first + 2 * len(data), size), size)
        data = np.concatenate([data, more])
    return first + begin, data[begin:]


@functools.cache
def _pattern(mark: bytes) -> re.Pattern[bytes]:
    return re.compile(re.escape(mark))


def _exactly(
    file: File, start: int, stop: int, size: int, memory: Callable[[int], Array] | None = None
) -> Array:
    if memory is not None and isinstance(file, LocalFile):
        data = file.read_into(memory(stop - start), start)
    else:
        data = file.read_range(start, stop - start)
    if len(data) < stop - start:
        raise shrunk(file, size, min(start + len(data), file.size or 0))
    return data
