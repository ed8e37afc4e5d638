"""Which device does the work: the one seam between the Python layer and the kernels.

Above this module nobody asks which device it is on; what comes out is the same on all of them.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from gputok.text.pieces import TextBatch

SMALL_BYTES = 64 << 20
"""`auto` stays on the CPU below this: starting CUDA costs about as long as counting so much text on two cores.

An estimate from public figures of CUDA's start, not yet measured on a GPU. To measure it, run `gputok bench train` with
`--device cuda` on heads of a corpus, and look for the size at which both rows of gputok take as long.
"""
CUDA_BATCH_BYTES = 64 << 20  # of text that is read at a time for a GPU


class Backend(NamedTuple):
    """Where the work is done, and why there."""

    name: str  # "cpu", "cuda" (all devices), or "cuda:0" and so on
    reason: str  # for a person
    devices: tuple[Any, ...] = ()  # kernels.cuda.device.Device; none on the CPU

    @property
    def batch_bytes(self) -> int:
        """How much text to read at a time: a GPU wants more of it than a core's cache does."""
        from gputok.corpus import BATCH_BYTES

        return CUDA_BATCH_BYTES if self.devices else BATCH_BYTES


class _Found(NamedTuple):
    n_devices: int
    why_not: str = ""  # where there are none
    extra: bool = False  # only CuPy is missing


def choose(device: str | None = None, n_bytes: int | None = None) -> Backend:
    """The backend that `device` asks for: "auto", "cpu", "cuda" or "cuda:N"; None is GPUTOK_DEVICE, else "auto".

    "cuda" is every CUDA device: shards of a corpus are counted on each.
    n_bytes: size of the input where it is known; "auto" leaves small inputs to the CPU.
    RuntimeError: "cuda" was asked for, and there is no device. ValueError: any other word.
    """
    source = "device"
    if device is None:
        source, device = "GPUTOK_DEVICE", os.environ.get("GPUTOK_DEVICE") or "auto"
    if device == "cpu":
        return Backend("cpu", f"{source} asks for it")
    wanted = re.fullmatch(r"auto|cuda(?::(\d+))?", device)
    if wanted is None:
        raise ValueError(f'{source} must be "auto", "cpu", "cuda" or "cuda:1" and so on, not {device!r}')
    if device == "auto" and n_bytes is not None and n_bytes < SMALL_BYTES:
        return Backend("cpu", f"{n_bytes:,} bytes are too few to gain from a GPU")
    found = _look()
    if device == "auto":
        if found.extra:
            warnings.warn(found.why_not, stacklevel=3)
        if not found.n_devices:
            return Backend("cpu", found.why_not)
        return _cuda("cuda", range(found.n_devices), "a CUDA device answers and CuPy imports")
    ordinal = int(wanted[1] or 0)
    if ordinal >= found.n_devices:
        why = found.why_not or f"there are {found.n_devices} CUDA devices, numbered from 0"
        raise RuntimeError(f'{source}="{device}" can\'t be had: {why}')
    ordinals = [ordinal] if wanted[1] else range(found.n_devices)
    return _cuda(device, ordinals, f"{source} asks for it")


def choose_for(
    read: Callable[..., Iterator[TextBatch]], n_bytes: int | None, device: str | None
) -> tuple[Backend, Iterator[TextBatch]]:
    """The backend for the text that `read(batch_bytes=...)` gives, and its batches; the rest as in `choose`.

    Where nobody knows how much text there is and a GPU may be there, "auto" looks at the beginning of it first.
    """
    asked = device or os.environ.get("GPUTOK_DEVICE") or "auto"
    if n_bytes is not None or asked != "auto" or _driver_version() is None:
        chosen = choose(device, n_bytes)
        return chosen, read(batch_bytes=chosen.batch_bytes)
    batches = read(batch_bytes=CUDA_BATCH_BYTES)
    head = [*itertools.islice(batches, 2)]
    seen = sum(batch.data.nbytes for batch in head)
    return choose(device, seen), itertools.chain(head, batches)


def _cuda(name: str, ordinals: Iterable[int], reason: str) -> Backend:
    from gputok.kernels.cuda.device import cupy_device

    return Backend(name, reason, tuple(cupy_device(ordinal) for ordinal in ordinals))


def _look() -> _Found:
    """How many CUDA devices can be used."""
    driver = _driver_version()
    if driver is None:
        return _Found(0, "no NVIDIA driver is installed")
    try:
        import cupy
    except ImportError as error:
        if error.name != "cupy":  # it is there, and something that it needs is not
            return _Found(0, f"CuPy does not import: {' '.join(str(error).split())}")
        extra = "cuda13" if driver >= 13 else "cuda12"
        return _Found(0, f"there is an NVIDIA driver but no CuPy: pip install 'gputok[{extra}]'", extra=True)
    try:
        n = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return _Found(0, f"CUDA does not start: {error}")
    return _Found(n, "" if n else "the NVIDIA driver sees no device")


def _driver_version() -> int | None:
    """The major version of CUDA that the driver is for; None without a driver."""
    for name in ("libcuda.so.1", "nvcuda.dll"):
        try:
            driver = ctypes.CDLL(name)
        except OSError:
            continue
        version = ctypes.c_int(0)
        driver.cuDriverGetVersion(ctypes.byref(version))
        return version.value // 1000
    return None
