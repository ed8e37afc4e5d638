"""Builds the wheel: setuptools, with the kernels' machine code beside the modules.

A C compiler links it, or Zig's where there is none. `GPUTOK_PURE=1` leaves it out, and so does an editable install: then
the kernels are compiled when they are first used.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import (
    build_editable,
    build_sdist,
    build_wheel,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

ROOT = pathlib.Path(__file__).parents[2]
COMPILER = ["numba==0.68.1", "llvmlite==0.50.0", "numpy>=2.0"]  # whose insides emit.py knows
ZIG = "ziglang==0.15.2"


def _wanted() -> bool:
    return os.environ.get("GPUTOK_PURE", "0") in ("", "0")


def get_requires_for_build_wheel(config_settings: Any = None) -> list[str]:
    """What builds a wheel beside setuptools."""
    needed = build_meta.get_requires_for_build_wheel(config_settings)
    if not _wanted():
        return needed
    has_linker = sys.platform == "win32" or any(map(shutil.which, ("cc", "gcc", "clang")))
    return [*needed, *COMPILER, *([] if has_linker else [ZIG])]


class BuildPy(build_py):
    """Copies the modules, and makes the library for them."""

    def run(self) -> None:
        super().run()
        if _wanted() and not self.editable_mode:
            folder = pathlib.Path(self.build_lib, "gputok", "kernels", "native").resolve()
            paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
            environment = os.environ | {"PYTHONPATH": paths, "GPUTOK_JIT": "1"}
            command = [sys.executable, "-m", "gputok.kernels.wheel.library", folder]
            subprocess.run(command, check=True, cwd=ROOT, env=environment)


class BdistWheel(bdist_wheel):
    """A wheel for any Python, on the platform of its machine code."""

    def finalize_options(self) -> None:
        if _wanted():
            self.distribution.has_ext_modules = lambda: True
        super().finalize_options()

    def get_tag(self) -> tuple[str, str, str]:
        python, abi, platform = super().get_tag()
        return (python, abi, platform) if self.root_is_pure else ("py3", "none", platform)
