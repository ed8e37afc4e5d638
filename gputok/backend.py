"""Which device does the work: the CPU, or CUDA devices. The results are the same on all of them.

CUDA devices get work from the modules `devices` of `gputok.pipeline` (counting words, encoding) and from
`gputok.models.bpe.trainer` (merging pairs); all other modules work on the CPU.
"""

from __future__ import annotations

import ctypes
import functools
import os
import re
from typing import Any

from gputok.kernels.signatures import NamedTuple

LEAST_CAPABILITY = (7, 0)  # kernels need independent scheduling of the threads of a warp, and `__nanosleep`
_NO_DRIVER = "no NVIDIA driver is installed"
# Version of CUDA -> the oldest device for which its compiler, NVRTC, makes code. CUDA 12 serves all that kernels run on
_LEAST_OF_COMPILER = {13: (7, 5)}


class Backend(NamedTuple):
    """Where the work is done, and why there."""

    name: str  # "cpu", "cuda" (all devices), or "cuda:0" and so on
    reason: str  # why it was chosen, in words for a person
    devices: tuple[Any, ...] = ()  # objects of `gputok.kernels.cuda.device.Device`; empty if the CPU does the work


class _Found(NamedTuple):
    ordinals: tuple[int, ...] = ()  # the numbers of the CUDA devices that can be used
    why_not: str = ""  # why no other devices, or none at all, can be used


def choose(device: str | None = None) -> Backend:
    """The backend that `device` asks for.

    "auto" is the CPU: gputok has not been measured on a GPU yet, so that nothing says when a GPU is faster.

    Args:
        device: "auto", "cpu", "cuda" (every CUDA device that can be used: parts of a corpus are counted on each) or
            "cuda:N" (the device of this number). None: GPUTOK_DEVICE of the environment, or else "auto".

    Returns:
        The backend, with the reason for it.

    Raises:
        RuntimeError: A CUDA device was asked for that is not there or can't be used.
        ValueError: `device` is any other word.

    Example:
        >>> choose("cpu").name
        'cpu'
    """
    source = "device"
    if device is None:
        source, device = "GPUTOK_DEVICE", os.environ.get("GPUTOK_DEVICE") or "auto"
    if device == "cpu":
        return Backend("cpu", f"{source} asks for it")
    wanted = re.fullmatch(r"auto|cuda(?::(\d+))?", device)
    if wanted is None:
        raise ValueError(f'{source} must be "auto", "cpu", "cuda" or "cuda:1" and so on, not {device!r}')
    if device == "auto":
        unmeasured = 'gputok has not been measured on a GPU yet, so "auto" is the CPU: device="cuda" asks for the GPU'
        return Backend("cpu", unmeasured if _driver_version() is not None else _NO_DRIVER)
    found = _look()
    ordinals = (int(wanted[1]),) if wanted[1] else found.ordinals
    if not ordinals or not {*ordinals} <= {*found.ordinals}:
        usable = ", ".join(f"cuda:{ordinal}" for ordinal in found.ordinals)
        why = "; ".join(filter(None, [found.why_not, usable and f"usable: {usable}"]))
        raise RuntimeError(f'{source}="{device}" can\'t be had: {why}')
    from gputok.kernels.cuda.device import cupy_device

    return Backend(device, f"{source} asks for it", tuple(cupy_device(ordinal) for ordinal in ordinals))


def _look() -> _Found:
    """The CUDA devices that can be used, and why others can't."""
    driver = _driver_version()
    if driver is None:
        return _Found(why_not=_NO_DRIVER)
    try:
        import cupy
    except ImportError as error:
        if error.name != "cupy":  # CuPy is installed, but something that it imports is missing
            return _Found(why_not=f"CuPy does not import: {' '.join(str(error).split())}")
        extra = "cuda13" if driver >= 13 else "cuda12"
        return _Found(why_not=f"there is an NVIDIA driver but no CuPy: pip install 'gputok[{extra}]'")
    try:
        properties = [cupy.cuda.runtime.getDeviceProperties(i) for i in range(cupy.cuda.runtime.getDeviceCount())]
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return _Found(why_not=f"CUDA does not start: {error}")
    if not properties:
        return _Found(why_not="the NVIDIA driver sees no device")
    compiler = _compiler_version(cupy)
    reasons = {i: _unusable(i, card, compiler) for i, card in enumerate(properties)}
    ordinals = tuple(i for i, reason in reasons.items() if not reason)
    beyond = f"there are {len(properties)} CUDA devices, numbered from 0"
    return _Found(ordinals, "; ".join(filter(None, reasons.values())) or beyond)


def _compiler_version(cupy: Any) -> int | None:
    """The major version of CUDA's compiler, NVRTC; None if it can't be loaded."""
    try:
        return cupy.cuda.nvrtc.getVersion()[0]
    except (ImportError, OSError, RuntimeError):
        return None


def _unusable(ordinal: int, card: dict[str, Any], compiler: int | None) -> str:
    """Why a device can't be used, or "". compiler: the version of NVRTC; not needed if the wheel has machine code."""
    from gputok.kernels.cuda.device import has_cubins

    capability = card["major"], card["minor"]
    name = f"cuda:{ordinal} ({card['name'].decode()}, compute capability {capability[0]}.{capability[1]})"
    if capability < LEAST_CAPABILITY:
        return f"{name} is too old: gputok needs {LEAST_CAPABILITY[0]}.{LEAST_CAPABILITY[1]}"
    if has_cubins(*capability):
        return ""
    if compiler is None:
        return f"{name} needs CUDA's compiler, NVRTC, which is missing: pip install 'gputok[cuda13]'"
    if capability < _LEAST_OF_COMPILER.get(compiler, LEAST_CAPABILITY):
        return f"{name} is not served by the compiler of CUDA {compiler}: pip install 'gputok[cuda12]' instead"
    return ""


@functools.cache
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
