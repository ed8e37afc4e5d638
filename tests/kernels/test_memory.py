"""Views of memory: the arrays that they keep alive, and the checked build, which alone finds wrong indices."""

import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.primitives.arrays import pointer
from gputok.kernels.cpu.primitives.memory import (
    as_array,
    as_views,
    copy,
    equal_bytes,
    grown,
    has_ones,
    least_of,
    load_u16,
    load_u32,
    load_u64,
    of_four,
    owned,
    scratch,
    store_u32,
    store_u64,
    tail,
    view,
)
from gputok.kernels.native import choose
from gputok.kernels.signatures import NamedTuple, U8s

import gputok

if choose().calls is not None:
    pytest.skip("needs the compiler for kernels of its own", allow_module_level=True)

from numba.core.errors import TypingError
from numba.core.runtime import rtsys

pytestmark = pytest.mark.jit_only

HERE = pathlib.Path(__file__).parents[1]
DATA = np.arange(256).astype(np.uint8)


@kernel
def read(data, i):
    return view(data)[i]


@kernel
def read_wide(data, i):
    text = view(data)
    return load_u16(text, i), load_u32(text, i), load_u64(text, i)


@kernel
def write(data, i, x):
    view(data)[i] = x


@kernel
def write_wide(data, i, x):
    store_u32(view(data), i, np.uint32(x))
    store_u64(view(data), i + 4, np.uint64(x))


@kernel
def read_elsewhere(memory, n, i):
    """Of memory that Python gave by `pointer`, from element n on."""
    return tail(view(memory, np.uint16), n)[i]


@kernel
def copy_part(target, to, source, first, n):
    copy(view(target), to, view(source), first, n)


@kernel
def newlines(data, i):
    return equal_bytes(view(data), i, 10)


@kernel
def four(words, i, shift, key):
    return of_four(view(words), i, shift, key), has_ones(view(words), i)


@kernel
def least(numbers, i):
    return least_of(view(numbers), i)


@kernel(inline=True)
def total(values, n):
    sum = 0
    for i in range(n):
        sum += values[i]
    return sum


@kernel
def sum_of_scratch(n, times):
    """Allocates memory while older memory is read, so memory that was freed too early would be overwritten."""
    values, result = scratch(n, np.int64), 0
    for k in range(times):
        for i in range(n):
            values[i] = i + k
        more = scratch(n, np.int64)
        for i in range(n):
            more[i] = -1
        result += total(tail(values, 0), n)
        values = grown(values, n // 2, n)
    return result


@kernel
def squares(n):
    values = owned(np.empty(4, np.int64))
    size = 4
    for i in range(n):
        if i == size:
            size *= 2
            values = grown(values, i, size)
        values[i] = i * i
    return as_array(values, n)


def test_elements_are_what_numpy_reads():
    assert [read(DATA, i) for i in (0, 7, 255)] == [0, 7, 255]
    assert read_wide(DATA, 3) == (0x0403, 0x06050403, 0x0A09080706050403)
    data = DATA.copy()
    write(data, 9, 300)
    assert data[9] == 300 % 256
    write_wide(data, 9, 0x01020304)
    assert data[9:17].tolist() == [4, 3, 2, 1, 4, 3, 2, 1]
    words = np.arange(100, dtype=np.uint16)
    assert read_elsewhere(pointer(words), 40, 2) == 42
    copy_part(data, 100, DATA, 0, 5)
    assert data[99:106].tolist() == [99, 0, 1, 2, 3, 4, 105]
    assert newlines(DATA, 8) == 1 << 2
    assert least(np.arange(100, dtype=np.uint32)[::-1].copy(), np.uint64(7)) == 77


def test_one_of_four_words():
    words = np.array([0, 0x1200, 0x3456, 0x78FF, 0x12AB, 2**64 - 1, 5], np.uint64)
    nothing = 2**64 - 1
    for i, key, found, has in ((0, 0x12, 0x1200, False), (1, 0x34, 0x3456, False), (1, 0x56, nothing, False)):
        assert four(words, *np.array([i, 8, key], np.uint64)) == (found, has)
    assert four(words, *np.array([3, 8, 0x12], np.uint64)) == (0x12AB, True)
    assert four(words, *np.array([1, 8, 0x12], np.uint64)) == (0x1200 & 0x12AB, False)


@pytest.fixture
def counting_allocations():
    """Numba counts what kernels allocate and free."""
    from numba.core.runtime import _nrt_python

    was_on = _nrt_python.memsys_stats_enabled()
    _nrt_python.memsys_enable_stats()
    yield
    if not was_on:
        _nrt_python.memsys_disable_stats()


def test_views_keep_what_kernels_made_and_leak_nothing(counting_allocations):
    assert sum_of_scratch(1000, 3) == 3 * 499_500 + 3000
    assert squares(100).tolist() == [i * i for i in range(100)]  # compiled
    before = rtsys.get_allocation_stats()
    for _ in range(50):
        sum_of_scratch(1000, 3)
        result = squares(100)
    del result
    after = rtsys.get_allocation_stats()
    assert after.mi_alloc - before.mi_alloc > 100
    assert after.mi_alloc - before.mi_alloc == after.mi_free - before.mi_free


@kernel(inline=True)
def given_back(values):
    return tail(values, 1)


@kernel
def outlives(n):
    return given_back(scratch(n, np.int64))[0]


def test_a_borrowed_view_ends_with_its_call():
    with pytest.raises(TypingError, match="given_back may return a view of memory"):
        outlives(5)


class Table(NamedTuple):
    data: U8s


@kernel
def byte_of(values, i):
    return values[i]


@kernel
def length_of(values):
    return len(values)


@kernel
def sized_and_not(table):
    sized = as_views(table).data
    return byte_of(sized, 0), byte_of(view(table.data), 0), length_of(sized)


def test_a_function_without_lengths_is_compiled_once_for_sized_and_other_views():
    assert sized_and_not(Table(DATA)) == (0, 0, 256)
    assert len(byte_of.within.overloads) == len(length_of.within.overloads) == 1


@kernel
def mixed(data):
    return load_u32(view(data), 0)


def test_a_wrong_type_is_found_when_compiling():
    with pytest.raises(TypingError, match="expected a View"):
        mixed(np.zeros(4, np.int64))
    with pytest.raises(TypingError, match="contiguous"):
        read(np.zeros((4, 4), np.uint8)[:, 1], 0)


OUTSIDE = """
import numpy as np
from tests.kernels import test_memory as kernels

data, words = np.zeros(16, np.uint8), np.zeros(8, np.uint16)
accesses = {
    "read": lambda i: kernels.read(data, i),
    "read_wide": lambda i: kernels.read_wide(data, i - 7),
    "write": lambda i: kernels.write(data, i, 1),
    "write_wide": lambda i: kernels.write_wide(data, i - 11, 1),
    "read_elsewhere": lambda i: kernels.read_elsewhere(kernels.pointer(words), 4, i - 12),
    "copy to": lambda i: kernels.copy_part(data, i - 3, data.copy(), 0, 4),
    "copy from": lambda i: kernels.copy_part(data, 0, data.copy(), i - 3, 4),
}
for name, access in accesses.items():
    access(15)
    for i in (16, 17, 2**40, -3):
        try:
            access(i)
        except IndexError as error:
            assert "outside of its memory" in str(error)
        else:
            raise AssertionError(f"{name} of {i} raised nothing")
kernels.newlines(np.zeros(64, np.uint8), 0)
try:
    kernels.newlines(np.zeros(64, np.uint8), 1)
except IndexError:
    print("all raised")
"""


def test_the_checked_build_raises(tmp_path):
    environment = os.environ | {"GPUTOK_CHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", OUTSIDE], env=environment, cwd=HERE.parent, capture_output=True, text=True
    )
    assert done.stdout == "all raised\n", done.stderr


@pytest.mark.parametrize("name", ["read", "write", "read_wide"])
def test_nothing_is_checked_otherwise(name, tmp_path):
    """One straight line of machine code."""
    source = f"""
import numpy as np
from tests.kernels import test_memory as kernels
from numba import types

function = kernels.{name}.py_func
arguments = (types.uint8[::1], types.uint64) + (types.uint8,) * (function.__name__ == "write")
kernel = kernels.kernel(function)
kernel.compile(arguments)
code = next(iter(kernel.inspect_llvm().values()))
body = next(part for part in code.split("define")[1:] if "cpython" not in part.split("{{")[0])
print(sum(line.lstrip().startswith(("br ", "switch ")) for line in body.splitlines()))
"""
    environment = os.environ | {"GPUTOK_CHECK": "", "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", source], env=environment, cwd=HERE.parent, capture_output=True, text=True
    )
    assert done.stdout == "0\n", done.stderr


@pytest.mark.skipif(platform.machine() != "x86_64", reason="looks for an instruction of x86-64")
def test_results_of_64_bytes_stay_together(tmp_path):
    """If a loop carries them from turn to turn, LLVM may put each of the 64 bits into a vector by itself (`pinsrb`)."""
    source = """
import numpy as np
from gputok.kernels.cpu import find_tokens, lines, trie
data, one, nothing = np.zeros(100, np.uint8), np.ones(1, np.int64), np.zeros(0, np.uint8)
lines.lines(data)
edges = trie.build_trie(data[:1], np.arange(2), np.arange(1))
find_tokens.find_tokens(data, one, one, one > 1, edges, data[:1], nothing)
print([code.count("pinsrb") for k in (lines._lines, find_tokens._find_tokens) for code in k.inspect_asm().values()])
"""
    environment = os.environ | {"GPUTOK_CHECK": "", "NUMBA_CACHE_DIR": str(tmp_path)}
    # As for a wheel; AVX-512 has registers of bits
    environment |= {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": ""}
    done = subprocess.run(
        [sys.executable, "-c", source], env=environment, cwd=HERE.parent, capture_output=True, text=True
    )
    assert done.stdout == "[0, 0]\n", done.stderr


@pytest.mark.full
def test_valgrind_finds_no_error(tmp_path):
    """Each kind of kernel under memcheck: no read or write beside what is allocated."""
    if not shutil.which("valgrind"):
        pytest.skip("valgrind is not installed (Debian: apt-get install valgrind)")
    sentencepiece = pytest.importorskip("sentencepiece")
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("".join(f"the text of line {i} ﬁ é\n" for i in range(300)), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus), model_prefix=str(tmp_path / "model"), vocab_size=50, minloglevel=2
    )
    gputok.from_sentencepiece(str(tmp_path / "model.model")).save(str(tmp_path / "precompiled.json"))
    environment = os.environ | {
        "NUMBA_CPU_NAME": "haswell",  # valgrind knows no AVX-512
        "NUMBA_CPU_FEATURES": "",
        "NUMBA_CACHE_DIR": str(tmp_path / "cache"),
        "PYTHONMALLOC": "malloc",
    }
    command = [sys.executable, str(HERE / "work_of_kernels.py"), str(tmp_path / "precompiled.json")]
    subprocess.run(command, env=environment, check=True)  # compiles, outside of valgrind
    checked = ["valgrind", "--undef-value-errors=no", "--num-callers=20", *command]
    done = subprocess.run(checked, env=environment, capture_output=True, text=True)
    assert done.stdout.endswith("done\n"), done.stderr[-3000:]
    assert re.search(r"ERROR SUMMARY: 0 errors", done.stderr), done.stderr[-5000:]
