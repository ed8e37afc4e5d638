"""What machine code has the addresses of outlives all that encodes: at Python's end, after reloads, if others write."""

import os
import shutil
import subprocess
import sys

import pytest
from gputok.kernels.builtins import builtin_functions
from gputok.kernels.native import choose

IN_LIBRARY = choose().library is not None

START = """
import os, sys
import numpy as np
import gputok
from gputok import Tokenizer, models, normalizers, pre_tokenizers, processors
from gputok.kernels.builtins import builtin_functions

def made():
    tokens = ["<s>", "?", "low", "er", "lower", "est", "é", "ab", "a", "b", *map(str, range(40))]
    tokenizer = Tokenizer(models.WordPiece({token: i for i, token in enumerate(tokens)}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", "<s> $A $B", [("<s>", 0)])
    return tokenizer

text, long = "low lower é a b ab x 7", "lower 12 low é " * 100  # others may run meanwhile
attributes = ("ids", "tokens", "offsets", "type_ids", "attention_mask", "special_tokens_mask", "word_ids")
"""

LATE = """
import atexit, builtins, gc, pathlib, tempfile, threading

def of(encoding, attributes=attributes):
    return [getattr(encoding, name) for name in attributes], [one.ids for one in encoding.overflowing]

class Work:
    "Calls of all kinds, which need no global name of this module."

    def __init__(self, place):
        self.place, tokenizer, code = place, made(), builtin_functions()
        for _ in range(9):
            encoding = of(tokenizer.encode(text))
        self.folder = tempfile.mkdtemp(dir=sys.argv[1])
        self.calls = {
            "builtins": lambda e=tokenizer.encode, text=text, long=long: [
                (one.ids, one.tokens, one.offsets) for one in (e(text), e(long), e(text, add_special_tokens=False))
            ],
            "attributes": lambda of=of, e=tokenizer.encode, text=text: of(e(text)),
            "kept": lambda kept=tokenizer.encode(text): (kept.ids, kept.tokens, kept.offsets),
            "kept, all": lambda of=of, kept=tokenizer.encode(text): of(kept),
            "kept pair": lambda of=of, kept=tokenizer.encode(text, "a"): of(kept),
            "pair": lambda of=of, e=tokenizer.encode, text=text: of(e(text, "low")),
            "words": lambda of=of, e=tokenizer.encode: of(e(["low", "er"], is_pretokenized=True)),
            "batch": lambda of=of, e=tokenizer.encode_batch, text=text: [of(one) for one in e([text] * 300)],
            "cut": lambda of=of, e=tokenizer.encode, text=text: of(e(text, truncation={"max_length": 3})),
            "threads": lambda e=tokenizer.encode_batch, t=20 * long: [one.ids for one in e([t] * 40, threads=3)],
            "decode": lambda t=tokenizer: (t.decode([2, 3]), t.token_to_id("low"), t.id_to_token(3)),
            "corpus": lambda e=tokenizer.encode_corpus, long=long, to=self.folder: (
                e(iter([long, "low"]), to + "/ids.npy", threads=2) and None,
            ),
        }
        if code is not None:
            self.calls["list_ids, measure"] = lambda code=code, ids=np.arange(99, dtype=np.uint32).tobytes(): (
                code.list_ids(ids), code.measure(["a", "bc"])
            )
        self.wanted = {name: call() for name, call in self.calls.items()}
        self.do()

    def do(self, write=os.write, Exception=Exception, type=type):
        for name, call in self.calls.items():  # "builtins" first: no Python code between a text and its ids
            try:
                found = call()
                said = "right" if found == self.wanted[name] else f"wrong: {found}"
            except Exception as error:  # of Python code whose module is empty
                said = "error " + type(error).__name__
            write(1, f"{self.place}: {name}: {said}\\n".encode())

class Late(Work):
    def __del__(self):
        self.do()

sys.late, builtins.late = Late("sys"), Late("builtins")
sys.modules["late"] = Late("modules")
late = Late("here")
circle = Late("circle")
circle.itself = circle
atexit.register((hook := Work("atexit")).do)
for one in (sys.late, builtins.late, sys.modules["late"], late, circle, hook):
    one.calls["builtins"]()  # a new component makes others be looked at again, by Python code
"""

PLACES = "sys", "builtins", "modules", "here", "circle", "atexit"
CALLS = (
    "builtins",
    "attributes",
    "kept",
    "kept, all",
    "kept pair",
    "pair",
    "words",
    "batch",
    "cut",
    "threads",
    "decode",
    "corpus",
)


def run(code: str, *arguments: object, under: tuple[str, ...] = (), **variables: str) -> str:
    done = subprocess.run(
        [*under, sys.executable, "-c", START + code, *map(str, arguments)],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=60 if IN_LIBRARY and not under else 600,
    )
    assert done.returncode == 0, (done.returncode, done.stdout[-2000:], done.stderr[-4000:])
    return done.stdout


def memory_of(byte: int) -> dict[str, str]:
    """The variables that fill freed memory with a byte, new memory with its complement; 0: Python's own allocator."""
    return {"PYTHONMALLOC": "malloc", "MALLOC_PERTURB_": str(byte)} if byte else {}


@pytest.mark.slow
@pytest.mark.unchecked
@pytest.mark.parametrize("byte", [0, 85, 255])
def test_objects_that_encode_while_python_ends(byte, tmp_path):
    """Modules are empty then, so Python code may fail; machine code may not, and no result may be wrong."""
    said = run(LATE, tmp_path, **memory_of(byte)).splitlines()
    calls = [*CALLS, *(["list_ids, measure"] if builtin_functions() else [])]
    for place in PLACES:
        for call in calls:
            found = [one.split(": ", 2)[2] for one in said if one.startswith(f"{place}: {call}: ")]
            assert len(found) == 2 and found[0] == "right"
            assert found[1] == "right" or (found[1].startswith("error") and place != "atexit"), (place, call)
            if IN_LIBRARY and call in ("builtins", "kept", "list_ids, measure"):
                assert found[1] == "right", (place, call)


@pytest.mark.unchecked
@pytest.mark.parametrize("byte", [0, 85, 255])
def test_threads_that_encode_while_python_ends(byte):
    code = """
import threading, time
def work(encode, batch, long, number, started):
    while True:
        one = encode(long if number % 2 else "low lower", add_special_tokens=number % 3 > 0)
        one.ids, one.tokens, one.offsets
        if number > 4:
            batch([20 * long] * 40, threads=2)
        started.release()
tokenizer, started = made(), threading.Semaphore(0)
for number in range(8):
    arguments = tokenizer.encode, tokenizer.encode_batch, long, number, started
    threading.Thread(target=work, args=arguments, daemon=True).start()
for _ in range(100):
    started.acquire()
"""
    run(code, **memory_of(byte))


@pytest.mark.unchecked
@pytest.mark.parametrize("module", ["kernels.builtins", "kernels.native", "pipeline.encode.text", "tokenizer"])
def test_modules_that_are_loaded_again(module):
    code = f"""
import gc, importlib
tokenizer = made()
def found():
    e = tokenizer.encode(text)
    return e.ids, e.tokens, e.offsets, tokenizer.encode_batch([text] * 9)[8].ids
before = [found() for _ in range(9)]
importlib.reload(sys.modules["gputok.{module}"])
gc.collect()
filled = [bytearray(b"\\xff" * n) for n in range(16, 800) for _ in range(10)]
print(all(found() == before[0] for _ in range(9)), before[0] == before[8])
tokenizer = made()
print(all(found() == before[0] for _ in range(9)))
"""
    assert run(code, **memory_of(255)).split() == ["True"] * 3


WRONG = "x", 0, -1, 1, 12345, 2**70, 1.5, None, b"gputok maker", [], True


@pytest.mark.builtins
def test_what_is_no_address_is_refused():
    """Machine code took the -1 of a failed conversion for an address, and any number."""
    code = f"""
class Owner:
    def __init__(self, address):
        self.address = address

class Raises:
    @property
    def address(self):
        raise KeyError("address")

def error(call, *arguments):
    try:
        call(*arguments)
    except Exception as error:
        return type(error).__name__

tokenizer = made()
for _ in range(9):
    encoding = tokenizer.encode(text)
owner, ids, given, special, *rest = encoding._later
wanted, code = (encoding.tokens, encoding.offsets), builtin_functions()
call = owner._own.call
for wrong in (*{WRONG!r}, call, object()):
    encoding._later = Owner(wrong), ids, given, special, *rest
    assert encoding.ids == tokenizer.encode(text).ids
    for name in ("tokens", "offsets"):
        assert error(getattr, encoding, name) == "AttributeError", (wrong, name)
    other = made()
    other._texts = tokenizer._texts[0], None, wrong, None
    assert error(other.encode, text) in (None, "AttributeError"), wrong
    arguments = [text, 1], [[text], 1, 1, 0], []
    for function, more in zip((code.encode_one, code.encode_each, code.claim), arguments):
        assert error(function, wrong, *more) == "ValueError", (function, wrong)
    if wrong is not call:
        assert error(code.encode_ids, wrong, text, 0) == "ValueError"
assert error(code.encode_ids, owner.address, text, 0) == "ValueError"  # of a maker, not of a call
encoding._later = Raises(), ids, given, special, *rest
assert error(getattr, encoding, "tokens") == error(getattr, encoding, "offsets") == "AttributeError"
for wrong in (2, -1, 10**6, 2**70, "x", None):  # no flag: it would be an index
    encoding._later = owner, ids, given, wrong, *rest
    error(getattr, encoding, "offsets")
for wrong in (b"\\xff" * 8, b"", b"abc"):
    encoding._later = owner, wrong, given, special, *rest
    for name in ("ids", "tokens", "offsets"):
        error(getattr, encoding, name)
encoding._later = owner, "no bytes", given, special, *rest
assert error(getattr, encoding, "ids") == error(getattr, encoding, "tokens") == "TypeError"
encoding._later = owner, ids, None, special, *rest
assert error(getattr, encoding, "offsets") == "TypeError"
assert code.encode_one(owner.address, text, 3).ids == tokenizer.encode(text).ids
encoding = tokenizer.encode(text)
assert (encoding.tokens, encoding.offsets) == wanted
print("refused")
"""
    assert run(code).split() == ["refused"]


@pytest.mark.builtins
def test_a_maker_whose_texts_are_finalized_is_not_used_again():
    """In a circle, `Texts.__del__` may come before another object's that encodes: its memory is another's then."""
    code = """
from gputok.pipeline.encode.text import texts_of
tokenizer = made()
wanted = [tokenizer.encode(text).ids for _ in range(9)][0]
texts = texts_of(tokenizer.pipeline)
own, free = texts._own, texts.engine.scratch.free
assert own is not None and own not in free
texts.__del__()
assert free.count(own) == 1 and builtin_functions().claim(texts.address)
assert [tokenizer.encode(text).ids for _ in range(9)] == [wanted] * 9
assert [one.offsets[1] for one in tokenizer.encode_batch([text] * 9)] == [(0, 3)] * 9
del texts, tokenizer
assert free.count(own) == 1
print("done")
"""
    assert run(code).split() == ["done"]


@pytest.mark.full
@pytest.mark.wheel_only
@pytest.mark.skipif(not shutil.which("valgrind"), reason="needs valgrind (apt-get install valgrind)")
def test_valgrind_finds_no_wrong_access(tmp_path):
    """24 invalid reads in each process that had encoded a text, before definitions of builtin functions were kept."""
    options = "--error-exitcode=99", "--undef-value-errors=no", f"--log-file={tmp_path}/log"
    said = run(LATE, tmp_path, under=("valgrind", *options), PYTHONMALLOC="malloc").splitlines()
    assert not [one for one in said if "wrong" in one]
    assert "ERROR SUMMARY: 0 errors" in (tmp_path / "log").read_text()
