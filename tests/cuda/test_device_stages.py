"""The CUDA stages in special situations: arrays that grow, batches that don't fit into memory, two devices.

test_kernels.py tests their results."""

import functools
import itertools
import threading
import time
import weakref
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from gputok.kernels import BpeLimits
from gputok.kernels.cpu.train_bpe import train_bpe as train_on_cpu
from gputok.kernels.cuda import count_words as words
from gputok.kernels.cuda import device as cuda
from gputok.kernels.cuda import encode_corpus, split
from gputok.kernels.cuda import train_bpe as bpe

import gputok
from gputok import AddedToken, backend, models, normalizers, pre_tokenizers
from gputok.automaton import compile_pattern
from gputok.automaton.patterns import PATTERNS
from gputok.corpus import Source
from gputok.corpus import options as corpus
from gputok.files.temporary import MemoryLimit
from gputok.pipeline.about import device_work
from gputok.pipeline.count import devices as counting
from gputok.pipeline.count.words import around_added, count_corpus
from gputok.pipeline.count.words import count_words as count_on_cpu
from gputok.pipeline.encode import corpus as bulk
from gputok.pipeline.encode.devices import ByDevice
from gputok.pipeline.encode.units import Walked
from gputok.pipeline.run import Run
from gputok.pipeline.way import walk_of
from gputok.recipes import recipe
from gputok.text.byte_alphabet import BYTE_CHARACTERS
from gputok.text.pieces import TextBatch
from gputok.text.way import Unit, Way
from tests import reference
from tests.emulation.devices import device_of
from tests.emulation.emulator import emulated_device
from tests.emulation.sanitized import SMALL, agree, refuses_long_runs, results
from tests.emulation.stages import in_cuda
from tests.kernels.test_kernels import byte_model, in_python, inputs_of_all_stages, random_documents

GPT2 = compile_pattern(PATTERNS["gpt2"])


def numbered_at(batch: TextBatch, position: int) -> words.Batch:
    return words.Batch([batch.data], batch.offsets, position)


def numbered(batches: list[TextBatch]) -> Iterator[words.Batch]:
    """Batches with the positions of their bytes."""
    return (numbered_at(batch, i << 32) for i, batch in enumerate(batches))


def test_the_table_grows_without_loss():
    """From a table of 64 slots, whose words the first launches have no room for."""
    numbers = [f" {i * 7919 % 1000}" for i in range(3000)]
    batches = [TextBatch.from_strings(numbers[:1000]), TextBatch.from_strings(numbers[1000:])]
    expected = count_on_cpu(batches, Way(automaton=GPT2), threads=1)
    for seed in range(4):
        data, _, counts, _ = words.count_batches(device_of("emulated", seed), numbered(batches), GPT2, capacity=64)
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
    data, _, counts, first = words.count_batches(device_of("emulated", 0), iter([numbered_at(batch, 7)]), GPT2)
    expected = count_on_cpu([batch], Way(automaton=GPT2), threads=1)
    assert first[0] == 7 and (np.diff(first) > 0).all()
    assert max(scarce) > 1000 and (data == expected.data).all() and (counts == expected.counts).all()


def test_memory_for_one_batch_at_a_time():
    """The next batch is copied when this one is counted, and not by the thread that copies ahead."""
    device, ahead, this = device_of("emulated", 1), [], threading.get_ident()

    def upload(arrays):
        is_ahead = threading.get_ident() != this
        ahead.append(is_ahead)
        if is_ahead:
            raise MemoryError
        return device.upload(arrays)

    batches = [random_documents(np.random.default_rng(seed), 20) for seed in range(4)]
    data, _, counts, _ = words.count_batches(device._replace(upload=upload), numbered(batches), GPT2)
    expected = count_on_cpu(batches, Way(automaton=GPT2), threads=1)
    assert (
        sorted(ahead) == [False] * 4 + [True] * 4
        and (data == expected.data).all()
        and (counts == expected.counts).all()
    )


def test_a_document_that_cannot_be_cut_must_fit_into_memory(scarce):
    batch = TextBatch.from_strings(["a" * 1001])
    with pytest.raises(MemoryError):
        words.count_batches(device_of("emulated", 0), numbered([batch]), GPT2)
    assert scarce == [1001]


def corpus_of_ties(rng: np.random.Generator, n_words: int = 80, n_symbols: int = 60) -> tuple:
    """The arguments of train_bpe: words of equal counts and few symbols, runs of one symbol among them."""
    lengths = rng.integers(0, 9, n_words)
    offsets = np.append(0, np.cumsum(lengths))
    symbols = rng.integers(0, n_symbols, offsets[-1]).astype(np.uint16)
    symbols[offsets[n_words // 2] : offsets[n_words // 2 + 3]] = 0
    tokens = np.arange(65, 65 + n_symbols, dtype=np.uint8), np.arange(n_symbols + 1)
    return symbols, offsets, rng.integers(1, 3, n_words), *tokens, BpeLimits(n_symbols + 60)


def test_pairs_and_candidates_that_outgrow_their_room(monkeypatch):
    """From a table that the first pairs fill, few candidates, and hardly room for them; gaps are closed early."""
    sizes = cuda.DeviceSizes(rounds_per_look=1, pair_slots=256, candidates=8, candidate_room=10)
    called = Counter()

    def watch(name, function):
        monkeypatch.setattr(bpe, name, lambda *a: called.update([name]) or function(*a))

    for name in ("_enlarged", "_with_candidates", "_closed"):
        watch(name, getattr(bpe, name))
    for seed in range(3):
        corpus = corpus_of_ties(np.random.default_rng(seed), n_symbols=(60, 12, 4)[seed])
        found = bpe.train_bpe(device_of("emulated", seed, sizes), *corpus)
        assert all(map(np.array_equal, found, train_on_cpu(*corpus)))
    assert called["_enlarged"] and called["_with_candidates"] > 6 and called["_closed"]


def test_more_pairs_of_one_count_than_are_put_in_order():
    """The first of them are found byte by byte, of counts and then of ids."""
    rng = np.random.default_rng(4)
    n_symbols = 120
    symbols = rng.permutation(np.repeat(np.arange(n_symbols), 20)).astype(np.uint16)
    offsets = np.arange(0, len(symbols) + 1, 4)
    tokens = np.arange(n_symbols, dtype=np.uint8), np.arange(n_symbols + 1)
    corpus = symbols, offsets, np.ones(len(offsets) - 1, np.int64), *tokens, BpeLimits(n_symbols + 200)
    found = bpe.train_bpe(device_of("emulated", 1, cuda.DeviceSizes(rounds_per_look=2)), *corpus)
    assert len(found.left) == 200 and all(map(np.array_equal, found, train_on_cpu(*corpus)))


def test_merges_that_spell_a_special_token_are_learnt_on_the_cpu():
    symbols, offsets = np.array([0, 1, 0, 1, 2, 2, 1, 2, 0, 1], np.uint16), np.array([0, 5, 8, 10])
    names = [b"A", b"B", b"C", b"AB"]
    tokens = np.frombuffer(b"".join(names), np.uint8), np.cumsum([0, *map(len, names)])
    corpus = symbols, offsets, np.array([1, 2, 1]), *tokens, BpeLimits(40)
    with pytest.warns(UserWarning, match="merges are learnt on the CPU: a merge spells 'AB'"):
        found = bpe.train_bpe(device_of("emulated", 1), *corpus)
    assert all(map(np.array_equal, found, reference.train_bpe(*corpus)))


@pytest.mark.slow
@pytest.mark.parametrize("architecture", [75, 90, 120])
def test_kernels_without_data_races(architecture):
    """No two threads at one address without order; sm_75 lacks some instructions. A run that is too long is refused."""
    given, expected = inputs_of_all_stages(), results(in_python(), inputs_of_all_stages())
    device = emulated_device(architecture, races=True, architecture=architecture)
    agree(results(in_cuda(device._replace(sizes=SMALL)), given), expected)
    assert refuses_long_runs(device)


@pytest.fixture
def on_devices(monkeypatch):
    """Makes everything run on these devices."""
    return lambda *devices: monkeypatch.setattr(
        backend, "choose", lambda *_: backend.Backend("cuda", "a test", devices)
    )


def test_the_whole_path_on_two_devices_is_the_cpus(on_devices):
    """Counting on two devices in turn, merging on one, encoding on both: the same counts, tokenizer.json and ids."""
    documents = [*random_documents(np.random.default_rng(5), 150).strings(), "<|endoftext|>the"]

    def run(*devices):
        on_devices(*devices)
        tokenizer, trainer = recipe("bpe", vocab_size=290)
        source = Source(documents, False, sizes=corpus.ReadSizes(batch=400))
        counts = count_corpus(tokenizer.pipeline, source, Run(progress=False))
        tokenizer.train_from_word_counts(counts, trainer, progress=False)
        batches = [*bulk.encode_corpus(tokenizer.pipeline, source.read(), devices=devices)]
        assert not devices or len(batches) > 3
        ids, lengths = (np.concatenate(part) for part in zip(*((b.ids, np.diff(b.rows)) for b in batches), strict=True))
        return [counts.data, counts.counts, ids, lengths], tokenizer.to_str()

    sizes = cuda.DeviceSizes(batch=1000, rounds_per_look=3)
    devices = (emulated_device(seed)._replace(sizes=sizes) for seed in (1, 2))
    (ours, ours_json), (theirs, theirs_json) = run(*devices), run()
    assert ours_json == theirs_json and ours[2].dtype == theirs[2].dtype
    assert all(map(np.array_equal, ours, theirs)) and len(ours[1]) > 15


@pytest.mark.parametrize("n_devices", [2, 3])
def test_words_of_several_devices_are_in_the_order_of_the_corpus(n_devices, on_devices):
    documents = random_documents(np.random.default_rng(9), 200).strings()
    tokenizer, _ = recipe("bpe", vocab_size=290)
    source = Source([*documents], False, sizes=corpus.ReadSizes(batch=300))
    expected = count_corpus(tokenizer.pipeline, source, Run(device="cpu", progress=False))
    on_devices(*(emulated_device(seed)._replace(sizes=cuda.DeviceSizes(batch=400)) for seed in range(n_devices)))
    assert count_corpus(tokenizer.pipeline, source, Run(progress=False)) == expected


def counted(tokenizer, batches, devices=(), **more):
    """The words that a tokenizer counts, and how many batches the CPU was asked for on the way."""
    pipeline, asked = tokenizer.pipeline, []

    def instead(batch):
        found = around_added(pipeline, batch) if pipeline.added.tokens else None
        asked.append(found is not None)
        return found

    apart = pipeline.way.unit == Unit.PART
    words = functools.partial(pipeline.words, added=False) if apart else pipeline.words
    plan = pipeline.pre_tokenizer.way(Way()) if pipeline.way.unit == Unit.WORD and not pipeline.normalizer else words
    options = {
        "parts": walk_of(pipeline.way) if apart else None,
        "fallback_for": instead,
        "devices": devices,
        "threads": 3,
    } | more
    return count_on_cpu(iter(batches), plan, **options), sum(asked)


PIPELINES = {
    "byte-level": {"pre_tokenizer": pre_tokenizers.ByteLevel(add_prefix_space=False)},
    "bert": {"normalizer": normalizers.BertNormalizer(), "pre_tokenizer": pre_tokenizers.BertPreTokenizer()},
    "whitespace": {"pre_tokenizer": pre_tokenizers.Whitespace()},
    "metaspace": {"pre_tokenizer": pre_tokenizers.Metaspace()},
    "NFC, byte-level": {
        "normalizer": normalizers.NFC(),
        "pre_tokenizer": pre_tokenizers.Sequence(
            [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        ),
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("n_devices", [1, 2])
@pytest.mark.parametrize("name", PIPELINES)
def test_added_tokens_and_normalizers_leave_counting_to_the_device(name, n_devices):
    """Only batches that hold an added token are the CPU's, and words are in the same order."""
    tokenizer = byte_level(models.BPE())
    tokenizer.normalizer, tokenizer.pre_tokenizer = None, None
    for part, value in PIPELINES[name].items():
        setattr(tokenizer, part, value)
    tokenizer.add_special_tokens([AddedToken("<s>", normalized=False)])
    assert device_work(tokenizer.pipeline)["count words"].startswith("on the GPU")
    batches = [random_documents(np.random.default_rng(seed), 12) for seed in range(9)]
    for at in (3, 7):
        batches.insert(at, TextBatch.from_strings(["new <s> words", "the the"]))
    on_device = []
    devices = [
        device._replace(
            launch=lambda *a, launch=device.launch, **o: on_device.append(a[1]) or launch(*a, **o),
            sizes=cuda.DeviceSizes(batch=900),
        )
        for device in (emulated_device(seed) for seed in range(1, n_devices + 1))
    ]
    ours, n_on_cpu = counted(tokenizer, batches, devices)
    assert ours == counted(tokenizer, batches)[0]
    assert n_on_cpu == 2 and "count_words" in on_device


def test_runs_that_can_not_be_cut_are_counted_on_the_cpu():
    """Of a batch that is cut, only the part in which they are."""
    tokenizer = byte_level(models.BPE())
    usual = random_documents(np.random.default_rng(1), 30)
    batches = [usual, TextBatch.from_strings(["a word", "b" * 601 + " word", "more"]), usual]
    with pytest.warns(UserWarning, match="some text is counted on the CPU: a run of 601 bytes, more than 300"):
        ours, _ = counted(tokenizer, batches, [device_of("emulated", 1, cuda.DeviceSizes(longest_run=300))])
    assert ours == counted(tokenizer, batches)[0]


def test_text_that_does_not_fit_is_counted_on_the_cpu(monkeypatch, scarce):
    tokenizer = byte_level(models.BPE())
    long = TextBatch.from_strings(["a" * 1500, "the end", *random_documents(np.random.default_rng(1), 40).strings()])
    with pytest.warns(UserWarning, match="some text is counted on the CPU"):
        ours, _ = counted(tokenizer, [long], [emulated_device(1)])
    assert ours == counted(tokenizer, [long])[0] and min(scarce) < 1000


def test_a_text_whose_offsets_have_more_than_31_bits_is_the_cpus(monkeypatch):
    with pytest.raises(MemoryError, match=r"a document of 2,147,483,648 bytes is too long for a GPU"):
        cuda.indexes(np.array([0, 1 << 31]))
    assert cuda.indexes(np.array([0, (1 << 31) - 1])).dtype == np.uint32

    def indexes(offsets):
        return cuda.indexes(offsets + (1 << 31 if len(offsets) == 2 else 0))

    monkeypatch.setattr(words, "indexes", indexes)
    batches = [random_documents(np.random.default_rng(1), 20), TextBatch.from_strings(["the word " * 5])]
    with pytest.warns(UserWarning, match="some text is counted on the CPU: a document of 2,147"):
        device = device_of("emulated", 1, cuda.DeviceSizes(batch=1))
        ours = counted(byte_level(models.BPE()), batches, [device])[0]
    assert ours == counted(byte_level(models.BPE()), batches)[0]


def test_words_that_devices_count_are_spilled_within_a_memory_limit(tmp_path):
    """After some text each, and in the same order as the CPU's."""
    tokenizer = byte_level(models.BPE())
    tokenizer.add_special_tokens(["<s>"])
    batches = [random_documents(np.random.default_rng(seed), 20) for seed in range(9)]
    batches.insert(4, TextBatch.from_strings(["new <s> words", "the the"]))
    results, reports = [], []
    for devices in ([emulated_device(1), emulated_device(2)], []):
        memory = MemoryLimit.of("32MB", tmp_path)
        options = {"memory": memory, "device_share": 16_000, "report": lambda *a: reports.append(a)}
        results.append(counted(tokenizer, batches, devices, **options)[0])
    ours, theirs = (words.columns() for words in results)
    assert all(map(np.array_equal, ours[:3], theirs[:3]))
    assert max(n for stage, n, _ in reports if stage == "count") == sum(len(b.data) for b in batches)


def test_a_device_that_fails_ends_counting():
    """And no thread waits for batches any longer."""

    def launch(*_, **__):
        raise RuntimeError("the device fell off the bus")

    device = emulated_device(1)._replace(launch=launch)
    batches = [random_documents(np.random.default_rng(seed), 12) for seed in range(9)]
    for devices in ([device], [device, emulated_device(2)]):
        with pytest.raises(RuntimeError, match="fell off"):
            counted(byte_level(models.BPE()), batches, devices)


def test_a_corpus_that_can_not_be_read_ends_counting():
    def broken():
        yield random_documents(np.random.default_rng(1), 12)
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        counted(byte_level(models.BPE()), broken(), [emulated_device(1), emulated_device(2)])


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
@pytest.mark.filterwarnings("ignore:the CPU encodes the corpus")
def test_unsupported_tokenizers_run_on_the_cpu(model, on_devices, monkeypatch):
    tokenizer, documents = byte_level(model), ["ab abc", "", "abab"]
    expected = ids_of(tokenizer, documents)
    on_devices(emulated_device(1))
    monkeypatch.setattr(encode_corpus, "encode_corpus", None)
    assert ids_of(tokenizer, documents) == expected


def test_normalized_text_and_added_tokens(on_devices):
    tokenizer = byte_level(byte_model([("a", "b"), ("ab", "c")]))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.add_special_tokens(["<s>"])
    documents = ["ABC<s><s> abc", "<s>", "", "ab <s>"]
    expected = ids_of(tokenizer, documents)
    on_devices(emulated_device(3))
    assert ids_of(tokenizer, documents) == expected


def test_of_a_group_only_the_document_with_a_long_run_is_encoded_on_the_cpu(monkeypatch):
    tokenizer = byte_level(byte_model([("t", "h"), ("th", "e")]))
    tokenizer.add_special_tokens(["<s>"])
    documents = [*random_documents(np.random.default_rng(0), 40).strings()]
    for at, n in ((0, 1500), (20, 2000), (30, 900)):
        documents[at] = f"<s>the {'b' * n} end<s>"
    batch = TextBatch.from_strings(documents)
    expected, sizes, whole = flat(bulk.encode_corpus(tokenizer.pipeline, [batch])), [], Walked.encode
    monkeypatch.setattr(Walked, "encode", lambda engine, unit: sizes.append(len(unit.data)) or whole(engine, unit))
    with pytest.warns(UserWarning, match="some text is encoded on the CPU: a run of"):
        device = device_of("emulated", sizes=cuda.DeviceSizes(longest_run=600))
        found = flat(bulk.encode_corpus(tokenizer.pipeline, [batch], devices=[device]))
    assert all(map(np.array_equal, found, expected))
    assert sizes == [len(documents[at]) for at in (0, 20, 30)]


@pytest.mark.filterwarnings("ignore:only .* pieces were learned")
def test_the_cpus_work_is_said_with_the_reason(on_devices):
    """Words, merges and ids, whatever device was asked for."""
    documents = ["a word", "another"]
    on_devices(emulated_device(1))
    tokenizer, trainer = recipe("wordpiece", vocab_size=30)
    with pytest.warns(UserWarning, match="the CPU does the work of training: tokens have a prefix"):
        tokenizer.train_from_iterator(iter(documents), trainer, progress=False)
    with pytest.warns(UserWarning, match="the CPU encodes the corpus: the pre-tokenizer is more than one walk"):
        ids_of(tokenizer, documents)
    tokenizer, trainer = recipe("unigram", vocab_size=30)
    with pytest.warns(UserWarning, match="the CPU does the work of training: only BPE is trained on a GPU"):
        tokenizer.train_from_iterator(iter(documents), trainer, progress=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Digits()
    tokenizer.normalizer = normalizers.Replace("a", " ")
    with pytest.warns(UserWarning, match="the CPU counts the words: words are neither those of one walk"):
        tokenizer.count_words(iter(documents), progress=False)


def test_why_a_bpe_model_is_not_encoded_on_a_device():
    tokenizer = byte_level(models.BPE())
    assert ByDevice.why_not(tokenizer.pipeline) == "a byte has no token of its own"


def test_words_of_several_devices_are_added_up_by_all_threads(monkeypatch):
    batches = [random_documents(np.random.default_rng(seed), 12) for seed in range(8)]
    entered, whole = [], counting._entered

    def watched(found, counter):
        entered.append((threading.get_ident(), len(found.counts)))
        time.sleep(0.05)  # so that no thread takes all
        return whole(found, counter)

    monkeypatch.setattr(counting, "_entered", watched)
    devices = [device_of("emulated", seed, cuda.DeviceSizes(batch=500)) for seed in (1, 2)]
    ours = counted(byte_level(models.BPE()), batches, devices, threads=4)[0]
    assert ours == counted(byte_level(models.BPE()), batches)[0]
    assert len({thread for thread, _ in entered}) == 4
    assert max(n for _, n in entered) <= -(-sum(n for _, n in entered) // 4)


@pytest.mark.parametrize("limit", [1000, 0], ids=["halves", "cpu"])
@pytest.mark.filterwarnings("ignore:some text is encoded on the CPU")
def test_text_that_does_not_fit_is_encoded_in_halves_or_on_the_cpu(limit, monkeypatch):
    tokenizer = byte_level(byte_model([("t", "h"), ("th", "e")]))
    batch = random_documents(np.random.default_rng(0), 100)
    expected = flat(bulk.encode_corpus(tokenizer.pipeline, [batch]))
    sizes, whole = [], encode_corpus.encode_on_device

    def scarce(device, text, *arguments):
        sizes.append(len(text))
        if len(text) > limit:
            raise MemoryError
        return whole(device, text, *arguments)

    monkeypatch.setattr(encode_corpus, "encode_on_device", scarce)
    found = flat(bulk.encode_corpus(tokenizer.pipeline, [batch], devices=[device_of("emulated")]))
    assert max(sizes) > 1000 and all(map(np.array_equal, found, expected))
    assert min(sizes) < 1000  # whether that was of any use or not


def flat(batches) -> tuple[np.ndarray, np.ndarray]:
    batches = [*batches]
    return np.concatenate([b.ids for b in batches]), np.concatenate([np.diff(b.rows) for b in batches])


def test_a_host_of_many_threads_and_devices():
    """64 threads and 8 devices: the same words, no thread waits forever, and few groups of batches in memory."""
    tokenizer = byte_level(models.BPE())
    tokenizer.add_special_tokens(["<s>"])
    held, most = Counter(), []

    class Memory(bytearray):
        """Memory of a batch that is counted as long as anything refers to it."""

    def watched(batches):
        for number, batch in enumerate(batches):
            memory = Memory(batch.data.tobytes())
            held[number] = len(memory)
            weakref.finalize(memory, held.pop, number)
            most.append(held.total())
            data = np.frombuffer(memory, np.uint8)
            del memory
            yield TextBatch(data, batch.offsets)
            del data

    batches = [random_documents(np.random.default_rng(seed), 8) for seed in range(120)]
    batches[50] = TextBatch.from_strings(["new <s> words"])
    devices = [device_of("emulated", seed, cuda.DeviceSizes(batch=1500)) for seed in range(1, 9)]
    ours, _ = counted(tokenizer, watched(batches), devices, threads=64)
    assert ours == counted(tokenizer, batches)[0]
    # of each device one group waits, one is copied and one counted; one more is put together
    largest = max(len(batch.data) for batch in batches)
    assert max(most) <= (3 * len(devices) + 2) * (1500 + largest)
