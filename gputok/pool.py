"""Pool: objects with memory, one for each thread that works, which later calls use again."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Pool(Generic[T]):
    """Objects that no thread uses. Any thread may take one, and give it back, unless an exception may have spoilt it.

    Args:
        make: makes an object where none is left, of the arguments of `take`.
        most: how many objects may wait; None: any number.

    Example:
        >>> pool = Pool(list)
        >>> pool.give([1])
        >>> pool.take(), pool.take("ab")
        ([1], ['a', 'b'])
    """

    def __init__(self, make: Callable[..., T], most: int | None = None) -> None:
        self._make = make
        self.free: deque[T] = deque(maxlen=most)  # append and pop are atomic
        self.give = self.free.append

    def take(self, *arguments: object) -> T:
        """Returns the object that came back last, the likeliest to be in a cache of the processor; else a new one."""
        try:
            return self.free.pop()
        except IndexError:
            return self._make(*arguments)


def most_lines() -> int:
    """Returns the most lines of a thread's word cache: those that fit into GPUTOK_CACHE_MB (32) times 2**20 bytes.

    A cache begins with 4 MB, and grows with the number of different words. Raises ValueError for a wrong variable.
    """
    from gputok.kernels.cpu.encode_corpus.cache import BYTES_A_LINE, FIRST_LINES

    megabytes = os.environ.get("GPUTOK_CACHE_MB", "") or "32"
    if not megabytes.isdecimal() or len(megabytes) > 9:
        raise ValueError(f"GPUTOK_CACHE_MB must be a whole number of megabytes, not {megabytes!r}")
    n_lines = (int(megabytes) << 20) // BYTES_A_LINE
    return max(FIRST_LINES, 1 << n_lines.bit_length() >> 1)
