"""The stages that have three versions (plain Python, CPU, CUDA): the same tests for all versions.

The emulator runs the CUDA version under twenty schedules and several grid shapes; with `pytest -m gpu`, the GPU of this
machine runs it. Results for random input are compared with the plain version.
"""

import functools
import itertools
from typing import Any

import numpy as np
import pytest
from gputok.kernels import Automaton, BpeLimits, BpeTables
from gputok.kernels.cpu import split as split_on_cpu
from gputok.kernels.cpu.encode_corpus import rounds as encode
from gputok.kernels.cpu.encode_words import cache
from gputok.kernels.cpu.encode_words import encode as encode_words_on_cpu
from gputok.kernels.cpu.lines import lines as lines_on_cpu
from gputok.kernels.cpu.normalize import is_inert
from gputok.kernels.cpu.train_bpe import train as bpe
from gputok.kernels.cpu.walk import tables as walk
from gputok.kernels.cuda import encode_words as lookup
from gputok.kernels.cuda.device import DeviceSizes

from gputok import models
from gputok.automaton import compile_pattern
from gputok.automaton.patterns import PATTERNS
from gputok.pipeline.count.words import count_words
from gputok.text.byte_alphabet import BYTE_CHARACTERS
from gputok.text.edit import inert_in
from gputok.text.pieces import TextBatch
from gputok.text.way import Way
from tests import reference
from tests.emulation.devices import KINDS, device_of
from tests.emulation.sanitized import Inputs
from tests.emulation.stages import Stages, in_cuda

GPT2 = compile_pattern(PATTERNS["gpt2"])
# Many tiles for little text, many of them without a cut, and few launches after the last merge.
SMALL = DeviceSizes(tile=16, rounds_per_look=2, pair_slots=512)
STEMS = "the| the| of| a|x| x|1|12|\n|\n\n|  | naïve|漢字|😀|'s|!?|\t".split("|")
GAPLESS = sorted(name for name in PATTERNS if compile_pattern(PATTERNS[name]).gapless)


def spans(split_words: Any, batch: TextBatch, automaton: Automaton) -> list[int]:
    isolated = np.ones((2, 2), np.bool_), np.zeros(2, np.bool_)
    return split_words(batch.data, batch.offsets[:-1], batch.offsets[1:], None, automaton, *isolated)[0].tolist()


def texts_with(is_inert: Any, batch: TextBatch, strings: list[bytes]) -> list[list[int]]:
    texts, ends = [text.encode() for text in batch.strings()], [*itertools.pairwise(batch.offsets)]
    changing = [
        i
        for i, (a, b) in enumerate(ends)
        if not is_inert(batch.data, np.array([a]), np.array([b]), None, *inert_in("nfc"))
    ]
    return [[i for i, text in enumerate(texts) if any(each in text for each in strings)], changing]


def in_python() -> Stages:
    def encode_corpus(batch: TextBatch, token: np.ndarray, automaton: Automaton, tables: BpeTables) -> Any:
        def model(*word: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            found = reference.encode_words(*word, tables)
            return found[0], found[3]

        return reference.encode_corpus(*batch, token, automaton, model)

    def count(batch: TextBatch, automaton: Automaton) -> list[tuple[bytes, int]]:
        return [(word, n) for word, (_, n) in reference.count_words(*batch, 0, automaton, {}).items()]

    return Stages(
        lambda batch, automaton: reference.find_words(*batch, automaton)[:-1].tolist(),
        count,
        reference.train_bpe,
        reference.encode_words,
        encode_corpus,
        reference.lines,
        functools.partial(texts_with, reference.is_inert),
    )


def on_cpu() -> Stages:
    def encode_words(data: np.ndarray, start: np.ndarray, end: np.ndarray, tables: BpeTables) -> Any:
        return encode_words_on_cpu.encode_words(data, start, end, tables, cache.word_cache(0), np.ones(1, np.uint64))

    def encode_corpus(batch: TextBatch, token: np.ndarray, automaton: Automaton, tables: BpeTables) -> Any:
        def encode_these(*word: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            found = encode_words(*word, tables)
            return found[0], found[3]

        arguments = token, walk.prepare(automaton), encode_these, encode.Encoder()
        return encode.encode_corpus(*batch, *arguments)

    return Stages(
        lambda *arguments: spans(split_on_cpu.split_words, *arguments),
        lambda batch, automaton: [*count_words([batch], Way(automaton=automaton), threads=1).items()],
        bpe.train_bpe,
        encode_words,
        encode_corpus,
        lines_on_cpu,
        functools.partial(texts_with, is_inert),
    )


def stages_of(version: str, seed: int = 0) -> Stages:
    plain = {"python": in_python, "cpu": on_cpu}
    return (
        plain[version]()
        if version in plain
        else in_cuda(device_of(version, seed, SMALL._replace(bounded=seed % 2 << 20)))
    )


all_versions = pytest.mark.parametrize("version", ["python", "cpu", *KINDS])
compiled_versions = pytest.mark.parametrize("version", ["cpu", *KINDS])
schedules = pytest.mark.parametrize("seed", range(20))


def random_documents(rng: np.random.Generator, n: int) -> TextBatch:
    """Documents of frequent and rare words, some empty, and words that reach over many tiles."""
    stems = [np.minimum(rng.zipf(1.5, rng.integers(0, 40)), len(STEMS)) - 1 for _ in range(n)]
    documents = ["".join(STEMS[i] for i in some) for some in stems]
    return TextBatch.from_strings([*documents, "a" * 70, " " * 40 + "b", "", "é" * 20])


def packed(strings: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    return np.frombuffer(b"".join(strings), np.uint8), np.cumsum([0, *map(len, strings)])


def assert_encoded(ours: Any, theirs: Any) -> None:
    """Ids, where each begins and ends, and rows; a device gives ids and rows."""
    assert_equal(ours, theirs if len(ours) == 4 else (theirs[0], theirs[3]))


def assert_equal(ours: Any, theirs: Any) -> None:
    assert len(ours) == len(theirs)
    assert all(map(np.array_equal, ours, theirs))


# -- split_words, count_words


@all_versions
def test_hello_is_split_and_counted(version):
    batch = TextBatch.from_strings(["hello, hello", "", " hello"])
    stages = stages_of(version)
    assert stages.split_words(batch, GPT2) == [0, 5, 6, 12]
    assert stages.count_words(batch, GPT2) == [(b"hello", 1), (b",", 1), (b" hello", 2)]


@compiled_versions
@pytest.mark.parametrize("name", GAPLESS)
def test_words_begin_where_the_pattern_says(version, name):
    automaton = compile_pattern(PATTERNS[name])
    for seed in range(5):
        batch = random_documents(np.random.default_rng(seed), 20)
        expected = in_python().split_words(batch, automaton)
        assert stages_of(version, seed).split_words(batch, automaton) == expected


@compiled_versions
@schedules
def test_random_words_are_counted(version, seed):
    batch = random_documents(np.random.default_rng(seed), 30)
    assert stages_of(version, seed).count_words(batch, GPT2) == in_python().count_words(batch, GPT2)


# -- train_bpe


@all_versions
def test_hello_is_merged(version):
    """(l, l) and (h, e) occur twice, and (h, e) is the lower pair."""
    symbols = np.array([0, 1, 2, 2, 3, 0, 1, 2, 2], np.uint16)  # hello, hell
    learnt = stages_of(version).train_bpe(
        symbols, np.array([0, 5, 9]), np.array([1, 1]), *packed([b"h", b"e", b"l", b"o"]), BpeLimits(7)
    )
    assert learnt.left.tolist() == [0, 2, 4] and learnt.right.tolist() == [1, 2, 5]
    assert learnt.tokens.tobytes() == b"helohellhell" and learnt.merged.tolist() == [4, 5, 6]
    assert learnt.count.tolist() == [2, 2, 2]


@compiled_versions
@schedules
def test_random_words_are_merged(version, seed):
    rng = np.random.default_rng(seed)
    n_words, n_symbols = int(rng.integers(1, 60)), int(rng.integers(1, 5))
    offsets = np.append(0, np.cumsum(rng.integers(0, 9, n_words)))
    symbols = rng.integers(0, n_symbols, offsets[-1]).astype(np.uint16)
    tokens = np.frombuffer(b"abcd"[:n_symbols], np.uint8), np.arange(n_symbols + 1)
    limits = BpeLimits(4 + int(rng.integers(0, 25)), int(rng.integers(0, 4)), int(rng.choice([2**62, 5])))
    corpus = symbols, offsets, rng.integers(1, 5, n_words), *tokens, limits
    learnt = stages_of(version, seed).train_bpe(*corpus)
    assert_equal(learnt, reference.train_bpe(*corpus))
    assert len(learnt.count) == len(learnt.left) and (np.diff(learnt.count) <= 0).all()


@pytest.mark.parametrize("seed", range(40))
def test_batches_of_merges_are_merges_one_by_one(seed):
    """On corpora full of ties, some with a special token that merges spell: see the proof beside the function."""
    for number in range(10):
        rng = np.random.default_rng([seed, number])
        names = [bytes([97 + i]) for i in range(int(rng.integers(1, 6)))]
        symbols, offsets, counts = tied_words(rng, len(names))
        names += [b"ab", b"cab"] * (seed % 4 == 0)
        limits = BpeLimits(
            len(names) + int(rng.integers(30)), int(rng.integers(3)), int(rng.choice([2**62, 5, 4, 3, 0]))
        )
        corpus = symbols, offsets, counts, *packed(names), limits
        assert_equal(reference.train_bpe_in_batches(*corpus), reference.train_bpe(*corpus))


def tied_words(rng: np.random.Generator, n_symbols: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Words of few symbols, and their small counts."""
    n_words = int(rng.integers(1, 40))
    offsets = np.append(0, np.cumsum(rng.integers(0, 9, n_words)))
    return rng.integers(0, n_symbols, offsets[-1]).astype(np.uint16), offsets, rng.integers(1, 4, n_words)


def test_batches_are_many_merges():
    """Otherwise the comparison above would say nothing."""
    rng = np.random.default_rng(0)
    symbols = rng.integers(0, 40, 4000).astype(np.uint16)
    corpus = symbols, np.arange(0, 4001, 5), rng.integers(1, 4, 800)
    names, sizes = [bytes([i]) for i in range(40)], []
    found = reference.train_bpe_in_batches(*corpus, *packed(names), BpeLimits(240), sizes)
    assert sum(sizes) == len(found.left) == 200 and max(sizes) >= 5
    assert_equal(found, reference.train_bpe(*corpus, *packed(names), BpeLimits(240)))


# -- encode_words, encode_corpus


def byte_model(merges: list[tuple[str, str]], **options: Any) -> models.BPE:
    """A BPE of ByteLevel characters: all 256, then what these merges make."""
    tokens = dict.fromkeys([*BYTE_CHARACTERS, *(a + b for a, b in merges)])
    return models.BPE({token: i for i, token in enumerate(tokens)}, merges, **options)


def random_model(rng: np.random.Generator, learnt: bool = True, **options: Any) -> models.BPE:
    """Random merges of earlier tokens, of few letters, so that chains of equal pairs occur; some make a token twice.

    Not learnt: in any order, so that a merge may make a pair that ranks before it.
    """
    tokens, merges = [*"abcdĠÃ©"], []
    for _ in range(int(rng.integers(0, 60))):
        token = "".join(tokens[i] for i in rng.integers(0, len(tokens), 2))
        if token in tokens:
            continue
        halves = [(token[:i], token[i:]) for i in range(1, len(token))]
        merges += rng.permutation([(a, b) for a, b in halves if a in tokens and b in tokens])[:2].tolist()
        tokens.append(token)
    order = range(len(merges)) if learnt else rng.permutation(len(merges))
    return byte_model([tuple(merges[i]) for i in order], **options)


def random_words(rng: np.random.Generator) -> list[bytes]:
    """Short, middle and long ones, and chains that reach over several tiles of a long one."""
    sizes = [*rng.integers(0, 17, 30), *rng.integers(16, 34, 15), *rng.integers(33, 129, 9), *rng.integers(129, 200, 2)]
    sizes += [15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 260]
    drawn = ["".join(rng.choice([*"aabbcd é"], size)).encode()[:size] for size in sizes]
    return [*drawn, b"a" * 130, b"ab" * 70 + b"aab" * 10, b"a" * 128, b"a" * 64, b"a" * 32, b"a" * 16, b"\xff\x00"]


def corpus_of_births() -> tuple:
    """Arguments of train_bpe. In its rounds the table grows, candidates outgrow their room, and pairs are looked for in
    rows that others claim at the same time, such as pairs too long for the table; words begin with rows of one token.
    """
    rng, n_symbols = np.random.default_rng(15), 9
    offsets = np.append(0, np.cumsum(rng.integers(2, 10, 200)))
    symbols = rng.integers(0, n_symbols, offsets[-1]).astype(np.uint16)
    for word in range(0, 200, 9):
        symbols[offsets[word] : offsets[word] + 5] = word % 2
    tokens = np.arange(n_symbols, dtype=np.uint8), np.arange(n_symbols + 1)
    return symbols, offsets, rng.integers(1, 5, 200), *tokens, BpeLimits(n_symbols + 200, 0, 5)


def inputs_of_all_stages() -> Inputs:
    """Small inputs, for runs under a sanitizer."""
    rng = np.random.default_rng(3)
    # More distinct words than a table has room for, some of which want one slot of a block's own table
    batch = random_documents(rng, 40)
    batch = TextBatch.from_strings([*batch.strings(), "".join(f" {i}" for i in range(700))])
    # The merge of "x" and "y" makes a pair that ranks before it, at many positions of a word at once. "abab" has merges
    # side by side, and "aaaa" a chain of them, in one round of a long word.
    merges = [
        ("xy", "z"),
        ("x", "y"),
        ("a", "b"),
        ("ab", "ab"),
        ("a", "a"),
        ("aa", "aa"),
        ("Ġ", "a"),
        ("c", "d"),
        ("b", "b"),
    ]
    tables = byte_model(merges, ignore_merges=True).byte_tables
    # The words of two symbols are pairs that don't meet: a batch of 90 merges, some in one slot of its table
    lengths = np.append(np.full(90, 2), rng.integers(0, 12, 110))
    offsets = np.append(0, np.cumsum(lengths))
    twos = np.column_stack([np.arange(60, 150), np.arange(150, 240)]).reshape(-1)
    symbols = np.append(twos, rng.integers(0, 60, offsets[-1] - 180)).astype(np.uint16)
    tokens = np.arange(240, dtype=np.uint8), np.arange(241)
    data, ends = packed([*random_words(rng), b"xyz" * 30, b"xyz" * 60])
    token = np.where(np.diff(batch.offsets) > 100, 1000, -1).astype(np.int64)
    counts = np.append(np.full(90, 50), rng.integers(1, 9, 110))
    corpora = [(symbols, offsets, counts, *tokens, BpeLimits(400, 0, 6)), corpus_of_births()]
    raw = rng.choice(np.frombuffer("a\n \xff".encode("latin-1"), np.uint8), 400)
    # Several threads find the same text
    watched = TextBatch.from_strings(["of " * 40, "", "the" * 60, "é a漢\n" * 20, "e\u0301" * 40, "\u1112\u1161" * 9])
    return Inputs(
        batch, GPT2, corpora, (data, ends[:-1], ends[1:]), token, tables, raw, (watched, [b"f ", b"the", b"\n"])
    )


@all_versions
def test_hello_is_encoded(version):
    model = byte_model([("l", "l"), ("h", "e"), ("he", "ll")])
    data, offsets = packed([b"hello", b"", b"hel"])
    found = stages_of(version).encode_words(data, offsets[:-1], offsets[1:], model.byte_tables)
    ids = [model.token_to_id(token) for token in ("hell", "o", "he", "l")]
    assert_encoded(found, [np.array(column) for column in (ids, [0, 4, 5, 7], [4, 5, 7, 8], [0, 2, 2, 4])])


@compiled_versions
@schedules
def test_random_words_are_encoded(version, seed):
    rng = np.random.default_rng(seed)
    model = random_model(rng, learnt=seed % 2 == 0, ignore_merges=seed % 3 == 0)
    model.sentencepiece = seed % 4 == 1
    tables = model.byte_tables
    assert not lookup.why_not(tables)
    data, offsets = packed(random_words(rng))
    arguments = data, offsets[:-1], offsets[1:], tables
    assert_encoded(stages_of(version, seed).encode_words(*arguments), reference.encode_words(*arguments))


@compiled_versions
def test_words_that_are_tokens_stay_whole(version):
    """Of any length, if no merge makes them; words that differ in one byte are none."""
    names = ["abcdefghijklmnopqrstuvwxyz"[:n] for n in range(2, 27)]
    vocabulary = {name: i for i, name in enumerate([*BYTE_CHARACTERS, *names])}
    tables = models.BPE(vocabulary, [], ignore_merges=True).byte_tables
    words = [name.encode() for name in names]
    words += [word[:at] + b"Z" + word[at + 1 :] for word in words for at in (0, len(word) // 2, len(word) - 1)]
    data, offsets = packed(words)
    arguments = data, offsets[:-1], offsets[1:], tables
    found = stages_of(version).encode_words(*arguments)
    assert found[0][: len(names)].tolist() == list(range(256, 256 + len(names)))
    assert_encoded(found, reference.encode_words(*arguments))


@compiled_versions
@pytest.mark.parametrize(("x", "y"), ["ab", "aa"])
def test_a_token_that_ranks_before_its_parts(version, x, y):
    """Two equal neighbours merge, and then merge with the next symbol, before a third equal symbol comes."""
    xy = x + y
    tables = byte_model([(xy, xy), (xy + xy, x), (x, y)]).byte_tables
    words = [(xy * n + end).encode() for n in (1, 2, 3, 4, 20, 70) for end in ("", "a", "b", "ca")]
    data, offsets = packed(words)
    arguments = data, offsets[:-1], offsets[1:], tables
    assert_encoded(stages_of(version).encode_words(*arguments), reference.encode_words(*arguments))


@compiled_versions
@schedules
def test_random_text_is_encoded(version, seed):
    """Every fifth document is the text of an added token."""
    rng = np.random.default_rng(seed)
    tables = random_model(rng).byte_tables
    batch = random_documents(rng, 20)
    added = (np.diff(batch.offsets) > 0) & (np.arange(batch.n_documents) % 5 == 0)
    token = np.where(added, 1000 + np.arange(batch.n_documents), -1).astype(np.int64)
    arguments = batch, token, GPT2, tables
    assert_equal(stages_of(version, seed).encode_corpus(*arguments), in_python().encode_corpus(*arguments))


@pytest.mark.parametrize("seed", range(6))
def test_marked_text_is_encoded(seed):
    """Pieces begin anywhere, also inside of words; every fifth document is the text of an added token."""
    rng = np.random.default_rng(seed)
    tables = random_model(rng).byte_tables
    batch = random_documents(rng, 40 if seed else 4000)
    full = np.diff(batch.offsets) > 0
    token = np.where(full & (np.arange(batch.n_documents) % 5 == 0), 1000, -1).astype(np.int64)
    characters = np.flatnonzero(batch.data & 0xC0 != 0x80)
    n_cuts = 0 if seed == 1 else len(characters) // 3
    chosen = batch.offsets[:-1][full], rng.choice(characters, n_cuts), batch.offsets[-1:]
    cuts = split_on_cpu.cut_bits(np.unique(np.concatenate(chosen)))
    inside = rng.integers(0, 2**63, 1024).astype(np.uint64)

    def model(*word: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = reference.encode_words(*word, tables)
        return found[0], found[3]

    encoder = encode.Encoder(marked=True, n_ids=4096, n_events=512)
    arguments = cuts, inside, model
    expected = reference.encode_marked(*batch, token, GPT2, *arguments)
    for _ in range(2):  # the second time, the encoder knows all words
        found = encode.encode_marked(*batch, token, walk.prepare(GPT2), *arguments, encoder)
        assert all(map(np.array_equal, found, expected))


@pytest.mark.parametrize("seed", range(4))
def test_text_of_many_rounds_is_encoded(seed):
    """Pieces without text lie between rounds, too; with `seed` 1 and 3, so do texts of added tokens."""
    rng = np.random.default_rng(seed)
    tables = random_model(rng).byte_tables
    documents = random_documents(rng, 2500)
    repeated = documents.offsets[np.sort(rng.integers(0, documents.n_documents + 1, 6000))]
    offsets = np.concatenate([[0, 0], repeated, np.full(3, len(documents.data))])
    token = None
    if seed % 2:
        is_added = (np.diff(offsets) > 0) & (rng.random(len(offsets) - 1) < 0.2)
        token = np.where(is_added, 1000 + np.arange(len(offsets) - 1), -1)

    def model(*word: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = reference.encode_words(*word, tables)
        return found[0], found[3]

    expected = reference.encode_corpus(documents.data, offsets, token, GPT2, model)
    encoders = [encode.Encoder(dtype, n_ids=1 << 10, n_events=1 << 9) for dtype in (np.uint16, np.uint32)]
    # The second time, an encoder knows all words
    for encoder, first in itertools.product(encoders, (0, 0, 1000)):
        part, tokens = offsets[first:], None if token is None else token[first:]
        ids, ends = encode.encode_corpus(documents.data, part, tokens, walk.prepare(GPT2), model, encoder)
        assert ids.dtype == encoder.dtype and ends.dtype == np.int64
        assert ids.tolist() == expected[0][expected[1][first] :].tolist()
        assert ends.tolist() == (expected[1][first:] - expected[1][first]).tolist()


def test_known_text_has_no_events():
    """The ends of documents are known words, so that their ids are not looked for where events are."""
    model = random_model(np.random.default_rng(0))
    batch = TextBatch.from_strings(["the the", "", "a the\n", "b"] * 500)
    encode_words = functools.partial(model.encode_words, byte_level=True)
    encoder = encode.Encoder()
    arguments = walk.prepare(GPT2), encode_words, encoder
    encoder.work.at[:] = -1
    first = encode.encode_corpus(*batch, None, *arguments)
    assert (encoder.work.at >= 0).any()
    encoder.work.at[:] = -1
    assert_equal(encode.encode_corpus(*batch, None, *arguments), first)
    assert (encoder.work.at == -1).all()


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_room_for_ids_is_that_of_the_text_before(dtype):
    """A text of more ids a byte gets more, and one of fewer gives the rest back."""

    def model(data: np.ndarray, start: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows = np.concatenate([[0], np.cumsum(np.where(data[end - 1] == ord("x"), end - start, 1))])
        return (np.arange(rows[-1]) - np.repeat(rows[:-1], np.diff(rows))).astype(np.uint32), rows

    encoder = encode.Encoder(dtype, n_ids=1 << 12, n_events=1 << 10)
    few, many = TextBatch.from_strings([" words" * 9000]), TextBatch.from_strings([f" {'y' * i}x" for i in range(300)])
    for batch in (few, many, TextBatch.from_strings([""]), many, few, many):
        expected = reference.encode_corpus(*batch, None, GPT2, model)
        ids, ends = encode.encode_corpus(*batch, None, walk.prepare(GPT2), model, encoder)
        assert ids.tolist() == expected[0].tolist() and ends.tolist() == expected[1].tolist()
        assert ids.base is None or ids.base.nbytes <= 2 * ids.nbytes + (1 << 12)


@compiled_versions
def test_no_text_is_encoded(version):
    tables, no_token = random_model(np.random.default_rng(0)).byte_tables, np.full(2, -1, np.int64)
    ids, ends = stages_of(version).encode_corpus(TextBatch.from_strings(["", ""]), no_token, GPT2, tables)
    assert len(ids) == 0 and ends.tolist() == [0, 0, 0]
