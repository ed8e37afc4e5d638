"""Building the library of machine code, calls.py and faces/, on all cores."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
from typing import Any


def linker() -> list[str] | None:
    """The command that links objects to a library: a C compiler, or that of Zig, which is a Python package."""
    named = os.environ.get("CC")
    for compiler in (named, "cc", "gcc", "clang") if named else ("cc", "gcc", "clang"):
        if shutil.which(compiler.split()[0]):
            return compiler.split()
    try:
        import ziglang  # noqa: F401
    except ImportError:
        return None
    # With the oldest C library that the wheel supports
    target = ["-target", f"{os.uname().machine}-linux-gnu.2.17"] if sys.platform == "linux" else []
    return [sys.executable, "-m", "ziglang", "cc", *target]


def _link(command: list[str] | None, objects: list[pathlib.Path], library: pathlib.Path) -> None:
    if command is not None:
        subprocess.run([*command, "-shared", "-o", library, *objects, "-lm"], check=True)
    else:  # Visual C++, found by setuptools
        from setuptools._distutils.ccompiler import new_compiler

        compiler: Any = new_compiler()
        compiler.initialize()
        compiler.link_shared_object([*map(str, objects)], str(library), libraries=["msvcrt", "ucrt", "vcruntime"])


_PARTS = {"encode_one": "texts", "encode_corpus": "walks", "count_words": "walks", "split": "walks"}
"""Modules, and folders of modules, that share many functions -> the name of their part."""


def _parts(modules: list[str]) -> tuple[list[list[str]], list[list[str]]]:
    """Divides modules into parts, of which each becomes one object file.

    The first list has the parts whose modules share many functions: one process compiles all, so that these are
    compiled once. The second has the trainers, which share little with the rest, and with each other.
    """
    parts = dict[str, list[str]]()
    for module in modules:
        first = module.removeprefix("gputok.kernels.cpu.").split(".")[0]
        parts.setdefault(first if first.startswith("train") else _PARTS.get(first, "others"), []).append(module)
    return [parts.pop(name) for name in ("texts", "walks", "others")], [*parts.values()]


def build(folder: pathlib.Path, say: Any = print) -> None:
    """Builds the library, calls.py and faces/ in a folder."""
    from gputok.kernels.native import LIBRARY, sources
    from gputok.kernels.native.all import modules
    from gputok.kernels.wheel import entries, object_files, write_calls, write_faces

    started = time.perf_counter()
    command = linker()
    if command is None and sys.platform != "win32":
        raise SystemExit(
            "gputok: found no C compiler to link the kernels: install one, or set GPUTOK_PURE=1, for no machine code"
        )
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    all_modules, levels = modules(), object_files.levels()
    say(
        f"gputok: making machine code of the kernels in {len(all_modules)} modules, for {', '.join(levels)} "
        f"({cores} cores)"
    )
    kernels, objects = [], [object_files.runtime()]
    spawn = multiprocessing.get_context("spawn")
    pools = (concurrent.futures.ProcessPoolExecutor(n, spawn) for n in (1, max(cores - 1, 1)))
    with next(pools) as alone, next(pools) as pool:
        code = {}
        shared, others = _parts(all_modules)
        compiled = [alone.submit(entries.bitcode, part) for part in shared]
        last = compiled[-1]
        compiled += [pool.submit(entries.bitcode, part) for part in others]
        for part in concurrent.futures.as_completed(compiled):
            bitcode, found = part.result()
            kernels += found
            for level in levels:
                idle = alone if part is last and level == levels[-1] else pool
                code[found[0].symbol, level] = idle.submit(object_files.machine_code, found[0].name, bitcode, level)
        objects += [code[name].result() for name in sorted(code)]
    kernels.sort(key=lambda kernel: kernel[:2])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "calls.py").write_text(write_calls.calls(kernels, levels, sources.digest(sources.LIBRARY)))
    write_faces.write(folder / "faces")
    with tempfile.TemporaryDirectory() as scratch:
        paths = []
        for number, content in enumerate(objects):
            paths.append(pathlib.Path(scratch, f"{number}.o"))
            paths[-1].write_bytes(content)
        _link(command, paths, folder / LIBRARY)
    size = (folder / LIBRARY).stat().st_size
    say(f"gputok: {len(kernels)} kernels, {size / 1e6:.2f} MB, in {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    build(pathlib.Path(sys.argv[1]))
