"""Announces the compiling of kernels, and measures the time of loading and compiling, so that rates leave it out."""

from __future__ import annotations

import contextlib
import sys
import time
from _thread import allocate_lock
from collections.abc import Iterator


class Preparation:
    """The time that the threads of this process spent on loading and compiling, and the number of compiled kernels."""

    def __init__(self) -> None:
        self._lock, self._busy, self._since, self._before = allocate_lock(), 0, 0.0, 0.0
        self.compiled, self.announced = 0, False

    @property
    def seconds(self) -> float:
        """The time so far."""
        with self._lock:
            return self._before + (time.perf_counter() - self._since if self._busy else 0.0)

    @contextlib.contextmanager
    def going_on(self) -> Iterator[None]:
        """Adds the time of the block to `seconds`; blocks of several threads at a time count once."""
        with self._lock:
            if not self._busy:
                self._since = time.perf_counter()
            self._busy += 1
        try:
            yield
        finally:
            with self._lock:
                self._busy -= 1
                if not self._busy:
                    self._before += time.perf_counter() - self._since

    def compiles(self) -> None:
        """Counts a kernel that is about to be compiled; prints a message before the first one."""
        with self._lock:
            self.compiled += 1
            announced, self.announced = self.announced, True
        if not announced and sys.stderr is not None:
            print(
                "gputok: compiling kernels for this machine, once: 5 to 20 s for each kind of use",
                file=sys.stderr,
                flush=True,
            )


preparation = Preparation()
