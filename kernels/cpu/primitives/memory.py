"""Gives kernels the functions of the modules beside this one that need Numba, such as `view` and `copy`.

All kernels import them from here, since Python imports the files of kernels also without Numba: if the package contains
machine code, nothing calls these functions, and each name is None. Then Numba need not be installed, and is not
imported, which would take a third of a second.
"""

from __future__ import annotations

import importlib
from typing import Any

from gputok.kernels.native import choose

_MODULES = "atomics", "calls", "shuffles", "tables", "vectors", "views"


def __getattr__(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(name)
    if choose().calls is not None:
        return None
    try:
        modules = [importlib.import_module(f"gputok.kernels.cpu.primitives.{module}") for module in _MODULES]
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("numba", "llvmlite"):
            raise
        message = f"the kernels must be {choose().reason}. But Numba is not installed"
        raise ImportError(f"{message} (the extra jit: pip install 'gputok[jit]')") from None
    for module in modules:
        if hasattr(module, name):
            return getattr(module, name)
    raise AttributeError(f"{__name__} has no {name}")
