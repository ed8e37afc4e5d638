"""Kernels as machine code in the package, and compiled on this machine: the same calls, results and errors."""

import ast
import importlib
import os
import pathlib
import shutil
import subprocess
import sys
import threading

import gputok.kernels
import numpy as np
import pytest
from gputok.kernels.cpu import count_words as words
from gputok.kernels.cpu import rewrite, spell_words, word_table
from gputok.kernels.cpu.documents import documents
from gputok.kernels.cpu.primitives import memory
from gputok.kernels.native import choose
from gputok.kernels.signatures import Either, Elements, I64s, Number, U8s, f64, i64, u8, u16, u32, versions

NEWLINE = np.frombuffer(b"\n", np.uint8)
pytestmark = pytest.mark.unchecked


def starts_of_lines(data: np.ndarray) -> np.ndarray:
    """Where each line begins among the lines without their newlines, int64[]: the result of a kernel."""
    return documents(data, NEWLINE, is_last=True, in_place=False)[1]


def declared() -> set[str]:
    """The name of each function under an `@kernel` that declares arguments, from the source."""
    found = set()
    for folder in map(pathlib.Path, gputok.kernels.__path__):
        for path in folder.rglob("*.py"):
            module = ".".join(path.relative_to(folder).with_suffix("").parts)
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.FunctionDef):
                    for mark in node.decorator_list:
                        if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "kernel" and mark.args:
                            found.add(f"{module}.{node.name}")
    return found


def run(code: str, **variables: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# ---------------------------------------------------------------------------------------------------- what is declared


@pytest.mark.wheel_only
def test_every_kernel_is_in_the_library():
    assert declared() == set(choose().calls)


@pytest.mark.wheel_only
@pytest.mark.skipif(not os.path.isdir(gputok.kernels.cpu.__path__[0]), reason="a source tree has no faces")
def test_what_only_numba_reads_is_not_imported():
    """To read it would take each process milliseconds."""
    from gputok.kernels.native.all import modules

    of_numba = {f"gputok.kernels.cpu.primitives.{name}" for name in memory._MODULES} | {"gputok.kernels.cpu.jit"}
    for name in {*modules()} - of_numba:
        assert "numba" not in vars(importlib.import_module(name))
    code = "import sys; from gputok import Tokenizer, models; t = Tokenizer(models.BPE({'a': 0}, [])); t.encode('aa');"
    loaded = {*run(f"{code} print(*sys.modules)").split()}
    assert "gputok.kernels.cpu.encode_one.units" in loaded
    for name in ("encode_corpus.rounds", "primitives.hashing", "primitives.memory", "split", "walk.by_pairs"):
        assert f"gputok.kernels.cpu.{name}" not in loaded


@pytest.mark.jit_only
def test_only_what_is_declared_is_compiled():
    from gputok.kernels.native.all import kernels_of, modules
    from gputok.kernels.signatures import numba_type

    kernels = {f"{module}.{name}": kernel for module in modules() for name, kernel in kernels_of(module).items()}
    assert {name.removeprefix("gputok.kernels.") for name in kernels} == declared()
    for name, kernel in kernels.items():
        wanted = {tuple(map(numba_type, arguments)) for arguments in versions(kernel.declared)}
        assert set(kernel.overloads) <= wanted, name


def test_versions():
    number = Either("number", (u16[:], u32[:]))
    assert versions((number, i64, number)) == [(kind, Number("i8"), kind) for kind in (u16[:], u32[:])]
    assert versions((I64s, (u8, f64))) == [(Elements("i8", 1), versions(((u8, f64),))[0][0])]
    assert versions((U8s, int))[0] == (u8[:], i64)
    with pytest.raises(TypeError, match="str"):
        versions((str,))


# ---------------------------------------------------------------------------------------------------- the same results


@pytest.mark.parametrize(
    "slots",
    [
        np.zeros((4, 4), np.int64),  # another type
        np.zeros(16, np.uint64),  # another number of dimensions
        np.zeros((4, 8), np.uint64)[:, ::2],  # not contiguous
        np.zeros((4, 4), ">u8"),
        [[0] * 4] * 4,
        None,
    ],
)
def test_other_arguments_are_refused(slots):
    with pytest.raises((TypeError, ValueError)):
        word_table.move_slots(slots, np.zeros((8, 4), np.uint64))


@pytest.mark.parametrize("n_bytes", ["3", None, 1 << 64])
def test_values_that_are_not_numbers_are_refused(n_bytes):
    with pytest.raises((TypeError, OverflowError)):
        rewrite._gather(0, 0, 0, n_bytes, 0)


NO_TRUTH = 2, 256, -1, 2**63, 2**64, 0.5, None, "no", [1], [], {}, b"\1"


@pytest.mark.parametrize("value", NO_TRUTH)
def test_values_that_are_not_true_or_false_are_refused(value):
    """Python takes 2 for True; machine code looked at its lowest bit."""
    with pytest.raises((TypeError, OverflowError, ValueError)):
        spell_words._count_characters(
            np.zeros(0, np.uint8), *np.zeros((2, 0), np.int64), value, np.zeros((0, 2), np.int64)
        )


@pytest.mark.jit_only
@pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler, cc")
def test_a_library_refuses_numbers_that_do_not_fit(tmp_path):
    """The calls of a library, of which a wheel has one for all kernels."""
    code = f"""
import ctypes, pathlib, sys
import numpy as np
from gputok.kernels.native.call import suits
from gputok.kernels.wheel import entries, library, object_files, write_calls
code, kernels = entries.bitcode(["gputok.kernels.cpu.spell_words"])
level, folder = object_files.levels()[0], pathlib.Path({str(tmp_path)!r})
for name, made in (("1.o", object_files.runtime()), ("2.o", object_files.machine_code("a test", code, level))):
    (folder / name).write_bytes(made)
library._link(["cc"], [folder / "1.o", folder / "2.o"], folder / "made.so")
made = ctypes.CDLL(str(folder / "made.so"))
assert suits(made)
space = {{}}
exec(write_calls.calls(kernels, [level]), space)
call = space["calls"](lambda name: made[f"{{level}}_{{name}}"], made)["cpu.spell_words._count_characters"]()
def refused(value):
    try:
        call(np.zeros(0, np.uint8), *np.zeros((2, 0), np.int64), value, np.zeros((0, 2), np.int64))
    except TypeError as error:
        return "_count_characters" in str(error)
print([refused(value) for value in {NO_TRUTH!r}], refused(True), refused(False))
"""
    assert run(code, GPUTOK_JIT="1") == f"{[True] * len(NO_TRUTH)} None None"


def test_subclasses_of_arrays_are_arrays(tmp_path):
    plain = np.zeros((8, 4), np.uint64)
    mapped = np.memmap(tmp_path / "slots", np.uint64, "w+", shape=(4, 4))
    word_table.move_slots(mapped, plain)
    assert not plain.any()


def test_read_only_arrays_are_accepted():
    slots = np.zeros((4, 4), np.uint64)
    slots.flags.writeable = False
    target = np.zeros((8, 4), np.uint64)
    word_table.move_slots(slots, target)
    assert not target.any()


def test_exceptions_pass_unchanged():
    table = word_table.new_table()
    table.state[word_table.N_WORDS] = -1
    with pytest.raises(ValueError, match="negative dimensions"):
        words.counts(table)
    table.state[word_table.N_WORDS] = 1 << 60
    with pytest.raises((ValueError, MemoryError)):
        words.counts(table)


def test_results_own_their_memory():
    data = np.frombuffer(b"a\nb\n" * 1000, np.uint8)
    kept = [starts_of_lines(data) for _ in range(50)]
    parts = [one[5:10] for one in kept]
    del kept
    for _ in range(50):
        starts_of_lines(data)[:] = 0
    assert all(part.tolist() == [5, 6, 7, 8, 9] for part in parts)


@pytest.mark.skipif(not pathlib.Path("/proc/self/statm").exists(), reason="reads /proc")
def test_memory_is_given_back():
    data = np.frombuffer(b"\n" * 100_000, np.uint8)
    table = word_table.new_table()
    table.state[word_table.N_WORDS] = -1

    def pages() -> int:
        return int(pathlib.Path("/proc/self/statm").read_text().split()[1])

    def work(times: int) -> None:
        for _ in range(times):
            starts_of_lines(data)  # 800 kB each
            starts_of_lines(data[:1000])
            with pytest.raises(ValueError):
                words.counts(table)

    work(20)
    before = pages()
    work(300)  # 240 MB, if it stayed
    assert pages() - before < (20 << 20) // 4096


def test_threads_run_at_the_same_time_and_agree():
    data = np.frombuffer(b"some text\n" * 100_000, np.uint8)
    expected, found = starts_of_lines(data), {}

    def work(number: int) -> None:
        found[number] = [starts_of_lines(data) for _ in range(20)]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(one, expected) for each in found.values() for one in each)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes(method):
    if method == "fork" and sys.platform != "linux":
        pytest.skip("fork is Linux's")
    code = f"""
import multiprocessing
from gputok import Tokenizer, models, pre_tokenizers
def work(text):
    tokenizer = Tokenizer(models.BPE({{"a": 0, "b": 1, "ab": 2}}, [("a", "b")]))
    return tokenizer.encode(text).ids
if __name__ == "__main__":
    here = work("abba")
    with multiprocessing.get_context({method!r}).Pool(2) as pool:
        assert pool.map(work, ["abba", "ab"]) == [here, [2]]
    print("same")
"""
    path = pathlib.Path(os.environ.get("TMPDIR", "/tmp")) / f"gputok-{os.getpid()}-{method}.py"
    path.write_text(code)
    try:
        done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, timeout=300)
        assert done.stdout.strip() == "same", done.stderr
    finally:
        path.unlink()


# ---------------------------------------------------------------------------------------------------------- the choice


@pytest.mark.jit_only
def test_a_kernel_that_others_call_first_gets_its_entry():
    """In the process that builds the library, a kernel of another module may have compiled it before its module did."""
    code = """
import llvmlite.binding as llvm
from gputok.kernels.native.all import kernels_of
from gputok.kernels.signatures import numba_type, versions
from gputok.kernels.wheel import entries
entries.bitcode([])
for kernel in kernels_of("gputok.kernels.cpu.word_table").values():
    for arguments in versions(kernel.declared):
        kernel.compile(tuple(map(numba_type, arguments)))
code, kernels = entries.bitcode(["gputok.kernels.cpu.word_table"])
made = {function.name for function in llvm.parse_bitcode(code).functions if not function.is_declaration}
print({f"{kernel.name.replace('.', '_')}_{kernel.version}" for kernel in kernels} & made)
"""
    assert run(code, GPUTOK_JIT="1") == "{'cpu_word_table_move_slots_0'}"


@pytest.mark.parametrize("switch", ["GPUTOK_JIT", "GPUTOK_CHECK"])
def test_switches_force_the_compiler(switch):
    code = "from gputok.kernels.native import choose; print(choose().calls is None, choose().reason)"
    assert run(code, **{switch: "1"}) == f"True compiled here by Numba: {switch} is set"


@pytest.mark.jit_only
def test_a_source_tree_uses_an_installed_wheel_of_the_same_kernels(tmp_path):
    """As after `pip install .` in a clone, whose folder Python looks into first. Here, the library is an empty file."""
    from gputok.kernels.native import LIBRARY, sources

    folder = tmp_path / "gputok" / "kernels" / "native"
    folder.mkdir(parents=True)
    (folder / LIBRARY).write_bytes(b"")
    code = f"""
import sys; sys.path.append({str(tmp_path)!r})
from gputok.kernels.native import choose; print(choose().reason)
"""
    (folder / "calls.py").write_text(f"LEVELS = ()\nSOURCES = {sources.digest(sources.LIBRARY)!r}\n")
    assert str(folder / LIBRARY) in run(code)  # it was to be opened
    for other in ("SOURCES = 'another'\n", ""):
        (folder / "calls.py").write_text(other)
        reason = run(code)
        assert f"the gputok installed in {tmp_path} has other kernels (run Python in another folder" in reason
        assert "pip install -e" in reason


def test_the_hash_of_sources_changes_with_each_of_them():
    from gputok.kernels.native import sources

    assert sources.digest(sources.LIBRARY) == sources.digest(sources.LIBRARY)
    hashes = {sources.digest(globs) for globs in (sources.KERNELS, sources.LIBRARY, ("cpu/*.py",), ("cpu/lines.py",))}
    assert len(hashes) == 4 and sources.digest(sources.KERNELS, b"checked") not in hashes


@pytest.mark.wheel_only
def test_the_library_needs_no_compiler():
    code = """
import sys
from gputok import Tokenizer, models, pre_tokenizers, trainers
tokenizer = Tokenizer(models.BPE())
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
tokenizer.train_from_iterator(["lowest lower"] * 4, trainers.BpeTrainer(vocab_size=300, show_progress=False))
tokenizer.encode("lowest")
print(sorted({"numba", "llvmlite", "asyncio"} & set(sys.modules)))
"""
    assert run(code) == "[]"


@pytest.mark.jit_only
def test_compiling_is_announced_once(tmp_path):
    code = """
import numpy as np
from gputok.kernels.cpu import compiled, rewrite
compiled.checksum(np.zeros(3, np.uint64)); rewrite.gather(np.zeros(3, np.uint8), np.zeros(1, int), np.ones(1, int))
from gputok.kernels.native.preparation import preparation
print(preparation.compiled, preparation.seconds > 0)
"""
    variables = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    done = [
        subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True) for _ in range(2)
    ]
    assert [one.stdout.split() for one in done] == [["2", "True"], ["0", "True"]]
    assert done[0].stderr.count("compiling kernels for this machine") == 1 and done[1].stderr == ""


@pytest.mark.wheel_only
@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("nm"), reason="reads a library of Linux by nm")
def test_the_library_needs_nothing_but_common_functions_of_c():
    """The workflow gives musl the same file, whose functions have no versions."""
    from gputok.kernels.native import _library

    command = ["nm", "--dynamic", "--undefined-only", str(_library()[1])]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    needed = {line.split()[-1].partition("@")[0] for line in lines if " U " in line}
    assert needed <= {"exp", "free", "log", "malloc", "memcpy", "memmove", "memset"}
