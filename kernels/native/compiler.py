"""What the kernels take from Numba: `ir`, `types`, `intrinsic` and others, or a placeholder for each.

Numba and llvmlite take a third of a second to import, and nobody asks them anything where machine code came with the
package. Modules that teach Numba something (kernels/cpu/memory.py) take its names from here.
"""

from __future__ import annotations

import importlib
from typing import Any

from gputok.kernels.native import choose
from gputok.kernels.native.preparation import preparation


class _Nobody:
    """Stands for any name of a compiler that isn't there: its decorators, types and base classes."""

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __mro_entries__(self, bases: tuple) -> tuple:
        return ()


_FROM = {
    "ir": "llvmlite",
    "types": "numba.core",
    "cgutils": "numba.core",
    "models": "numba.core.datamodel",
}


def __getattr__(name: str) -> Any:
    """The name, from numba.extending if nothing else is said above."""
    if name.startswith("__"):
        raise AttributeError(name)
    if choose().calls is not None:
        return _Nobody()
    with preparation.going_on():
        return getattr(importlib.import_module(_FROM.get(name, "numba.extending")), name)
