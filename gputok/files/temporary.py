"""A limit on memory, and the temporary files for what the limit leaves no room for.

A temporary file has no name in its folder: the operating system removes it when the process has closed it, or ended.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import pathlib
import re
import sys
import threading
from typing import Any, cast

import numpy as np

from gputok.files.atomic import read_at
from gputok.kernels.signatures import NamedTuple

_UNITS = {"": 1, "B": 1} | {
    f"{letter}{kind}": size**power
    for power, letter in enumerate("KMGT", 1)
    for kind, size in (("", 1000), ("B", 1000), ("IB", 1024))
}
_LEAST_BYTES = 32_000_000  # bytes that one thread needs for tables, batches of text and buffers
_LEAST_LEFT = 24_000_000  # the part of _LEAST_BYTES for tables, and for writing tables to files
_ARROW = 12_000_000  # bytes needed in addition if PyArrow is imported, whose threads keep memory of their own


class MemoryLimit(NamedTuple):
    """How much memory may be used, and where files for the rest are made."""

    n_bytes: int
    folder: str
    least_table: int = 8_000_000  # the least bytes of a thread's table of words; fewer threads get one if room is short
    # `resident()` when the limit was set; None: how much the process has grown since then does not count
    start: tuple[int, int] | None = None

    @classmethod
    def of(
        cls, limit: int | str | MemoryLimit | None, temporary: str | os.PathLike[str] | None = None
    ) -> MemoryLimit | None:
        """Reads the arguments `memory_limit` and `temporary` of public functions; a MemoryLimit is returned as it is.

        Raises ValueError if the limit is not a number of bytes, or below 32 MB; NotADirectoryError if `temporary` is
        not a folder.

        >>> MemoryLimit.of("1.5 GB", "/").n_bytes
        1500000000
        """
        if temporary is not None and not pathlib.Path(temporary).is_dir():
            raise NotADirectoryError(f"temporary={os.fspath(temporary)!r}: expected an existing folder")
        if limit is None or isinstance(limit, MemoryLimit):
            return limit
        import tempfile  # imported late: it takes some milliseconds

        n_bytes = n_bytes_of("memory_limit", limit)
        if n_bytes < _LEAST_BYTES:
            raise ValueError(f"memory_limit={limit!r}: expected at least {_LEAST_BYTES // 10**6} MB")
        folder = tempfile.gettempdir() if temporary is None else os.fspath(temporary)
        return cls(n_bytes, folder, start=resident())

    @property
    def left(self) -> int:
        """How many bytes the process may still grow by, not counting files that it maps."""
        return self.n_bytes if self.start is None else self.n_bytes - max(0, resident()[0] - self.start[0])

    def beside(self, *arrays: np.ndarray) -> int:
        """Returns how many bytes work with these arrays may take; `CountOptions` allows a quarter more than the limit.

        Less the whole size of arrays that are mapped from files, as the work will read all of them; or less what is in
        memory of mapped files now, if that is more.
        """
        mapped = sum(array.nbytes for array in arrays if isinstance(array, np.memmap))
        if self.start is not None:
            mapped = max(mapped, resident()[1] - self.start[1])
        return max(0, self.left + self.n_bytes // 4 - mapped)

    def after(self, what: str) -> MemoryLimit:
        """Returns the limit less what loaded libraries map into memory; ValueError: `what` has left too little."""
        if self.start is None:
            return self
        rest = self._replace(n_bytes=self.n_bytes - max(0, resident()[1] - self.start[1]))
        least = min(_LEAST_LEFT + ("pyarrow" in sys.modules) * _ARROW, 3 * self.n_bytes // 4)
        if rest.left < least:
            taken = self.n_bytes - rest.left
            raise ValueError(
                f"memory_limit={self.n_bytes // 10**6} MB: {what} took {taken // 10**6} MB, libraries included, and "
                f"the rest needs {least // 10**6}; the least limit is {-(-(taken + least) // 10**6)} MB"
            )
        return rest

    def file(self) -> TemporaryFile:
        """A new temporary file."""
        return TemporaryFile(self.folder)


def resident() -> tuple[int, int]:
    """Returns how many bytes this process has in memory: its own, and of mapped files; 0 if the system does not say."""
    try:
        _, pages, mapped, *_ = map(int, pathlib.Path("/proc/self/statm").read_text().split())
    except OSError:
        return 0, 0
    return (pages - mapped) * mmap.PAGESIZE, mapped * mmap.PAGESIZE


def n_bytes_of(name: str, size: int | str) -> int:
    """Reads a size: a number of bytes, or text like "400MB", "1.5 GiB"; name: what errors call it.

    >>> n_bytes_of("size", "20 kB")
    20000
    """
    number = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", str(size))
    if not isinstance(size, int | str) or isinstance(size, bool) or number is None or number[2].upper() not in _UNITS:
        raise ValueError(f"{name}={size!r}: expected a number of bytes, or text such as '400MB', '4GB' or '1.5GiB'")
    return int(float(number[1]) * _UNITS[number[2].upper()])


class TemporaryFile:
    """A file without a name, which is written at its end and read anywhere, also by several threads."""

    def __init__(self, folder: str) -> None:
        import tempfile

        self._folder, self._lock = folder, threading.Lock()
        with self._explained():
            self._file = cast("Any", tempfile.TemporaryFile(dir=folder, prefix="gputok-", buffering=0))
        self.n_bytes = 0

    def append(self, array: np.ndarray) -> None:
        """Writes the bytes of a contiguous array after those that were written before."""
        rest = array.data.cast("B") if array.nbytes else memoryview(b"")
        with self._explained():
            while rest:
                n = self._file.write(rest)
                self.n_bytes, rest = self.n_bytes + n, rest[n:]

    def read(self, start: int, n_bytes: int) -> np.ndarray:
        """uint8[n_bytes], from byte `start` on."""
        buffer = np.empty(n_bytes, np.uint8)
        read_at(self._file, self._lock, buffer, start)
        return buffer

    def mapped(self, dtype: type) -> np.ndarray:
        """The whole file as a read-only array, which the operating system reads when its values are used."""
        if self.n_bytes == 0:
            return np.empty(0, dtype)
        return np.memmap(self._file, dtype, "r")

    def close(self) -> None:
        """Gives the room on the disk back, once no array is mapped to it."""
        self._file.close()

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()

    @contextlib.contextmanager
    def _explained(self) -> Any:
        """Says which folder is full, and what can be done."""
        try:
            yield
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            raise OSError(  # names the folder, so that `atomic.naming` does not put the name of an output there
                error.errno,
                f"no room for more than {getattr(self, 'n_bytes', 0):,} bytes in a temporary file; "
                "name a folder with more room by temporary= (--temporary), or raise memory_limit= (--memory-limit)",
                self._folder,
            ) from None


def let_go(array: np.ndarray) -> None:
    """Takes what was read of a mapped file out of this process's memory; the next use of the array reads it again."""
    # A writeable array may be a private mapping of the caller's, which would lose what the caller wrote to it
    mapping = None if array.flags.writeable else getattr(array, "_mmap", None)
    if mapping is not None and hasattr(mapping, "madvise"):
        mapping.madvise(mmap.MADV_DONTNEED)
