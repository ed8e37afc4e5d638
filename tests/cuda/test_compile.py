"""Every .cu file compiles for all supported architectures, without a GPU, by NVRTC, the compiler that CuPy uses.

NVRTC comes from the package nvidia-cuda-nvrtc. A table below limits the registers and the shared memory of each kernel;
`pytest -rP tests/cuda/test_compile.py` prints what each kernel uses.
"""

import functools
import pathlib
import re

import pytest
from gputok.kernels.wheel import cubins
from gputok.kernels.wheel.cubins import ARCHITECTURES, SOURCES

from tests.bench import machine_code
from tests.bench.device import PROBE

FILES = ("bits.cu", "lines.cu", "split.cu", "count_words.cu", "train_bpe.cu", "encode_words.cu")


def test_every_kind_of_source_is_tested():
    assert {path.name for path in SOURCES.iterdir() if path.name.endswith(".cu")} == {*FILES}


@pytest.fixture(scope="module")
def nvrtc():
    return cubins.library() or pytest.skip("pip install nvidia-cuda-nvrtc, to compile CUDA without a GPU")


@functools.cache
def compiled(nvrtc, file, architecture):
    """The machine code of a file, and what the compiler says about it."""
    options = "--ptxas-options=-v", "--ptxas-options=--warning-as-error"
    return cubins.compiled(nvrtc, SOURCES / file, architecture, options)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("file", [*FILES, PROBE])
def test_compiles_within_its_bounds(nvrtc, file, architecture):
    cubin, log = compiled(nvrtc, file, architecture)
    assert cubin and "warning" not in log, log
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
        print(f"sm_{architecture:<3} {pathlib.Path(file).name:9} {name:27} {used}")
        assert spilled == 0
        assert registers <= bounds[name][0] and shared <= bounds[name][1]


# The slow operations of a compiler that does not know that memory is global: loads, stores and atomics of any address
# space, a question for the space, and a loop instead of an atomic of shared memory.
SLOW = re.compile(r"(LD|ST|ATOM|QSPC)(\.|$)|ATOMS\.CAST\.SPIN")


@pytest.mark.slow
@pytest.mark.parametrize("architecture", [75, 90, 100, 120])
@pytest.mark.parametrize("file", FILES)
def test_no_access_to_memory_is_generic(nvrtc, file, architecture):
    codes = machine_code.read(compiled(nvrtc, file, architecture)[0])
    operations = [each.name for code in codes.values() for each in code.instructions]
    assert len(operations) > 300 and "EXIT" in operations
    assert not {operation for operation in operations if SLOW.match(operation)}


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_step_of_the_walk(nvrtc, architecture):
    """68 instructions and 5 loads, before text came in words of eight bytes."""
    step = machine_code.walk_step(architecture)
    print(f"sm_{architecture:<3} split_words: {step.instructions} instructions, {step.loads} loads a byte")
    assert 20 < step.instructions <= 38 and step.loads == 2.125


def test_ways_round_a_loop_are_counted():
    """A loop with a way that leaves a load out, a jump out of it, and one that never comes back."""
    names = ["MOV", "LDG.E.U8", "BRA", "LDG.E", "BRA", "IADD", "BRA", "EXIT"]
    targets = ["", "", ".L_out", "", ".L_top", "", ".L_top", ""]
    code = machine_code.Code(
        [machine_code.Instruction(n, t == ".L_out", t) for n, t in zip(names, targets, strict=True)],
        {".L_top": 1, ".L_out": 5},
    )
    assert machine_code.turns(code) == [["LDG.E.U8", "BRA", "LDG.E", "BRA"], ["LDG.E.U8", "BRA", "IADD", "BRA"]]
    assert code.n_loads == 2


def test_code_that_does_not_compile_is_detected(nvrtc, tmp_path, monkeypatch):
    (tmp_path / "wrong.cu").write_text("__global__ void wrong() { undeclared(); }\n")
    cubin, log = cubins.compiled(nvrtc, tmp_path / "wrong.cu", 90)
    assert cubin is None and "undeclared" in log
    monkeypatch.setattr(cubins, "SOURCES", tmp_path)
    with pytest.raises(ValueError, match=r"wrong.cu does not compile for sm_75:\n"):
        cubins.build(tmp_path / "cubins")
