"""Making kernels ready in this process: said before it takes long, and its time known, since it belongs to no rate."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator


class Preparation:
    """How long this process was at it, whatever number of its threads, and how many kernels it compiled."""

    def __init__(self) -> None:
        self._lock, self._busy, self._since, self._before = threading.Lock(), 0, 0.0, 0.0
        self.compiled, self.announced = 0, False

    @property
    def seconds(self) -> float:
        with self._lock:
            return self._before + (time.perf_counter() - self._since if self._busy else 0.0)

    @contextlib.contextmanager
    def going_on(self) -> Iterator[None]:
        """Counts what is done inside."""
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
        """Before a kernel is compiled that is not on disk yet; says so before the first."""
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
