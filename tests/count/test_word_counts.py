"""Word counts against a dictionary and against the words of `tokenizers`; merged, saved and loaded again."""

import collections
import functools
import itertools
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
import traceback
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import tokenizers
from children import child, end
from gputok.kernels import Automaton
from gputok.kernels.cpu import count_words as words
from gputok.kernels.cpu import word_table
from gputok.kernels.cpu.walk import tables as walk
from gputok.kernels.cpu.walk.matches import slice_text
from make_normalization_tables import charsmap

from gputok import AddedToken, Tokenizer, models, normalizers, pre_tokenizers
from gputok.automaton import PATTERNS, compile_pattern
from gputok.corpus import Source
from gputok.corpus.options import ReadSizes
from gputok.corpus.readers import Task
from gputok.counts import partitions
from gputok.counts.word_counts import WordCounts
from gputok.pipeline.count.units import Slices
from gputok.pipeline.count.words import count_corpus, count_words
from gputok.pipeline.run import Run
from gputok.pipeline.way import walk_of
from gputok.text.pieces import Pieces, TextBatch
from gputok.text.way import Unit
from tests import reference


class Plan(NamedTuple):
    automaton: Automaton
    byte_level: bool


def plan(name: str, byte_level: bool = True) -> Plan:
    return Plan(compile_pattern(PATTERNS[name]), byte_level)


def batches(texts: list[str], n_batches: int = 1) -> list[TextBatch]:
    """The texts, in order, in so many batches."""
    edges = np.linspace(0, len(texts), n_batches + 1).astype(int).tolist()
    return [TextBatch.from_strings(texts[a:b]) for a, b in itertools.pairwise(edges)]


def expected(texts: list[str], name: str) -> dict[bytes, int]:
    """The words as `tokenizers` cuts them, in order of first occurrence."""
    isolated = tokenizers.pre_tokenizers.Split(tokenizers.Regex(PATTERNS[name]), "isolated")
    counts: collections.Counter = collections.Counter()
    for text in texts:
        counts.update(word.encode() for word, _ in isolated.pre_tokenize_str(text) if word)
    return dict(counts)


def same(a: WordCounts, b: WordCounts) -> bool:
    """The same arrays, order included."""
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("data", "offsets", "counts"))


def random_texts(seed: int, n: int) -> list[str]:
    """Documents in which words recur, of every length and script, some of them empty."""
    rng = random.Random(seed)
    stems = [
        "the",
        "house",
        "'s",
        "12345",
        "über",
        "日本語",
        "😀",
        "\r\n",
        "\n\n",
        "  ",
        "\t",
        "..",
        "x" * 15,
        "y" * 16,
    ]
    stems += ["z" * 17, "w" * 40, " q" * 5, "'ll've", "\u3000", "e\u0301"]
    return ["".join(rng.choices(stems, k=rng.choice([0, 1, 5, 40]))) for _ in range(n)]


def test_hello():
    counts = count_words(batches(["low low low lower\n", "", "low"]), plan("gpt2"))
    assert dict(counts.items()) == {b"low": 2, b" low": 2, b" lower": 1, b"\n": 1}
    assert counts.byte_level and repr(counts) == "<WordCounts: 4 byte-level words, 6 occurrences>"


@pytest.mark.parametrize("name", ["gpt2", "cl100k", "o200k", "llama3", "qwen3"])
def test_words_are_those_of_tokenizers(name):
    texts = random_texts(seed=1, n=3000)
    assert list(count_words(batches(texts), plan(name)).items()) == list(expected(texts, name).items())


@pytest.mark.slow
@pytest.mark.parametrize("corpus", ["en", "code", "multi", "zh"])
@pytest.mark.parametrize("whole", [False, True], ids=["lines", "one document"])
def test_words_of_real_text_are_those_of_tokenizers(corpus_sample, corpus, whole):
    text = corpus_sample(corpus, 1_000_000)
    texts = [text] if whole else [line + "\n" for line in text.split("\n")]
    assert dict(count_words(batches(texts, 3), plan("gpt2"), threads=2).items()) == expected(texts, "gpt2")


def test_arrays_depend_neither_on_threads_nor_on_batches():
    texts, slices = random_texts(seed=2, n=5000), Slices(walk=1 << 12)
    first = count_words(batches(texts), plan("gpt2"), threads=1, slices=slices)
    for threads, n_batches in [(1, 7), (2, 1), (2, 100), (8, 3)]:
        found = count_words(batches(texts, n_batches), plan("gpt2"), threads=threads, slices=slices)
        assert same(first, found)


def test_a_long_document_is_cut_between_words():
    texts = ["".join(random_texts(seed=3, n=20_000))]
    automaton = plan("gpt2").automaton
    cuts = slice_text(*batches(texts)[0], 1 << 14, walk.prepare(automaton))
    assert len(cuts) > 20 and max(np.diff(cuts)) <= 1 << 15
    assert dict(count_words(batches(texts), plan("gpt2"), threads=3).items()) == expected(texts, "gpt2")


@pytest.mark.parametrize("unit", ["a", " ", "\n", "é", "漢", "12", "a'"])
def test_text_that_cannot_be_cut(unit):
    texts = ["start " + unit * 200_000, "end"]
    assert dict(count_words(batches(texts), plan("gpt2"), threads=2).items()) == expected(texts, "gpt2")


def test_tables_grow_in_words_and_bytes():
    rng = random.Random(4)
    texts = [f" {rng.randrange(10**6)}w{'long' * rng.choice([0, 1, 9])}" for _ in range(60_000)]
    table = word_table.new_table(capacity=4, n_bytes=8)
    data, offsets = batches(texts)[0]
    table = words.count_words(data, offsets, 0, walk.prepare(plan("gpt2").automaton), table)
    counted = WordCounts(*words.distinct_words([table]))
    assert dict(counted.items()) == expected(texts, "gpt2")
    assert word_table.room(len(table.slots)) >= table.state[word_table.N_WORDS]


def test_counting_given_pieces_equals_the_reference():
    rng = np.random.default_rng(5)
    data = rng.integers(97, 99, 400).astype(np.uint8)
    start = rng.integers(0, 401, 5000)
    end = np.minimum(start + rng.choice([0, 1, 2, 3, 8, 16, 17, 30], 5000), 400)
    count = rng.integers(1, 2**40, 5000)
    ours = words.distinct_words([words.count_pieces(data, start, end, count, 0, word_table.new_table(4, 8))])
    theirs = reference.distinct_words([reference.count_pieces(data, start, end, count, 0, {})])
    assert all(map(np.array_equal, ours, theirs))


@pytest.mark.parametrize("n_tables", [1, 2, 3, 7])
@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("chunk", [2, 1 << 10])
def test_tables_of_any_size_and_number_are_joined(n_tables, threads, chunk, monkeypatch):
    monkeypatch.setattr(words, "_CHUNK_WORDS", chunk)
    rng = np.random.default_rng(n_tables)
    data = rng.integers(97, 99, 4000).astype(np.uint8)
    n = 20_000
    start = np.minimum(rng.zipf(1.2, n), 3000)
    end, count = start + rng.choice([1, 2, 8, 16, 17, 30], n), rng.integers(1, 9, n)
    tables = [word_table.new_table(4, 8) for _ in range(n_tables)]
    edges = np.sort(rng.integers(0, n, 40))
    for a, b in itertools.pairwise([0, *edges.tolist(), n]):
        i = rng.integers(n_tables)
        tables[i] = words.count_pieces(data, start[a:b], end[a:b], count[a:b], a, tables[i])
    theirs = reference.distinct_words([reference.count_pieces(data, start, end, count, 0, {})])
    assert all(map(np.array_equal, words.distinct_words(tables, threads), theirs))


@pytest.mark.parametrize("threads", [1, 3])
def test_words_whose_probes_wrap_around_are_joined_once(threads):
    """Small tables, nearly full: often a word stands in the first slots, and its probes begin in the last ones."""
    rng = np.random.default_rng(11)
    for n in range(1, 200):
        data = rng.integers(97, 123, 2 * n).astype(np.uint8)
        start = rng.integers(0, 2 * n - 1, n)
        end, count = start + 2, rng.integers(1, 9, n)
        half = n // 2
        tables = [
            words.count_pieces(data, start[a:b], end[a:b], count[a:b], a, word_table.new_table(4, 8))
            for a, b in ((0, half), (half, n))
        ]
        theirs = reference.distinct_words([reference.count_pieces(data, start, end, count, 0, {})])
        assert all(map(np.array_equal, words.distinct_words(tables, threads), theirs)), n


@pytest.mark.parametrize("n_lists", [1, 2, 3, 9])
@pytest.mark.parametrize("n_keys", [None, 1, 5])
def test_lists_are_merged_in_the_order_of_keys(n_lists, n_keys, monkeypatch):
    """Also if different words have the same key: then their bytes decide."""
    if n_keys is not None:

        def few_keys(data, offsets):
            sums = [data[a:b].sum() % n_keys for a, b in itertools.pairwise(offsets.tolist())]
            return np.array(sums, np.uint64)

        monkeypatch.setattr(partitions, "word_keys", few_keys)
    rng = random.Random(n_lists)
    lists, total = [], collections.Counter()
    for i in range(n_lists):
        n = 0 if i == 2 else rng.randrange(1, 400)
        counts = {
            bytes(rng.choices(b"ab", k=rng.choice([1, 2, 3, 8, 9, 16, 17, 30]))): rng.randrange(1, 2**40)
            for _ in range(n)
        }
        total.update(counts)
        lists.append(WordCounts.from_dict(counts).columns())
    ours = partitions.merged(lists)
    found = [ours.data[a:b].tobytes() for a, b in itertools.pairwise(ours.offsets.tolist())]
    keys = partitions.word_keys(ours.data, ours.offsets).tolist()
    assert [*zip(keys, found, strict=True)] == sorted(zip(keys, found, strict=True))
    assert dict(zip(found, ours.counts.tolist(), strict=True)) == total
    assert [column.dtype for column in ours[:3]] == [np.uint8, np.int64, np.int64]


@pytest.mark.parametrize("name", ["gpt2", "o200k"])
def test_counting_text_equals_the_reference(name):
    texts, automaton = random_texts(seed=8, n=300), plan(name).automaton
    (data, offsets), table = batches(texts)[0], word_table.new_table()
    table = words.count_words(data, offsets, 0, walk.prepare(automaton), table)
    ours = WordCounts(*words.distinct_words([table])).items()
    theirs = reference.count_words(data, offsets, 0, automaton, {}).items()
    assert list(ours) == [(word, n) for word, (_, n) in theirs]


@pytest.mark.parametrize(
    "pattern",
    [
        r"x{250}|xy{300}|[\s\S]",  # more states than the table of pairs has numbers for; walks that end far before
        r"abc|ab|[\s\S]",
        r"\s*[\r\n]+|\s+(?!\S)|\s+|\S+",
        r"é+|(?:日本)+|[\s\S]",
        r"[\s\S]+",
    ],
)
def test_patterns_of_every_shape_equal_the_reference(pattern):
    rng = random.Random(pattern)
    parts = [
        "x" * 249,
        "x" * 250,
        "x" * 251,
        "x" + "y" * 300,
        "y",
        "a",
        "ab",
        "abc",
        " ",
        "\n",
        "\r\n",
        "é",
        "日",
        "本",
    ]
    texts = ["".join(rng.choices(parts, k=rng.randrange(1, 12))) for _ in range(200)]
    automaton = compile_pattern(pattern)
    (data, offsets), table = batches(texts)[0], word_table.new_table()
    table = words.count_words(data, offsets, 0, walk.prepare(automaton), table)
    ours = WordCounts(*words.distinct_words([table])).items()
    theirs = reference.count_words(data, offsets, 0, automaton, {}).items()
    assert list(ours) == [(word, n) for word, (_, n) in theirs]


def test_a_pipeline_of_any_kind_is_counted():
    def characters(pieces: Pieces) -> Pieces:
        """Every ASCII character a word; the text in upper case."""
        at = np.arange(len(pieces.data))
        upper = np.frombuffer(pieces.data.tobytes().upper(), np.uint8)
        return pieces._replace(data=upper, start=at, end=at + 1, rows=pieces.start[[0, -1]])

    texts = ["", "hello", "", "world", ""] * 2000
    counts = count_words(batches(texts, 4), characters, threads=2, slices=Slices(steps=1 << 10))
    assert list(counts.items()) == [(bytes([c]), n) for c, n in collections.Counter(b"HELLOWORLD" * 2000).items()]


def charsmap_of(rule: str) -> normalizers.Precompiled:
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(sentencepiece.SentencePieceNormalizer(rule_name=rule).serialized_model_proto())
    return normalizers.Precompiled(proto.normalizer_spec.precompiled_charsmap)


NORMALIZERS = [
    charsmap_of("nmt_nfkc"), charsmap_of("nfkc_cf"), None, normalizers.BertNormalizer(),
    normalizers.BertNormalizer(False, False, True, False), normalizers.BertNormalizer(strip_accents=False),
    normalizers.NFC(), normalizers.NFD(), normalizers.NFKC(), normalizers.NFKD(), normalizers.Nmt(),
    normalizers.Lowercase(), normalizers.Sequence([normalizers.NFKD(), normalizers.StripAccents()]),
]  # fmt: skip
PRE_TOKENIZERS = [
    pre_tokenizers.BertPreTokenizer(), pre_tokenizers.Whitespace(), pre_tokenizers.WhitespaceSplit(),
    pre_tokenizers.Metaspace(), pre_tokenizers.Metaspace("_", "first"), pre_tokenizers.Metaspace("▁", "never"),
    pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Digits(), pre_tokenizers.ByteLevel()]),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("pre_tokenizer", PRE_TOKENIZERS, ids=str)
@pytest.mark.parametrize("normalizer", NORMALIZERS, ids=str)
def test_parts_cut_before_spaces_give_the_words_of_the_whole(normalizer, pre_tokenizer):
    """With marks, controls and white space of all kinds beside the cuts; and real tokenizers count in this way."""
    rng = random.Random(7)
    units = [
        " ",
        " ",
        " ",
        "a",
        "É",
        "e\u0301",
        "\u0301",
        "\u0345",
        "\u0323",
        "漢",
        "\x00",
        "\t",
        "\n",
        "\u00a0",
        "\u3000",
    ]
    units += ["\u200b", "´", "\u0600", "ﬁ", "각", "\u11a8", "7", "▁", "_", "ΑΣ", "İ", "...", "ﷺ", "word"]
    texts = ["".join(rng.choices(units, k=rng.randrange(30))) for _ in range(400)]
    tokenizer = Tokenizer(models.WordLevel())
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, pre_tokenizer
    assert tokenizer.pipeline.way.unit == Unit.PART
    whole = count_words(batches(texts, 3), tokenizer.pipeline.words, threads=1)
    options = {"parts": walk_of(tokenizer.pipeline.way), "slices": Slices(parts=200)}
    assert same(whole, count_words(batches(texts, 3), tokenizer.pipeline.words, threads=2, **options))


@pytest.mark.parametrize(
    ("normalizer", "pre_tokenizer"),
    [
        (normalizers.Strip(), pre_tokenizers.Whitespace()),
        # Of the cluster of U+0600 and a space, which has an entry, the space would be lost
        (normalizers.Precompiled(charsmap("a\u0600")), pre_tokenizers.Whitespace()),
        (normalizers.Precompiled(charsmap(" ")), pre_tokenizers.Whitespace()),
        (normalizers.Sequence([normalizers.NFC(), normalizers.Prepend("x")]), pre_tokenizers.Whitespace()),
        (normalizers.Replace("a b", "c"), pre_tokenizers.Whitespace()),
        (None, pre_tokenizers.Metaspace(split=False)),
        (None, pre_tokenizers.Punctuation()),
        (None, pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Metaspace("_", "first")])),
        (None, pre_tokenizers.Sequence([])),
        (None, None),
    ],
)
def test_pipelines_that_look_past_spaces_get_whole_documents(normalizer, pre_tokenizer):
    tokenizer = Tokenizer(models.WordLevel())
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, pre_tokenizer
    assert tokenizer.pipeline.way.unit != Unit.PART


@pytest.mark.parametrize(
    ("normalizer", "pre_tokenizer"),
    [
        (None, pre_tokenizers.ByteLevel(add_prefix_space=False)),
        (None, pre_tokenizers.WhitespaceSplit()),
        (normalizers.Lowercase(), pre_tokenizers.WhitespaceSplit()),
        (normalizers.NFC(), pre_tokenizers.ByteLevel(add_prefix_space=True)),
    ],
)
@pytest.mark.parametrize("normalized", [False, True])
def test_added_tokens_are_found_in_whole_documents(normalizer, pre_tokenizer, normalized):
    """Batches without added tokens take the fast ways and give the same words."""
    tokenizer = Tokenizer(models.WordLevel())
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, pre_tokenizer
    added = [AddedToken("a b", normalized=normalized), AddedToken("<S>", lstrip=True, normalized=normalized)]
    tokenizer.add_tokens(added)
    texts = ["x a b y", "no such words", "one <S>two", "A B", "<S>", "no more"] * 5
    whole = count_words(batches(texts), tokenizer.pipeline.words, threads=1)
    counted = [tokenizer.count_words(TextBatch.from_strings([text]), progress=False) for text in texts]
    for found in (WordCounts.merge(counted), tokenizer.count_words(iter(texts), threads=2, progress=False)):
        assert dict(found.spelled_out().items()) == dict(whole.spelled_out().items())


def test_progress_is_told_while_the_last_slices_are_counted():
    class Slow:
        def pre_tokenize(self, text):
            time.sleep(1)

    tokenizer, calls = Tokenizer(models.BPE()), []
    tokenizer.pre_tokenizer = pre_tokenizers.PreTokenizer.custom(Slow())
    texts = ["so it goes " * 20_000, "so it went"]
    tokenizer.count_words(iter(texts), threads=2, progress=lambda *call: calls.append(call))
    assert len(calls) > 4


def test_progress_only_rises_and_ends_at_the_whole():
    calls = []
    texts = ["some words\n"] * 1000
    count_words(batches(texts, 5), plan("gpt2"), report=lambda *call: calls.append(call), total=11_000)
    assert calls == sorted(calls) and calls[-1] == ("count", 11_000, 11_000)


def test_an_error_while_reading_is_raised():
    def broken():
        yield from batches(["fine"])
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        count_words(broken(), plan("gpt2"), threads=2)


@pytest.mark.parametrize("kind", ["walk", "parts", "steps", "longer"])
@pytest.mark.parametrize("separator", [None, "<|x|>"])
def test_threads_that_count_read_large_files_themselves(kind, separator, tmp_path):
    """Also long documents, for which all threads are needed; and the order of words is that of the text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if kind == "parts":
        tokenizer.normalizer, tokenizer.pre_tokenizer = (
            normalizers.BertNormalizer(),
            pre_tokenizers.BertPreTokenizer(),
        )
    elif kind == "steps":
        tokenizer.add_tokens([AddedToken("the", normalized=False)])
    elif kind == "longer":  # far more words than bytes
        tokenizer.normalizer = normalizers.Replace("e", " . , ; " * 20)
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    texts = [text.replace("\n", " ") for text in random_texts(3, 400)]
    texts[100], texts[200] = "".join(texts) * 2, "long the words " * 3000
    end = separator or "\n"
    paths = [tmp_path / "a.txt", tmp_path / "b.txt"]
    for path, some in zip(paths, (texts[:150], texts[150:]), strict=True):
        path.write_text("".join(text + end for text in some), newline="")
    sizes = ReadSizes(batch=1 << 12, small=1 << 10, slack=1 << 6)
    source = Source.of([*map(str, paths)], separator=separator, sizes=sizes)
    assert isinstance(next(iter(source.read_apart(3))), Task)
    calls = []
    run = Run.of(threads=3, progress=lambda *call: calls.append(call))
    slices = Slices(1 << 9, 1 << 9, 1 << 9, task=1 << 13)
    found = count_corpus(tokenizer.pipeline, source, run, slices=slices)
    alone = count_corpus(tokenizer.pipeline, source, run._replace(threads=1), slices=slices)
    assert same(found, alone)
    of_count = [done for stage, done, _ in calls if stage.startswith("count")]
    assert len(found) > 100 and max(of_count) <= sum(path.stat().st_size for path in paths)


def test_the_first_error_of_a_corpus_is_raised(tmp_path):
    path = tmp_path / "text.txt"
    lines = [b"some words\n"] * 30_000
    for i in range(9_000, 30_000, 500):
        lines[i] = b"\xff some\n"
    path.write_bytes(b"".join(lines))
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    source = Source.of(str(path), sizes=ReadSizes(batch=1 << 11, small=1 << 10, slack=1 << 6))
    for _ in range(20):
        with pytest.raises(ValueError, match=rf"text\.txt, byte {9_000 * 11}: .*0xff"):
            count_corpus(tokenizer.pipeline, source, Run.of(threads=4, progress=False))


def test_ctrl_c_ends_counting():
    script = """
import itertools
from gputok.pipeline.count.words import count_words
from gputok.pre_tokenizers import ByteLevel
from gputok.text.pieces import TextBatch
from gputok.text.way import Way

batch = TextBatch.from_strings(["some words and more of them"] * 100_000)
plan = ByteLevel(add_prefix_space=False).way(Way())
count_words([batch], plan)
print("begun", flush=True)
count_words(itertools.repeat(batch), plan, threads=2)
"""
    command = [sys.executable, "-c", script]
    with child(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as counting:
        assert counting.stdout.readline() == b"begun\n"
        time.sleep(0.3)
        seconds = end(counting, signal.SIGINT)
        errors = counting.stderr.read()
    assert b"KeyboardInterrupt" in errors
    assert seconds < 5  # half a second on a machine that does nothing else


def interrupted(work, moment: int) -> BaseException | bool:
    """Calls a function, with Ctrl-C at a moment: after some C function returned, or where a function of Python begins.

    Python looks for signals there, and at the ends of loops. Not while a thread starts: Ctrl-C may break its own locks.
    Returns what was raised; True: nothing, as in a callback, whose errors Python ignores; False: the call ended before.
    """
    left = moment

    def interrupt(frame, event, _):
        nonlocal left
        if event not in ("call", "c_return"):
            return
        while frame is not None:
            if frame.f_code is threading.Thread.start.__code__:
                return
            frame = frame.f_back
        left -= 1
        if left < 0:
            sys.setprofile(None)
            raise KeyboardInterrupt

    try:
        sys.setprofile(interrupt)
        try:
            work()
        finally:
            sys.setprofile(None)
    except BaseException as error:
        return error
    return left < 0


@pytest.mark.slow
def test_ctrl_c_at_any_moment_ends_counting():
    """It is what is raised, and no thread that counts stays."""
    texts, slices = batches([f"some words {i}" for i in range(90)], 3), Slices(walk=1 << 9)
    work = functools.partial(count_words, texts, plan("gpt2"), threads=2, slices=slices)
    work()
    n_threads = threading.active_count()
    for moment in itertools.count():
        found, until = interrupted(work, moment), time.monotonic() + 20
        if found is False:
            break
        assert found is True or type(found) is KeyboardInterrupt, traceback.format_exception(found)
        while threading.active_count() > n_threads:
            assert time.monotonic() < until, (moment, found)
            time.sleep(0.001)
    assert moment > 200


def test_no_text_is_no_words(tmp_path):
    for empty in ([], batches([]), batches(["", ""])):
        counts = count_words(empty, plan("gpt2"))
        assert len(counts) == 0 and counts == WordCounts.from_dict({}, byte_level=counts.byte_level)
    counts.save(tmp_path / "none.parquet")
    assert WordCounts.load(tmp_path / "none.parquet") == counts


def test_shards_merge_in_any_order():
    texts = random_texts(seed=6, n=3000)
    whole = count_words(batches(texts), plan("gpt2"))
    shards = [count_words([batch], plan("gpt2")) for batch in batches(texts, 4)]
    for order in itertools.permutations(shards):
        assert WordCounts.merge(order) == whole
        assert same(WordCounts.merge(order), WordCounts.merge(shards))
    assert WordCounts.merge(shards[:3]) != whole


def test_counts_are_of_64_bits():
    big = WordCounts.from_dict({"a": 2**40, "b": 1})
    assert dict(WordCounts.merge([big] * 1000).items()) == {b"a": 1000 * 2**40, b"b": 1000}


def test_equality_ignores_only_order():
    counts = WordCounts.from_dict({"a": 1, "b": 2})
    assert counts == WordCounts.from_dict({"b": 2, "a": 1})
    for other in ({"a": 1}, {"a": 2, "b": 1}, {"a": 1, "c": 2}, {"a": 1, "b": 2, "c": 3}):
        assert counts != WordCounts.from_dict(other)
    assert counts != WordCounts.from_dict({"a": 1, "b": 2}, byte_level=True)
    assert counts != "counts"


def test_parquet_keeps_everything(tmp_path):
    counts = count_words(batches(random_texts(seed=7, n=500)), plan("gpt2"))
    path = tmp_path / "counts.parquet"
    counts.save(path)
    loaded = WordCounts.load(path)
    assert loaded == counts and loaded.byte_level
    assert os.listdir(tmp_path) == ["counts.parquet"]
    columns = pa.parquet.read_table(path)  # other programs can read it
    assert columns["word"].to_pylist() == [word for word, _ in loaded.items()]
    assert columns["count"].to_pylist() == loaded.counts.tolist()


def test_files_that_are_not_word_counts_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError):
        WordCounts.load(tmp_path / "missing.parquet")
    text = tmp_path / "text.txt"
    text.write_text("words")
    with pytest.raises(ValueError, match="expected a Parquet file"):
        WordCounts.load(text)
    other = tmp_path / "other.parquet"
    pa.parquet.write_table(pa.table({"x": [1]}), other)
    with pytest.raises(ValueError, match="holds no word counts"):
        WordCounts.load(other)
    counts = WordCounts.from_dict({"word": 1})
    counts.save(other)
    other.write_bytes(other.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"other\.parquet"):
        WordCounts.load(other)
    counts.save(other)
    table = pa.parquet.read_table(other)
    newer = {b"gputok.word_counts": b'{"version": 99, "byte_level": false}'}
    pa.parquet.write_table(table.replace_schema_metadata(newer), other)
    with pytest.raises(ValueError, match="version 99"):
        WordCounts.load(other)


def test_invalid_words_are_refused():
    with pytest.raises(ValueError, match=r"word 1 occurs 0 times"):
        WordCounts.from_dict({"a": 1, "b": 0})
    with pytest.raises(ValueError, match=r"word 1, b'\\xff', is not UTF-8"):
        WordCounts.from_dict({"a": 1, b"\xff": 1})
    assert len(WordCounts.from_dict({b"\xff": 1}, byte_level=True)) == 1


# ------------------------------------------------------------------------------------- what the file says of itself

WHOLE = {"version": 2, "byte_level": False, "hash": "word_key/2", "partitions": [1, *[0] * 63]}
NO_SIZES = ([1] * 63, [1] * 65, [-1, *[0] * 63], [0.5, *[0] * 63], [True, *[0] * 63], ["1", *[0] * 63], 1, {}, None)


def described(path, description: object) -> None:
    raw = description if isinstance(description, bytes) else json.dumps(description).encode()
    table = pa.table({"word": pa.array([b"\xff\xfe\xf0"], pa.large_binary()), "count": [1]})
    pa.parquet.write_table(table.replace_schema_metadata({b"gputok.word_counts": raw}), path)


@pytest.mark.parametrize(
    "description",
    [
        *({**WHOLE, "byte_level": value} for value in (2, 1, 0, 256, "no", "", None, [], [0], {}, 1.5, 2**70)),
        *({**WHOLE, "version": value} for value in (0, 1, 3, "2", None, 2.0, True, [2], 2**70)),
        *({**WHOLE, "hash": value} for value in ("word_key/1", None, 1, [])),
        *({**WHOLE, "partitions": sizes} for sizes in NO_SIZES),
        *({name: WHOLE[name] for name in WHOLE if name != lost} for lost in WHOLE),
        *([], None, 5, "", b"", b"{", b"[" * 100_000, b"\xff", b'{"version": 1e999}'),
    ],
    ids=lambda description: repr(description)[:60],
)
def test_every_field_of_a_description_is_checked(description, tmp_path):
    """`byte_level: 2` was True to Python, which then left UTF-8 unchecked, and False to machine code, which crashed."""
    path = tmp_path / "counts.parquet"
    described(path, description)
    for byte_level in (None, True, False):
        with pytest.raises(ValueError, match=re.escape(str(path))):
            WordCounts.load(path, byte_level=byte_level)


def test_words_of_a_whole_description_are_checked(tmp_path):
    described(tmp_path / "counts.parquet", WHOLE)
    with pytest.raises(ValueError, match="is not UTF-8"):
        WordCounts.load(tmp_path / "counts.parquet")
    described(tmp_path / "counts.parquet", {**WHOLE, "byte_level": True})
    assert dict(WordCounts.load(tmp_path / "counts.parquet").items()) == {b"\xff\xfe\xf0": 1}


@pytest.mark.parametrize("value", [2, "no", 1, 0, [], 1.5])
def test_byte_level_is_true_or_false(value, tmp_path):
    path = tmp_path / "counts.parquet"
    pa.parquet.write_table(pa.table({"word": ["a"], "count": [1]}), path)
    for make in (
        lambda: WordCounts.load(path, byte_level=value),
        lambda: WordCounts.from_arrow(pa.table({"word": ["a"], "count": [1]}), byte_level=value),
        lambda: WordCounts.from_dict({"a": 1}, byte_level=value),
    ):
        with pytest.raises(TypeError, match="byte_level"):
            make()
