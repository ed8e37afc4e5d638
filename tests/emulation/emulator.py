"""A `Device` whose kernels are the PTX that NVRTC makes of .cu files, in C++ (translate.py) on fibers (machine.cpp)."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import pathlib
import re
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from gputok.kernels.cuda.device import PADDING_BYTES, SOURCES, Device, address, packed, parts_of

from tests.emulation import ptx, signatures, translate
from tests.emulation.memory import MEMORY, SIZE

HERE = pathlib.Path(__file__).parent
HEADER, MACHINE = HERE / "machine.hpp", HERE / "machine.cpp"
COUNTS = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_void_p, ctypes.c_uint64)


class EmulationError(RuntimeError):
    """What the emulator found wrong with a launch."""


@functools.cache
def code_of(source: pathlib.Path, architecture: int = 90) -> ptx.Code:
    """The PTX of a source; EmulationError: it has faults that are seen without a run."""
    code = ptx.read(ptx.ptx_of(source, architecture))
    if found := ptx.faults(code):
        raise EmulationError("\n".join(found))
    return code


@functools.cache
def load(source: pathlib.Path, architecture: int = 90) -> ctypes.CDLL:
    """The kernels of a .cu file, built anew when a source changes."""
    text = translate.translated(code_of(source, architecture))
    machine = _compiled(MACHINE.read_text(), "-O2")
    kernels = _compiled(text)
    library = kernels.with_suffix(f".{machine.stem[-16:]}.so")
    if not library.exists():
        _run("-shared", str(kernels), str(machine), "-o", to=library)
    return ctypes.CDLL(str(library))


def _compiled(text: str, *flags: str) -> pathlib.Path:
    """An object file, which is kept as long as the text is the same."""
    digest = hashlib.sha256("".join([text, HEADER.read_text(), *flags]).encode()).hexdigest()[:16]
    path = pathlib.Path(tempfile.gettempdir(), f"gputok-emulator-{digest}.o")
    if not path.exists():
        # A register may be set and never used, and an immediate operand has more bits than it
        warnings = "-Wall", "-Wextra", "-Werror", "-Wno-unused", "-Wno-overflow"
        given = "-std=c++17", "-g1", "-O1", "-fPIC", "-fwrapv", *warnings, f"-I{HERE}", *flags
        _run(*given, "-c", "-x", "c++", "-", "-o", to=path, text=text)
    return path


def _run(*arguments: str, to: pathlib.Path, text: str = "") -> None:
    """Runs g++; another process may do the same."""
    with tempfile.NamedTemporaryFile(dir=to.parent, delete=False) as made:
        subprocess.run(["g++", *arguments, made.name], input=text.encode(), check=True)
    pathlib.Path(made.name).rename(to)


def launch(source: pathlib.Path, kernel: str, blocks: int, threads: int, structs: tuple, **options: Any) -> None:
    """Runs one launch. TypeError: the kernel takes other structs. The options are those of `launch_raw`."""
    signatures.check(source, kernel, structs)
    kept = [packed(each) if isinstance(each, tuple) else each for each in structs]
    launch_raw(source, kernel, blocks, threads, kept, **options)


def launch_raw(
    source: pathlib.Path,
    kernel: str,
    blocks: int,
    threads: int,
    structs: list[np.ndarray],
    *,
    at_once: int,
    seed: int,
    races: bool = False,
    architecture: int = 90,
    counts: Callable[..., None] | None = None,
) -> None:
    """Runs a launch with packed structs that were checked; the caller holds what they point at.

    Args:
        at_once: Blocks that are resident at a time.
        seed: Of the schedule; 0: threads in order.
        races: Whether data races are looked for, which takes longer.
        counts: Takes the requests and visits of the launch (tests/bench/device_counts.py).
    """
    library, message = load(source, architecture), ctypes.create_string_buffer(300)
    failed = library.ptx_launch(
        kernel.encode(),
        *(ctypes.c_uint32(n) for n in (blocks, threads, at_once)),
        ctypes.c_uint64(seed),
        ctypes.c_int(races),
        (ctypes.c_uint64 * len(structs))(*map(address, structs)),
        (ctypes.c_uint32 * len(structs))(*(each.nbytes for each in structs)),
        ctypes.c_uint32(len(structs)),
        ctypes.c_void_p(MEMORY.base),
        ctypes.c_void_p(MEMORY.shadow),
        ctypes.c_uint64(SIZE),
        COUNTS(counts or 0),
        message,
        ctypes.c_uint64(len(message)),
    )
    if failed:
        lines = code_of(source, architecture).lines
        text = re.sub(r"\bline (\d+)", lambda found: lines[int(found[1])], message.value.decode())
        raise EmulationError(f"{kernel}: {text}")


def _uploaded(arrays: tuple) -> Callable[[], tuple]:
    """Copies, with as much memory after them as a device's have."""

    def copy(array: np.ndarray | Sequence[np.ndarray]) -> np.ndarray:
        whole = np.concatenate(parts_of(array))
        padding = np.zeros(PADDING_BYTES // whole.itemsize, whole.dtype)
        return MEMORY.asarray(np.concatenate([whole, padding]))[: len(whole)]

    copies = tuple(map(copy, arrays))
    return lambda: copies


def _longer(array: np.ndarray, n: int) -> np.ndarray:
    copy = MEMORY.empty(n, array.dtype)
    MEMORY.copied(copy[: len(array)], array)
    return copy


class Arrays:
    """What launchers use of an array module."""

    empty, zeros, asarray = MEMORY.empty, MEMORY.zeros, MEMORY.asarray
    uint8, uint16, uint32, uint64, int32, int64 = np.uint8, np.uint16, np.uint32, np.uint64, np.int32, np.int64


def emulated_device(seed: int = 0, blocks: int = 3, at_once: int = 2, **options: Any) -> Device:
    """A device; each launch has a schedule of its own, derived from the seed. The options are those of `launch_raw`."""
    turn = iter(range(1, 1 << 62))

    def run(file: str, kernel: str, n_blocks: int, n_threads: int, structs: tuple, together: bool = False) -> None:
        each = (seed << 32) + next(turn) if seed else 0
        resident = n_blocks if together else at_once
        launch(SOURCES / file, kernel, n_blocks, n_threads, structs, at_once=resident, seed=each, **options)

    return Device(
        "emulated",
        Arrays,
        run,
        blocks,
        active=lambda lane=None, waits=True: contextlib.nullcontext(lane),
        upload=_uploaded,
        download=MEMORY.on_host,
        all_ones=lambda n, dtype: MEMORY.written(MEMORY.empty(n, dtype), np.iinfo(dtype).max),
        longer=_longer,
        lasting=lambda *arrays: [_longer(array, len(array)) for array in arrays],
    )
