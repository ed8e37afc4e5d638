"""As much of CuPy as gputok uses, on NumPy and the emulator, with its names and rules as CuPy 14's source has them.

It is as strict as CuPy, and as lazy as CUDA may be:

- There is nothing of CuPy that NVRTC would have to compile at run time: no arithmetic, comparison, sum, sort, or
  assignment to elements. An array has slices, views and copies; it is never turned into one of NumPy's unasked, gives
  arrays of no dimensions for single elements, and serves only on the device that was current when it was made.
- Kernels and copies are queued on their stream, and happen only when something waits for them: until then, work finds
  other bytes. Array operations wait for what was queued on their own stream, as they come after it.
- Memory that nothing has hold of is given to the next array of its size that is made on the same stream, at once,
  whatever is still queued: kernels have addresses, not arrays.
- A wait that keeps a core busy is refused: of a stream, of an event that does not block, for an element as a number.
- `faults` bounds pinned memory and has allocations fail.
- CuPy itself decides what a launch may pass, where it is installed: its `Function` is asked before each (`accepted`).

`pending()` tells how many copies have not happened yet. `install()` makes it the module `cupy`: what runs after it
takes this machine for one with two devices.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import operator
import pathlib
import sys
import threading
import time
import types
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from gputok.kernels.cuda.device import SOURCES

from gputok import backend
from tests.bench.device import PROBE
from tests.emulation import signatures

try:
    import cupy as real  # imports without a driver
    from cupy.cuda.function import Function
except ImportError:
    real = Function = None
from tests.emulation.emulator import launch_raw
from tests.emulation.memory import MEMORY, OWNED, WRITTEN

own = threading.local()  # devices and streams that are current are those of a thread
lock = threading.RLock()  # one thread at a time does what was queued, or takes memory


def _current(kind: str) -> list[Any]:
    return own.__dict__.setdefault(kind, [])


# -- memory


class CUDARuntimeError(RuntimeError):
    def __init__(self, status: int) -> None:
        super().__init__(f"cudaError {status}")
        self.status = status


class CUDADriverError(RuntimeError):
    pass


class OutOfMemoryError(MemoryError):
    pass


class Faults:
    """What goes wrong on request, and what was used."""

    def __init__(self) -> None:
        self.pinned_limit = 1 << 40  # bytes
        self.pinned = 0  # bytes at present
        self.fails_at: set[int] = set()  # numbers of allocations, from 0
        self.allocations = 0
        self.limit = 1 << 40  # bytes of a device
        self.used: defaultdict[int, int] = defaultdict(int)  # bytes of each device
        self.reserved: defaultdict[int, int] = defaultdict(int)  # with those that the pool keeps for later
        self.most_used = 0
        self.given_again = 0  # blocks
        self.no_compiler = False
        self.n_waits_for_all = 0  # streams of a device
        self.made = 0  # blocks that no pool had

    def allocate(self, device: int, n_bytes: int) -> None:
        number, self.allocations = self.allocations, self.allocations + 1
        if number in self.fails_at or self.used[device] + n_bytes > self.limit:
            raise OutOfMemoryError(f"Out of memory allocating {n_bytes} bytes")
        self.used[device] += n_bytes
        self.most_used = max(self.most_used, self.used[device])


faults = Faults()
free: defaultdict[tuple[Any, ...], list[np.ndarray]] = defaultdict(list)  # blocks by device, stream and size


class Block:
    """Memory of a device, which goes back to the stream that it came from."""

    def __init__(self, n_bytes: int) -> None:
        self.device, self.n_bytes = Device.now(), max(512, -(-n_bytes // 512) * 512)
        stream = _current("streams")[-1] if _current("streams") else None
        pool = _current("pools")[-1] if _current("pools") else None
        self.home = self.device, id(stream), self.n_bytes, id(pool)
        with lock:
            faults.allocate(self.device, self.n_bytes)
            self.faults = faults
            if free[self.home]:
                self.memory = free[self.home].pop()
                self._forget(stream)
                faults.given_again += 1
            else:
                self.memory = MEMORY.empty(self.n_bytes, np.uint8)
                faults.reserved[self.device] += self.n_bytes
                faults.made += 1

    def _forget(self, stream: Stream | None) -> None:
        """What was written there is nothing to the new owner, but what is queued may still read it."""
        state = MEMORY.state(self.memory)
        if stream is None:
            state[...] = OWNED
        else:
            stream.add("forget", lambda: state.fill(OWNED))

    def __del__(self) -> None:
        if hasattr(self, "memory"):
            if self.faults is faults:  # not of a test before
                free[self.home].append(self.memory)
            self.faults.used[self.device] -= self.n_bytes


class MemoryPool:
    """A pool of CuPy's, beside its own."""

    def malloc(self, size: int) -> None:
        """Is a name for `using_allocator`."""

    def _unused(self) -> list[tuple[Any, ...]]:
        """Whose memory it has on the current device."""
        return [home for home in free if (home[0], home[3]) == (Device.now(), id(self))]

    def free_all_blocks(self) -> None:
        """Gives the unused memory of the current device back, for which CUDA waits for all that uses the device."""
        with lock:
            if any(free[home] for home in self._unused()):
                Device(Device.now()).synchronize()
            for home in self._unused():
                faults.reserved[home[0]] -= home[2] * len(free[home])
                free[home].clear()

    def free_bytes(self) -> int:
        """The unused memory of the current device."""
        return sum(home[2] * len(free[home]) for home in self._unused())

    def set_limit(self, size: int) -> None:
        pass


@contextlib.contextmanager
def using_allocator(allocator: Any) -> Iterator[None]:
    """Takes memory from the pool of this method."""
    _current("pools").append(allocator.__self__)
    try:
        yield
    finally:
        _current("pools").pop()


class UnownedMemory(NamedTuple):
    """Memory that has an owner, whom it keeps alive."""

    ptr: int
    size: int
    owner: Any
    device_id: int

    @property
    def memory(self) -> np.ndarray:
        return np.frombuffer((ctypes.c_uint8 * self.size).from_address(self.ptr), np.uint8)

    @property
    def device(self) -> int:
        return self.device_id


# -- arrays


def catch_up() -> None:
    """What an array operation does first: it comes after all that was queued on its stream."""
    if streams := _current("streams"):
        streams[-1].catch_up()


class Pointer(NamedTuple):
    """A MemoryPointer of CuPy."""

    ptr: int

    def memset_async(self, value: int, size: int, stream: Stream) -> None:
        """Queues setting bytes."""

        def work() -> None:
            ctypes.memset(self.ptr, value, size)
            MEMORY.state_at(self.ptr, size)[...] = WRITTEN

        stream.add("set", work)

    def copy_from_device_async(self, source: Pointer, size: int, stream: Stream) -> None:
        """Queues a copy within the device."""

        def copy() -> None:
            ctypes.memmove(self.ptr, source.ptr, size)
            MEMORY.state_at(self.ptr, size)[...] = MEMORY.state_at(source.ptr, size)

        stream.add("copy", copy)


def _array_in(shape: tuple[int], dtype: Any, memptr: tuple[UnownedMemory, int]) -> ndarray:
    """`cupy.ndarray(shape, dtype, memptr)`."""
    memory, offset = memptr
    n_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return ndarray(memory.memory[offset : offset + n_bytes].view(dtype).reshape(shape), memory)


class ndarray:
    """An array of CuPy."""

    __array_ufunc__ = None

    def __init__(self, array: np.ndarray, block: Block | None = None) -> None:
        """Of a NumPy array: a view into a block, or what is to be copied to a new one."""
        if block is None:
            block = Block(array.nbytes)
            catch_up()  # this comes after what still uses the memory
            copy = block.memory[: array.nbytes].view(array.dtype).reshape(array.shape)
            array = MEMORY.written(copy, array)
        self._block, self._array = block, array
        self.device = block.device

    @classmethod
    def _empty(cls, shape: Any, dtype: Any) -> ndarray:
        shape = shape if isinstance(shape, tuple) else (operator.index(shape),)
        n_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        block = Block(n_bytes)
        return cls(block.memory[:n_bytes].view(dtype).reshape(shape), block)

    @property
    def _on_host(self) -> np.ndarray:
        """Its elements, for an operation on the current stream."""
        catch_up()
        return self._array

    def _view(self, array: np.ndarray) -> ndarray:
        if array.size and np.shares_memory(array, self._block.memory):
            return ndarray(array, self._block)
        return ndarray(array)

    def __getattr__(self, name: str) -> Any:
        if name not in ("shape", "dtype", "size", "ndim", "nbytes", "itemsize", "flags"):
            raise AttributeError(name)
        return getattr(self._array, name)

    @property
    def data(self) -> Pointer:
        assert self.device == Device.now(), "an array of another device"
        return Pointer(self._array.ctypes.data if self.size else 0)

    def __dlpack__(self, *, stream: int, max_version: Any = None) -> ndarray:
        assert stream == -1, "who has a stream of its own waits by itself"
        return self

    def __array__(self, *_: Any) -> np.ndarray:
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    def __len__(self) -> int:
        return len(self._array)

    def __int__(self) -> int:
        raise TypeError("a copy to memory that is not pinned, and a wait that keeps a core busy")

    def __getitem__(self, key: slice | int) -> ndarray:
        if not isinstance(key, slice | int):
            raise TypeError("an index that is no slice and no number would be a kernel of CuPy")
        return self._view(np.asarray(self._array[key, ...]))

    def view(self, dtype: Any) -> ndarray:
        return self._view(self._array.view(dtype))

    def set(self, array: np.ndarray, stream: Stream) -> None:
        assert (self.dtype, self.shape) == (array.dtype, array.shape) and array.flags.c_contiguous
        assert Pinned.has(array), "the source of a copy for which the host does not wait must be pinned"
        target, source = self._array, array.ctypes.data  # an address keeps nothing alive

        def copy() -> None:
            ctypes.memmove(target.ctypes.data, source, target.nbytes)
            MEMORY.state(target)[...] = WRITTEN

        stream.add("copy", copy)

    def get(self, stream: Stream, *, out: np.ndarray, blocking: bool) -> None:
        assert (self.dtype, self.shape) == (out.dtype, out.shape) and not blocking
        source = self._array

        def copy() -> None:
            out[...] = MEMORY.on_host(source)

        stream.add("copy", copy)


# -- cupy.cuda


class Device:
    attributes = {"MultiProcessorCount": 1, "MaxThreadsPerMultiProcessor": 1024}  # noqa: RUF012
    registers = 64  # of a thread of each kernel

    def __init__(self, ordinal: int) -> None:
        assert ordinal in (0, 1)
        self.ordinal = ordinal

    def __enter__(self) -> Device:
        _current("devices").append(self.ordinal)
        return self

    def __exit__(self, *_: Any) -> None:
        _current("devices").pop()

    def synchronize(self) -> None:
        faults.n_waits_for_all += 1
        for stream in Stream.made:
            if stream.device == self.ordinal:
                stream.catch_up()

    @staticmethod
    def now() -> int:
        return _current("devices")[-1] if _current("devices") else 0


class Event:
    def __init__(self, block: bool = False, disable_timing: bool = False) -> None:
        self.stream, self.index, self.seconds = None, 0, None if disable_timing else 0.0
        self.block = block

    def record(self, stream: Stream | None = None) -> None:
        stream = stream or _current("streams")[-1]
        assert stream.captured is None, "an event in a graph has no time"
        with lock:
            self.stream, self.index = stream, stream.n_queued
            self.seconds = None if self.seconds is None else time.perf_counter()

    @property
    def done(self) -> bool:
        return self.stream is None or self.index <= self.stream.n_done

    def synchronize(self) -> None:
        assert self.block, "a wait that keeps a core busy"
        if self.stream is not None:
            self.stream.catch_up(self.index)


class Stream:
    made: list[Stream] = []  # noqa: RUF012
    null: Stream

    def __init__(self, non_blocking: bool = False) -> None:
        assert non_blocking  # else it would wait for the legacy stream
        self.queue: list[tuple[str, Any]] = []
        self.n_queued = self.n_done = 0
        self.captured: list[Any] | None = None
        self.device = Device.now()
        Stream.made.append(self)

    @property
    def ptr(self) -> int:
        return id(self)

    def __enter__(self) -> Stream:
        assert self.device == Device.now()
        _current("streams").append(self)
        return self

    def __exit__(self, *_: Any) -> None:
        assert _current("streams").pop() is self

    def add(self, kind: str, work: Any) -> None:
        with lock:
            self.queue.append((kind, work))
            self.n_queued += 1

    def catch_up(self, index: int | None = None) -> None:
        """Does what was queued before an index, or all that was queued until now."""
        with lock:
            index = self.n_queued if index is None else index
            while self.n_done < index:
                self.n_done += 1
                self.queue.pop(0)[1]()

    def record(self, event: Event) -> Event:
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        stream, index = event.stream, event.index  # as they are now, whatever is recorded later
        if stream is not None:
            self.add("wait", lambda: stream.catch_up(index))

    def begin_capture(self) -> None:
        self.captured = []

    def end_capture(self) -> Any:
        launches, self.captured = self.captured, None

        def again(stream: Stream) -> None:
            for launch in launches:
                stream.add("kernel", launch)

        return types.SimpleNamespace(launch=again)


def ExternalStream(ptr: int) -> Stream:
    """The stream of this address."""
    return next((stream for stream in Stream.made if stream.ptr == ptr), None) or _gone(ptr)


def _gone(ptr: int) -> Stream:
    if ptr == 1:  # the legacy stream
        return Stream.null
    raise CUDARuntimeError(400)


class _Null(Stream):
    """The legacy stream, of every device."""

    def __init__(self) -> None:
        self.queue, self.n_queued, self.n_done, self.captured = [], 0, 0, None

    def __enter__(self) -> Stream:
        _current("streams").append(self)
        return self


Stream.null = _Null()


class Pinned(bytearray):
    """Pinned memory, whose size CuPy rounds up to a power of two."""

    sizes: dict[int, int] = {}  # noqa: RUF012  # of each, by its address

    @classmethod
    def has(cls, array: np.ndarray) -> bool:
        return cls.covers(array.ctypes.data, array.nbytes)

    @classmethod
    def covers(cls, at: int, n_bytes: int = 0) -> bool:
        with lock:  # another thread may add an entry meanwhile
            sizes = cls.sizes.copy()  # and what garbage is collected take one away
        return any(0 <= at - begin <= size - max(n_bytes, 1) for begin, size in sizes.items())

    def __init__(self, size: int) -> None:
        self.faults, self.size = faults, 1 << max(9, (size - 1).bit_length())
        if faults.pinned + self.size > faults.pinned_limit:
            self.size = 0
            raise CUDARuntimeError(2)
        super().__init__(size)
        faults.pinned += self.size
        self.address = np.frombuffer(self, np.uint8).ctypes.data
        with lock:
            Pinned.sizes[self.address] = size

    def __del__(self) -> None:
        self.faults.pinned -= self.size
        if self.size:
            with lock:
                del Pinned.sizes[self.address]


def accepted(grid: tuple, block: tuple, values: tuple, together: bool) -> None:
    """Raises TypeError if CuPy does not take these arguments of a launch: it converts them before it asks a device."""
    if real is None:
        for value in values:
            if isinstance(value, np.ndarray) and value.size != 1:
                raise TypeError(f"a numpy.ndarray of shape {value.shape} as a kernel parameter")
            if not isinstance(value, np.ndarray | np.generic | int):
                raise TypeError(f"Unsupported type {type(value)}")
        return
    try:
        stream = types.SimpleNamespace(ptr=0)
        Function.__new__(Function)(grid, block, values, stream=stream, enable_cooperative_groups=together)
    except (real.cuda.runtime.CUDARuntimeError, real.cuda.driver.CUDADriverError):
        return
    raise AssertionError("CuPy launched nothing")


class RawModule:
    turn = itertools.count(1)

    def __init__(self, *, code: str | None = None, path: str | None = None, options: tuple = ()) -> None:
        self.cubin, self.device = path, Device.now()
        if path is not None:  # which is loaded when a function is asked for
            assert code is None and not options
            self.source = SOURCES / f"{pathlib.Path(path).name.split('.')[0]}.cu"
            return
        if faults.no_compiler:
            raise RuntimeError("there is no NVRTC")
        assert all(type(option) is str for option in options) and f"-I{SOURCES}" in options
        (self.source,) = (path for path in [*SOURCES.glob("*.cu"), pathlib.Path(PROBE)] if path.read_text() == code)

    def get_function(self, name: str) -> Any:
        if self.cubin is not None and pathlib.Path(self.cubin).read_bytes() == b"too new":
            raise CUDADriverError("CUDA_ERROR_NO_BINARY_FOR_GPU")

        def kernel(grid: tuple, block: tuple, values: tuple, *, enable_cooperative_groups: bool) -> None:
            accepted(grid, block, values, enable_cooperative_groups)
            assert self.device == Device.now()
            (blocks,), (threads,) = grid, block
            at_once = blocks if enable_cooperative_groups else 2
            signatures.check(self.source, name, values)
            # As when a kernel is launched; the addresses in them keep nothing alive
            structs = [value.copy() for value in values]

            def run() -> None:
                launch_raw(self.source, name, blocks, threads, structs, at_once=at_once, seed=next(self.turn))

            stream = _current("streams")[-1]
            if stream.captured is None:
                stream.add("kernel", run)
            else:
                stream.captured.append(run)

        return types.SimpleNamespace(kernel=kernel, num_regs=Device.registers)


# -- the module


def _compiler_version() -> tuple[int, int]:
    if faults.no_compiler:
        raise RuntimeError("there is no NVRTC")
    return 13, 0


class Cupy(types.ModuleType):
    """What there is of `cupy`."""

    RawModule = RawModule
    cuda = types.SimpleNamespace(
        Device=Device,
        Stream=Stream,
        Event=Event,
        ExternalStream=ExternalStream,
        MemoryPointer=lambda memory, offset: (memory, offset),
        MemoryPool=MemoryPool,
        UnownedMemory=UnownedMemory,
        using_allocator=using_allocator,
        alloc_pinned_memory=Pinned,
        pinned_memory=types.SimpleNamespace(is_memory_pinned=Pinned.covers),
        get_elapsed_time=lambda first, last: 1000 * (last.seconds - first.seconds),
        set_allocator=lambda allocator: None,
        runtime=types.SimpleNamespace(
            getDeviceCount=lambda: 2,
            getDeviceProperties=lambda ordinal: {"name": b"a stand-in", "major": 9, "minor": 0},
            CUDARuntimeError=CUDARuntimeError,
        ),
        driver=types.SimpleNamespace(CUDADriverError=CUDADriverError),
        nvrtc=types.SimpleNamespace(getVersion=_compiler_version),
    )
    uint8, uint16, uint32, uint64 = np.uint8, np.uint16, np.uint32, np.uint64
    int32, int64 = np.int32, np.int64
    empty, ndarray = staticmethod(ndarray._empty), staticmethod(_array_in)

    @staticmethod
    def zeros(shape: Any, dtype: Any) -> ndarray:
        return ndarray(np.zeros(shape, dtype))

    @staticmethod
    def asarray(array: np.ndarray) -> ndarray:
        return ndarray(np.array(array))


def install(sizes: Any = None) -> None:
    """Makes this the module `cupy`, and pretends that there is a driver; sizes: `Device.sizes` of the devices."""
    from gputok.kernels.cuda import device

    device.SIZES = sizes or device.SIZES
    sys.modules["cupy"] = Cupy("cupy")
    backend._driver_version = lambda: 13


@contextlib.contextmanager
def installed(monkeypatch: Any, sizes: Any = None) -> Iterator[None]:
    """The same, until the block is left."""
    from gputok.kernels.cuda import device
    from gputok.kernels.cuda.device import _made as _made_device

    if sizes is not None:
        monkeypatch.setattr(device, "SIZES", sizes)
    monkeypatch.setitem(sys.modules, "cupy", Cupy("cupy"))
    monkeypatch.setattr(backend, "_driver_version", lambda: 13)
    monkeypatch.setattr(Stream, "made", [])
    monkeypatch.setattr(sys.modules[__name__], "faults", Faults())
    free.clear()
    _made_device.cache_clear()
    yield
    _made_device.cache_clear()


def pending() -> int:
    """Copies that have not happened yet, and whose time has not come by something that waits."""
    with lock:
        return sum(kind == "copy" for stream in Stream.made for kind, _ in stream.queue)
