"""Where CUDA kernels run: an array module, and how a kernel is launched by name.

On a GPU the array module is CuPy. The tests put NumPy and an emulator in its place, and everything above stays the same.

A device has two lanes. A lane is a stream for work, a stream for copies and pinned memory of a fixed size; whoever works on
the device holds one. So what a device pins, and how many batches are on it, does not depend on the number of host threads.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import pathlib
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

SOURCES = pathlib.Path(__file__).parent
BATCH_BYTES = 64 << 20  # of text that is on a device at a time, for each of its lanes
LANES = 2  # of a device: the copies of one batch overlap with the kernels of another
PIECE_BYTES = 8 << 20  # that are copied at a time; CuPy rounds pinned memory up to a power of two
PADDING_BYTES = 16  # behind each array of an upload: kernels read text by whole words of 8 bytes
_OUT_OF_MEMORY = 2  # cudaErrorMemoryAllocation


class Device(NamedTuple):
    """An array module and `launch(file, kernel, blocks, threads, arguments)`.

    Arguments are arrays, whole numbers, None (a null pointer) or one struct (`struct`); all but the struct are 64 bits wide.
    With `together=True` all blocks are resident at the same time, so that they may wait for each other.
    """

    name: str  # of the card
    xp: ModuleType
    launch: Callable[..., None]
    blocks: int  # enough to fill the device, for kernels that stride over their work
    # `with active() as lane`: arrays are made, and all else is called, in this context, which holds a lane of the device.
    # `with active(lane)`: the same in a thread that helps the one which holds the lane.
    active: Callable[..., AbstractContextManager[Any]]
    # begins to copy NumPy arrays, or lists of arrays that become one; what is launched after the call of the result has them
    upload: Callable[[tuple], Callable[[], tuple]]
    download: Callable[[Any], np.ndarray]
    record: Callable[[], Any]  # a mark behind all work so far
    seconds: Callable[[Any, Any], float]  # of the device, between two marks
    # does launches, and gives a function that does them all again
    graph: Callable[[Callable[[], None]], Callable[[], None]]
    by_graph: bool = False  # whether launches that are repeated become one graph: see NOTES.md

    def struct(self, fields: tuple) -> np.ndarray:
        """uint64[len(fields)] on the host: addresses and whole numbers, for a kernel that takes a struct by value."""
        return np.array([field if isinstance(field, int) else address(field) for field in fields], np.uint64)


def offsets_of(xp: ModuleType, sizes: Any) -> Any:
    """int64[n + 1]: where each of so many elements begins, one after the other."""
    offsets = xp.zeros(len(sizes) + 1, xp.int64)
    if len(sizes):
        xp.cumsum(sizes, dtype=xp.int64, out=offsets[1:])
    return offsets


def address(array: Any) -> int:
    """Where the elements of a CuPy or NumPy array stand."""
    return array.data.ptr if hasattr(array.data, "ptr") else array.ctypes.data


def parts_of(array: np.ndarray | Sequence[np.ndarray]) -> Sequence[np.ndarray]:
    """The arrays that an element of an upload consists of."""
    return [array] if isinstance(array, np.ndarray) else array


class _Piece(NamedTuple):
    """Pinned memory that a piece of an array is copied through."""

    memory: Any
    copied: Any  # event behind the last copy


class _Lane:
    """Two streams and four pieces of pinned memory, two for each direction."""

    def __init__(self, cupy: ModuleType) -> None:
        self.working, self.copying = (cupy.cuda.Stream(non_blocking=True) for _ in range(2))
        try:
            pieces = [_Piece(cupy.cuda.alloc_pinned_memory(PIECE_BYTES), cupy.cuda.Event()) for _ in range(4)]
        except cupy.cuda.runtime.CUDARuntimeError as error:
            if error.status != _OUT_OF_MEMORY:
                raise
            raise MemoryError(
                f"{4 * PIECE_BYTES >> 20} MiB of pinned host memory can't be had for the GPU ({error}): free host "
                "memory, raise the limit of locked memory (ulimit -l), or use device='cpu'"
            ) from error
        self.up, self.down = itertools.cycle(pieces[:2]), itertools.cycle(pieces[2:])


class _Lanes:
    """The lanes of a device: made when they are first needed, held by one thread at a time."""

    def __init__(self, cupy: ModuleType) -> None:
        self._cupy, self._idle = cupy, []
        self._free = threading.Semaphore(LANES)

    @contextlib.contextmanager
    def held(self) -> Iterator[_Lane]:
        with self._free:
            lane = self._idle.pop() if self._idle else _Lane(self._cupy)  # a list's pop and append are atomic
            try:
                yield lane
            finally:  # what was made here may be used on other streams; what was copied to is free for all
                lane.copying.synchronize()
                lane.working.synchronize()
                self._idle.append(lane)


@functools.cache
def cupy_device(ordinal: int = 0) -> Device:
    """The CUDA device of this number, through CuPy; kernels are compiled at their first use and cached on disk."""
    import cupy

    with cupy.cuda.Device(ordinal) as device:
        blocks = 8 * device.attributes["MultiProcessorCount"]
        name = cupy.cuda.runtime.getDeviceProperties(ordinal)["name"].decode()
    lanes, own = _Lanes(cupy), threading.local()
    # CuPy's cache knows a source by its text, without that of our headers
    headers = zlib.crc32(b"".join(path.read_bytes() for path in sorted(SOURCES.glob("*.cuh"))))
    options = ("-std=c++17", f"-I{SOURCES}", f"-DGPUTOK_HEADERS={headers}")

    @functools.cache
    def function(file: str, kernel: str) -> Any:
        return cupy.RawModule(code=(SOURCES / file).read_text(), options=options).get_function(kernel)

    def argument(value: Any) -> Any:
        if isinstance(value, cupy.ndarray | np.ndarray):  # a NumPy array is a struct, whose bytes CuPy passes
            return value
        return np.uint64(0) if value is None else np.int64(value)

    def launch(
        file: str, kernel: str, n_blocks: int, n_threads: int, arguments: tuple, together: bool = False
    ) -> None:
        values = tuple(map(argument, arguments))
        # RawModule's own option for this links a library of the toolkit, which a barrier of our own does not need.
        run = function(file, kernel).kernel
        run((n_blocks,), (n_threads,), values, enable_cooperative_groups=together)

    @contextlib.contextmanager
    def active(lane: _Lane | None = None) -> Iterator[_Lane]:
        before = getattr(own, "lane", None)
        with cupy.cuda.Device(ordinal), contextlib.ExitStack() as stack:
            own.lane = lane = lane or before or stack.enter_context(lanes.held())
            try:
                with lane.working:
                    yield lane
            finally:
                own.lane = before

    def upload(arrays: tuple) -> Callable[[], tuple]:
        lane: _Lane = own.lane
        with lane.copying:  # memory comes from the stream that writes it first
            result = tuple(map(empty_like, arrays))
        lane.copying.wait_event(
            lane.working.record()
        )  # memory that the result has from earlier arrays is free by then
        for array, target in zip(arrays, result, strict=True):
            target, at = target.view(np.uint8), 0
            for part in parts_of(array):
                part = np.ascontiguousarray(part).view(np.uint8)
                for begin in range(0, len(part), PIECE_BYTES):
                    piece = part[begin : begin + PIECE_BYTES]
                    memory, copied = next(lane.up)
                    copied.synchronize()  # what went through this piece before
                    staged = np.frombuffer(memory, np.uint8, len(piece))
                    staged[:] = piece
                    target[at : at + len(piece)].set(staged, stream=lane.copying)
                    lane.copying.record(copied)
                    at += len(piece)
        behind = lane.copying.record()

        def arrived() -> tuple:
            lane.working.wait_event(behind)
            return result

        return arrived

    def empty_like(array: np.ndarray | Sequence[np.ndarray]) -> Any:
        parts = parts_of(array)
        size, dtype = sum(map(len, parts)), parts[0].dtype
        return cupy.empty(size + PADDING_BYTES // dtype.itemsize, dtype)[:size]

    def download(array: Any) -> np.ndarray:
        lane: _Lane = own.lane
        result, source = np.empty(array.shape, array.dtype), cupy.ascontiguousarray(array).view(np.uint8)
        target, waiting = result.reshape(-1).view(np.uint8), []

        def arrive(begin: int, staged: np.ndarray, copied: Any) -> None:
            copied.synchronize()
            target[begin : begin + len(staged)] = staged

        for begin in range(0, len(source), PIECE_BYTES):
            piece, (memory, copied) = source[begin : begin + PIECE_BYTES], next(lane.down)
            staged = np.frombuffer(memory, np.uint8, len(piece))
            piece.get(stream=lane.working, out=staged, blocking=False)
            lane.working.record(copied)
            waiting.append((begin, staged, copied))
            if len(waiting) == 2:  # the next piece is on its way while this one is copied out
                arrive(*waiting.pop(0))
        for each in waiting:
            arrive(*each)
        return result

    def record() -> Any:
        event = cupy.cuda.Event()
        event.record()
        return event

    def seconds(first: Any, last: Any) -> float:
        last.synchronize()
        return cupy.cuda.get_elapsed_time(first, last) / 1000

    def graph(launches: Callable[[], None]) -> Callable[[], None]:
        stream = own.lane.working
        launches()  # compiles what it needs, which may not be done while it is being captured
        stream.synchronize()
        stream.begin_capture()
        launches()
        captured = stream.end_capture()
        return lambda: captured.launch(stream)

    return Device(name, cupy, launch, blocks, active, upload, download, record, seconds, graph)
