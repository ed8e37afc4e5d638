"""The CUDA stages on real text: some MB by the emulator, under one schedule; with `pytest -m gpu` all, on the device.

On the device also: whole corpora at 32,000 merges, small runs that NVIDIA's compute-sanitizer watches, and a gigabyte.
"""

import os
import pathlib
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest
from gputok.kernels import BpeLimits
from gputok.kernels.cpu.train_bpe import train_bpe as train_on_cpu
from gputok.kernels.cuda import train_bpe as bpe

import gputok
from gputok.automaton import compile_pattern
from gputok.automaton.patterns import PATTERNS
from gputok.pipeline.count.words import count_words as count_on_cpu
from gputok.pipeline.encode import corpus as bulk
from gputok.pipeline.encode.devices import ByDevice
from gputok.recipes import recipe
from gputok.text.pieces import TextBatch
from gputok.text.way import Way
from tests.emulation.devices import KINDS, cuda_device, device_of
from tests.emulation.emulator import emulated_device
from tests.emulation.sanitized import agree, results
from tests.emulation.stages import in_cuda
from tests.kernels.test_kernels import in_python, inputs_of_all_stages, on_cpu

PATTERN_OF = {"en": "gpt2", "code": "cl100k", "multi": "o200k", "zh": "llama3"}
CORPORA = tuple(PATTERN_OF)
WHOLE = -1  # bytes of each corpus for a device ...
VOCAB_SIZE = 32_000  # ... and tokens that it learns
GIGABYTE = 1_000_000_000
each_corpus = pytest.mark.parametrize("name", CORPORA)
on_each = pytest.mark.parametrize("kind", [*KINDS, pytest.param("emulated, more", marks=pytest.mark.full)])


@pytest.fixture
def device(kind):
    return device_of(kind.split(",")[0], 1)


@pytest.fixture
def text(kind, name, device, corpus_sample) -> str:
    """Verse has the longest words, which are slow in the emulator, so its sample is smaller by default."""
    n_bytes = {"emulated": 100_000 if name == "zh" else 2_000_000, "emulated, more": 4_000_000, "cuda": WHOLE}[kind]
    return corpus_sample(name, n_bytes)


def in_lines(text: str) -> TextBatch:
    return TextBatch.from_strings(text.splitlines(keepends=True))


@on_each
@each_corpus
def test_words_of_a_corpus(name, text, device):
    batch, automaton = in_lines(text), compile_pattern(PATTERNS[PATTERN_OF[name]])
    stages = in_cuda(device)
    assert stages.split_words(batch, automaton) == on_cpu().split_words(batch, automaton)
    assert stages.count_words(batch, automaton) == on_cpu().count_words(batch, automaton)


@pytest.mark.slow
@on_each
@each_corpus
@pytest.mark.parametrize("ignore_merges", [False, True])
def test_ids_of_a_corpus(name, ignore_merges, text, device):
    tokenizer, trainer = recipe("bpe", vocab_size=8000, pattern=PATTERN_OF[name])
    tokenizer.train_from_iterator([text[: len(text) // 2]], trainer, device="cpu", progress=False)
    tokenizer.model.ignore_merges = ignore_merges
    batch, automaton = in_lines(text), tokenizer.pre_tokenizer.way(Way()).automaton
    arguments = batch, np.full(batch.n_documents, -1, np.int64), automaton, tokenizer.model.byte_tables
    ours, theirs = in_cuda(device).encode_corpus(*arguments), on_cpu().encode_corpus(*arguments)
    assert all(map(np.array_equal, ours, theirs))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["llama3", "qwen3", "claude"])
def test_ids_of_a_real_tokenizer(name, device, shared_tokenizer, corpus_sample):
    """With their normalizers and added tokens; the merges of Llama 3 are in no order that was learnt."""
    tokenizer = gputok.Tokenizer.from_file(str(shared_tokenizer(name)))
    special = next(token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special)
    text = "".join(corpus_sample(corpus, 30_000) for corpus in CORPORA)
    documents = [*text.splitlines(keepends=True), f"{special}one{special}", "", "a" * 500, text[:3000] * 2]
    assert not ByDevice.why_not(tokenizer.pipeline)
    ours, theirs = (
        [*bulk.encode_corpus(tokenizer.pipeline, [TextBatch.from_strings(documents)], devices=devices)]
        for devices in ([device], [])
    )
    assert np.array_equal(*(np.concatenate([batch.ids for batch in batches]) for batches in (ours, theirs)))
    assert np.array_equal(*(np.concatenate([np.diff(b.rows) for b in batches]) for batches in (ours, theirs)))


@pytest.mark.slow
@on_each
@each_corpus
def test_merges_of_a_corpus(kind, name, text, device):
    # The emulator looks at every tile of the table.
    device = device._replace(sizes=device.sizes._replace(pair_slots=1 << 12))
    part = text if kind == "cuda" else text[: len(text) // 4]
    automaton = compile_pattern(PATTERNS[PATTERN_OF[name]])
    words = count_on_cpu([in_lines(part)], Way(automaton=automaton), threads=1)
    tokens = np.arange(256, dtype=np.uint8), np.arange(257)
    corpus = words.data.astype(np.uint16), words.offsets, words.counts, *tokens, BpeLimits(256 + 300)
    ours, theirs = bpe.train_bpe(device, *corpus), train_on_cpu(*corpus)
    assert len(ours.left) == 300 and all(map(np.array_equal, ours, theirs))


@pytest.mark.slow
def test_a_round_reads_few_candidates(corpus_sample, monkeypatch):
    """Some 4,096 candidates, three times: to keep them, for a byte that parts the first from others, and to take these.

    Without the room that makes the threshold rise, a pass reads three times as many, and more the longer it goes on.
    """
    trainings, rounds = [], bpe._rounds
    monkeypatch.setattr(bpe, "_rounds", lambda *a: trainings.append(a[1]) or rounds(*a))
    automaton = compile_pattern(PATTERNS["gpt2"])
    words = count_on_cpu([in_lines(corpus_sample("en", 2_000_000))], Way(automaton=automaton), threads=1)
    tokens = np.arange(256, dtype=np.uint8), np.arange(257)
    corpus = words.data.astype(np.uint16), words.offsets, words.counts, *tokens, BpeLimits(256 + 6000)
    found = bpe.train_bpe(emulated_device(0, 1, 1), *corpus)
    state = trainings[-1].state
    n_rounds, n_passes, n_read = (int(state[i]) for i in (bpe._N_ROUNDS, bpe._N_PASSES, bpe._N_READ))
    assert len(found.left) == 6000 and n_rounds < 450
    assert n_passes <= 3.5 * n_rounds and n_read <= 4096 * n_passes


# -- on a device


@pytest.fixture
def corpus_file(corpus_sample, tmp_path):
    def file(name: str) -> pathlib.Path:
        path = tmp_path / f"{name}.txt"
        path.write_text(corpus_sample(name, WHOLE), newline="\n")
        return path

    return file


@pytest.mark.gpu
@each_corpus
def test_a_whole_corpus_is_learnt_and_encoded(name, corpus_file):
    """The same tokenizer.json as the CPU's, and the same ids."""
    cuda_device()
    path = corpus_file(name)

    def run(device: str) -> tuple[str, np.ndarray, np.ndarray]:
        tokenizer, trainer = recipe("bpe", vocab_size=VOCAB_SIZE, pattern=PATTERN_OF[name])
        tokenizer.train([str(path)], trainer, device=device, progress=False)
        batches = [*tokenizer.encode_corpus(path, device=device, progress=False)]
        ids, lengths = zip(*((batch.ids, np.diff(batch.rows)) for batch in batches), strict=True)
        return tokenizer.to_str(), np.concatenate(ids), np.concatenate(lengths)

    ours, theirs = run("cuda:0"), run("cpu")
    assert ours[0] == theirs[0]
    assert all(map(np.array_equal, ours[1:], theirs[1:]))


@pytest.mark.gpu
@pytest.mark.parametrize("tool", ["memcheck", "racecheck", "synccheck", "initcheck"])
def test_compute_sanitizer_finds_nothing(tool, tmp_path):
    cuda_device()
    if (watch := shutil.which("compute-sanitizer")) is None:
        pytest.skip("compute-sanitizer, which comes with the CUDA toolkit, is not on the path")
    given, path = inputs_of_all_stages(), tmp_path / "stages.pickle"
    path.write_bytes(pickle.dumps(given))
    program = sys.executable, "-m", "tests.emulation.sanitized", str(path)
    done = subprocess.run(
        [watch, "--tool", tool, "--error-exitcode", "9", *program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
    agree(pickle.loads(path.read_bytes()), results(in_python(), given))


@pytest.mark.gpu
def test_a_gigabyte_streams_through(corpus_sample):
    """Through less memory than it has bytes: the counts of a corpus that is read over and over, and its ids."""
    import cupy

    pool = cuda_device().launch.__self__._pool
    documents = corpus_sample("multi", WHOLE).splitlines(keepends=True)
    n_bytes = sum(len(document.encode()) for document in documents)
    times = -(-GIGABYTE // n_bytes)
    tokenizer, trainer = recipe("bpe", vocab_size=8000)
    words = tokenizer.count_words(iter(documents), device="cpu", progress=False)
    tokenizer.train_from_word_counts(words, trainer, device="cpu", progress=False)
    expected = [*tokenizer.encode_corpus(iter(documents), device="cpu", progress=False)]

    def over_and_over():
        for _ in range(times):
            yield from documents

    with cupy.cuda.Device(0):
        pool.free_all_blocks()
        pool.set_limit(size=700_000_000)
    try:
        counted = tokenizer.count_words(over_and_over(), device="cuda:0", progress=False)
        batches = tokenizer.encode_corpus(over_and_over(), device="cuda:0", progress=False)
        n_ids, sum_of_ids = 0, 0
        for batch in batches:
            n_ids, sum_of_ids = n_ids + len(batch.ids), sum_of_ids + int(batch.ids.sum(dtype=np.int64))
    finally:
        with cupy.cuda.Device(0):
            pool.set_limit(size=0)
    assert np.array_equal(counted.data, words.data) and np.array_equal(counted.counts, words.counts * times)
    assert n_ids == times * sum(len(batch.ids) for batch in expected)
    assert sum_of_ids == times * sum(int(batch.ids.sum(dtype=np.int64)) for batch in expected)
