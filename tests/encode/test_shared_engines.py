"""What is made once and shared, and what dies when it isn't needed: engines, when limits and added tokens change."""

import gc
import itertools
import tracemalloc
import weakref

import pytest
from gputok.kernels.cpu.walk import tables

from gputok import PreTrainedTokenizer, models, normalizers, pre_tokenizers
from gputok.pipeline import pipeline as pipelines
from gputok.pipeline.encode import handle, stepwise, superwords, units
from gputok.pipeline.encode.text import texts_of
from gputok.pipeline.special_tokens import Frame
from tests.encode.test_short_texts import KINDS, attributes, template, upstream, walk


def stepped():
    """One that a handle can't hold."""
    tokenizer = walk(processor=template())
    tokenizer.pre_tokenizer = pre_tokenizers.FixedLength(3)
    return tokenizer


KINDS = KINDS | {"stepped": stepped, "random": lambda: walk(dropout=0.5)}
TEXT = "the quick brown <mask> fox, 12 lazy dogs jump <s> over lower newest ones"
LIMITS = [
    *({"max_length": n} for n in range(8, 18)),
    {"max_length": 14, "stride": 2, "direction": "left"},
    {"max_length": 15, "stride": 1, "strategy": "only_first"},
    None,
]
PADS = [None, {"length": 20, "pad_id": 1, "pad_token": "</s>"}, {"direction": "left"}, {"pad_to_multiple_of": 7}]


def set_limits(tokenizer, truncation, padding):
    tokenizer.no_truncation() if truncation is None else tokenizer.enable_truncation(**truncation)
    tokenizer.no_padding() if padding is None else tokenizer.enable_padding(**padding)


def all_doors(tokenizer, i=0):
    """Encodes in all ways that have engines; returns the encodings."""
    tokenizer.decode([1, 2])
    found = [tokenizer.encode(TEXT), tokenizer.encode(f"{TEXT} {i}"), tokenizer.encode(TEXT, "a pair")]
    found += tokenizer.encode_batch([TEXT, "low"] * 3) + tokenizer.encode_batch_fast([TEXT, "low"] * 3)
    return [*found, tokenizer.encode(["low", "est"], is_pretokenized=True)]


@pytest.fixture
def made(monkeypatch):
    """Counts what is made of the steps of a tokenizer."""
    counts = {}

    def count(owner, name):
        before = getattr(owner, name)

        def counted(*args, **options):
            counts[name] = counts.get(name, 0) + 1
            return before(*args, **options)

        monkeypatch.setattr(owner, name, counted)

    count(handle.TextEngine, "of")
    count(units, "_engine")
    count(pipelines, "way_of")
    count(superwords, "first_superword")
    count(Frame, "_of")
    return counts


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_limits_share_engines(kind, made):
    tokenizer = KINDS[kind]()
    pretrained = PreTrainedTokenizer(tokenizer, pad_token="</s>")
    for encode in (all_doors, lambda tokenizer, i: pretrained(TEXT, truncation=True, max_length=9 + i)):
        for split in (False, True):
            pretrained.split_special_tokens = split
            all_doors(tokenizer)
            encode(tokenizer, 3)
            once = dict(made)
            for i, (cut, pad) in enumerate(itertools.product(LIMITS, PADS)):
                set_limits(tokenizer, cut, pad)
                encode(tokenizer, i)
                tokenizer.encode(TEXT, padding=pad, truncation={"max_length": 9 + i})
            set_limits(tokenizer, None, None)
            assert made == once


def test_added_tokens_share_what_is_made_of_the_model(made):
    tokenizer = walk()
    all_doors(tokenizer)
    once = made.get("first_superword", 0)  # 0: a known pattern cuts the text
    for i in range(20):
        tokenizer.add_tokens([f"<{i}>"])
        assert f"<{i}>" in tokenizer.encode(f"low<{i}>").tokens
        all_doors(tokenizer)
    assert made.get("first_superword", 0) == once
    tokenizer.model = models.BPE(tokenizer.model.get_vocab(), [("l", "o"), ("lo", "w")][:0])
    assert tokenizer.encode("low").tokens == ["l", "o", "w"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["roberta", "bert", "llama", "t5", "stepped"])
def test_limits_in_turn(kind):
    """More than are kept: the first encodings give their positions after other limits have taken their memory."""
    tokenizer = KINDS[kind]()
    theirs = upstream(tokenizer)
    rounds = [(cut, pad) for _ in range(2) for cut, pad in itertools.product(LIMITS, PADS)]
    given = [*[TEXT] * 5, (TEXT, "the end"), "low", "low", "low"]
    kept = []
    for cut, pad in rounds:
        for one in (tokenizer, theirs):
            set_limits(one, cut, pad)
        kept.append((tokenizer.encode_batch(given), tokenizer.encode(TEXT), theirs.encode_batch(given)))
        assert attributes(tokenizer.encode(TEXT)) == attributes(theirs.encode(TEXT))
    for found, one, wanted in kept:
        assert [*map(attributes, found)] == [*map(attributes, wanted)]
        assert one.offsets is not None
        for ours, other in zip(found, wanted, strict=True):
            assert [*map(attributes, ours.overflowing)] == [*map(attributes, other.overflowing)]


def test_a_stride_that_other_steps_make_too_large():
    tokenizer = walk()
    tokenizer.enable_truncation(3, stride=2)
    tokenizer.post_processor = template()
    assert len(tokenizer.encode("a").ids) == 3
    with pytest.raises(ValueError, match="stride"):
        tokenizer.encode("a", truncation={"max_length": 3, "stride": 2})
    with pytest.raises(ValueError, match="stride"):
        tokenizer.enable_truncation(3, stride=2)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["walk", "bert", "llama", "t5", "stepped"])
def test_flat_memory(kind):
    tokenizer = KINDS[kind]()
    tokenizer.encode_batch([TEXT] * 9)
    kept, n = [], 120 if kind == "stepped" else 1000  # the steps take thirty times as long

    def changes(numbers):
        for i in numbers:
            tokenizer.enable_truncation(9 + i)
            tokenizer.enable_padding(length=i % 9)
            kept.append(all_doors(tokenizer, i)[-2])
            tokenizer.no_truncation()
            tokenizer.no_padding()
            all_doors(tokenizer, i)
            if not i % 50:
                kept.clear()

    tracemalloc.start()
    try:
        changes(range(100))
        gc.collect()
        before, n_objects = tracemalloc.get_traced_memory()[0], len(gc.get_objects())
        changes(range(100, 101 + n))
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 200 * n
    assert len(gc.get_objects()) - n_objects < 2 * n
    if texts := texts_of(tokenizer.pipeline):
        assert len(texts.engine.scratch.free) < 20


def test_kept_encodings_keep_no_memory_for_texts():
    tokenizer = walk()
    kept = []
    for i in range(100):
        tokenizer.enable_truncation(3 + i)
        kept.append(tokenizer.encode_batch([TEXT] * 6))
    found = {id(one._later[0]): one._later[0] for some in kept for one in some}
    assert len(found) == 100
    assert sum(texts._own is not None for texts in found.values()) <= 10
    wanted = [*zip(walk().encode(TEXT).offsets, walk().encode(TEXT).tokens, strict=True)]
    for i, some in enumerate(kept):
        assert [*zip(some[5].offsets, some[5].tokens, strict=True)] == wanted[: 3 + i]


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_waits_for_the_garbage_collector(kind):
    """Engines have megabytes: they die with the last reference."""
    tokenizer = KINDS[kind]()
    gc.collect()
    gc.disable()
    try:
        dead = []
        for change in (
            lambda: None,
            lambda: tokenizer.enable_truncation(9),
            lambda: tokenizer.add_tokens(["<new>"]),
            lambda: tokenizer.enable_padding(length=9),
            lambda: setattr(tokenizer, "normalizer", normalizers.Lowercase()),
        ):
            change()
            for i in range(3):
                encodings = all_doors(tokenizer, i)
                list(map(attributes, encodings))
            stepwise.encode(tokenizer.pipeline, [(TEXT,)], False, True, offsets=True)
            pipeline = tokenizer.pipeline
            kept = [pipeline.kept, pipeline.engines]
            some = [pipeline, *kept]
            for name in ("corpus", "texts", ("texts", False), ("texts", True)):
                some += [each.made.get(name) for each in kept]
            dead.append([weakref.ref(one) for one in some if one])
        del some, kept, pipeline, encodings
        for one in itertools.chain(*dead[:3]):  # of other steps
            assert one() is None
        dead.append([weakref.ref(tokenizer)])
        change = tokenizer = None
        for one in itertools.chain(*dead):
            assert one() is None
    finally:
        gc.enable()


def test_as_transformers_calls(made):
    """`PreTrainedTokenizerFast` sets the limits of its tokenizer in each call."""
    tokenizer = walk(processor=template())
    all_doors(tokenizer)
    once = dict(made)
    for i in range(40):
        tokenizer.enable_truncation(6) if i % 2 else tokenizer.no_truncation()
        assert len(tokenizer.encode_batch([TEXT])[0].ids) == 6 or i % 2 == 0
    assert made == once


def test_counts_and_encoding_share_the_tables_of_walks(monkeypatch):
    made, prepare = [], tables.prepare
    monkeypatch.setattr(tables, "prepare", lambda automaton: made.append(automaton) or prepare(automaton))
    tokenizer, other = walk(), walk()
    other.pre_tokenizer = pre_tokenizers.Split("[a-q]+", "isolated")  # that no other test walks
    for _ in range(2):
        other.count_words(iter([TEXT]))
        assert len([*other.encode_corpus(iter([TEXT]))]) == 1
        tokenizer.count_words(iter([TEXT]))
    assert len(made) <= 2 and sum(automaton is other.pipeline.way.automaton for automaton in made) == 1
