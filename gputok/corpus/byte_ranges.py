"""Cuts files into ranges of bytes that can be read alone, and reads the documents of a range.

A range has the documents that begin in it. So the reader skips a document that began before the range, and reads on
after the range to the end of the range's last document. Therefore a file may be cut at any byte.
"""

from __future__ import annotations

import functools
import os
import re
import stat
from collections.abc import Callable, Iterator

import numpy as np

from gputok.corpus.document_kinds import file_kind
from gputok.corpus.options import Options
from gputok.corpus.packing import too_long
from gputok.files.locations import File, HeldFile, LocalFile, OpenFile
from gputok.types import Array


def can_be_cut(file: File, separator: str | None) -> bool:
    """True if ranges of a file can be read alone.

    A separator that can overlap with itself (such as two newlines) rules that out: in three newlines, only the text
    before them decides which two are the separator.
    """
    kind, compression = file_kind(file)
    if compression or kind in (".parquet", ".csv") or isinstance(file, OpenFile) or not file.size:
        return False
    mark = (separator or "\n").encode()
    return not any(mark.startswith(mark[i:]) for i in range(1, len(mark)))


def range_bytes(file: File, options: Options) -> int:
    """The number of bytes of a file that one thread reads at a time."""
    sizes = options.sizes
    n_bytes = max(options.batch_bytes, sizes.remote if file.is_remote else sizes.small)
    # A range is read with some bytes before and after it (`whole_documents`). All of it must fit into a buffer of
    # `options.memory`, if that is set, and should fit into a huge page
    return n_bytes - 2 * sizes.slack if options.memory or n_bytes > 4 * sizes.slack else n_bytes


def ranges(start: int, stop: int, n_bytes: int) -> Iterator[tuple[int, int]]:
    """Cuts start:stop into ranges of `n_bytes` bytes; the last one may be shorter."""
    for first in range(start, stop, n_bytes):
        yield first, min(first + n_bytes, stop)


def whole_documents(
    file: File,
    start: int,
    stop: int,
    size: int,
    mark: bytes,
    options: Options,
    memory: Callable[[int], Array] | None = None,
) -> tuple[int, Array]:
    """Reads the documents that begin in a range; returns the position of the first one in the file, and their bytes.

    The last document may have `options.longest` bytes beyond the range, at most. mark: the bytes that end a document,
    which must not overlap with themselves. memory: returns memory for a number of bytes; a local file is read into it.
    Raises ValueError if the file has become shorter than `size`, or the last document is too long.
    """
    first = max(0, start - len(mark))  # a document begins where a mark ends
    data, longest = (_exactly(file, first, min(stop + options.sizes.slack, size), size, memory), options.longest)
    search = _search(mark)
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
        if first + len(data) - stop > longest:
            last = data.data[begin : stop - first].tobytes().rfind(mark)
            at = begin if last < 0 else begin + last + len(mark)
            raise too_long(f"{file}, byte {first + at}", data[at : at + 80].tobytes().decode(errors="replace"), longest)
        # The last document goes on. Each step reads twice as much, so that a very long document takes linear time.
        looked_at = max(begin, len(data) - len(mark) + 1)
        more = _exactly(file, first + len(data), min(first + 2 * len(data), size, stop + longest + 1), size)
        data = np.concatenate([data, more])
    return first + begin, data[begin:]


@functools.cache
def _search(mark: bytes) -> Callable[..., re.Match[bytes] | None]:
    return re.compile(re.escape(mark)).search


def _exactly(file: File, start: int, stop: int, size: int, memory: Callable[[int], Array] | None = None) -> Array:
    if memory is not None and isinstance(file, HeldFile):
        data = file.read_into(memory(stop - start), start)
    else:
        data = file.read_range(start, stop - start)
    if len(data) < stop - start:
        raise shrunk(file, size, min(start + len(data), file.size or 0))
    return data


def refuse_shrunk(file: File, opened: os.stat_result | None) -> None:
    """Raises ValueError if a local file has become shorter since it was opened.

    Reading alone cannot tell: an end that comes too early looks like any other end, also in a compressed file that is
    cut between two of the members or frames it consists of.
    """
    if opened is None or not isinstance(file, LocalFile):
        return
    try:
        now = file.path.stat()
    except OSError:  # the file was removed: the open file is still read to its end
        return
    if stat.S_ISREG(now.st_mode) and os.path.samestat(opened, now) and now.st_size < opened.st_size:
        raise shrunk(file, opened.st_size, now.st_size)


def shrunk(file: File, before: int, now: int) -> ValueError:
    """Returns the error for a file that had `before` bytes and now has only `now` bytes."""
    return ValueError(
        f"{file}: shrank from {before} to {now} bytes while it was read, so the end of its text is lost; read it again "
        "when nothing writes to it"
    )
