"""The names of the modules beside this one that need Numba, for kernels, which Python also imports without Numba.

If the package contains machine code, no code calls these functions, and the names are None. Then Numba is not imported,
which would take a third of a second, and need not be installed.
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
