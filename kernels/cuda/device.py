"""Where CUDA kernels run: an array module, and how a kernel is launched by name.

On a GPU that is CuPy; the tests put NumPy and an emulator in its place, and everything above stays the same.
"""

from __future__ import annotations

import functools
import itertools
import pathlib
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

SOURCES = pathlib.Path(__file__).parent


class Device(NamedTuple):
    """An array module and `launch(file, kernel, blocks, threads, arguments)`.

    Arguments are arrays, whole numbers or None (a null pointer): all 64 bits wide.
    """

    xp: ModuleType
    launch: Callable[[str, str, int, int, tuple], None]
    blocks: int  # enough to fill the device, for kernels that stride over their work
    upload: Callable[[tuple], tuple]  # NumPy arrays to the device, without waiting for the copy
    download: Callable[[Any], np.ndarray]
    out_of_memory: type[BaseException]

    def pointers(self, arrays: tuple) -> Any:
        """uint64[len(arrays)] on the device: their addresses, for a kernel that takes a struct of pointers."""
        return self.xp.asarray(np.array([address(array) for array in arrays], np.uint64))


def address(array: Any) -> int:
    """Where the elements of a CuPy or NumPy array stand."""
    return array.data.ptr if hasattr(array.data, "ptr") else array.ctypes.data


@functools.cache
def cupy_device(ordinal: int = 0) -> Device:
    """The CUDA device of this number, through CuPy; kernels are compiled at their first use and cached on disk."""
    import cupy

    with cupy.cuda.Device(ordinal) as device:
        blocks = 8 * device.attributes["MultiProcessorCount"]

    @functools.cache
    def module(file: str) -> Any:
        options = ("-std=c++17", f"-I{SOURCES}")
        return cupy.RawModule(code=(SOURCES / file).read_text(), options=options)

    @functools.cache
    def function(file: str, kernel: str) -> Any:
        return module(file).get_function(kernel)

    def launch(file: str, kernel: str, n_blocks: int, n_threads: int, arguments: tuple) -> None:
        values = tuple(
            np.uint64(0) if a is None else a if isinstance(a, cupy.ndarray) else np.int64(a)
            for a in arguments
        )
        with cupy.cuda.Device(ordinal):
            function(file, kernel)((n_blocks,), (n_threads,), values)

    copying, buffers = cupy.cuda.Stream(non_blocking=True), itertools.cycle([{}, {}])

    def upload(arrays: tuple) -> tuple:
        # Through two sets of pinned buffers in turn, so that one batch is copied while another is worked on.
        pinned = next(buffers)
        result = []
        with cupy.cuda.Device(ordinal), copying:
            copying.synchronize()  # the buffers were last used two batches ago
            for i, array in enumerate(arrays):
                if i not in pinned or pinned[i].mem.size < array.nbytes:
                    pinned[i] = cupy.cuda.alloc_pinned_memory(max(1, array.nbytes))
                staged = np.frombuffer(pinned[i], array.dtype, array.size)
                staged[:] = array
                result.append(cupy.empty(array.shape, array.dtype))
                result[-1].set(staged, stream=copying)
            ready = copying.record()
        cupy.cuda.get_current_stream().wait_event(ready)
        return tuple(result)

    return Device(cupy, launch, blocks, upload, cupy.asnumpy, cupy.cuda.memory.OutOfMemoryError)
