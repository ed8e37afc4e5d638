"""Training on real text writes the same tokenizer.json as `tokenizers`, for any number of threads and any batches."""

import hashlib
import json
import os
import pathlib
import subprocess
import sys
import time
import warnings

import pytest
import tokenizers

import gputok
from gputok import Tokenizer, WordCounts
from gputok.corpus import Source
from gputok.corpus.options import ReadSizes
from gputok.demo import EXAMPLE
from gputok.pipeline.count.words import count_corpus
from gputok.pipeline.run import Run
from gputok.recipes import recipe


def train_both(path, vocab_size):
    """(ours, theirs) in the reference configuration, with the seconds that each took."""
    ours, trainer = recipe("bpe", vocab_size=vocab_size)
    start = time.perf_counter()
    ours.train([str(path)], trainer, progress=False)
    our_seconds = time.perf_counter() - start
    theirs, trainer = recipe("bpe", vocab_size=vocab_size, package="tokenizers")
    trainer.show_progress = False
    start = time.perf_counter()
    theirs.train([str(path)], trainer)
    return ours, theirs, our_seconds, time.perf_counter() - start


def check_equal(ours, theirs, tmp_path, lines):
    """The two files are equal, and tokenizers opens ours and gives the same ids."""
    assert json.loads(ours.to_str()) == json.loads(theirs.to_str())
    ours.save(str(tmp_path / "tokenizer.json"))
    opened = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    for text in [*lines, EXAMPLE]:
        assert ours.encode(text).ids == opened.encode(text).ids
        assert ours.decode(ours.encode(text).ids) == opened.decode(opened.encode(text).ids)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["en", "code", "multi", "zh"])
def test_a_sample_of_each_corpus(name, corpus_sample, tmp_path):
    text = corpus_sample(name, 300_000 if name == "zh" else 1_000_000)  # lines are words: tokenizers takes long
    (tmp_path / "text.txt").write_text(text, newline="")
    ours, theirs, *_ = train_both(tmp_path / "text.txt", 6000)
    check_equal(ours, theirs, tmp_path, text.splitlines(keepends=True)[:100])


@pytest.mark.full
@pytest.mark.parametrize("name", ["en", "code", "multi", "zh"])
def test_each_whole_corpus(name, corpus_sample, tmp_path):
    text = corpus_sample(name, -1)
    (tmp_path / "text.txt").write_text(text, newline="")
    ours, theirs, our_seconds, their_seconds = train_both(tmp_path / "text.txt", 32_000)
    print(f"{name}: {our_seconds:.2f} s, tokenizers {their_seconds:.2f} s")
    check_equal(ours, theirs, tmp_path, text.splitlines(keepends=True)[:1000])


@pytest.fixture
def lines():
    """Text of many words, as every machine has it."""
    source = "".join(
        pathlib.Path(module.__file__).read_text(encoding="utf-8") for module in (subprocess, warnings, tokenizers)
    )
    return source.splitlines(keepends=True)


def digest(tokenizer):
    return hashlib.sha256(tokenizer.to_str().encode()).hexdigest()


def test_threads_and_batches_change_nothing(lines):
    found = set()
    for threads, batch_bytes in ((1, 1 << 24), (2, 1 << 24), (8, 1000), (2, 77), (1, 1)):
        tokenizer, trainer = recipe("bpe", vocab_size=1500)
        source = Source(lines, False, sizes=ReadSizes(batch=batch_bytes))
        counts = count_corpus(tokenizer.pipeline, source, Run(threads=threads, progress=False))
        tokenizer.train_from_word_counts(counts, trainer, threads=threads, progress=False)
        found.add(digest(tokenizer))
    assert len(found) == 1


def test_the_seed_of_hashes_changes_nothing(lines, tmp_path):
    (tmp_path / "text.txt").write_text("".join(lines), newline="")
    command = [sys.executable, "-m", "gputok", "train", "text.txt", "--vocab-size", "1500", "-o"]
    for seed in ("0", "12345"):
        environment = {
            **os.environ,
            "PYTHONHASHSEED": seed,
            "PYTHONPATH": str(pathlib.Path(gputok.__file__).parents[1]),
        }
        subprocess.run([*command, f"{seed}.json"], cwd=tmp_path, env=environment, check=True, capture_output=True)
    assert len({(tmp_path / f"{seed}.json").read_bytes() for seed in ("0", "12345")}) == 1


def test_counts_of_a_corpus_a_million_times_as_large(lines):
    """Past 32 bits: the same merges where all counts and min_frequency are a million times as high."""
    results = []
    for times in (1, 10**6):
        tokenizer, trainer = recipe("bpe", vocab_size=1500, min_frequency=3 * times)
        words = tokenizer.count_words(iter(lines), progress=False)
        words = WordCounts(words.data, words.offsets, words.counts * times, words.byte_level)
        tokenizer.train_from_word_counts(words, trainer, progress=False)
        results.append(digest(tokenizer))
    assert results[0] == results[1]


@pytest.mark.parametrize(
    ("texts", "options", "said"),
    [
        (["low lower"], {"vocab_size": 300, "special_tokens": ["<s>", "<s>"]}, "more than once"),
        (["low lower"], {"vocab_size": 4}, "smaller than"),
        ([], {"vocab_size": 300, "initial_alphabet": []}, "no words"),
    ],
)
def test_what_tokenizers_accepts_is_accepted_with_one_warning(texts, options, said):
    results = []
    for package in ("gputok", "tokenizers"):
        tokenizer, trainer = recipe("bpe", package=package)
        trainer.show_progress = False
        for name, value in options.items():
            setattr(trainer, name, value)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            tokenizer.train_from_iterator(texts, trainer)
        if package == "gputok":
            assert [said in str(warning.message) for warning in caught] == [True]
        results.append(tokenizer.get_vocab())
    assert results[0] == results[1]


def test_old_and_new_special_tokens_are_cut_out_in_training():
    """A tokenizer with added tokens cuts them out of the text that it learns from."""
    results = []
    for package in ("gputok", "tokenizers"):
        tokenizer, trainer = recipe("bpe", vocab_size=280, package=package)
        tokenizer.add_special_tokens(["<|endoftext|>"])
        tokenizer.add_tokens(["keyword"])
        tokenizer.train_from_iterator(["a keyword<|endoftext|>keywords keyword of words"] * 3, trainer)
        results.append(json.loads(tokenizer.to_str()))
    assert results[0] == results[1]


@pytest.mark.full
def test_memory_does_not_grow_with_the_corpus(corpus_sample, tmp_path):
    """Five times the bytes with the same words need within 20 % the same memory."""
    path = tmp_path / "text.txt"
    path.write_text(corpus_sample("en", 20_000_000), newline="")
    peaks = {}
    for n_times in (20, 100):  # with fewer, threads read less at a time
        code = f"""
from gputok.bench.peers import peak_memory
from gputok.recipes import recipe
tokenizer, trainer = recipe("bpe")
tokenizer.train_from_iterator(["one small text to compile the kernels"] * 20, trainer, progress=False)
before = peak_memory()
tokenizer, trainer = recipe("bpe")
tokenizer.train(["{path}"] * {n_times}, trainer, progress=False)
print(peak_memory() - before)
"""
        done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
        peaks[n_times] = int(done.stdout)
    small, large = peaks[20] / 1e6, peaks[100] / 1e6
    print(f"peak beyond the runtime's: {small:.0f} MB, of five times the text {large:.0f} MB")
    assert large < 1.2 * small


def test_a_tokenizer_that_could_not_be_trained_is_as_it_was(tmp_path):
    tokenizer, trainer = recipe("bpe", vocab_size=300)
    before = tokenizer.to_str()
    (tmp_path / "bad.txt").write_bytes(b"fine\nnot \xff fine\n")
    with pytest.raises(ValueError, match=r"bad\.txt.*byte 9"):
        tokenizer.train([str(tmp_path / "bad.txt")], trainer)
    with pytest.raises(FileNotFoundError, match="absent"):
        tokenizer.train([str(tmp_path / "absent.txt")], trainer)
    assert tokenizer.to_str() == before
    with pytest.raises(ValueError, match="tokenizer"):
        Tokenizer.from_str('{"not": "a tokenizer"}')
