"""Training on a device across the limits of words, and text without words: the merges of the CPU and the reference."""

import warnings

import numpy as np
import pytest
from gputok.kernels import BpeLimits, Veto
from gputok.kernels.cpu.train_bpe import train_bpe as train_on_cpu
from gputok.kernels.cuda import train_bpe as bpe
from gputok.kernels.cuda.device import DeviceSizes

import gputok
from gputok import models, pre_tokenizers
from gputok.trainers import SuperBpeTrainer
from tests import reference
from tests.emulation import stand_in
from tests.emulation.devices import KINDS, device_of

CHARACTERS = [" ", ":", *"abcdefghijklmnopqrstuvwxyz", *"éß漢字日本"]
FEW = DeviceSizes(rounds_per_look=2, pair_slots=1 << 9, candidates=64, candidate_room=200)


def pieces(rng: np.random.Generator, space: str, n: int = 40, longest: int = 60) -> tuple[np.ndarray, ...]:
    """What `train_bpe` takes: pieces of several words."""
    lengths = rng.integers(1, longest, n)
    share = np.r_[0.2, 0.05, np.full(len(CHARACTERS) - 2, 0.75 / (len(CHARACTERS) - 2))]
    symbols = rng.choice(len(CHARACTERS), lengths.sum(), p=share).astype(np.uint16)
    names = [character.replace(" ", space).encode() for character in CHARACTERS]
    offsets = np.cumsum([0, *lengths], dtype=np.int64)
    tokens = np.frombuffer(b"".join(names), np.uint8), np.cumsum([0, *map(len, names)], dtype=np.int64)
    return symbols, offsets, rng.integers(1, 4, n), *tokens


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("space", [" ", "Ġ"])
@pytest.mark.parametrize("veto", [None, Veto(), Veto(2), Veto(3, 6, False), Veto(colons=False), Veto(1, 4), Veto(0)])
def test_the_veto_is_that_of_the_reference(veto, space, kind):
    limit = 80
    n_on_device = 0
    for seed in range(2):
        arguments = pieces(np.random.default_rng(seed), space)
        limits = BpeLimits(limit, veto=None if veto is None else veto._replace(space=space.encode()))
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            found = bpe.train_bpe(device_of(kind, seed, FEW), *arguments, limits)
        assert all(map(np.array_equal, found, reference.train_bpe(*arguments, limits)))
        n_on_device += not said
    assert n_on_device


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_documents_without_words(kind, corpus_sample):
    """Chinese verse, whose lines are the pieces: nothing is cut inside a line, or inside a document."""
    text = corpus_sample("zh", 60_000)
    for documents in (text.splitlines(keepends=True), [text[i : i + 900] for i in range(0, len(text), 900)]):
        data = np.frombuffer("".join(documents).encode(), np.uint8).astype(np.uint16)
        offsets = np.cumsum([0, *(len(document.encode()) for document in documents)], dtype=np.int64)
        tokens = np.arange(256, dtype=np.uint8), np.arange(257)
        corpus = data, offsets, np.ones(len(documents), np.int64), *tokens, BpeLimits(256 + 200)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # the CPU does nothing
            found = bpe.train_bpe(device_of(kind, 1, DeviceSizes(pair_slots=1 << 12)), *corpus)
        assert len(found.left) == 200 and all(map(np.array_equal, found, train_on_cpu(*corpus)))


@pytest.mark.parametrize(("device", "used"), [("cuda:0", {0}), ("cuda:1", {1}), ("cuda", {0, 1})])
@pytest.mark.parametrize("name", ["en", "zh"])
def test_superwords_from_a_file_to_a_file(name, device, used, monkeypatch, corpus_sample, tmp_path):
    """`Tokenizer.train(device=)` through CuPy: the same bytes as on the CPU. Several devices count, one merges."""
    path, text = tmp_path / "text.txt", corpus_sample(name, 30_000)
    path.write_text(text, newline="\n")

    def run(device: str) -> bytes:
        tokenizer, saved = gputok.Tokenizer(models.BPE()), tmp_path / "tokenizer.json"
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer = SuperBpeTrainer(vocab_size=420, transition=360)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "merges are learnt on the CPU: a merge spells")
            tokenizer.train([str(path)], trainer, device=device, progress=False)
        tokenizer.save(str(saved))
        return saved.read_bytes()

    expected, on, merged_on, accepted = run("cpu"), set(), [], stand_in.accepted
    sizes = DeviceSizes(batch=8000, rounds_per_look=4, pair_slots=1 << 12)
    whole = bpe._trained
    monkeypatch.setattr(bpe, "_trained", lambda *a: merged_on.append(a[4].veto is not None) or whole(*a))
    monkeypatch.setattr(stand_in, "accepted", lambda *a: on.add(stand_in.Device.now()) or accepted(*a))
    with stand_in.installed(monkeypatch, sizes):
        assert run(device) == expected
    assert on == used and merged_on == [False, True]


@pytest.mark.parametrize(
    ("options", "reason"),
    [({"shorter_first": True}, "shorter pairs come first"), ({"prefix": b"##"}, "tokens have a prefix")],
)
def test_other_limits_are_the_cpus_with_a_warning(options, reason):
    arguments = pieces(np.random.default_rng(1), " ")
    limits = BpeLimits(60, **options)
    with pytest.warns(UserWarning, match=f"merges are learnt on the CPU: {reason}"):
        found = bpe.train_bpe(device_of("emulated", 1), *arguments, limits)
    assert all(map(np.array_equal, found, train_on_cpu(*arguments, limits)))
