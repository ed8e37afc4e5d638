"""Builds the wheel, by setuptools, with the machine code of the kernels.

A C compiler links the code, or Zig's if there is none. The code is for processors like this machine's, and newer ones;
`GPUTOK_LEVELS=all` adds code for older ones, as the released wheels have it. `GPUTOK_PURE=1` and editable installs
leave the code out: kernels are compiled at their first use. Machine code of the CUDA kernels (2.2 MB, 0.5 zipped)
is added if NVRTC is installed, or `GPUTOK_CUBINS=1` downloads it (90 MB); else CuPy compiles them at their first use.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

# The hook of PEP 517 that differs; the others are those of setuptools
__all__ = ["get_requires_for_build_wheel"]

ROOT = pathlib.Path(__file__).parents[2]
COMPILER = ["numba==0.68.1", "llvmlite==0.50.0", "numpy>=2.0"]  # entries.py uses their internals
ZIG = "ziglang==0.15.2"
NVRTC = "nvidia-cuda-nvrtc>=13.0"


def _wanted() -> bool:
    return os.environ.get("GPUTOK_PURE", "0") in ("", "0")


def get_requires_for_build_wheel(config_settings: Any = None) -> list[str]:
    """The packages that building a wheel needs besides setuptools."""
    needed = build_meta.get_requires_for_build_wheel(config_settings)
    if not _wanted():
        return needed
    if os.environ.get("GPUTOK_CUBINS", "0") not in ("", "0"):
        needed = [*needed, NVRTC]
    has_linker = sys.platform == "win32" or any(map(shutil.which, ("cc", "gcc", "clang")))
    return [*needed, *COMPILER, *([] if has_linker else [ZIG])]


class BuildPy(build_py):
    """Copies the modules, and builds the library of machine code."""

    def run(self) -> None:
        if not self.editable_mode:  # else modules of an older build, which are gone or moved, would go into the wheel
            shutil.rmtree(pathlib.Path(self.build_lib, "gputok"), ignore_errors=True)
        super().run()
        if _wanted() and not self.editable_mode:
            folder = pathlib.Path(self.build_lib, "gputok", "kernels", "native").resolve()
            paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
            environment = os.environ | {"PYTHONPATH": paths, "GPUTOK_JIT": "1"}
            command = [sys.executable, "-m", "gputok.kernels.wheel.library", folder]
            subprocess.run(command, check=True, cwd=ROOT, env=environment)
            cubins = pathlib.Path(self.build_lib, "gputok", "kernels", "cuda", "cubins").resolve()
            command = [sys.executable, "-m", "gputok.kernels.wheel.cubins", cubins]
            subprocess.run(command, check=True, cwd=ROOT, env=environment)


class BdistWheel(bdist_wheel):
    """Makes a wheel for any Python on the platform of the machine code."""

    def finalize_options(self) -> None:
        if _wanted():
            self.distribution.has_ext_modules = lambda: True
        super().finalize_options()

    def get_tag(self) -> tuple[str, str, str]:
        python, abi, platform = super().get_tag()
        return (python, abi, platform) if self.root_is_pure else ("py3", "none", platform)
