"""Compiles the CUDA kernels to machine code (cubins) without a GPU, by NVRTC from the package nvidia-cuda-nvrtc.

`python -m gputok.kernels.wheel.cubins FOLDER` writes a cubin of each source for each architecture. A device runs those
of its own major version of compute capability, up to its own minor version.
"""

from __future__ import annotations

import ctypes
import importlib
import pathlib
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

SOURCES = pathlib.Path(__file__).parents[1] / "cuda"
ARCHITECTURES = (75, 80, 90, 100, 120)


def library() -> ctypes.CDLL | None:
    """Returns NVRTC, or None if its package is not installed."""
    try:
        package = importlib.import_module("nvidia")
    except ImportError:
        return None
    for name in ("libnvrtc.so.*", "nvrtc64*.dll"):
        found = [path for root in package.__path__ for path in pathlib.Path(root).glob(f"**/{name}")]
        if found := [path for path in found if ".alt." not in path.name]:
            return ctypes.CDLL(str(min(found)))
    return None


def compiled(
    nvrtc: ctypes.CDLL, source: pathlib.Path, architecture: int, options: Sequence[str] = ()
) -> tuple[bytes | None, str]:
    """Compiles a source; returns its cubin, or None if it has errors, and the messages of the compiler."""
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    nvrtc.nvrtcCreateProgram(ctypes.byref(program), source.read_bytes(), source.name.encode(), 0, None, None)
    wanted = [
        "--std=c++17",
        f"--gpu-architecture=sm_{architecture}",
        f"--include-path={SOURCES}",
        "--device-as-default-execution-space",  # as CuPy adds it
        *options,
    ]
    encoded = (ctypes.c_char_p * len(wanted))(*(option.encode() for option in wanted))
    failed = nvrtc.nvrtcCompileProgram(program, len(wanted), encoded)
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, log)
    code = None
    if not failed:
        nvrtc.nvrtcGetCUBINSize(program, ctypes.byref(size))
        cubin = ctypes.create_string_buffer(size.value)
        nvrtc.nvrtcGetCUBIN(program, cubin)
        code = cubin.raw
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    return code, log.value.decode()


def name_of(source: str, architecture: int) -> str:
    """Returns the name of a cubin.

    >>> name_of("lines.cu", 90)
    'lines.sm_90.cubin'
    """
    return f"{pathlib.Path(source).stem}.sm_{architecture}.cubin"


def build(folder: pathlib.Path, architectures: Sequence[int] = ARCHITECTURES) -> list[pathlib.Path]:
    """Writes the cubins of all sources into a folder, and returns their paths; none without NVRTC.

    Raises:
        ValueError: A source does not compile.
    """
    nvrtc = library()
    if nvrtc is None:
        return []
    work = [(source, each) for source in sorted(SOURCES.glob("*.cu")) for each in architectures]
    with ThreadPoolExecutor() as pool:
        found = pool.map(lambda each: compiled(nvrtc, *each), work)
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for (source, architecture), (code, log) in zip(work, found, strict=True):
            if code is None:
                raise ValueError(f"{source} does not compile for sm_{architecture}:\n{log}")
            paths.append(folder / name_of(source.name, architecture))
            paths[-1].write_bytes(code)
    return paths


if __name__ == "__main__":
    written = build(pathlib.Path(sys.argv[1]))
    n_bytes = sum(path.stat().st_size for path in written)
    print(f"{len(written)} cubins, {n_bytes / 1e6:.1f} MB" if written else "no cubins: nvidia-cuda-nvrtc is missing")
