"""Memory of emulated devices. It knows of each byte whether an array has it, and whether it was written."""

from __future__ import annotations

import ctypes
import mmap
import threading
import weakref
from collections import defaultdict, deque
from typing import Any

import numpy as np
from gputok.kernels.cuda.device import address

# Bytes of address space; the system gives memory for what is used.
SIZE = 8 << 30
# As CuPy's, arrays begin at multiples of so many bytes; as many lie between two of them.
UNIT = 512
OWNED, WRITTEN = 1, 3


def _space(n_bytes: int) -> tuple[int, np.ndarray]:
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
    array = np.frombuffer(mmap.mmap(-1, n_bytes, flags=flags), np.uint8)
    return array.ctypes.data, array


class Memory:
    """An arena. What was freed is used again as late as can be, so that who still has an address is found."""

    def __init__(self) -> None:
        self.base, self._bytes = _space(SIZE)
        self.shadow, self._state = _space(SIZE)
        self._used, self._free, self._lock = UNIT, defaultdict(deque), threading.Lock()

    def empty(self, shape: Any, dtype: Any) -> np.ndarray:
        """An array in which nothing is written yet."""
        n = int(np.prod(shape))
        size = n * np.dtype(dtype).itemsize
        room = (size + 2 * UNIT - 1) // UNIT * UNIT
        step = max(UNIT, 1 << max(0, room.bit_length() - 4))
        room = -(-room // step) * step
        with self._lock:
            free = self._free[room]
            # A small block waits until others of its size were used
            if len(free) > (8 if room < 1 << 16 else 0):
                at = free.popleft()
            else:
                at, self._used = self._used, self._used + room
                if self._used > SIZE:
                    raise MemoryError("the memory of emulated devices is full")
        self._state[at : at + size] = OWNED
        owner = (ctypes.c_uint8 * max(1, size)).from_address(self.base + at)
        weakref.finalize(owner, self._back, at, size, room).atexit = False
        return np.frombuffer(owner, np.uint8, size).view(dtype).reshape(shape)

    def _back(self, at: int, size: int, room: int) -> None:
        self._state[at : at + size] = 0
        self._free[room].append(at)

    def state(self, array: Any) -> np.ndarray:
        """The state of each byte of an array, which may be changed."""
        return self.state_at(address(array), array.nbytes)

    def state_at(self, at: int, n_bytes: int) -> np.ndarray:
        assert 0 <= at - self.base < SIZE or not n_bytes, "memory of the host"
        return self._state[at - self.base : at - self.base + n_bytes] if n_bytes else self._state[:0]

    def written(self, array: np.ndarray, values: Any) -> np.ndarray:
        """Writes to a whole array, and returns it."""
        array[...] = values
        self.state(array)[...] = WRITTEN
        return array

    def zeros(self, shape: Any, dtype: Any) -> np.ndarray:
        return self.written(self.empty(shape, dtype), 0)

    def asarray(self, array: Any) -> np.ndarray:
        """A copy of an array of the host."""
        array = np.asarray(array)
        return self.written(self.empty(array.shape, array.dtype), array)

    def copied(self, target: np.ndarray, source: np.ndarray) -> None:
        """Copies within a device, also what was never written."""
        target[...] = source
        self.state(target)[...] = self.state(source)

    def on_host(self, array: np.ndarray) -> np.ndarray:
        """Copies to the host; AssertionError: bytes were never written."""
        assert (self.state(array) == WRITTEN).all(), (
            f"{array.dtype}[{array.size}]: what was never written is downloaded"
        )
        return np.array(array)


MEMORY = Memory()
