"""Kernels as machine code in the package, and compiled on this machine: the same calls, results and errors."""

import ast
import gc
import inspect
import os
import pathlib
import pickle
import re
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


# ------------------------------------------------------------------------------------------------------ the same results


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
[(code, kernels)] = entries.bitcode([["gputok.kernels.cpu.spell_words"]])
level, folder = object_files.levels()[0], pathlib.Path({str(tmp_path)!r})
for name, made in (("1.o", object_files.runtime()), ("2.o", object_files.machine_code("a test", code, level))):
    (folder / name).write_bytes(made)
library._link(["cc"], [folder / "1.o", folder / "2.o"], folder / "made.so")
made = ctypes.CDLL(str(folder / "made.so"))
assert suits(made)
space = {{}}
exec(write_calls.calls(kernels, [level]), space)
call = space["calls"](lambda name: made[f"{{level}}_{{name}}"], made)["cpu.spell_words._count_characters"]
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


# ------------------------------------------------------------------------------------------------------------ the choice


@pytest.mark.jit_only
def test_a_kernel_that_others_call_first_gets_its_entry():
    """In the process that builds the library, a kernel of another module may have compiled it before its own module's turn."""
    code = """
import llvmlite.binding as llvm
from gputok.kernels.native.all import kernels_of
from gputok.kernels.signatures import numba_type, versions
from gputok.kernels.wheel import entries
entries.bitcode([])
for kernel in kernels_of("gputok.kernels.cpu.word_table").values():
    for arguments in versions(kernel.declared):
        kernel.compile(tuple(map(numba_type, arguments)))
[(code, kernels)] = entries.bitcode([["gputok.kernels.cpu.word_table"]])
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
from gputok.kernels.cpu import rewrite
from gputok.kernels.cpu import utf8
utf8.find_invalid_utf8(np.zeros(3, np.uint8)); rewrite.gather(np.zeros(3, np.uint8), np.zeros(1, int), np.ones(1, int))
from gputok.kernels.native.preparation import preparation
print(preparation.compiled, preparation.seconds > 0)
"""
    variables = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    done = [
        subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True) for _ in range(2)
    ]
    assert [one.stdout.split() for one in done] == [["2", "True"], ["0", "True"]]
    assert done[0].stderr.count("compiling kernels for this machine") == 1 and done[1].stderr == ""


# ------------------------------------------------------------------------------------------- builtins of machine code


def test_builtins_name_what_they_read():
    """Their code has names for the fields of memory that objects.py declares, whose order is written nowhere else."""
    from gputok.kernels.native import objects

    path, known = pathlib.Path(objects.__file__).parents[1] / "wheel" / "builtins.ll", objects.numbers()
    code = re.sub(r";.*", "", path.read_text())
    named = set(re.findall(r"(?<!@)\b[A-Z]\w*\.\w+", code))
    second = {name for name in known if name.removesuffix("_special") in known.keys() - {name}}
    assert named <= set(known) and "Python.PyList_New" in named
    # Nothing is left over
    assert {name for name in known if not name.endswith(".n")} - second - {"Texts.texts"} <= named
    assert all(known[name] == known[name.removesuffix("_special")] + 1 for name in second) and len(second) == 5
    first = r"@(?:python|of_classes)\(|_in_python\(.*, |@put_shared\(.*, |ptr @gputok_\w+, |ptr %(?:maker|call|later|state), "
    assert not re.findall(rf"(?:{first})i64 \d|add i64 %special, \d", code)


def in_threads(n, work):
    """Calls a function in n threads at the same time."""
    threads = [threading.Thread(target=work) for _ in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.wheel_only
def test_lists_of_ids():
    """Shared objects, and new objects for larger ids; each list owns its items."""
    code = choose().builtins
    ids = np.random.default_rng(0).integers(0, 60_000, 5000)
    ids[::50] = 2500
    raw = ids.astype(np.uint32).tobytes()
    for n in (0, 3000, 1000, 40_000):
        code.share_integers(n)
        found = code.list_ids(raw)
        assert found == ids.tolist()
        one = found[0]
        if n >= 3000:
            assert code.list_ids(raw)[0] is one
        before = sys.getrefcount(one)
        del found
        assert sys.getrefcount(one) <= before - np.count_nonzero(ids == 2500) * (n >= 3000)
    assert code.list_ids(b"") == [] and code.list_ids(b"\xff" * 4) == [2**32 - 1]
    with pytest.raises(TypeError):
        code.list_ids([1])


@pytest.mark.wheel_only
def test_a_vocabulary_that_grows_makes_few_tables(monkeypatch):
    """A table is kept for ever: a token that is added must not bring one of all ids."""
    from gputok.kernels.native import objects

    code, kept, for_ever = choose().builtins, [], objects._for_ever
    monkeypatch.setattr(objects, "_for_ever", lambda one: kept.append(one) or for_ever(one))
    known = 100_000
    for n in range(known, known + 2000):
        code.share_integers(n)
    assert len(kept) <= 1
    ids = np.arange(known, known + 2000, dtype=np.uint32)
    assert code.list_ids(ids.tobytes()) == ids.tolist()


@pytest.mark.wheel_only
def test_the_length_of_texts():
    measure = choose().builtins.measure
    assert measure([]) == 0 and measure(["", "é漢🙂", "a" * 1000]) == 1003
    assert measure(["a", b"a"]) == measure(["a", None]) == measure([type("S", (str,), {})("a")]) == -1


@pytest.mark.wheel_only
def test_texts_that_a_builtin_encodes(shared_tokenizer):
    """From 16 threads, at the length from which the GIL is released, and at the longest; and what is no text."""
    from gputok.kernels.cpu.encode_one.encode import LONGEST

    import gputok
    from gputok.pipeline.encode import stepwise
    from gputok.pipeline.encode.text import texts_of

    tokenizer = gputok.Tokenizer.from_file(str(shared_tokenizer("llama3")))
    texts = [
        "",
        "é",
        "a" * 1024,
        "low " * 256 + "x",
        "漢字" * 600,
        "a b " * (LONGEST // 4),
        "a b " * (LONGEST // 4) + "c",
    ]
    inputs = [(text,) for text in texts]
    packed = stepwise.encode(tokenizer.pipeline, inputs, False, True, offsets=False)
    wanted = [encoding.ids for encoding in packed]
    wrong = []

    def encode():
        wrong.extend(
            text
            for _ in range(20)
            for text, ids in zip(texts, wanted, strict=True)
            if tokenizer.encode(text).ids != ids
        )

    in_threads(16, encode)
    assert not wrong
    engine = texts_of(tokenizer.pipeline).engine
    memory = engine.scratch.free[-1]
    assert engine.ids_of(memory.steps.given, texts[-1], 0) == -1
    with pytest.raises(UnicodeEncodeError, match="surrogates not allowed"):
        tokenizer.encode("a\ud800")
    with pytest.raises(TypeError):
        engine.ids_of(memory.call, b"a", 0)


@pytest.mark.wheel_only
def test_the_methods_of_machine_code(shared_tokenizer):
    """`Tokenizer.encode` and `Encoding.ids` are machine code, and give what the methods in Python give."""
    import gputok

    tokenizer = gputok.Tokenizer.from_file(str(shared_tokenizer("minilm-bert")))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    assert type(tokenizer.encode).__name__ == "builtin_function_or_method"
    found = inspect.signature(gputok.Tokenizer.encode)
    assert str(found).startswith("(self, /, sequence, pair=None, is_pretokenized=False, add_special_tokens=True")
    assert found.parameters["truncation"].default is ...
    assert gputok.Tokenizer.encode.__doc__.startswith("Encodes one text")
    assert gputok.Encoding.ids.__doc__.startswith("The ids of the tokens")

    class Own(gputok.Tokenizer):
        def encode(self, sequence, *rest, **options):
            return super().encode(sequence.upper(), *rest, **options)

    class Text(str):
        __slots__ = ()

    own = Own(tokenizer.model)
    for name in ("normalizer", "pre_tokenizer", "post_processor"):
        setattr(own, name, getattr(tokenizer, name))
    long = "Low, lower. " * 200
    wanted = tokenizer.encode_batch(["Low, lower."], add_special_tokens=False)[0].ids
    special = tokenizer.encode_batch(["Low, lower."])[0].ids
    for _ in range(8):  # the first few by Python
        assert tokenizer.encode("Low, lower.").ids == own.encode("low, lower.").ids == special
        assert tokenizer.encode("Low, lower.", add_special_tokens=False).ids == wanted
        assert tokenizer.encode(sequence="Low, lower.", add_special_tokens=False).ids == wanted
        assert tokenizer.encode("Low, lower.", None, False, False).ids == wanted
        assert tokenizer.encode(Text("Low, lower.")).ids == special
        assert tokenizer.encode(["Low", ",", "lower", "."], is_pretokenized=True).ids == special
        assert tokenizer.encode("Low", "lower").type_ids[-1] == 1
        assert tokenizer.encode("Low, lower.", truncation={"max_length": 3}).ids == [*special[:2], special[-1]]
        encoding = tokenizer.encode("Low, lower.")
        assert encoding.offsets[1] == (0, 3) and encoding.ids is not encoding.ids
    tokenizer.enable_truncation(5)
    tokenizer.enable_padding(length=8)
    for _ in range(20):
        encoding = tokenizer.encode(long)
        assert len(encoding.ids) == 8 == len(encoding.tokens) and encoding.attention_mask == [1] * 5 + [0] * 3
        assert len(encoding.overflowing) > 100
    tokenizer.no_truncation()
    tokenizer.no_padding()
    assert len(tokenizer.encode(long).ids) == 802
    text = "low " + "lower " * 40
    before = sys.getrefcount(text)
    for _ in range(1000):
        tokenizer.encode(text, add_special_tokens=False).ids.append(1)
    assert sys.getrefcount(text) == before
    assert pickle.loads(pickle.dumps(tokenizer.encode))("Low, lower.").ids == special
    for wrong, message in (
        ((), "sequence"),
        ((1,), "TextInputSequence must be str"),
        (("a", "b", 0, 1, 2), "positional"),
    ):
        with pytest.raises(TypeError, match=message):
            tokenizer.encode(*wrong)
    with pytest.raises(TypeError, match="unexpected keyword"):
        tokenizer.encode("a", special=True)
    with pytest.raises(UnicodeEncodeError):
        tokenizer.encode("a\ud800")


@pytest.mark.wheel_only
@pytest.mark.parametrize("name", ["llama3", "llama2", "minilm-bert"])
def test_the_attributes_of_machine_code(shared_tokenizer, name):
    """Lists of tokens and offsets are those of the properties in Python, in many threads, and they own what they hold."""
    import gputok

    tokenizer = gputok.Tokenizer.from_file(str(shared_tokenizer(name)))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    assert type(vars(gputok.Encoding)["tokens"]).__name__ == "getset_descriptor"
    assert gputok.Encoding.offsets.__doc__.startswith("For each token, its characters")
    texts = ["", "a", "Low, lower  é 漢字 \n lowest!", "word " * 300, "x" * 40_000, "long " * 20_000]
    long = gputok.Tokenizer.from_str(tokenizer.to_str())  # its encodings are made by the steps
    wanted = [long.encode_batch([text, "y"], add_special_tokens=False)[0] for text in texts]
    wanted = [(e._made(), e.tokens, e.offsets)[1:] for e in wanted]
    wrong = []

    def encode():
        for _ in range(5):
            for text, found in zip(texts, wanted, strict=True):
                encoding = tokenizer.encode(text, add_special_tokens=False)
                if (encoding.tokens, encoding.offsets) != found:
                    wrong.append(text)

    in_threads(16, encode)
    assert not wrong
    encoding = tokenizer.encode(texts[2])
    assert encoding._later is not None
    assert encoding.tokens is not encoding.tokens and encoding.offsets is not encoding.offsets
    text = encoding.tokens[1]
    assert encoding.tokens[1] is text
    before = sys.getrefcount(text), sys.getrefcount(encoding._later)
    for _ in range(1000):
        encoding.tokens, encoding.offsets  # noqa: B018
    assert before == (sys.getrefcount(text), sys.getrefcount(encoding._later))
    for attribute in ("ids", "tokens", "offsets"):  # machine code reads the memory of the object that it is given
        with pytest.raises(TypeError):
            vars(gputok.Encoding)[attribute].__get__(object())
        with pytest.raises(AttributeError):
            setattr(encoding, attribute, [])
    broken, other = tokenizer.encode("a"), gputok.Tokenizer.from_str(tokenizer.to_str())
    broken._later, other._texts = (0,), ()  # too short for machine code
    for attribute in ("ids", "tokens", "offsets"):
        with pytest.raises(AttributeError):
            getattr(broken, attribute)
    with pytest.raises(IndexError):
        other.encode("a")
    offsets = encoding.offsets
    assert {gc.is_tracked(offset) for offset in offsets} == {False}
    alone = gputok.Tokenizer.from_str(tokenizer.to_str()).encode_batch([texts[2]] * 9, add_special_tokens=False)[8]
    gc.collect()
    assert (alone.tokens, alone.offsets) == wanted[2] and alone.tokens[1] is alone.tokens[1]


@pytest.mark.wheel_only
def test_special_tokens_with_texts_of_their_own():
    """A template can show a text for its special tokens that the vocabulary has not; and tokens come after the first texts."""
    from gputok import Tokenizer, models, pre_tokenizers, processors

    tokenizer = Tokenizer(models.WordLevel({"[A]": 0, "so": 1, "it": 2, "?": 3}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    special = {"start": {"id": "start", "ids": [0, 1], "tokens": ["<start>", "so"]}}
    tokenizer.post_processor = processors.TemplateProcessing("start $A", None, [*special.values()])
    for _ in range(9):
        encoding = tokenizer.encode("so it goes")
        assert encoding.ids == [0, 1, 1, 2, 3] and encoding.tokens == ["<start>", "so", "so", "it", "?"]
        assert encoding.offsets == [(0, 0), (0, 0), (0, 2), (3, 5), (6, 10)]
        assert tokenizer.encode("so it", add_special_tokens=False).tokens == ["so", "it"]
    tokenizer.add_tokens(["new"])
    for _ in range(9):
        assert tokenizer.encode("so new").tokens == ["<start>", "so", "so", "new"]


@pytest.mark.wheel_only
def test_the_collector_sees_no_list_with_empty_items(shared_tokenizer):
    """Python code that asks the garbage collector for all objects can run while machine code fills a list (before 3.12)."""
    import gputok

    tokenizer = gputok.Tokenizer.from_file(str(shared_tokenizer("llama3")))
    encodings = tokenizer.encode_batch(["low é lower\n " * 1500] * 9)
    texts = [f"a{i}" for i in range(6001)]
    seen = []

    def look(phase, info):
        gc.callbacks.clear()  # what is called here collects, too
        seen.append([[*one] for one in gc.get_objects(0) if type(one) is list and len(one) >= 6001])
        gc.callbacks.append(look)

    before = gc.get_threshold()
    try:
        gc.set_threshold(300)
        gc.callbacks.append(look)
        for _ in range(3):
            made = encodings[8].offsets, encodings[8].tokens, tokenizer.encode_batch(texts)
            assert gc.is_tracked(made[0]) and gc.is_tracked(made[2])
    finally:
        gc.callbacks.clear()
        gc.set_threshold(*before)
    assert len(seen) > 10


@pytest.mark.wheel_only
def test_machine_code_takes_over_once():
    code = """
import importlib
import gputok, gputok.tokenizer
first = gputok.Tokenizer
importlib.reload(gputok.tokenizer)
for kind in (first, gputok.tokenizer.Tokenizer):
    tokenizer = kind(gputok.models.WordLevel({"so": 0, "it": 1}))
    tokenizer.pre_tokenizer = gputok.pre_tokenizers.Whitespace()
    tokenizer.enable_padding(length=3)
    for _ in range(9):
        found = tokenizer.encode("so it")
        assert (found.ids, found.tokens, found.offsets) == ([0, 1, 0], ["so", "it", "[PAD]"], [(0, 2), (3, 5), (0, 0)])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.wheel_only
def test_threads_that_make_the_first_encodings():
    """Of two threads that prepare machine code at the same time, the second one must not free what the first one uses."""
    from gputok import Tokenizer, models
    from gputok.pipeline.encode.text import texts_of

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(60):
            tokenizer = Tokenizer(models.WordLevel({"so": 0, "it": 1}))
            start, memory = threading.Barrier(6), []

            def encode(tokenizer=tokenizer, start=start, memory=memory):
                start.wait()
                for _ in range(5):
                    assert tokenizer.encode_batch(["so"] * 9)[8].tokens == ["so"]
                    texts = texts_of(tokenizer.pipeline)
                    memory.append((texts, texts._own))

            in_threads(6, encode)
            found = {(id(texts), id(own)) for texts, own in memory if own is not None}
            assert len(memory) == 30 and len(found) == len({texts for texts, _ in found})
    finally:
        sys.setswitchinterval(before)


@pytest.mark.wheel_only
@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("nm"), reason="reads a library of Linux by nm")
def test_the_library_needs_nothing_but_common_functions_of_c():
    """The workflow gives musl the same file, whose functions have no versions."""
    from gputok.kernels.native import _library

    command = ["nm", "--dynamic", "--undefined-only", str(_library()[1])]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    needed = {line.split()[-1].partition("@")[0] for line in lines if " U " in line}
    assert needed <= {"exp", "free", "log", "malloc", "memcpy", "memmove", "memset"}
