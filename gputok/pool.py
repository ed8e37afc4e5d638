"""Pool: keeps objects that own memory, of which each working thread takes one, for later calls."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Pool(Generic[T]):
    """Keeps objects that no thread uses. A thread takes one, and gives it back if no exception may have spoilt it.

    Args:
        make: makes an object from the arguments of `take`, if the pool is empty.
        most: how many objects the pool keeps at most; None: any number.

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
        """Returns the object that came back last, which is most likely in a cache of the processor, or a new one."""
        try:
            return self.free.pop()
        except IndexError:
            return self._make(*arguments)


def most_lines() -> int:
    """Returns the most lines of a thread's word cache: those that fit into GPUTOK_CACHE_MB (32) times 2**20 bytes.

    GPUTOK_CACHE_MB is an environment variable; ValueError: it has a wrong value. A cache begins with 4 MB, and grows
    with the number of different words.
    """
    from gputok.kernels.cpu.encode_corpus.cache import BYTES_A_LINE, FIRST_LINES

    megabytes = os.environ.get("GPUTOK_CACHE_MB", "") or "32"
    if not megabytes.isdecimal() or len(megabytes) > 9:
        raise ValueError(f"GPUTOK_CACHE_MB must be a whole number of megabytes, not {megabytes!r}")
    n_lines = (int(megabytes) << 20) // BYTES_A_LINE
    return max(FIRST_LINES, 1 << n_lines.bit_length() >> 1)
