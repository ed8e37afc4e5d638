"""Texts of any length, cut into units by machine code or a kernel: the ids of `tokenizers`, at each edge of a block."""

import random
import sys
import threading

import pytest
import test_short_texts
from gputok.kernels.cpu.encode_corpus.cache import new_cache
from gputok.kernels.cpu.encode_one import units as kernels
from gputok.kernels.cpu.walk.blocks import BLOCK_BYTES

from gputok.pipeline.encode import handle
from gputok.pipeline.encode.text import texts_of

KINDS = ("walk", "nfc", "whole", "llama", "gemma", "mistral", "roberta")
WORDS = [
    "low",
    "lower",
    "newest",
    "the",
    "widest",
    "été",
    "漢字",
    "1234",
    "a",
    "I'll",
    "  ",
    "\n",
    "x" * 70,
    "é" * 40,
    "-",
]


def text_of(seed, n_characters, tokens=()):
    draw, found, size = random.Random(seed), [], 0
    while size < n_characters:
        word = (
            draw.choice(WORDS) if draw.random() < 0.7 else "".join(draw.choices("abcdelowtrsé", k=draw.randint(1, 14)))
        )
        found.append(draw.choice(tokens) if tokens and draw.random() < 0.05 else word)
        size += len(found[-1]) + 1
    return " ".join(found)[:n_characters]


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request):
    return test_short_texts.KINDS[request.param]()


@pytest.fixture(scope="module")
def theirs(tokenizer):
    return test_short_texts.upstream(tokenizer)


def check(tokenizer, theirs, texts):
    for special in (True, False):
        wanted = [e.ids for e in theirs.encode_batch_fast(texts, add_special_tokens=special)]
        assert [tokenizer.encode(text, add_special_tokens=special).ids for text in texts] == wanted
        assert [e.ids for e in tokenizer.encode_batch(texts, add_special_tokens=special)] == wanted


@pytest.mark.slow
def test_edges_of_blocks(tokenizer, theirs):
    edges = kernels.FEW_BYTES, BLOCK_BYTES, 2 * BLOCK_BYTES
    lengths = [edge + more for edge in edges for more in range(-kernels.SLACK // 64 - 2, 3)]
    check(tokenizer, theirs, [text_of(n, n).encode()[:n].decode(errors="ignore") for n in lengths])


def test_a_text_without_a_cut_in_a_block(tokenizer, theirs):
    check(tokenizer, theirs, ["a" * n for n in (1, 63, 600, 9000)])


def test_added_tokens_in_long_texts(tokenizer, theirs):
    tokens = ["<s>", "</s>", "<mask>", "<right>", "<word>"]
    check(tokenizer, theirs, [text_of(n, n, tokens) for n in (40, 400, 9000, 70_000)])


@pytest.mark.slow
def test_a_text_that_is_too_long(tokenizer, theirs):
    n = kernels.MOST_BYTES // 2
    check(tokenizer, theirs, [text_of(1, n), text_of(2, 2 * n), text_of(2, 3 * n)])


@pytest.fixture
def small_cache(tokenizer, monkeypatch):
    """A cache of one group, and a ring that loses words."""
    texts = texts_of(tokenizer.pipeline)
    kept = texts._maker, texts._own, texts.address
    with monkeypatch.context() as patch:
        small = new_cache(4, 16, 1 << 14)
        patch.setattr("gputok.kernels.cpu.encode_corpus.cache.new_cache", lambda *_: small)
        scratch = handle.Scratch(texts.engine, renewed_after=100)
    texts._maker, texts._own, texts.address = None, None, 0
    texts._scratch.give(scratch)
    tokenizer._texts_now()  # it keeps the address of the maker, so it is told each time
    yield scratch
    texts._scratch.free.clear()
    texts._maker, texts._own, texts.address = kept
    tokenizer._texts_now()


def test_a_small_cache_that_grows(tokenizer, theirs, small_cache):
    check(tokenizer, theirs, [text_of(n, 100 * n) for n in range(1, 60)])
    assert small_cache.cache is None or len(small_cache.cache.slots) > 32


def test_a_ring_that_loses_long_words(tokenizer, theirs, small_cache):
    draw = random.Random(5)
    words = ["".join(draw.choices("abc", k=draw.randint(16, 62))) for _ in range(2000)]
    check(tokenizer, theirs, [" ".join(draw.choices(words, k=800)) for _ in range(8)])


def test_threads_share_a_tokenizer(tokenizer, theirs):
    texts = [text_of(n, 50 * n) for n in range(1, 60)]
    wanted = [e.ids for e in theirs.encode_batch_fast(texts)]
    found, wrong = [None] * 8, []

    def work(number):
        for _ in range(4):
            found[number] = [tokenizer.encode(text).ids for text in texts]
            if found[number] != wanted or [e.ids for e in tokenizer.encode_batch(texts)] != wanted:
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert None not in found


def test_references(tokenizer):
    """No object stays alive longer than the encodings that have it."""
    text, before = "low lower newest", None
    for _ in range(200):
        for encoding in [tokenizer.encode(text) for _ in range(20)] + tokenizer.encode_batch([text] * 20):
            encoding.ids  # noqa: B018
        if before is None:
            before = sys.getrefcount(text), sys.getrefcount(type(encoding))
    assert sys.getrefcount(text) <= before[0] + 2
    assert sys.getrefcount(type(encoding)) <= before[1] + 60


@pytest.mark.parametrize("wrong", ["\ud800", "low \udfff lower"])
def test_a_surrogate_is_refused(tokenizer, wrong):
    for _ in range(8):
        with pytest.raises(UnicodeEncodeError):
            tokenizer.encode(wrong)
    assert tokenizer.encode("low").ids == tokenizer.encode_batch(["low"])[0].ids


def test_truncation_and_padding(tokenizer, theirs):
    texts = [text_of(n, n) for n in (3, 60, 700, 9000)] * 3
    for made in (tokenizer, theirs):
        made.enable_truncation(50)
        made.enable_padding()
    try:
        wanted = [e.ids for e in theirs.encode_batch(texts)]
        assert [e.ids for e in tokenizer.encode_batch(texts)] == wanted
        assert [tokenizer.encode(text).ids for text in texts] == [theirs.encode(text).ids for text in texts]
    finally:
        for made in (tokenizer, theirs):
            made.no_truncation()
            made.no_padding()
