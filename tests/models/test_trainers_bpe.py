"""BpeTrainer by worked examples, its kernels against the plain versions, and its options as those of tokenizers."""

import copy
import itertools
import pickle
import random
import threading
import time

import numpy as np
import pytest
import tokenizers.trainers
from gputok.kernels import BpeLimits, Veto
from gputok.kernels.cpu import spell_words as alphabet
from gputok.kernels.cpu.train_bpe import queue as bpe_queue
from gputok.kernels.cpu.train_bpe import train as bpe
from gputok.kernels.cpu.train_bpe.layout import APPLYING, CLAIMS, LINE, MERGES, MOVED, PHASE, STEP, WAITING

from gputok import AddedToken, Tokenizer, models, pre_tokenizers, trainers
from gputok.counts.word_counts import WordCounts
from gputok.trainers import BpeTrainer
from tests import reference

STAGES = pytest.mark.parametrize("train_bpe", [bpe.train_bpe, bpe_queue.train_bpe_queued])


def learnt(words: dict[str, int], **options) -> tuple[list[str], list[tuple[str, str]]]:
    """Tokens by id, and merges as strings."""
    trained = BpeTrainer(**options).train(WordCounts.from_dict(words))
    tokens = trained.vocabulary.tokens
    return tokens, [(tokens[a], tokens[b]) for a, b in trained.merges.tolist()]


def stage_input(words: dict[str, int], n_unused: int = 0) -> tuple[np.ndarray, ...]:
    """What `train_bpe` takes: symbols, offsets, counts, tokens, token_offsets. Unused tokens have the first ids."""
    characters = sorted({*"".join(words)})
    tokens = [*(f"<{i}>" for i in range(n_unused)), *characters]
    ids = {c: n_unused + i for i, c in enumerate(characters)}
    dtype = np.uint16 if len(tokens) < 30_000 else np.uint32
    return (
        np.array([ids[c] for word in words for c in word], dtype),
        np.cumsum([0, *map(len, words)], dtype=np.int64),
        np.array([*words.values()], np.int64),
        np.frombuffer("".join(tokens).encode(), np.uint8),
        np.cumsum([0, *(len(token.encode()) for token in tokens)], dtype=np.int64),
    )


def assert_equal(left, right):
    for name, a, b in zip(left._fields, left, right, strict=True):
        assert np.array_equal(a, b), name


def random_words(r: random.Random, letters: str, n: int, longest: int) -> dict[str, int]:
    return {"".join(r.choices(letters, k=r.randint(1, longest))): r.choice([1, 1, 2, 5]) for _ in range(n)}


# ---- worked examples


def test_no_parts():
    """As no words: `parts` of an empty corpus may yield nothing."""
    tokens = np.frombuffer(b"ab", np.uint8), np.array([0, 1, 2])
    limits, empty = BpeLimits(10), np.empty(0, np.int64)
    expected = bpe.train_bpe(empty.astype(np.uint16), np.zeros(1, np.int64), empty, *tokens, limits)
    for threads in (1, 2):
        found = bpe.train_bpe_of_parts(lambda: iter(()), *tokens, limits, threads=threads)
        assert_equal(found, expected)
    assert len(found.left) == 0 and found.token_offsets.tolist() == [0, 1, 2]


def test_hello():
    """h e l l o after merging (l, l): the pairs (e, l) and (l, o) are gone, (e, ll) and (ll, o) are new."""
    h, e, l, o, ll = range(5)  # noqa: E741  # the letters of "hello"
    word, changes = reference.merge_word([(h, 1), (e, 1), (l, 1), (l, 1), (o, 1)], l, l, ll, 10)
    assert word == [(h, 1), (e, 1), (ll, 2), (o, 1)]
    assert changes == [((e, l), -1), ((e, ll), +1), ((l, o), -1), ((ll, o), +1)]

    # (e, l) and (l, l) occur 8 times: the smaller left id comes first. Then of (h, ell) and (ell, o), 5 times each
    tokens, merges = learnt({"hello": 5, "jelly": 3}, vocab_size=10)
    assert tokens == ["e", "h", "j", "l", "o", "y", "el", "ell", "hell", "hello"]
    assert merges == [("e", "l"), ("el", "l"), ("h", "ell"), ("hell", "o")]


def test_merges_carry_their_counts():
    """(el, l) occurs 8 times like (e, l); then (h, ell) and (hell, o) 5 times, and (j, ell) and (jell, y) 3 times."""
    words = stage_input({"hello": 5, "jelly": 3})
    for train_bpe in (reference.train_bpe, bpe.train_bpe, bpe_queue.train_bpe_queued):
        assert train_bpe(*words, BpeLimits(20)).count.tolist() == [8, 8, 5, 5, 3, 3]


def test_the_example_of_the_paper():
    """Sennrich et al. 2016, without its end-of-word mark."""
    words = {"low": 5, "lower": 2, "newest": 6, "widest": 3}
    tokens, merges = learnt(words, vocab_size=15)
    assert "".join(tokens[:10]) == "deilnorstw"
    assert merges[:3] == [("e", "s"), ("es", "t"), ("l", "o")]


def test_overlaps_merge_from_left_to_right():
    """a a a a a -> aa aa a, where (aa, a) precedes (aa, aa) by its smaller right id."""
    assert learnt({"aaaaa": 1}, vocab_size=9) == (["a", "aa", "aaa", "aaaaa"], [("a", "a"), ("aa", "a"), ("aa", "aaa")])


def test_the_neighbours_of_a_dropped_character_can_merge():
    assert learnt({"a-b": 3, "ba": 2}, limit_alphabet=2, vocab_size=10) == (
        ["a", "b", "ab", "ba"],
        [("a", "b"), ("b", "a")],
    )


def test_limit_alphabet_drops_the_larger_code_point_of_a_tie():
    """a, b and c are equally frequent."""
    tokens, merges = learnt({"cab": 2}, limit_alphabet=2, vocab_size=10)
    assert (tokens, merges) == (["a", "b", "ab"], [("a", "b")])


def test_prefix_and_suffix():
    """Affixed characters get ids by falling count, then code point; a merge strips the prefix of its right part."""
    tokens, merges = learnt(
        {"aab": 2, "ba": 5}, continuing_subword_prefix="##", end_of_word_suffix="</w>", vocab_size=20
    )
    assert tokens[:5] == ["a", "b", "##a</w>", "##a", "##b</w>"]
    assert merges == [("b", "##a</w>"), ("a", "##a"), ("aa", "##b</w>")]
    assert tokens[5:] == ["ba</w>", "aa", "aab</w>"]


def test_max_token_length_is_exclusive_but_two_characters_always_merge():
    words = {"abcd": 3}
    assert learnt(words, max_token_length=1, vocab_size=20)[0][4:] == ["ab", "cd"]
    assert learnt(words, max_token_length=4, vocab_size=20)[0][4:] == ["ab", "cd"]
    assert learnt(words, max_token_length=5, vocab_size=20)[0][4:] == ["ab", "cd", "abcd"]


def test_special_tokens_get_the_first_ids_also_for_equal_characters():
    tokens, merges = learnt({"the": 4}, special_tokens=["<s>", "the", "h"], vocab_size=20)
    assert tokens == ["<s>", "the", "h", "e", "t", "he"]
    assert merges == [("h", "e"), ("t", "he")]


@pytest.mark.parametrize(
    ("words", "options", "message"),
    [
        ({}, {}, "no words"),
        ({"abc": 2}, {"vocab_size": 2}, "vocab_size=2 is smaller than the 3"),
        ({"abc": 2}, {"special_tokens": ["<s>", "<s>"]}, "more than once"),
    ],
)
def test_unusual_input_gives_one_warning(words, options, message):
    with pytest.warns(UserWarning, match=message) as warned:
        learnt(words, **options)
    assert len(warned) == 1 and warned[0].filename == __file__


def test_the_order_of_words_changes_nothing():
    words = random_words(random.Random(1), "abc#", 50, 12)
    options = {"limit_alphabet": 3, "continuing_subword_prefix": "#", "vocab_size": 100}
    answers = {str(learnt(dict(order), **options)) for order in ([*words.items()], sorted(words.items()))}
    assert len(answers) == 1


def test_counts_times_a_million():
    """64 bits all the way: tokenizers' pair counts wrap at 2**31."""
    words = random_words(random.Random(2), "abcd", 100, 12)
    large = {word: 1_000_000 * n for word, n in words.items()}
    for n in (1, 2, 3):
        options = {"vocab_size": 300}
        assert learnt(words, min_frequency=n, **options) == learnt(large, min_frequency=1_000_000 * n, **options)


@pytest.mark.parametrize("factor", [2**28, 2**31, 2**32 - 1, 2**40, 2**52])
def test_counts_up_to_63_bits(factor):
    """The merges are those of small counts, and carry the large ones: none is lost above 2**31, 2**32 or 2**53."""
    words = random_words(random.Random(5), "abcd", 60, 9)
    weight = sum(len(word) * count for word, count in words.items())
    assert weight * 2**52 < 2**63
    large = {word: count * factor for word, count in words.items()}
    assert learnt(large, vocab_size=200) == learnt(words, vocab_size=200)
    small, found = (bpe.train_bpe(*stage_input(some), BpeLimits(200)) for some in (words, large))
    assert (found.count == small.count * factor).all() and found.count.max() > 2**31
    with pytest.raises(ValueError, match="that can be counted; divide all counts"):
        learnt(dict.fromkeys(words, 2**60), vocab_size=200)


def test_progress_and_interruption():
    words = random_words(random.Random(3), "abcd", 200, 20)
    calls = []
    BpeTrainer(vocab_size=100).train(WordCounts.from_dict(words), progress=lambda *call: calls.append(call))
    assert calls[-1] == ("merge", 96, 96)

    def stop(*call):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        BpeTrainer(vocab_size=100).train(WordCounts.from_dict(words), progress=stop)


# ---- kernels against the plain versions


@STAGES
@pytest.mark.parametrize("pattern", ["a", "ab", "aab", "abb", "aaab", "abac", "aabb"])
def test_runs_of_every_length(train_bpe, pattern):
    for n in range(1, 40):
        words = {(pattern * n)[:n]: 1, "x" + (pattern * n)[:n] + "ab": 2}
        arguments = *stage_input(words), BpeLimits(100)
        assert_equal(train_bpe(*arguments), reference.train_bpe(*arguments))


@STAGES
@pytest.mark.parametrize("seed", range(40))
def test_random_words(train_bpe, seed):
    r = random.Random(seed)
    words = random_words(r, r.choice(["ab", "abcde", "aé日\U0001f600"]), r.randint(1, 60), r.choice([2, 8, 40]))
    limits = BpeLimits(r.choice([5, 30, 1000]), r.choice([0, 2, 4]), r.choice([2**62, 2, 4, 7]))
    arguments = *stage_input(words), limits
    assert_equal(train_bpe(*arguments), reference.train_bpe(*arguments))


@pytest.mark.parametrize("seed", range(40))
def test_the_rule_for_ties_of_sentencepiece(seed):
    """Of equally frequent pairs, that of fewer characters comes first, then the smaller string."""
    r = random.Random(seed)
    alphabet = r.choice(["ab", "abcde", "edcba", "zaé日\U0001f600"])
    words = random_words(r, alphabet, r.randint(1, 60), r.choice([4, 8, 40]))
    words = {word: r.choice([1, 1, 2]) for word in words}
    arguments = *stage_input(words), BpeLimits(r.choice([30, 1000]), 0, r.choice([2**62, 4, 7]))
    limits = arguments[-1]._replace(shorter_first=True)
    expected = reference.train_bpe(*arguments[:-1], limits)
    assert_equal(bpe.train_bpe(*arguments[:-1], limits), expected)
    assert_equal(bpe.train_bpe(*arguments[:-1], limits, sizes=bpe.TrainSizes(slice=1, room=1)), expected)
    assert_equal(reference.train_bpe_in_batches(*arguments[:-1], limits), expected)


def test_a_worked_example_of_that_rule():
    """After `ab`, `cab` is as frequent as `xb`: it has the smaller ids, but is longer."""
    *words, tokens, offsets = stage_input({"xb": 2, "cab": 2})
    for shorter_first, wanted in ((False, ["ab", "cab", "xb"]), (True, ["ab", "xb", "cab"])):
        found = bpe.train_bpe(*words, tokens, offsets, BpeLimits(7, shorter_first=shorter_first))
        names = bytes(found.tokens).decode()
        ends = found.token_offsets.tolist()
        assert [names[ends[i] : ends[i + 1]] for i in found.merged.tolist()] == wanted


@pytest.mark.parametrize("n_unused", [0, 65_000, 65_530, 66_000])
def test_symbols_of_two_and_of_four_bytes(n_unused):
    words = random_words(random.Random(4), "abcdefgh", 100, 10)
    arguments = *stage_input(words, n_unused), BpeLimits(n_unused + 100)
    assert_equal(bpe.train_bpe(*arguments), reference.train_bpe(*arguments))


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("few_tokens", [0, 1500])
def test_the_threshold_falls(monkeypatch, few_tokens, parts):
    """One very frequent word puts the first threshold above every other pair, so that they are indexed again."""
    thresholds = []
    index_slots = bpe.index_slots
    monkeypatch.setattr(bpe, "index_slots", lambda *args: thresholds.append(args[2]) or index_slots(*args))
    words = random_words(random.Random(5), "abcdef", 300, 15) | {"xy": 10**9, "xyz": 10**6}
    arguments = *stage_input(words), BpeLimits(300)
    sizes = bpe.TrainSizes(few_tokens=few_tokens, parts=parts)
    assert_equal(bpe.train_bpe(*arguments, sizes=sizes), reference.train_bpe(*arguments))
    assert thresholds[0] > 10**4 and thresholds[-1] == 1 and len(thresholds) > 3


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("slice_length", [1, 1000])
def test_all_arrays_grow(slice_length, parts):
    """With the smallest arrays, and a stop after every merge."""
    words = random_words(random.Random(6), "abcdef", 300, 15)
    arguments = *stage_input(words), BpeLimits(600)
    expected = reference.train_bpe(*arguments)
    sizes = bpe.TrainSizes(slice=slice_length, room=1, born=1, parts=parts)
    assert_equal(bpe.train_bpe(*arguments, sizes=sizes), expected)
    assert_equal(bpe_queue.train_bpe_queued(*arguments, slice_length=slice_length), expected)


@pytest.mark.parametrize("seed", range(10))
def test_weights_of_every_size(seed):
    """Words of weight 1, of 2 to 255, and above, stand apart."""
    r = random.Random(seed)
    words = random_words(r, "abcde", 60, 12)
    words = {word: r.choice([1, 2, 254, 255, 256, 257, 2**40]) for word in words}
    arguments = *stage_input(words), BpeLimits(200)
    assert_equal(bpe.train_bpe(*arguments), reference.train_bpe(*arguments))


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("few_tokens", [0, 1500])
def test_lists_move_together_when_their_memory_is_full(monkeypatch, few_tokens, parts):
    trainings = []
    merges = bpe.Training.merges
    monkeypatch.setattr(bpe.Training, "merges", lambda self: trainings.append(self) or merges(self))
    words = random_words(random.Random(8), "abcdef", 400, 15)
    arguments = *stage_input(words), BpeLimits(600)
    sizes = bpe.TrainSizes(large_pool=0, spare=1 << 40, few_tokens=few_tokens, parts=parts)
    assert_equal(bpe.train_bpe(*arguments, sizes=sizes), reference.train_bpe(*arguments))
    assert all(part["at"][MOVED] > 10 for part in trainings[0]._parts)


# ---- in batches, on several threads


def tied_input(seed: int) -> tuple[tuple, bpe.TrainSizes]:
    """A corpus full of ties, its limits, and sizes that let batches, arrays and turns end everywhere."""
    r = random.Random(seed)
    words = random_words(r, "abcde"[: r.randint(1, 5)], r.randint(1, 80), r.choice([4, 9, 30]))
    words = {word: n * r.choice([1, 1, 300]) for word, n in words.items()}
    *arguments, tokens, offsets = stage_input(words)
    spelled = ["ab", "cab"] * (seed % 4 == 0)  # special tokens that merges spell
    tokens = np.append(tokens, np.frombuffer("".join(spelled).encode(), np.uint8))
    offsets = np.append(offsets, offsets[-1] + np.cumsum([*map(len, spelled)], dtype=np.int64))
    limits = BpeLimits(len(offsets) + r.randint(0, 60), r.randint(0, 2), r.choice([2**62, 2**62, 5, 4, 3, 0]))
    if seed % 7 == 0:
        limits = limits._replace(veto=Veto(max_characters=r.choice([3, 5])))
    elif seed % 7 == 1 and not spelled:
        limits = limits._replace(shorter_first=True)
    elif seed % 7 == 2:
        limits = limits._replace(prefix=b"a")
    sizes = bpe.TrainSizes(
        slice=r.choice([1, 300, 4_000_000]),
        room=r.choice([1, 50, 1 << 16]),
        large_pool=r.choice([0, 1 << 24]),
        spare=r.choice([4, 1 << 40]),
        few_tokens=r.choice([0, 1500]),
        part=1,
        batch=r.choice([1, 2, 5, 256]),
        born=r.choice([1, 4096]),
    )
    return (*arguments, tokens, offsets, limits), sizes


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(60))
def test_any_number_of_parts_and_threads_gives_the_same_merges(seed):
    arguments, sizes = tied_input(seed)
    expected = reference.train_bpe(*arguments)
    if not arguments[-1].prefix:
        assert_equal(reference.train_bpe_in_batches(*arguments, most=sizes.batch), expected)
    for parts, threads in ((1, 1), (2, 1), (2, 2), (3, 2), (5, 3)):
        found = bpe.train_bpe(*arguments, sizes=sizes._replace(parts=parts), threads=threads)
        assert_equal(found, expected)


def test_batches_of_the_kernel_are_many_merges(monkeypatch):
    """Else the comparison above would say nothing. The batches are as long as they may be, as in the plain version."""
    batches = []
    merge = bpe.merge_in_batches

    def merging(state, work, most):
        outcome = merge(state, 1, most)
        batches.append(int(state.at[MERGES]))
        return outcome

    monkeypatch.setattr(bpe, "merge_in_batches", merging)
    r = random.Random(1)
    words = {"".join(r.choices("abcdefghijklmnopqrstuvwxyz", k=5)): r.randint(1, 3) for _ in range(500)}
    arguments, sizes = (*stage_input(words), BpeLimits(200)), []
    expected = reference.train_bpe_in_batches(*arguments, sizes)
    assert_equal(bpe.train_bpe(*arguments, sizes=bpe.TrainSizes(parts=2, part=1), threads=2), expected)
    ends = np.cumsum(sizes).tolist()
    assert sorted({*batches}) == ends and max(sizes) >= 5


def test_a_small_corpus_has_one_thread():
    words = stage_input(random_words(random.Random(3), "abcd", 300, 12))
    n_symbols = len(words[0])
    for threads, part, expected in ((4, 500_000, 1), (4, n_symbols // 3, 3), (2, 1, 2), (1, 1, 1)):
        training = bpe.Training(lambda **_: [words[:3]], *words[3:], BpeLimits(50), bpe.TrainSizes(part=part), threads)
        assert (training.n_parts, training._threads) == (expected, expected)


def test_an_error_between_turns_ends_the_other_threads():
    """So does Ctrl-C; nothing hangs, and training can go on with the same words."""
    arguments, sizes = tied_input(3)
    sizes = sizes._replace(slice=1, parts=3, part=1)
    calls = []

    def stop(*call):
        calls.append(call)
        if len(calls) == 2:
            raise KeyboardInterrupt

    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        bpe.train_bpe(*arguments, stop, sizes, threads=3)
    assert threading.active_count() == before
    assert_equal(bpe.train_bpe(*arguments, None, sizes, threads=3), reference.train_bpe(*arguments))


def test_an_error_of_a_thread_ends_the_training(monkeypatch):
    """The thread has claimed a part, and the first thread waits for it: it must not wait for ever."""

    def claiming(state, number, seen):
        if state.shared[STEP] == 0:
            return 0
        assert state.shared[CLAIMS + LINE * number] == state.shared[STEP] - 1
        state.shared[CLAIMS + LINE * number] = state.shared[STEP]
        raise IndexError("an access outside of its memory")

    merge = bpe.merge_in_batches

    def opening(state, work, most):
        """The first step is open, and no thread works on it yet."""
        if state.shared[STEP] == 0:
            state.shared[CLAIMS] = state.shared[STEP] = 1
            state.at[PHASE] = APPLYING
            while state.shared[CLAIMS + LINE] == 0:  # else the first thread takes the other part over
                time.sleep(0.001)
            return WAITING
        return merge(state, work, most)

    monkeypatch.setattr(bpe, "assist", claiming)
    monkeypatch.setattr(bpe, "merge_in_batches", opening)
    arguments, sizes = tied_input(3)
    with pytest.raises(IndexError, match="outside of its memory"):
        bpe.train_bpe(*arguments, sizes=sizes._replace(parts=2), threads=2)


@pytest.mark.full
@pytest.mark.parametrize("vocab_size", [8_000, 32_000])
@pytest.mark.parametrize("corpus", ["en", "code", "multi", "zh"])
def test_whole_corpora_give_the_same_merges_on_any_number_of_threads(corpus_sample, corpus, vocab_size):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    counts = tokenizer.count_words(iter(corpus_sample(corpus, -1).splitlines(keepends=True)), progress=False)
    trainer = BpeTrainer(vocab_size=vocab_size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    alone, *others = (trainer.train(counts, threads=threads) for threads in (1, 2, 5))
    for found in others:
        assert np.array_equal(found.merges, alone.merges)
        assert found.vocabulary.tokens == alone.vocabulary.tokens


@pytest.mark.parametrize("options", [{}, {"continuing_subword_prefix": "ab", "limit_alphabet": 3}])
def test_words_are_spelled_some_at_a_time(monkeypatch, options):
    words = WordCounts.from_dict(random_words(random.Random(9), "abcdef", 300, 15), byte_level=not options)
    trainer = BpeTrainer(vocab_size=400, **options)
    whole = trainer.train(words)
    monkeypatch.setattr("gputok.models.bpe.trainer._WORDS_AT_ONCE", 7)
    some = trainer.train(words)
    assert np.array_equal(some.merges, whole.merges)
    assert np.array_equal(some.vocabulary.data, whole.vocabulary.data)


@pytest.mark.parametrize("byte_level", [False, True])
@pytest.mark.parametrize("n_roles", [1, 4])
@pytest.mark.parametrize("highest", ["", "é\x80߿", "日ࠀ\uffff", "日\U0001f600\U00010000", "\U0003ffff", "\U0010ffff"])
def test_characters_and_spelling(byte_level, n_roles, highest):
    r = random.Random(7)
    words = [*random_words(r, "ab \x00\x7f" + highest, 200, 6), ""]
    counts = WordCounts.from_dict({word: r.randint(1, 5) for word in words}, byte_level=byte_level)
    options = {"byte_level": byte_level, "n_roles": n_roles}
    expected = reference.count_characters(counts.data, counts.offsets, counts.counts, **options)
    totals = alphabet.count_characters(counts.data, counts.offsets, counts.counts, **options)
    assert np.array_equal(totals, expected[: len(totals)]) and not expected[len(totals) :].any()

    for drop in (0, 3):
        ids = np.where(expected > drop, np.arange(expected.size).reshape(expected.shape), -1).astype(np.int32)
        ids[:, 0] = np.where(expected.any(axis=1), ids[:, 0], 0)
        arguments = counts.data, counts.offsets
        spelt = alphabet.spell_words(*arguments, ids[: len(totals)], byte_level=byte_level, dtype=np.uint32)
        plain = reference.spell_words(*arguments, ids, byte_level=byte_level, dtype=np.uint32)
        assert all(map(np.array_equal, spelt, plain))


@pytest.mark.parametrize("inherited", [3, -1])
def test_words_cut_between_scripts(inherited):
    r = random.Random(8)
    letters = "aбé日\U0001f600\x00\x7f\u0301\u0302\U0010ffff7"
    words = WordCounts.from_dict({w: r.randint(1, 5) for w in random_words(r, letters, 400, 8)} | {"": 2})
    scripts, ids = np.full(0x110000, 255, np.uint8), np.full(0x110000, -1, np.int32)
    for i, letter in enumerate(letters):
        scripts[ord(letter)] = r.choice([0, 1, 255])
        ids[ord(letter)] = r.choice([-1, i, i, i])
    scripts[[0x301, 0x302]] = 3
    options = {"any_script": 255, "inherited": inherited, "dtype": np.uint16}
    arguments = words.data, words.offsets, words.counts, ids, scripts
    found = alphabet.spell_cut_words(*arguments, **options)
    expected = reference.spell_cut_words(*arguments, **options)
    assert all(map(np.array_equal, found, expected))
    assert len(found[2]) > 100 and (len(found[3]) > 5) == (inherited > 0)


# ---- options


OPTIONS = {
    "vocab_size": 10,
    "min_frequency": 2,
    "show_progress": False,
    "progress_format": "json",
    "special_tokens": ["<s>"],
    "limit_alphabet": 3,
    "initial_alphabet": ["b", "a"],
    "continuing_subword_prefix": "##",
    "end_of_word_suffix": "</w>",
    "max_token_length": 4,
}


@pytest.mark.parametrize("names", [(), *itertools.combinations(OPTIONS, 1), tuple(OPTIONS)], ids="-".join)
def test_options_are_attributes_and_shown_as_tokenizers_does(names):
    options = {name: OPTIONS[name] for name in names if name != "initial_alphabet"}  # a hash set there
    ours, theirs = BpeTrainer(**options), tokenizers.trainers.BpeTrainer(**options)
    assert repr(ours) == repr(theirs)
    assert pickle.dumps(ours) and ours.__getstate__() == theirs.__getstate__()
    for name in OPTIONS:
        values = getattr(ours, name), getattr(theirs, name)
        assert str(values[0]) == str(values[1])
    by_setting = BpeTrainer()
    for name in names:
        setattr(by_setting, name, OPTIONS[name])
    assert repr(by_setting) == repr(BpeTrainer(**{name: OPTIONS[name] for name in names}))


def test_pickle_and_copy():
    trainer = BpeTrainer(**OPTIONS | {"special_tokens": [AddedToken("<m>", lstrip=True), "<s>"]})
    for twin in (pickle.loads(pickle.dumps(trainer)), copy.deepcopy(trainer)):
        assert repr(twin) == repr(trainer)
        assert twin.special_tokens[0].lstrip and twin.special_tokens[0].special


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("vocab_size", -1),
        ("vocab_size", "a"),
        ("vocab_size", 2.0),
        ("min_frequency", None),
        ("show_progress", 1),
        ("progress_format", None),
        ("special_tokens", ("a",)),
        ("special_tokens", [1]),
        ("limit_alphabet", -1),
        ("initial_alphabet", "abc"),
        ("continuing_subword_prefix", 1),
        ("max_token_length", -3),
    ],
)
def test_wrong_values_are_refused_where_tokenizers_refuses_them(name, value):
    errors = (TypeError, OverflowError)
    with pytest.raises(errors):
        tokenizers.trainers.BpeTrainer(**{name: value})
    with pytest.raises(errors, match=name):
        BpeTrainer(**{name: value})
    with pytest.raises(errors, match=name):
        setattr(BpeTrainer(), name, value)


def test_unknown_options():
    with pytest.raises(TypeError):
        BpeTrainer(vocabulary_size=3)
    with pytest.raises(AttributeError):
        BpeTrainer().vocabulary_size = 3
    assert isinstance(BpeTrainer(), trainers.Trainer)
