"""Where CUDA kernels run: an array module, and how a kernel is launched by name.

On a GPU that is CuPy; the tests put NumPy and an emulator in its place, and everything above stays the same.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import pathlib
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

SOURCES = pathlib.Path(__file__).parent


class Device(NamedTuple):
    """An array module and `launch(file, kernel, blocks, threads, arguments)`.

    Arguments are arrays, whole numbers or None (a null pointer): all 64 bits wide. With `together=True`, all blocks are
    resident at a time, so that they may wait for each other.
    """

    name: str  # of the card
    xp: ModuleType
    launch: Callable[..., None]
    blocks: int  # enough to fill the device, for kernels that stride over their work
    # arrays are made, and all else is called, in this context
    active: Callable[[], AbstractContextManager[None]]
    # begins to copy NumPy arrays; what is launched after the call of the result has them
    upload: Callable[[tuple], Callable[[], tuple]]
    download: Callable[[Any], np.ndarray]
    record: Callable[[], Any]  # a mark behind all work so far
    seconds: Callable[[Any, Any], float]  # of the device, between two marks
    # does launches, and gives one that does them all again
    graph: Callable[[Callable[[], None]], Callable[[], None]]
    by_graph: bool = False  # whether launches that are repeated are to be one graph: see NOTES.md

    def pointers(self, arrays: tuple) -> Any:
        """uint64[len(arrays)] on the device: their addresses, for a kernel that takes a struct of pointers."""
        return self.xp.asarray(np.array([address(array) for array in arrays], np.uint64))


def offsets_of(xp: ModuleType, sizes: Any) -> Any:
    """int64[n + 1]: where each of so many elements begin, one after the other."""
    offsets = xp.zeros(len(sizes) + 1, xp.int64)
    if len(sizes):
        xp.cumsum(sizes, dtype=xp.int64, out=offsets[1:])
    return offsets


def address(array: Any) -> int:
    """Where the elements of a CuPy or NumPy array stand."""
    return array.data.ptr if hasattr(array.data, "ptr") else array.ctypes.data


class _Staging(NamedTuple):
    """Pinned memory that arrays are copied through, of which each thread has two in turn."""

    pinned: dict[int, Any]  # of the i-th array of an upload
    copied: Any  # event behind the last copy


@functools.cache
def cupy_device(ordinal: int = 0) -> Device:
    """The CUDA device of this number, through CuPy; kernels are compiled at their first use and cached on disk.

    Each thread that uses it has streams of its own: one for work, one for copies to the device. So one batch is copied
    while another is worked on, by one thread (an upload that is begun does not wait) or by two.
    """
    import cupy

    with cupy.cuda.Device(ordinal) as device:
        blocks = 8 * device.attributes["MultiProcessorCount"]
        name = cupy.cuda.runtime.getDeviceProperties(ordinal)["name"].decode()
    own = threading.local()
    # CuPy's cache knows a source by its text, without that of our headers
    headers = zlib.crc32(b"".join(path.read_bytes() for path in sorted(SOURCES.glob("*.cuh"))))
    options = ("-std=c++17", f"-I{SOURCES}", f"-DGPUTOK_HEADERS={headers}")

    @functools.cache
    def function(file: str, kernel: str) -> Any:
        return cupy.RawModule(code=(SOURCES / file).read_text(), options=options).get_function(kernel)

    def launch(
        file: str, kernel: str, n_blocks: int, n_threads: int, arguments: tuple, together: bool = False
    ) -> None:
        values = tuple(
            np.uint64(0) if a is None else a if isinstance(a, cupy.ndarray) else np.int64(a)
            for a in arguments
        )
        # RawModule's own option for this links a library of the toolkit, which a barrier of our own does not need.
        run = function(file, kernel).kernel
        run((n_blocks,), (n_threads,), values, enable_cooperative_groups=together)

    @contextlib.contextmanager
    def active() -> Iterator[None]:
        with cupy.cuda.Device(ordinal):
            if not hasattr(own, "working"):
                own.working, own.copying = (cupy.cuda.Stream(non_blocking=True) for _ in range(2))
                own.staging = itertools.cycle([_Staging({}, cupy.cuda.Event()) for _ in range(2)])
            with own.working:
                try:
                    yield
                finally:  # what was made here may be used on other streams; what was copied to is free for all
                    own.copying.synchronize()
                    own.working.synchronize()

    def upload(arrays: tuple) -> Callable[[], tuple]:
        (pinned, copied), working, copying = next(own.staging), own.working, own.copying
        result = tuple(cupy.empty(array.shape, array.dtype) for array in arrays)
        copied.synchronize()  # what went through these buffers, two uploads ago
        copying.wait_event(working.record())  # memory that the result has from earlier arrays is free by then
        for i, (array, target) in enumerate(zip(arrays, result, strict=True)):
            if i not in pinned or pinned[i].mem.size < array.nbytes:
                pinned[i] = cupy.cuda.alloc_pinned_memory(max(1, array.nbytes))
            staged = np.frombuffer(pinned[i], array.dtype, array.size).reshape(array.shape)
            staged[:] = array
            target.set(staged, stream=copying)
        copying.record(copied)
        behind = copying.record()  # by the time of the call, the buffers may have been used again

        def arrived() -> tuple:
            working.wait_event(behind)
            return result

        return arrived

    def record() -> Any:
        event = cupy.cuda.Event()
        event.record()
        return event

    def seconds(first: Any, last: Any) -> float:
        last.synchronize()
        return cupy.cuda.get_elapsed_time(first, last) / 1000

    def graph(launches: Callable[[], None]) -> Callable[[], None]:
        stream = own.working
        launches()  # compiles what it needs, which may not be done while it is being captured
        stream.synchronize()
        stream.begin_capture()
        launches()
        captured = stream.end_capture()
        return lambda: captured.launch(stream)

    return Device(
        name,
        cupy,
        launch,
        blocks,
        active,
        upload,
        cupy.asnumpy,
        record,
        seconds,
        graph,
    )
