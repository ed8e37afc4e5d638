"""The CUDA stages in special situations: arrays that grow, batches that don't fit into memory, two devices.

test_kernels.py tests their results."""

import itertools

import numpy as np
import pytest
from gputok.kernels import BpeLimits
from gputok.kernels.cpu.train_bpe.train import train_bpe as train_on_cpu
from gputok.kernels.cuda import count_words as words
from gputok.kernels.cuda import encode_text, split
from gputok.kernels.cuda import train_bpe as bpe

import gputok
from gputok import backend, models, normalizers
from gputok.automaton import compile_pattern
from gputok.automaton.patterns import PATTERNS
from gputok.pipeline import encode_corpus as bulk
from gputok.pipeline.count_words import count_words as count_on_cpu
from gputok.pre_tokenizers import SplitPlan
from gputok.recipes import recipe
from gputok.text.byte_alphabet import BYTE_CHARACTERS
from gputok.text.pieces import TextBatch
from tests.emulation.devices import device_of
from tests.emulation.emulator import emulated_device
from tests.emulation.sanitized import agree, results, sanitized
from tests.test_kernels import byte_model, in_python, inputs_of_all_stages, random_documents

GPT2 = compile_pattern(PATTERNS["gpt2"])


def test_the_table_grows_without_loss(monkeypatch):
    """From a table of 64 slots, whose words the first launches have no room for."""
    monkeypatch.setattr(words, "_LEAST_CAPACITY", 64)
    numbers = [f" {i * 7919 % 1000}" for i in range(3000)]
    batches = [TextBatch.from_strings(numbers[:1000]), TextBatch.from_strings(numbers[1000:])]
    expected = count_on_cpu(batches, SplitPlan(GPT2, False), threads=1)
    for seed in range(4):
        numbered = [(*b, i << 32) for i, b in enumerate(batches)]
        data, _, counts, _ = words.count_batches(device_of("emulated", seed), numbered, GPT2)
        assert (data == expected.data).all() and (counts == expected.counts).all()


@pytest.fixture
def scarce(monkeypatch) -> list[int]:
    """Memory for a thousand bytes of text; the sizes of the batches that were tried."""
    sizes, whole = [], split.find_words

    def find_words(device, text, offsets, tables):
        sizes.append(len(text))
        if len(text) > 1000:
            raise MemoryError
        return whole(device, text, offsets, tables)

    monkeypatch.setattr(split, "find_words", find_words)
    return sizes


@pytest.mark.parametrize("alone", [False, True], ids=["documents", "document"])
def test_a_batch_that_does_not_fit_is_counted_in_halves(alone, scarce):
    batch = random_documents(np.random.default_rng(0), 200)
    if alone:
        batch = TextBatch.from_strings(["".join(batch.strings())])
    data, _, counts, first = words.count_batches(device_of("emulated", 0), [(*batch, 7)], GPT2)
    expected = count_on_cpu([batch], SplitPlan(GPT2, False), threads=1)
    assert first[0] == 7 and (np.diff(first) > 0).all()
    assert max(scarce) > 1000 and (data == expected.data).all() and (counts == expected.counts).all()


def test_memory_for_one_batch_at_a_time():
    """The next batch is copied when this one is counted, not before."""
    device, asked = device_of("emulated", 1), []

    def upload(arrays):
        asked.append(1)
        if len(asked) % 2 == 0:
            raise MemoryError
        return device.upload(arrays)

    batches = [random_documents(np.random.default_rng(seed), 20) for seed in range(4)]
    numbered = [(*batch, i << 32) for i, batch in enumerate(batches)]
    data, _, counts, _ = words.count_batches(device._replace(upload=upload), numbered, GPT2)
    expected = count_on_cpu(batches, SplitPlan(GPT2, False), threads=1)
    assert len(asked) == 7 and (data == expected.data).all() and (counts == expected.counts).all()


def test_a_document_that_cannot_be_cut_must_fit_into_memory(scarce):
    batch = TextBatch.from_strings(["a" * 1001])
    with pytest.raises(MemoryError):
        words.count_batches(device_of("emulated", 0), [(*batch, 0)], GPT2)
    assert scarce == [1001]


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


@pytest.mark.parametrize("sanitizer", ["address", "thread"])
def test_kernels_under_sanitizers(sanitizer, tmp_path):
    """No read or write beside an array, nothing undefined, and no two threads at one place without order."""
    given = inputs_of_all_stages()
    agree(sanitized(sanitizer, given, tmp_path), results(in_python(), given))


@pytest.fixture
def on_devices(monkeypatch):
    """Makes everything run on these devices."""
    return lambda *devices: monkeypatch.setattr(
        backend, "choose", lambda *_: backend.Backend("cuda", "a test", devices)
    )


def test_the_whole_path_on_two_devices_is_the_cpus(on_devices, monkeypatch):
    """Counting on two devices in turn, merging on one, encoding on both: the same counts, tokenizer.json and ids."""
    monkeypatch.setattr(bpe, "_MERGES_PER_LOOK", 16)
    monkeypatch.setattr(backend, "CUDA_BATCH_BYTES", 1000)
    documents = [*random_documents(np.random.default_rng(5), 150).strings(), "<|endoftext|>the"]

    def run(*devices):
        on_devices(*devices)
        tokenizer, trainer = recipe("bpe", vocab_size=290)
        tokenizer.train_from_iterator(iter(documents), trainer, progress=False)
        counts = tokenizer.count_words(iter(documents), progress=False)
        batches = [*tokenizer.encode_corpus(iter(documents), progress=False)]
        assert not devices or len(batches) > 3
        ids, lengths = (
            np.concatenate(part) for part in zip(*((b.ids, np.diff(b.rows)) for b in batches), strict=True)
        )
        return [counts.data, counts.counts, ids, lengths], tokenizer.to_str()

    (ours, ours_json), (theirs, theirs_json) = run(emulated_device(1), emulated_device(2)), run()
    assert ours_json == theirs_json and ours[2].dtype == theirs[2].dtype
    assert all(map(np.array_equal, ours, theirs)) and len(ours[1]) > 15


def ids_of(tokenizer, documents) -> list[list[int]]:
    batches = tokenizer.encode_corpus(iter(documents), progress=False)
    return [ids[a:b].tolist() for ids, rows in batches for a, b in itertools.pairwise(rows.tolist())]


def byte_level(model: models.BPE) -> gputok.Tokenizer:
    tokenizer, _ = recipe("bpe")
    tokenizer.model = model
    return tokenizer


@pytest.mark.parametrize(
    "model",
    [
        byte_model([("a", "b")], dropout=1.0),
        models.BPE(
            {c + end: i for i, (end, c) in enumerate(itertools.product(("", "~"), BYTE_CHARACTERS))},
            [],
            end_of_word_suffix="~",
        ),
        models.BPE({"a": 0, "b": 1}, []),
        models.WordLevel({"ab": 0, " ab": 1, "<unk>": 2}, unk_token="<unk>"),
    ],
    ids=["dropout", "suffix", "alphabet", "model"],
)
def test_unsupported_tokenizers_run_on_the_cpu(model, on_devices, monkeypatch):
    tokenizer, documents = byte_level(model), ["ab abc", "", "abab"]
    expected = ids_of(tokenizer, documents)
    on_devices(emulated_device(1))
    monkeypatch.setattr(encode_text, "encode_text", None)
    assert ids_of(tokenizer, documents) == expected


def test_normalized_text_and_added_tokens(on_devices):
    tokenizer = byte_level(byte_model([("a", "b"), ("ab", "c")]))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.add_special_tokens(["<s>"])
    documents = ["ABC<s><s> abc", "<s>", "", "ab <s>"]
    expected = ids_of(tokenizer, documents)
    on_devices(emulated_device(3))
    assert ids_of(tokenizer, documents) == expected


@pytest.mark.parametrize("limit", [1000, 0], ids=["halves", "cpu"])
def test_text_that_does_not_fit_is_encoded_in_halves_or_on_the_cpu(limit, monkeypatch):
    tokenizer = byte_level(byte_model([("t", "h"), ("th", "e")]))
    batch = random_documents(np.random.default_rng(0), 100)
    expected = flat(bulk.encode(tokenizer.pipeline, [batch]))
    sizes, whole = [], encode_text.encode_on_device

    def scarce(device, text, *arguments):
        sizes.append(len(text))
        if len(text) > limit:
            raise MemoryError
        return whole(device, text, *arguments)

    monkeypatch.setattr(encode_text, "encode_on_device", scarce)
    found = flat(bulk.encode(tokenizer.pipeline, [batch], devices=[device_of("emulated")]))
    assert max(sizes) > 1000 and all(map(np.array_equal, found, expected))
    assert min(sizes) < 1000  # whether that was of any use or not


def flat(batches) -> tuple[np.ndarray, np.ndarray]:
    batches = [*batches]
    return np.concatenate([b.ids for b in batches]), np.concatenate([np.diff(b.rows) for b in batches])
