"""Builtin functions that take and make Python's objects: those of a wheel; the checked build checks each access."""

import gc
import inspect
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest
from gputok.kernels import builtins
from gputok.kernels.builtins import builtin_functions

from gputok.corpus import memory_sources

pytestmark = pytest.mark.builtins


def in_threads(n, work):
    """Calls a function in n threads at the same time."""
    threads = [threading.Thread(target=work) for _ in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_lists_of_ids():
    """Shared objects, and new objects for larger ids; each list owns its items."""
    code = builtin_functions()
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


def test_a_vocabulary_that_grows_makes_few_tables(monkeypatch):
    """A table is kept for ever: a token that is added must not bring one of all ids."""
    code, kept, for_ever = builtin_functions(), [], builtins._for_ever
    monkeypatch.setattr(builtins, "_for_ever", lambda one: kept.append(one) or for_ever(one))
    known = 100_000
    for n in range(known, known + 2000):
        code.share_integers(n)
    assert len(kept) <= 1
    ids = np.arange(known, known + 2000, dtype=np.uint32)
    assert code.list_ids(ids.tobytes()) == ids.tolist()


def test_the_length_of_texts():
    measure = builtin_functions().measure
    assert measure([]) == 0 and measure(["", "é漢🙂", "a" * 1000]) == 1003
    assert measure(["a", b"a"]) == measure(["a", None]) == measure([type("S", (str,), {})("a")]) == -1


class _Text(str):
    __slots__ = ()


@pytest.mark.parametrize("n", [1, 5, 6, 7, 1000, 2**62])
@pytest.mark.parametrize(
    "items", [[], ["a"], ["four", "", "é漢🙂", "a" * 1000], ["a", "b", None, "c"], [_Text("a"), "b"]]
)
def test_texts_that_are_taken_from_an_iterator(items, n):
    """As Python takes them, with the same rest in the iterator, and without a reference that is left or lacks."""
    rests, text = [], "fresh" * (n + 3 & 15)
    items = [text, *items]
    count = sys.getrefcount(text)
    for take in builtin_functions().take, memory_sources._taken:
        iterator, held = iter([*items, *items]), ["before"]
        left = [take(iterator, held, n), take(iterator, held, n)]
        rests.append((left, held, [*iterator]))
        del held, left, iterator
    assert rests[0] == rests[1]
    rests.clear()
    assert sys.getrefcount(text) == count


def test_an_error_while_texts_are_taken():
    def texts():
        yield from ("one", "two")
        raise KeyError("three")

    held = []
    with pytest.raises(KeyError, match="three"):
        builtin_functions().take(texts(), held, 1000)
    assert held == ["one", "two"]


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


@pytest.mark.parametrize("name", ["llama3", "llama2", "minilm-bert"])
def test_the_attributes_of_machine_code(shared_tokenizer, name):
    """Lists of tokens and offsets are those of the properties in Python, in many threads, and own what they hold."""
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
        for _ in range(2):
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


def test_special_tokens_with_texts_of_their_own():
    """A template can show a text for special tokens that the vocabulary lacks; tokens come after the first texts."""
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


def test_the_collector_sees_no_list_with_empty_items(shared_tokenizer):
    """Python code that asks the garbage collector for objects can run while machine code fills a list (before 3.12)."""
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


def test_threads_that_make_the_first_encodings():
    """Of two threads that prepare machine code at once, the second one must not free what the first one uses."""
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
