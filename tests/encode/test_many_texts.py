"""Batches and long texts, which go the way of corpora or take threads, against packed steps and `tokenizers`."""

import itertools
import random
from concurrent.futures import ThreadPoolExecutor

import pytest
from gputok.kernels.cpu.encode_one.encode import LONGEST

from gputok.pipeline.encode import stepwise
from gputok.pipeline.encode import text as texts_module
from tests.encode.test_parity_pipelines import check as check_pipeline
from tests.encode.test_short_texts import KINDS, NAMES, TEXTS, attributes, template, upstream, walk


@pytest.fixture(autouse=True, params=[-1, 1 << 16], ids=["joined", "each"])
def few(monkeypatch, request):
    """Batches of any size go the way of corpora; or, if kernels are machine code, are encoded in chunks, by threads."""
    monkeypatch.setattr(texts_module, "_FEW", -1)
    monkeypatch.setattr(texts_module, "_FEW_FOR_THREADS", 0)
    monkeypatch.setattr(texts_module, "_LONG", request.param)
    monkeypatch.setattr(texts_module, "_CHUNK_CHARACTERS", (50, 1 << 20))


def some(rng, n, most):
    return ["".join(rng.choices(TEXTS, k=rng.randint(0, most))) for _ in range(n)]


def whole(encoding):
    return attributes(encoding), [attributes(part) for part in encoding.overflowing], len(encoding)


def check(tokenizer, texts, special, threads=None):
    given = [(text,) for text in texts]
    for door, offsets in ((tokenizer.encode_batch, True), (tokenizer.encode_batch_fast, False)):
        found = door(texts, add_special_tokens=special, threads=threads)
        assert all(one._later is not None for one in found)
        wanted = stepwise.encode(tokenizer.pipeline, given, False, special, offsets=offsets)
        for text, one, other in zip(texts, found, wanted, strict=True):
            assert whole(one) == whole(other), (text, offsets)
            for index in (0, 1, 5):
                assert one.char_to_token(index) == other.char_to_token(index)
                assert one.word_to_tokens(index) == other.word_to_tokens(index)
            assert one.sequence_ids == other.sequence_ids


@pytest.mark.parametrize("kind", KINDS)
def test_batches(kind):
    tokenizer, rng = KINDS[kind](), random.Random(kind)
    for special in (True, False):
        check(tokenizer, [*TEXTS, *some(rng, 8, 6)], special)
        check(tokenizer, ["", *some(rng, 3, 2)], special, 3)
    theirs = upstream(tokenizer)
    texts = some(rng, 10, 5)
    for one, other in zip(tokenizer.encode_batch(texts), theirs.encode_batch(texts), strict=True):
        assert attributes(one) == attributes(other)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["walk", "roberta", "both", "bert", "llama", "t5"])
def test_truncation_and_padding(kind):
    tokenizer, rng = KINDS[kind](), random.Random(kind)
    paddings = itertools.cycle([None, {}, {"pad_to_multiple_of": 7, "direction": "left"}, {"length": 20}, {}])
    for direction, length, stride in itertools.product(("right", "left"), (4, 30), (1,)):
        tokenizer.enable_truncation(length, stride, direction=direction)
        for padding in itertools.islice(paddings, 2):
            tokenizer.no_padding()
            if padding is not None:
                tokenizer.enable_padding(pad_id=1, pad_type_id=3, pad_token="</s>", **padding)
            check(tokenizer, [*TEXTS[:7], *some(rng, 4, 2)], True)
            texts = [*TEXTS[:3], "", "a"]
            theirs = upstream(tokenizer).encode_batch(texts)
            for text, one, other in zip(texts, tokenizer.encode_batch(texts), theirs, strict=True):
                assert whole(one) == whole(other), text
                if padding is None:
                    single = upstream(tokenizer).encode(text)
                    assert whole(tokenizer.encode(text)) == whole(single), text


def test_what_truncation_refuses():
    tokenizer = walk(processor=template())
    texts = ["a b c d e f", "a"]
    tokenizer.enable_truncation(4, strategy="only_second")
    for door in (tokenizer.encode_batch, tokenizer.encode_batch_fast):
        with pytest.raises(ValueError, match="Second sequence not provided"):
            door(texts)
        assert len(door(["a", "b"])) == 2
    with pytest.raises(ValueError, match="Second sequence not provided"):
        tokenizer.encode(texts[0])
    tokenizer.enable_truncation(2)
    assert [one.ids for one in tokenizer.encode_batch(texts)] == [[0, 1], [0, 1]]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["walk", "nfc", "roberta", "bert", "llama", "mistral", "t5"])
def test_long_texts(kind):
    """Of every length around the longest text of a handle, and around a block of the walk."""
    tokenizer, rng = KINDS[kind](), random.Random(kind)
    text = "".join(some(rng, 60, 20))
    while len(text) < LONGEST:
        text += text
    theirs = upstream(tokenizer)
    for edge in (LONGEST, 1 << 15) if kind in ("walk", "bert") else (LONGEST,):
        begin = text.encode()[: edge - 500].decode(errors="ignore")
        size = len(begin.encode())
        for n in (*range(edge - size - 3, edge - size + 4), rng.randint(1, 400)):
            one = begin + "x" * n + " low"
            found, wanted = tokenizer.encode(one), theirs.encode(one)
            assert found.ids == wanted.ids, (edge, n)
            if n % 3 == 0:
                assert attributes(found) == attributes(wanted), (edge, n)


@pytest.mark.parametrize("kind", ["walk", "bert", "t5"])
@pytest.mark.parametrize("threads", [1, 3])
def test_groups_of_texts(kind, threads):
    """Machine code encodes up to 256 texts, 64 KB and 65,536 ids together."""
    tokenizer = KINDS[kind]()
    tokenizer.encode_batch(["a"] * 9)
    for texts in (
        ["low"] * 256,
        ["low"] * 257 + [""] * 300,
        ["lowest " * 900] * 25,
        ["e." * 14_000] * 5 + ["low", "e." * 31_000, "low"],
        ["low", "e " * 140_000, "", "est"],  # too long for a handle
    ):
        once = {text: tokenizer.encode(text).ids for text in dict.fromkeys(texts)}
        found = tokenizer.encode_batch(texts, threads=threads)
        assert [one.ids for one in found] == [once[text] for text in texts]
        assert [len(one) for one in found] == [len(once[text]) for text in texts]


@pytest.mark.parametrize("threads", [1, 2])
def test_errors_among_texts(threads):
    tokenizer = KINDS["walk"]()
    for at in (0, 5, 700):
        texts = ["low est"] * 1000
        texts[at] = "a\ud800"
        with pytest.raises(UnicodeEncodeError, match="surrogates"):
            tokenizer.encode_batch(texts, threads=threads)
        texts[at] = "a"
        assert len(tokenizer.encode_batch(texts, threads=threads)) == 1000


def test_other_threads_encode_by_the_same_tokenizer():
    tokenizer = KINDS["walk"]()
    texts = ["".join(some(random.Random(n), 1, 9)) for n in range(500)]
    ids = [tokenizer.encode(text).ids for text in texts]
    with ThreadPoolExecutor(6) as pool:
        batches = [pool.submit(tokenizer.encode_batch, texts, threads=n % 3 + 1) for n in range(30)]
        single = [*pool.map(lambda text: tokenizer.encode(text).ids, texts * 6)]
    assert single == ids * 6
    for batch in batches:
        assert [one.ids for one in batch.result()] == ids


@pytest.mark.slow
def test_random_pipelines():
    for seed in range(300, 312):
        check_pipeline(seed)


def test_names_of_attributes():
    """Each attribute can be the first that is asked for, of a text that is short or long."""
    tokenizer = walk(processor=template())
    for text in (TEXTS[0], "low est " * 3000):
        wanted = attributes(upstream(tokenizer).encode(text))
        for name in NAMES:
            (found,) = tokenizer.encode_batch([text])
            assert getattr(found, name) == wanted[name]
