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

    xp: ModuleType
    launch: Callable[..., None]
    blocks: int  # enough to fill the device, for kernels that stride over their work
    active: Callable[
        [], AbstractContextManager[None]
    ]  # arrays are made, and all else is called, in this context
    upload: Callable[[tuple], tuple]  # NumPy arrays to the device, without waiting for the copy
    download: Callable[[Any], np.ndarray]
    out_of_memory: type[BaseException]
    record: Callable[[], Any]  # a mark behind all work so far
    seconds: Callable[[Any, Any], float]  # of the device, between two marks
    graph: Callable[
        [Callable[[], None]], Callable[[], None]
    ]  # launches, made one that can be called many times

    def pointers(self, arrays: tuple) -> Any:
        """uint64[len(arrays)] on the device: their addresses, for a kernel that takes a struct of pointers."""
        return self.xp.asarray(np.array([address(array) for array in arrays], np.uint64))


def address(array: Any) -> int:
    """Where the elements of a CuPy or NumPy array stand."""
    return array.data.ptr if hasattr(array.data, "ptr") else array.ctypes.data


@functools.cache
def cupy_device(ordinal: int = 0) -> Device:
    """The CUDA device of this number, through CuPy; kernels are compiled at their first use and cached on disk.

    Each thread that uses it has streams of its own: one for work, one for copies to the device. So one batch is copied
    while another is worked on, by one thread (`upload` does not wait) or by two.
    """
    import cupy

    with cupy.cuda.Device(ordinal) as device:
        blocks = 8 * device.attributes["MultiProcessorCount"]
    own = threading.local()
    # CuPy's cache knows a source by its text, without that of our headers
    headers = zlib.crc32(b"".join(path.read_bytes() for path in sorted(SOURCES.glob("*.cuh"))))
    options = ("-std=c++17", f"-I{SOURCES}", f"-DGPUTOK_HEADERS={headers}")

    @functools.cache
    def function(file: str, kernel: str, together: bool) -> Any:
        code = (SOURCES / file).read_text()
        module = cupy.RawModule(code=code, options=options, enable_cooperative_groups=together)
        return module.get_function(kernel)

    def launch(
        file: str, kernel: str, n_blocks: int, n_threads: int, arguments: tuple, together: bool = False
    ) -> None:
        values = tuple(
            np.uint64(0) if a is None else a if isinstance(a, cupy.ndarray) else np.int64(a)
            for a in arguments
        )
        function(file, kernel, together)((n_blocks,), (n_threads,), values)

    @contextlib.contextmanager
    def active() -> Iterator[None]:
        with cupy.cuda.Device(ordinal):
            if not hasattr(own, "working"):
                own.working, own.copying = (cupy.cuda.Stream(non_blocking=True) for _ in range(2))
                own.buffers = itertools.cycle([{}, {}])
            with own.working:
                yield
                own.working.synchronize()  # what was made here may be used on other streams

    def upload(arrays: tuple) -> tuple:
        # Through two sets of pinned buffers in turn, so that one batch is copied while another is worked on.
        pinned, working, copying = next(own.buffers), own.working, own.copying
        result = tuple(cupy.empty(array.shape, array.dtype) for array in arrays)
        copying.synchronize()  # the buffers were last used two batches ago
        copying.wait_event(working.record())  # memory that the result has from earlier arrays is free by then
        for i, (array, target) in enumerate(zip(arrays, result, strict=True)):
            if i not in pinned or pinned[i].mem.size < array.nbytes:
                pinned[i] = cupy.cuda.alloc_pinned_memory(max(1, array.nbytes))
            staged = np.frombuffer(pinned[i], array.dtype, array.size).reshape(array.shape)
            staged[:] = array
            target.set(staged, stream=copying)
        working.wait_event(copying.record())
        return result

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
        cupy,
        launch,
        blocks,
        active,
        upload,
        cupy.asnumpy,
        cupy.cuda.memory.OutOfMemoryError,
        record,
        seconds,
        graph,
    )
