"""All kernels for the CPU, found by importing all modules that may contain kernels."""

from __future__ import annotations

import concurrent.futures
import importlib
import multiprocessing
import pkgutil
from collections.abc import Iterator
from typing import Any


def modules() -> list[str]:
    """The names of the modules of gputok.kernels that may contain kernels for the CPU."""
    import gputok.kernels

    walked = pkgutil.walk_packages(gputok.kernels.__path__, "gputok.kernels.")
    return [found.name for found in walked if "cpu" in found.name.split(".")]


def kernels_of(module: str) -> dict[str, Any]:
    """The kernels of a module that Python calls, as Numba's dispatchers, by name."""
    own = {}
    for found in vars(importlib.import_module(module)).values():
        if getattr(found, "declared", None) is not None and found.py_func.__module__ == module:
            own[found.py_func.__name__] = found
    return dict(sorted(own.items()))


def compile_all(threads: int) -> Iterator[tuple[str, int]]:
    """Compiles all kernels that are not on disk yet; yields each module and its number of compiled versions."""
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(threads, spawn) as pool:
        yield from zip(modules(), pool.map(_compile, modules()), strict=True)


def _compile(module: str) -> int:
    from gputok.kernels.native.preparation import preparation
    from gputok.kernels.signatures import numba_type, versions

    preparation.announced = True  # the caller announces it
    called = [f for f in kernels_of(module).values() if not f.is_c]
    wanted = [(f, arguments) for f in called for arguments in versions(f.declared)]
    for function, arguments in wanted:
        function.compile(tuple(map(numba_type, arguments)))
    return len(wanted)
