"""As much of CuPy as gputok uses, on NumPy and the emulator, with its names and rules as CuPy 14's source has them.

It is as strict as CuPy, and as lazy as CUDA may be. An array takes only its like and plain numbers, is never turned into
one of NumPy's unasked, gives arrays of no dimensions for single elements, and serves only on the device that was current
when it was made. What is queued on a stream other than the current one happens only when something waits for it: work
that does not wait for its copy finds other bytes. `pending()` tells how many copies nobody has waited for yet.

`install()` puts it in CuPy's place: what runs after it takes this machine for one with two devices.
"""

from __future__ import annotations

import contextlib
import itertools
import operator
import sys
import threading
import time
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
from gputok.kernels.cuda.device import SOURCES

from gputok import backend
from tests.emulation.emulator import launch

own = threading.local()  # devices and streams that are current are those of a thread


def _current(kind: str) -> list[Any]:
    return own.__dict__.setdefault(kind, [])


# -- arrays


class ndarray:
    """An array of CuPy."""

    __array_ufunc__ = None

    def __init__(self, on_host: np.ndarray) -> None:
        self._on_host = on_host
        self.device = Device.now()

    def __getattr__(self, name: str) -> Any:
        if name not in ("shape", "dtype", "size", "ndim", "nbytes", "itemsize", "flags"):
            raise AttributeError(name)
        return getattr(self._on_host, name)

    @property
    def data(self) -> Any:
        return types.SimpleNamespace(ptr=self._on_host.ctypes.data if self.size else 0)

    def __array__(self, *_: Any) -> np.ndarray:
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    def __len__(self) -> int:
        return len(self._on_host)

    def __bool__(self) -> bool:
        return bool(self._on_host)

    def __int__(self) -> int:
        return int(self._on_host)

    def __getitem__(self, key: Any) -> ndarray:
        return ndarray(self._on_host[_key(key)])

    def __setitem__(self, key: Any, value: Any) -> None:
        self._on_host[_key(key)] = _plain(value)

    def astype(self, dtype: Any) -> ndarray:
        return ndarray(self._on_host.astype(dtype))

    def copy(self) -> ndarray:
        return ndarray(self._on_host.copy())

    def view(self, dtype: Any) -> ndarray:
        return ndarray(self._on_host.view(dtype))

    def reshape(self, *shape: int) -> ndarray:
        return ndarray(self._on_host.reshape(*shape))

    def sum(self, axis: int | None = None, dtype: Any = None) -> ndarray:
        return ndarray(np.asarray(self._on_host.sum(axis=axis, dtype=dtype)))

    def all(self) -> ndarray:
        return ndarray(np.asarray(self._on_host.all()))

    def set(self, array: np.ndarray, stream: Stream) -> None:
        assert (self.dtype, self.shape) == (array.dtype, array.shape)

        def copy() -> None:
            self._on_host[...] = array

        stream.queue.append(copy)


def _plain(value: Any) -> Any:
    """What NumPy takes for an operand."""
    if isinstance(value, ndarray):
        assert value.device == Device.now(), "an array of another device"
        return value._on_host
    if np.ndim(value):
        raise TypeError(f"Unsupported type {type(value)}")
    return value


def _key(key: Any) -> Any:
    """An index that gives an array where NumPy's gives a number."""
    parts = key if isinstance(key, tuple) else (key,)
    return (*(part if isinstance(part, slice) or part is ... else _plain(part) for part in parts), ...)


def _operators() -> Iterator[tuple[str, Any]]:
    def forward(function: Any) -> Any:
        return lambda a, b: ndarray(np.asarray(function(a._on_host, _plain(b))))

    def reflected(function: Any) -> Any:
        return lambda a, b: ndarray(np.asarray(function(_plain(b), a._on_host)))

    def in_place(function: Any) -> Any:
        def change(a: ndarray, b: Any) -> ndarray:
            function(a._on_host, _plain(b))
            return a

        return change

    for name in ("add", "sub", "mul", "floordiv", "and_", "or_", "rshift", "lshift"):
        word = name.rstrip("_")
        yield f"__{word}__", forward(getattr(operator, name))
        yield f"__r{word}__", reflected(getattr(operator, name))
        yield f"__i{word}__", in_place(getattr(operator, f"i{word}"))
    for name in ("eq", "ne", "lt", "le", "gt", "ge"):
        yield f"__{name}__", forward(getattr(operator, name))


for _name, _function in _operators():
    setattr(ndarray, _name, _function)


# -- cupy.cuda


class Device:
    attributes = {"MultiProcessorCount": 1}  # noqa: RUF012

    def __init__(self, ordinal: int) -> None:
        assert ordinal in (0, 1)
        self.ordinal = ordinal

    def __enter__(self) -> Device:
        _current("devices").append(self.ordinal)
        return self

    def __exit__(self, *_: Any) -> None:
        _current("devices").pop()

    @staticmethod
    def now() -> int:
        return _current("devices")[-1] if _current("devices") else 0


class Event:
    def __init__(self) -> None:
        self.queue, self.seconds = [], 0.0  # what was queued on its stream before it

    def record(self, stream: Stream | None = None) -> None:
        stream = stream or _current("streams")[-1]
        assert stream.captured is None, "an event in a graph has no time"
        self.queue, self.seconds = stream.queue, time.perf_counter()
        stream.queue = []
        stream.queue.append(self.synchronize)  # what comes later comes behind it

    def synchronize(self) -> None:
        while self.queue:
            self.queue.pop(0)()


class Stream:
    made: list[Stream] = []  # noqa: RUF012

    def __init__(self, non_blocking: bool = False) -> None:
        assert non_blocking  # else it would wait for the legacy stream
        self.queue: list[Any] = []
        self.captured: list[Any] | None = None
        self.device = Device.now()
        Stream.made.append(self)

    def __enter__(self) -> Stream:
        assert self.device == Device.now()
        _current("streams").append(self)
        return self

    def __exit__(self, *_: Any) -> None:
        assert _current("streams").pop() is self

    def record(self, event: Event | None = None) -> Event:
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        if self is _current("streams")[-1]:
            event.synchronize()
        else:
            self.queue.append(event.synchronize)

    def synchronize(self) -> None:
        assert self.captured is None
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


class RawModule:
    turn = itertools.count(1)

    def __init__(self, *, code: str, options: tuple) -> None:
        assert all(type(option) is str for option in options) and f"-I{SOURCES}" in options
        (self.source,) = (path for path in SOURCES.glob("*.cu") if path.read_text() == code)
        self.device = Device.now()

    def get_function(self, name: str) -> Any:
        def kernel(grid: tuple, block: tuple, values: tuple, *, enable_cooperative_groups: bool) -> None:
            assert all(type(value) in (np.int64, np.uint64, ndarray) for value in values)
            assert {self.device, *(a.device for a in values if type(a) is ndarray)} == {Device.now()}
            (blocks,), (threads,) = grid, block
            at_once = blocks if enable_cooperative_groups else 2
            arguments = tuple(None if type(value) is np.uint64 and value == 0 else value for value in values)

            def run() -> None:
                launch(self.source, name, blocks, threads, arguments, at_once, next(self.turn))

            captured = _current("streams")[-1].captured
            run() if captured is None else captured.append(run)

        return types.SimpleNamespace(kernel=kernel)


# -- the module


def _made(name: str) -> Any:
    function = getattr(np, name)
    return lambda size, *rest: ndarray(function(operator.index(size), *rest))


def _of_arrays(name: str) -> Any:
    function = getattr(np, name)
    return lambda *arrays: ndarray(function(*(array._on_host for array in arrays)))


class Cupy(types.ModuleType):
    """What there is of `cupy`."""

    ndarray = ndarray
    RawModule = RawModule
    cuda = types.SimpleNamespace(
        Device=Device,
        Stream=Stream,
        Event=Event,
        alloc_pinned_memory=Pinned,
        get_elapsed_time=lambda first, last: 1000 * (last.seconds - first.seconds),
        set_allocator=lambda allocator: None,
        runtime=types.SimpleNamespace(
            getDeviceCount=lambda: 2,
            getDeviceProperties=lambda ordinal: {"name": b"a stand-in"},
            CUDARuntimeError=RuntimeError,
        ),
    )
    uint8, uint16, uint32, uint64, int64 = np.uint8, np.uint16, np.uint32, np.uint64, np.int64
    zeros, ones, full, arange = map(staticmethod, map(_made, ("zeros", "ones", "full", "arange")))
    flatnonzero, argsort, searchsorted, empty_like = map(
        staticmethod, map(_of_arrays, ("flatnonzero", "argsort", "searchsorted", "empty_like"))
    )

    @staticmethod
    def empty(shape: Any, dtype: Any) -> ndarray:
        shape = shape if isinstance(shape, tuple) else operator.index(shape)
        return ndarray(np.full(shape, 0xA5, dtype))

    @staticmethod
    def asarray(array: Any, dtype: Any = None) -> ndarray:
        return array if isinstance(array, ndarray) else ndarray(np.array(array, dtype))

    @staticmethod
    def ascontiguousarray(array: ndarray) -> ndarray:
        return ndarray(np.ascontiguousarray(array._on_host))

    @staticmethod
    def concatenate(arrays: list[ndarray]) -> ndarray:
        return ndarray(np.concatenate([array._on_host for array in arrays]))

    @staticmethod
    def cumsum(a: ndarray, dtype: Any = None, out: ndarray | None = None) -> ndarray:
        result = ndarray(np.cumsum(a._on_host, dtype=dtype))
        if out is not None:
            out[:] = result
        return result

    @staticmethod
    def asnumpy(array: ndarray) -> np.ndarray:
        return array._on_host.copy()

    @staticmethod
    def get_default_memory_pool() -> Any:
        return types.SimpleNamespace(free_all_blocks=lambda: None, set_limit=lambda size: None)


def install() -> None:
    """Puts this in the place of CuPy and a driver."""
    sys.modules["cupy"] = Cupy("cupy")
    backend._driver_version = lambda: 13


@contextlib.contextmanager
def installed(monkeypatch: Any) -> Iterator[None]:
    """The same, until the block is left."""
    from gputok.kernels.cuda.device import cupy_device

    monkeypatch.setitem(sys.modules, "cupy", Cupy("cupy"))
    monkeypatch.setattr(backend, "_driver_version", lambda: 13)
    monkeypatch.setattr(Stream, "made", [])
    cupy_device.cache_clear()
    yield
    cupy_device.cache_clear()


def pending() -> int:
    """Copies that nothing has waited for yet."""

    def copies(queue: list[Any]) -> int:
        return sum(
            copies(step.__self__.queue) if getattr(step, "__func__", None) is Event.synchronize else 1
            for step in queue
        )

    return max((copies(stream.queue) for stream in Stream.made), default=0)
