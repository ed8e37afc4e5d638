"""As much of CuPy as `cupy_device` uses, on NumPy and the emulator, with its names and rules as CuPy 14's source has them.

What is queued on a stream other than the current one happens only when something waits for it, as late as CUDA may do
it: work that does not wait for its copy finds other bytes. `pending()` tells how many copies nobody has waited for yet.
"""

from __future__ import annotations

import itertools
import time
import types
from typing import Any

import numpy as np
from gputok.kernels.cuda.device import SOURCES

from tests.cuda.emulator import launch, load


class Array(np.ndarray):
    def set(self, array: np.ndarray, stream: Stream) -> None:
        assert (self.dtype, self.shape) == (array.dtype, array.shape)

        def copy() -> None:
            self[...] = array

        stream.queue.append(copy)


class Event:
    def __init__(self) -> None:
        self.queue, self.seconds = [], 0.0  # what was queued on its stream before it

    def record(self, stream: Stream | None = None) -> None:
        stream = stream or Stream.current[-1]
        self.queue, self.seconds = stream.queue, time.perf_counter()
        stream.queue = []
        stream.queue.append(self.synchronize)  # what comes later comes behind it

    def synchronize(self) -> None:
        while self.queue:
            self.queue.pop(0)()


class Stream:
    current: list[Stream] = []  # noqa: RUF012
    made: list[Stream] = []  # noqa: RUF012

    def __init__(self, non_blocking: bool = False) -> None:
        assert non_blocking  # else it would wait for the legacy stream
        self.queue: list[Any] = []
        self.captured: list[Any] | None = None
        Stream.made.append(self)

    def __enter__(self) -> Stream:
        Stream.current.append(self)
        return self

    def __exit__(self, *_: Any) -> None:
        assert Stream.current.pop() is self

    def record(self, event: Event | None = None) -> Event:
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        if self is Stream.current[-1]:
            event.synchronize()
        else:
            self.queue.append(event.synchronize)

    def synchronize(self) -> None:
        while self.queue:
            self.queue.pop(0)()

    def begin_capture(self) -> None:
        self.captured = []

    def end_capture(self) -> Any:
        launches, self.captured = self.captured, None
        return types.SimpleNamespace(launch=lambda stream: [again() for again in launches])


class Pinned(bytearray):
    @property
    def mem(self) -> Any:
        return types.SimpleNamespace(size=len(self))


class Device:
    attributes = {"MultiProcessorCount": 1}  # noqa: RUF012

    def __init__(self, ordinal: int) -> None:
        assert ordinal == 0

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *_: Any) -> None:
        pass


class RawModule:
    turn = itertools.count(1)

    def __init__(self, *, code: str, options: tuple) -> None:
        assert all(type(option) is str for option in options) and f"-I{SOURCES}" in options
        (file,) = (path for path in SOURCES.glob("*.cu") if path.read_text() == code)
        self.library = load(file)

    def get_function(self, name: str) -> Any:
        def kernel(grid: tuple, block: tuple, values: tuple, *, enable_cooperative_groups: bool) -> None:
            assert all(
                type(value) in (np.int64, np.uint64) or isinstance(value, np.ndarray) for value in values
            )
            (blocks,), (threads,) = grid, block
            at_once = blocks if enable_cooperative_groups else 2

            def run() -> None:
                launch(self.library, name, blocks, threads, values, at_once, next(self.turn))

            captured = Stream.current[-1].captured
            run() if captured is None else captured.append(run)

        return types.SimpleNamespace(kernel=kernel)


class Cupy(types.ModuleType):
    """NumPy, but for what is here."""

    ndarray = np.ndarray
    cuda = types.SimpleNamespace(
        Device=Device,
        Stream=Stream,
        Event=Event,
        alloc_pinned_memory=Pinned,
        get_elapsed_time=lambda first, last: 1000 * (last.seconds - first.seconds),
        runtime=types.SimpleNamespace(
            getDeviceCount=lambda: 1,
            getDeviceProperties=lambda ordinal: {"name": b"a stand-in"},
            CUDARuntimeError=RuntimeError,
        ),
    )
    RawModule = RawModule

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    @staticmethod
    def empty(shape: Any, dtype: Any) -> np.ndarray:
        return np.full(shape, 0xA5, dtype).view(Array)

    @staticmethod
    def asnumpy(array: np.ndarray) -> np.ndarray:
        return np.array(array, copy=True, subok=False)


def pending() -> int:
    """Copies that nothing has waited for yet."""

    def copies(queue: list[Any]) -> int:
        return sum(
            copies(step.__self__.queue) if getattr(step, "__func__", None) is Event.synchronize else 1
            for step in queue
        )

    return max((copies(stream.queue) for stream in Stream.made), default=0)
