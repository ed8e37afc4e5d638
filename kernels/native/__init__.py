"""Chooses how kernels run: as machine code that came with the package, or compiled on this machine at their first use.

A wheel contains a library with the kernels' machine code, calls.py, and faces/ (the modules without what only Numba
reads), which kernels/wheel writes. A source tree contains none, so that changed code is always compiled; if a wheel
with the same kernels is installed, as after `pip install .` in a clone, the source tree uses its machine code.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from collections.abc import Callable
from typing import Any

from gputok.kernels.native.preparation import preparation
from gputok.kernels.signatures import NamedTuple

_HERE = os.path.dirname(os.path.realpath(__file__))
LIBRARY = {"win32": "kernels.dll"}.get(sys.platform, "kernels.so")
CHECKED = os.environ.get("GPUTOK_CHECK", "0") not in ("", "0")  # each access of a kernel is checked
LEVELS = {1: "baseline", 2: "v2", 3: "v3"}  # result of `gputok_level` of the library -> level of the processor


class MachineCode(NamedTuple):
    """The source of the kernels' machine code."""

    calls: dict[str, Callable[[], Any]] | None  # makes the kernel of each name; None: Numba compiles kernels
    reason: str  # a sentence for the user
    library: ctypes.CDLL | None = None

    @property
    def has_builtins(self) -> bool:
        """Whether there are the functions of kernels/builtins.py: in a wheel, and in the checked build."""
        return self.library is not None or CHECKED


def entry_name(function: Callable[..., Any]) -> str:
    """The name of a kernel: its module within gputok.kernels, a dot, and the name of the function."""
    return f"{function.__module__.removeprefix('gputok.kernels.')}.{function.__name__}"


@functools.cache
def choose() -> MachineCode:
    """Chooses the library if it fits this process, else the compiler."""
    with preparation.going_on():
        return _chosen()


def _chosen() -> MachineCode:
    for switch in ("GPUTOK_JIT", "GPUTOK_CHECK"):
        if os.environ.get(switch, "0") not in ("", "0"):
            return MachineCode(None, f"compiled here by Numba: {switch} is set")
    found = _library()
    if isinstance(found, str):
        return MachineCode(None, f"compiled here by Numba: {found}")
    calls, path = found
    from gputok.kernels.native.call import suits

    try:
        library = ctypes.CDLL(path)
    except OSError as error:
        return MachineCode(None, f"compiled here by Numba: {error}")
    fitting = [level for number, level in LEVELS.items() if number <= library.gputok_level() and level in calls.LEVELS]
    if not fitting:
        why = "the machine code is for newer processors than this (a wheel for all: GPUTOK_LEVELS=all)"
        return MachineCode(None, f"compiled here by Numba: {why}")
    if not suits(library):
        return MachineCode(None, "compiled here by Numba: the machine code is for another layout of NumPy's arrays")
    level = fitting[-1]
    found = calls.calls(lambda name: library[f"{level}_{name}"], library)
    of = "the package" if os.path.dirname(path) == _HERE else "an installed package of the same kernels"
    return MachineCode(found, f"machine code ({level}) that came with {of}", library)


def _library() -> tuple[Any, str] | str:
    """Finds calls.py and the library, here or in an installed wheel of the same kernels; or returns why there are none.

    `import gputok` in the root of a clone takes the source tree, whatever is installed.
    """
    try:
        from gputok.kernels.native import calls

        return calls, os.path.join(_HERE, LIBRARY)
    except ImportError:
        pass
    others = []
    for place in dict.fromkeys(sys.path):
        code, library = (os.path.join(place, "gputok", "kernels", "native", name) for name in ("calls.py", LIBRARY))
        if os.path.isfile(code) and os.path.isfile(library):
            from gputok.kernels.native import sources

            calls = _module(code)
            if getattr(calls, "SOURCES", None) == sources.digest(sources.LIBRARY):
                return calls, library
            others.append(place)
    if others:
        here = os.path.dirname(os.path.dirname(_HERE))
        return (
            f"this is the source tree in {here}, and the gputok installed in {others[0]} has other kernels (run Python "
            "in another folder to use the installed one, or install this one by pip install -e '.[jit]')"
        )
    return "this is a source tree, or was installed without a C compiler"


def _module(path: str) -> Any:
    import importlib.util

    spec = importlib.util.spec_from_file_location("gputok.kernels.native.calls", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
