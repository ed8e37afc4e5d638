"""Every .cu file compiles for all supported architectures, without a GPU, by NVRTC, the compiler that CuPy uses.

NVRTC comes from the package nvidia-cuda-nvrtc. A table below limits the registers and the shared memory of each kernel;
`pytest -rP tests/test_cuda_compile.py` prints what each kernel uses.
"""

import ctypes
import importlib.resources
import pathlib
import re
import subprocess

import pytest

ARCHITECTURES = (75, 80, 90, 100, 120)
SOURCES = importlib.resources.files("gputok.kernels.cuda")
FILES = ("bits.cu", "lines.cu", "split.cu", "count_words.cu", "train_bpe.cu", "encode_words.cu", "probe.cu")


def test_every_kind_of_source_is_tested():
    assert {path.name for path in SOURCES.iterdir() if path.name.endswith(".cu")} == {*FILES}


@pytest.fixture(scope="module")
def nvrtc():
    package = pytest.importorskip(
        "nvidia", reason="pip install nvidia-cuda-nvrtc, to compile CUDA without a GPU"
    )
    found = [path for root in package.__path__ for path in pathlib.Path(root).glob("**/libnvrtc.so*")]
    if not found:
        pytest.skip("pip install nvidia-cuda-nvrtc, to compile CUDA without a GPU")
    return ctypes.CDLL(str(min(found)))


def compile_kernels(
    nvrtc, file: str, architecture: int, cubin: pathlib.Path | None = None
) -> tuple[bool, str]:
    """Compiles a file; returns whether that works, and the messages."""
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    source = (SOURCES / file).read_bytes()
    nvrtc.nvrtcCreateProgram(ctypes.byref(program), source, file.encode(), 0, None, None)
    options = [
        "--std=c++17",
        f"--gpu-architecture=sm_{architecture}",
        f"--include-path={SOURCES}",
        "--device-as-default-execution-space",  # as CuPy adds it
        "--ptxas-options=-v",
        "--ptxas-options=--warning-as-error",
    ]
    encoded = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
    failed = nvrtc.nvrtcCompileProgram(program, len(options), encoded)
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, log)
    if cubin and not failed:
        nvrtc.nvrtcGetCUBINSize(program, ctypes.byref(size))
        code = ctypes.create_string_buffer(size.value)
        nvrtc.nvrtcGetCUBIN(program, code)
        cubin.write_bytes(code.raw)
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    return not failed, log.value.decode()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("file", FILES)
def test_compiles_within_its_bounds(nvrtc, file, architecture):
    compiled, log = compile_kernels(nvrtc, file, architecture)
    assert compiled and "warning" not in log, log
    source = (SOURCES / file).read_text()
    bounds = {
        name: (int(registers), int(shared))
        for registers, shared, name in re.findall(
            r'// \[at most (\d+) registers, (\d+) bytes shared\]\nextern "C" __global__ void (\w+)\(', source
        )
    }
    sections = log.split("Compiling entry function ")[1:]
    assert len(sections) == len(bounds)
    for section in sections:
        name = section[1 : section.index("'", 1)]
        registers = int(re.search(r"Used (\d+) registers", section)[1])
        shared = int(found[1]) if (found := re.search(r"(\d+) bytes smem", section)) else 0
        spilled = int(re.search(r"(\d+) bytes spill stores", section)[1])
        used = f"{registers:3} registers {spilled:3} bytes spilled {shared:5} bytes shared"
        print(f"sm_{architecture:<3} {file:9} {name:27} {used}")
        assert spilled == 0
        assert registers <= bounds[name][0] and shared <= bounds[name][1]


@pytest.fixture(scope="module")
def nvdisasm():
    import nvidia

    found = [path for root in nvidia.__path__ for path in pathlib.Path(root).glob("**/bin/nvdisasm")]
    if not found:
        pytest.skip("pip install nvidia-cuda-nvdisasm, to read CUDA's machine code")
    return str(min(found))


# The slow operations of a compiler that does not know that memory is global: loads, stores and atomics of any address space,
# a question for the space, and a loop instead of an atomic of shared memory.
SLOW = re.compile(r"(LD|ST|ATOM|QSPC)(\.|$)|ATOMS\.CAST\.SPIN")


@pytest.mark.parametrize("architecture", [75, 90])
@pytest.mark.parametrize("file", [file for file in FILES if file != "probe.cu"])
def test_no_access_to_memory_is_generic(nvrtc, nvdisasm, file, architecture, tmp_path):
    cubin = tmp_path / "kernels.cubin"
    assert compile_kernels(nvrtc, file, architecture, cubin)[0]
    code = subprocess.run([nvdisasm, "-c", cubin], capture_output=True, text=True, check=True).stdout
    operations = re.findall(r"^\s*/\*[0-9a-f]+\*/\s+(?:@!?U?P\d\s+)?([A-Z][A-Z0-9._]*)", code, re.MULTILINE)
    assert len(operations) > 300 and "EXIT" in operations
    assert not {operation for operation in operations if SLOW.match(operation)}


def test_code_that_does_not_compile_is_detected(nvrtc, tmp_path, monkeypatch):
    (tmp_path / "wrong.cu").write_text('#include "common.cuh"\n__global__ void wrong() { undeclared(); }\n')
    monkeypatch.setitem(globals(), "SOURCES", tmp_path)
    compiled, log = compile_kernels(nvrtc, "wrong.cu", 90)
    assert not compiled and log
