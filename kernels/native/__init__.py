"""Chooses how kernels run: as machine code that came with the package, or compiled on this machine at their first use.

A wheel contains a library with the kernels' machine code, and calls.py; kernels/wheel writes both when the wheel is built. A
source tree contains neither, so that changed code is always compiled.
"""

from __future__ import annotations

import ctypes
import functools
import os
import pathlib
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from gputok.kernels.native.preparation import preparation

if TYPE_CHECKING:
    from gputok.kernels.native.objects import Builtins

LIBRARY = {"win32": "kernels.dll"}.get(sys.platform, "kernels.so")
LEVELS = {1: "baseline", 2: "v2", 3: "v3"}  # number from the library -> level of the processor


class Code(NamedTuple):
    """The source of the kernels' machine code."""

    calls: dict[str, Callable[..., Any]] | None  # each kernel by its name; None: Numba compiles them
    reason: str  # a sentence for the user
    builtins: Builtins | None = None  # of the library


def entry_name(function: Callable[..., Any]) -> str:
    """The name of a kernel: its module within gputok.kernels, a dot, and the name of the function."""
    return f"{function.__module__.removeprefix('gputok.kernels.')}.{function.__name__}"


@functools.cache
def choose() -> Code:
    """Chooses the library if it fits this process, else the compiler."""
    with preparation.going_on():
        return _chosen()


def _chosen() -> Code:
    for switch in ("GPUTOK_JIT", "GPUTOK_CHECK"):
        if os.environ.get(switch, "0") not in ("", "0"):
            return Code(None, f"compiled here by Numba: {switch} is set")
    try:
        from gputok.kernels.native import calls
    except ImportError:
        return Code(
            None, "compiled here by Numba: this is a source tree, or was installed without a C compiler"
        )
    from gputok.kernels.native.call import suits
    from gputok.kernels.native.objects import builtins

    path = pathlib.Path(__file__).with_name(LIBRARY)
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        return Code(None, f"compiled here by Numba: {error}")
    fitting = [
        level
        for number, level in LEVELS.items()
        if number <= library.gputok_level() and level in calls.LEVELS
    ]
    if not fitting:
        return Code(None, "compiled here by Numba: the machine code is for newer processors than this")
    if not suits(library):
        return Code(None, "compiled here by Numba: the machine code is for another layout of NumPy's arrays")
    level = fitting[-1]
    found = calls.calls(lambda name: library[f"{level}_{name}"], library)
    return Code(found, f"machine code ({level}) that came with the package", builtins(library))
