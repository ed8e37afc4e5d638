"""The CUDA stages, run by the emulator, beside the CPU's: the same arrays under every schedule.

With a GPU (`pytest -m gpu`) the same tests run on the device.
"""

import itertools

import numpy as np
import pytest
from gputok.kernels import BpeLimits
from gputok.kernels.cpu.bpe import train_bpe as train_on_cpu
from gputok.kernels.cuda import bpe, split, words

from gputok import backend
from gputok.automaton import compile_pattern
from gputok.automaton.patterns import PATTERNS
from gputok.counting import count_words as count_on_cpu
from gputok.pre_tokenizers import SplitPlan
from gputok.recipes import recipe
from gputok.text import TextBatch
from tests.cuda.emulator import emulated_device

WORDS = [
    "the",
    " the",
    " of",
    " a",
    "x",
    " x",
    "1",
    "12",
    "\n",
    "\n\n",
    "  ",
    " naïve",
    "漢字",
    "😀",
    "'s",
    "!?",
    "\t",
]


def random_text(rng, n):
    """Documents of frequent and rare words, some empty."""
    documents = []
    for _ in range(n):
        zipf = np.minimum(rng.zipf(1.5, rng.integers(0, 40)), len(WORDS)) - 1
        documents.append("".join(WORDS[i] for i in zipf))
    return documents


def device_of(kind, seed):
    if kind == "emulated":
        blocks, at_once = ((1, 1), (3, 2), (7, 3), (4, 4))[seed % 4]
        return emulated_device(seed, blocks, at_once)
    from gputok.kernels.cuda.device import cupy_device

    return cupy_device()


KINDS = ["emulated", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", sorted(PATTERNS))
def test_words_begin_where_the_cpu_says(name, kind, monkeypatch):
    automaton = compile_pattern(PATTERNS[name])
    if not automaton.gapless:
        pytest.skip("a pattern with gaps is not walked in tiles")
    monkeypatch.setattr(split, "TILE_BYTES", 16)  # many tiles, many of them without a cut
    for seed in range(5):
        rng = np.random.default_rng(seed)
        documents = [*random_text(rng, 30), "a" * 200, " " * 100 + "b", "é" * 50]
        batch = TextBatch.from_strings(documents)
        device = device_of(kind, seed)
        xp = device.xp
        found = split.split_words(
            device, xp.asarray(batch.data), xp.asarray(batch.offsets), split.upload(device, automaton)
        )
        starts = device.download(found.starts)
        pieces = [batch.data[a:b].tobytes() for a, b in itertools.pairwise(starts)]
        counted = count_on_cpu([batch], SplitPlan(automaton, False), threads=1)
        assert set(pieces) == {word for word, _ in counted.items()}
        assert len(pieces) == counted.counts.sum() and b"".join(pieces) == batch.data.tobytes()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(20))
def test_counts_are_the_cpus_in_order_of_first_occurrence(seed, kind):
    rng = np.random.default_rng(seed)
    batches = [TextBatch.from_strings(random_text(rng, n)) for n in (20, 0, 1, 30)]
    automaton = compile_pattern(PATTERNS["gpt2"])
    expected = count_on_cpu(batches, SplitPlan(automaton, False), threads=1)
    seen = []
    found = words.count_words(
        device_of(kind, seed), [(*b, i << 32) for i, b in enumerate(batches)], automaton, seen.append
    )
    assert (np.diff(found[3]) > 0).all() and found[3][0] == 0
    for ours, theirs in zip(found, (expected.data, expected.offsets, expected.counts), strict=False):
        assert (ours == theirs).all()
    assert seen == [len(b.data) for b in batches]


def test_the_table_grows_without_loss(monkeypatch):
    """From a table of 64 slots, whose words the first launches have no room for."""
    monkeypatch.setattr(words, "_empty", lambda device, capacity, room, make=words._empty: make(device, min(capacity, 64), room) if room > 1 else make(device, capacity, room))  # fmt: skip
    numbers = [f" {i * 7919 % 1000}" for i in range(3000)]
    batches = [TextBatch.from_strings(numbers[:1000]), TextBatch.from_strings(numbers[1000:])]
    automaton = compile_pattern(PATTERNS["gpt2"])
    expected = count_on_cpu(batches, SplitPlan(automaton, False), threads=1)
    for seed in range(4):
        numbered = [(*b, i << 32) for i, b in enumerate(batches)]
        data, _, counts, _ = words.count_words(device_of("emulated", seed), numbered, automaton)
        assert (data == expected.data).all() and (counts == expected.counts).all()


def test_a_batch_that_does_not_fit_is_counted_in_halves(monkeypatch):
    batch = TextBatch.from_strings(random_text(np.random.default_rng(0), 200))
    automaton = compile_pattern(PATTERNS["gpt2"])
    sizes, whole = [], split.split_words

    def scarce(device, text, offsets, tables):
        sizes.append(len(text))
        if len(text) > 1000:
            raise device.out_of_memory
        return whole(device, text, offsets, tables)

    monkeypatch.setattr(split, "split_words", scarce)
    data, _, counts, first = words.count_words(device_of("emulated", 0), [(*batch, 7)], automaton)
    expected = count_on_cpu([batch], SplitPlan(automaton, False), threads=1)
    assert first[0] == 7 and (np.diff(first) > 0).all()
    assert max(sizes) > 1000 and (data == expected.data).all() and (counts == expected.counts).all()


def random_words(rng):
    n_words, n_symbols = int(rng.integers(1, 60)), int(rng.integers(1, 5))
    lengths = rng.integers(0, 9, n_words)
    offsets = np.zeros(n_words + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    symbols = rng.integers(0, n_symbols, offsets[-1]).astype(np.uint16)
    counts = rng.integers(1, 5, n_words).astype(np.int64)
    tokens, token_offsets = (
        np.frombuffer(b"abcd"[:n_symbols], np.uint8),
        np.arange(n_symbols + 1, dtype=np.int64),
    )
    return symbols, offsets, counts, tokens, token_offsets


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(20))
def test_merges_are_the_cpus(seed, kind, monkeypatch):
    monkeypatch.setattr(bpe, "_MERGES_PER_LOOK", 8)
    rng = np.random.default_rng(seed)
    corpus = random_words(rng)
    limits = BpeLimits(4 + int(rng.integers(0, 25)), int(rng.integers(0, 4)), int(rng.choice([2**62, 5])))
    expected = train_on_cpu(*corpus, limits)
    found = bpe.train_bpe(device_of(kind, seed), *corpus, limits)
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours == theirs).all()


def test_pairs_and_lists_that_outgrow_their_room(monkeypatch):
    """From a table that the first pairs fill, and a pool that the first merge fills."""
    rng = np.random.default_rng(1)
    lengths = np.full(80, 6)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    symbols = rng.integers(0, 60, offsets[-1]).astype(np.uint16)
    counts = rng.integers(1, 9, len(lengths)).astype(np.int64)
    tokens, token_offsets = np.arange(65, 125, dtype=np.uint8), np.arange(61, dtype=np.int64)
    limits = BpeLimits(90)
    monkeypatch.setattr(bpe, "_MERGES_PER_LOOK", 4)
    monkeypatch.setattr(bpe, "_LEAST_CAPACITY", 256)
    monkeypatch.setattr(bpe, "_POOL_PER_SYMBOL", 1)
    enlarged, grow = [], bpe._enlarged
    monkeypatch.setattr(bpe, "_enlarged", lambda *a: enlarged.append(1) or grow(*a))
    expected = train_on_cpu(symbols, offsets, counts, tokens, token_offsets, limits)
    found = bpe.train_bpe(device_of("emulated", 5), symbols, offsets, counts, tokens, token_offsets, limits)
    assert enlarged and all((a == b).all() for a, b in zip(found, expected, strict=True))


def test_the_whole_path_on_two_devices_is_the_cpus(monkeypatch):
    """Counting on two devices in turn, merging on one: the same word counts and the same tokenizer.json."""
    monkeypatch.setattr(bpe, "_MERGES_PER_LOOK", 16)
    monkeypatch.setattr("gputok.corpus.BATCH_BYTES", 1000, raising=False)
    documents = random_text(np.random.default_rng(5), 150)

    def train(*devices):
        monkeypatch.setattr(backend, "choose", lambda *_: backend.Backend("cuda", "a test", devices))
        tokenizer, trainer = recipe("bpe", vocab_size=290)
        lists = [documents[i : i + 20] for i in range(0, len(documents), 20)]
        tokenizer.train_from_iterator(lists, trainer, progress=False)
        return tokenizer.count_words(lists, progress=False), tokenizer.to_str()

    (ours, ours_json), (theirs, theirs_json) = train(emulated_device(1), emulated_device(2)), train()
    assert ours_json == theirs_json and len(ours) > 100
    assert (ours.data == theirs.data).all() and (ours.counts == theirs.counts).all()
