"""A `Device` whose kernels are the very .cu files, built by g++ and run on fibers (see emulate.cpp).

CUDA's keywords and functions are defined in emulate.hpp. Only what has no like in C++ is replaced in the text (`in_cpp`).
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import itertools
import pathlib
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from gputok.kernels.cuda.device import PADDING_BYTES, SOURCES, Device, address, packed, parts_of

from tests.emulation import signatures

HERE = pathlib.Path(__file__).parent
# With the address sanitizer as for sm_75, which lacks some instructions
SANITIZERS = {
    "": ("-O2", "-D__CUDA_ARCH__=900"),
    "address": ("-O1", "-D__CUDA_ARCH__=750", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"),
    "thread": ("-O1", "-D__CUDA_ARCH__=900", "-fsanitize=thread"),
}


class EmulationError(RuntimeError):
    """What the emulator found wrong with a launch."""


@functools.cache
def load(source: pathlib.Path, sanitizer: str = "") -> ctypes.CDLL:
    """The kernels of a .cu file. A sanitizer's runtime must have been loaded before Python (LD_PRELOAD)."""
    return ctypes.CDLL(str(build(source, sanitizer)))


def in_cpp(text: str, numbers: Iterator[int]) -> str:
    """The text of a source with calls instead of declarations of shared memory and of volatile loads; lines stay."""

    def shared(found: re.Match) -> str:
        kind, name, size = found.groups()
        memory = f"emulate::shared({next(numbers)}, sizeof({kind}) * ({size or 1}))"
        return f"{kind}* {name} = ({kind}*){memory};" if size else f"{kind}& {name} = *({kind}*){memory};"

    text = re.sub(r"__shared__ (\w+) (\w+)(?:\[(.+)\])?;", shared, text)
    return re.sub(r"\*\(const volatile (\w+)\*\)(\w+)", r"emulate::load((const \1*)\2)", text)


def entries(source: pathlib.Path) -> str:
    """For each kernel a function that gets the addresses of its structs in an array."""
    found = []
    for name, structs in signatures.kernels(source).items():
        given = (f"*(const {struct}*)a[{i}]" for i, struct in enumerate(structs))
        found.append(f'extern "C" void enter_{name}(const u64* a) {{ {name}({", ".join(given)}); }}')
    return "\n".join(found)


def build(source: pathlib.Path, sanitizer: str = "") -> pathlib.Path:
    """The library of a .cu file, built anew when a source changes."""
    parts = [source, HERE / "emulate.cpp", HERE / "emulate.hpp", HERE / "emulator.py", *sorted(SOURCES.glob("*.cuh"))]
    digest = hashlib.sha256(b"".join(part.read_bytes() for part in parts) + sanitizer.encode()).hexdigest()[:16]
    folder = pathlib.Path(tempfile.gettempdir()) / f"gputok-emulator-{digest}"
    library = folder / f"{source.stem}.so"
    if not library.exists():
        folder.mkdir(exist_ok=True)
        compiler = [
            "g++",
            "-std=c++17",
            "-g",
            "-fPIC",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-Wno-unused-function",
            "-Wno-unused-parameter",
            "-fno-strict-aliasing",  # text is read by words of 8 bytes
        ]
        compiler += [f"-I{HERE}", "-include", "emulate.hpp"]
        # The scheduler itself is not watched for races: its fibers take turns on one thread.
        watched = SANITIZERS[sanitizer] if sanitizer != "thread" else ("-O1", "-DGPUTOK_RACES")
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            machine, made = f"{scratch}/emulate.o", f"{scratch}/{library.name}"
            numbers, kernels = itertools.count(), pathlib.Path(scratch, source.name)
            for path in (*SOURCES.glob("*.cuh"), source):
                pathlib.Path(scratch, path.name).write_text(in_cpp(path.read_text(), numbers))
            with kernels.open("a") as file:
                file.write(entries(source))
            subprocess.run([*compiler, *watched, "-c", str(HERE / "emulate.cpp"), "-o", machine], check=True)
            flags = [*compiler, "-Wno-unused-variable", *SANITIZERS[sanitizer], "-shared", machine, "-x", "c++"]
            subprocess.run([*flags, str(kernels), "-o", made], check=True)
            pathlib.Path(made).rename(library)
    return library


def launch(
    source: pathlib.Path,
    kernel: str,
    blocks: int,
    threads: int,
    structs: tuple,
    at_once: int,
    seed: int,
    sanitizer: str = "",
) -> None:
    """Runs one launch under the schedule of a seed (0: threads in order). TypeError: the kernel takes other structs."""
    signatures.check(source, kernel, structs)
    kept = [packed(each) if isinstance(each, tuple) else each for each in structs]
    launch_raw(source, kernel, blocks, threads, kept, at_once, seed, sanitizer)


def launch_raw(
    source: pathlib.Path,
    kernel: str,
    blocks: int,
    threads: int,
    structs: list[np.ndarray],
    at_once: int,
    seed: int,
    sanitizer: str = "",
) -> None:
    """The same for packed structs that were checked; the caller holds what they point at."""
    library, message = load(source, sanitizer), ctypes.create_string_buffer(300)
    failed = library.emulate_launch(
        ctypes.cast(getattr(library, f"enter_{kernel}"), ctypes.c_void_p),
        (ctypes.c_uint64 * len(structs))(*map(address, structs)),
        *(ctypes.c_int64(n) for n in (blocks, threads, at_once)),
        ctypes.c_uint64(seed),
        message,
        ctypes.c_int64(len(message)),
    )
    if failed:
        raise EmulationError(f"{kernel}: {message.value.decode()}")


def _again(launches: Callable[[], None]) -> Callable[[], None]:
    launches()
    return launches


def _uploaded(arrays: tuple) -> Callable[[], tuple]:
    """Copies, with as much memory after them as a device's have."""

    def copy(array: np.ndarray | Sequence[np.ndarray]) -> np.ndarray:
        whole = np.concatenate(parts_of(array))
        return np.concatenate([whole, np.zeros(PADDING_BYTES // whole.itemsize, whole.dtype)])[: len(whole)]

    copies = tuple(map(copy, arrays))
    return lambda: copies


def _all_ones(n: int, dtype: Any) -> np.ndarray:
    return np.full(n, np.iinfo(dtype).max, dtype)


def _longer(array: np.ndarray, n: int) -> np.ndarray:
    copy = np.empty(n, array.dtype)
    copy[: len(array)] = array
    return copy


def emulated_device(seed: int = 0, blocks: int = 3, at_once: int = 2, sanitizer: str = "") -> Device:
    """A device of NumPy arrays; every launch gets a schedule of its own, derived from the seed."""
    turn = iter(range(1, 1 << 62))

    def run(file: str, kernel: str, n_blocks: int, n_threads: int, structs: tuple, together: bool = False) -> None:
        each = (seed << 32) + next(turn) if seed else 0
        resident = n_blocks if together else at_once
        launch(SOURCES / file, kernel, n_blocks, n_threads, structs, resident, each, sanitizer)

    return Device(
        "emulated",
        np,
        run,
        blocks,
        active=lambda lane=None, waits=True: contextlib.nullcontext(lane),
        upload=_uploaded,
        download=np.copy,
        all_ones=_all_ones,
        longer=_longer,
        record=time.perf_counter,
        seconds=lambda first, last: last - first,
        graph=_again,
    )
