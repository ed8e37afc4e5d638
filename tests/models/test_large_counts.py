"""Counts near 2**63: what would not fit is an error, wherever counts are added up; nothing wraps around."""

import itertools
import random

import numpy as np
import pyarrow as pa
import pytest

from gputok import Tokenizer, WordCounts, models, trainers
from gputok.counts import partitions

HALF = 2**62
TOO_LARGE = r"add up to [\d,]+, more than the 2\*\*63 - 1 that can be counted"


def counts(**numbers):
    return WordCounts.from_dict(numbers)


SHARDS = [counts(a=HALF, b=1), counts(a=HALF - 1, c=1)]  # the sum of a is 2**63 - 1


@pytest.mark.parametrize("limit", [None, "80MB"])
def test_merging(limit):
    with pytest.raises(ValueError, match=TOO_LARGE):
        WordCounts.merge(SHARDS, memory_limit=limit)
    with pytest.raises(ValueError, match=TOO_LARGE):  # of words that differ, since their sum is shown
        WordCounts.merge([counts(a=HALF), counts(b=HALF)], memory_limit=limit)
    most = WordCounts.merge([counts(a=HALF), counts(a=HALF - 2, b=1)], memory_limit=limit)
    assert dict(most.items()) == {b"a": 2**63 - 2, b"b": 1}
    assert most == WordCounts.merge([counts(b=1), counts(a=HALF - 2), counts(a=HALF)])


def test_many_words():
    """In partitions, each of which fits alone."""
    rng = random.Random(1)
    words = [f"w{i}" for i in range(150_000)]
    shards = [WordCounts.from_dict({word: rng.randrange(1, 1 << 30) for word in words}) for _ in range(2)]
    shards += [WordCounts.from_dict({word: (1 << 63) // len(words) - 2 for word in words})]
    with pytest.raises(ValueError, match=TOO_LARGE):
        WordCounts.merge(shards)
    expected = {word: sum(found) for word, *found in zip(words, *(s.counts.tolist() for s in shards[:2]), strict=True)}
    assert dict(WordCounts.merge(shards[:2]).items()) == {word.encode(): n for word, n in expected.items()}


def test_counts_that_are_given():
    with pytest.raises(ValueError, match=rf"the dictionary: .*{TOO_LARGE}"):
        counts(a=HALF, b=HALF)
    with pytest.raises(ValueError, match=rf"the word counts: .*{TOO_LARGE}"):
        WordCounts(np.frombuffer(b"ab", np.uint8), np.arange(3), np.full(2, HALF))
    table = pa.table({"word": ["a", "b", "a"], "count": [HALF, 1, HALF]})
    for many in (table, table.to_batches(max_chunksize=1)):
        with pytest.raises(ValueError, match=TOO_LARGE):
            WordCounts.from_arrow(many)
    assert dict(counts(a=2**63 - 1).items()) == {b"a": 2**63 - 1}


def test_files(tmp_path):
    for i, shard in enumerate(SHARDS):
        shard.save(tmp_path / f"{i}.parquet")
    with pytest.raises(ValueError, match=TOO_LARGE):
        WordCounts.load(tmp_path)
    with pytest.raises(ValueError, match=TOO_LARGE):
        WordCounts.load(tmp_path, memory_limit="80MB")
    assert WordCounts.load(tmp_path / "0.parquet") == SHARDS[0]


def test_lists_of_words():
    """Those that the parts of a cluster exchange."""
    lists = [partitions.in_key_order(shard.columns()) for shard in SHARDS]
    with pytest.raises(ValueError, match=TOO_LARGE):
        partitions.merged(lists)
    assert partitions.merged(lists[:1]).counts.sum() == HALF + 1


TRAINERS = {
    "BPE": (models.BPE, lambda: trainers.BpeTrainer(vocab_size=40, show_progress=False)),
    "WordPiece": (lambda: models.WordPiece(unk_token="?"), lambda: trainers.WordPieceTrainer(vocab_size=40)),
    "Unigram": (models.Unigram, lambda: trainers.UnigramTrainer(vocab_size=20, unk_token="?", special_tokens=["?"])),
}


@pytest.mark.parametrize("name", TRAINERS)
def test_training(name):
    """A pair of `aaaa` occurs more often than the word."""
    model, trainer = TRAINERS[name]
    tokenizer = Tokenizer(model())
    before = tokenizer.to_str()
    with pytest.raises(ValueError, match=rf"training: the bytes of all occurrences of words {TOO_LARGE}"):
        tokenizer.train_from_word_counts(counts(aaaa=HALF - 1, b=1), trainer())
    assert tokenizer.to_str() == before
    assert counts(aaaa=HALF - 1, b=1).n_bytes_of_text() == 4 * (HALF - 1) + 1


def test_training_parity():
    with pytest.raises(ValueError, match=TOO_LARGE):
        trainers.ParityBpeTrainer(num_merges=5).train([counts(aaaa=HALF - 1), counts(b=1)])


def test_extending():
    tokenizer = Tokenizer(models.BPE({"a": 0, "b": 1}, []))
    with pytest.raises(ValueError, match=TOO_LARGE):
        tokenizer.extend(counts(aaaa=HALF - 1, b=1), 1)


@pytest.mark.parametrize("name", ["BPE", "WordPiece"])
def test_large_counts_give_what_small_counts_give(name):
    """Times a power of two, all comparisons of counts stay the same."""
    model, trainer = TRAINERS[name]
    for seed in range(8):
        rng = random.Random(seed)
        words = {"".join(rng.choices("abcd", k=rng.randrange(1, 9))): rng.randrange(1, 1000) for _ in range(60)}
        most = sum(len(word) * n for word, n in words.items())
        shift = 63 - most.bit_length()
        found = []
        for factor in (1, 1 << shift):
            tokenizer = Tokenizer(model())
            scaled = WordCounts.from_dict({word: n * factor for word, n in words.items()})
            tokenizer.train_from_word_counts(scaled, trainer())
            found.append(tokenizer.to_str())
        assert found[0] == found[1]
        assert scaled.n_bytes_of_text() == most << shift > HALF


def test_sums_are_exact():
    from gputok.counts.files import exact_sum

    for numbers in itertools.combinations_with_replacement((2**63 - 1, -(2**63), -1, 0, 1, 2**32, -(2**32) - 1), 4):
        assert exact_sum(np.array(numbers)) == sum(numbers)
