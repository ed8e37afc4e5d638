"""The choice of a device, and the messages if no device is available."""

import functools
import sys
import types
import warnings

import pytest
from typer.testing import CliRunner

from gputok import Tokenizer, backend, cli, corpus, models, train_new_from_iterator
from gputok.backend import choose
from gputok.implementations import ByteLevelBPETokenizer
from gputok.recipes import recipe
from gputok.trainers import ParityBpeTrainer


@pytest.fixture
def machine(monkeypatch):
    """Pretends that the machine has a driver or not, CuPy or not, and n devices."""

    def pretend(driver, devices=None):
        monkeypatch.delenv("GPUTOK_DEVICE", raising=False)
        monkeypatch.setattr(backend, "_driver_version", lambda: driver)
        runtime = types.SimpleNamespace(getDeviceCount=lambda: devices, CUDARuntimeError=RuntimeError)
        cupy = None if devices is None else types.SimpleNamespace(cuda=types.SimpleNamespace(runtime=runtime))
        monkeypatch.setitem(sys.modules, "cupy", cupy)
        monkeypatch.setattr(
            backend, "_cuda", lambda name, ordinals, reason: backend.Backend(name, reason, (*ordinals,))
        )

    return pretend


def test_auto_takes_a_device_that_answers(machine):
    machine(driver=12, devices=2)
    assert choose().name == choose("auto").name == choose("cuda").name == "cuda"
    assert choose("cuda").devices == (0, 1) and choose("cuda:1").devices == (1,)
    assert choose("cpu").name == "cpu"


def test_auto_leaves_small_inputs_to_the_cpu(machine):
    machine(driver=12, devices=1)
    small = choose("auto", n_bytes=1000)
    assert small.name == "cpu" and "1,000 bytes" in small.reason
    assert choose("auto", n_bytes=backend.SMALL_BYTES).name == "cuda"
    assert choose("cuda", n_bytes=1000).name == "cuda"


def test_a_driver_without_cupy_is_one_line_that_names_the_extra(machine):
    for version in (12, 13):
        machine(driver=version)
        with pytest.warns(UserWarning, match=rf"no CuPy: pip install 'gputok\[cuda{version}\]'") as said:
            assert choose().name == "cpu"
        assert len(said) == 1 and "\n" not in str(said[0].message)
        with pytest.raises(RuntimeError, match=rf"cuda{version}"):
            choose("cuda")


def test_cupy_that_fails_to_import_is_not_reported_as_missing(machine, monkeypatch, tmp_path):
    machine(driver=12)
    (tmp_path / "cupy.py").write_text("import needed_by_cupy\n")
    monkeypatch.delitem(sys.modules, "cupy")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(RuntimeError, match="CuPy does not import: No module named 'needed_by_cupy'"):
        choose("cuda")


def test_a_missing_driver_is_an_error_only_if_cuda_is_requested(machine):
    machine(driver=None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert choose().reason == "no NVIDIA driver is installed"
    with pytest.raises(RuntimeError, match='device="cuda:1" can\'t be had: no NVIDIA driver'):
        choose("cuda:1")


def test_a_device_that_does_not_exist(machine):
    machine(driver=12, devices=1)
    with pytest.raises(RuntimeError, match="there are 1 CUDA devices, numbered from 0"):
        choose("cuda:1")


def test_the_environment_chooses_the_device_by_default(machine, monkeypatch):
    machine(driver=12, devices=1)
    monkeypatch.setenv("GPUTOK_DEVICE", "cpu")
    assert choose().reason == "GPUTOK_DEVICE asks for it"
    assert choose("auto").name == "cuda"
    monkeypatch.setenv("GPUTOK_DEVICE", "tpu")
    with pytest.raises(ValueError, match=r"GPUTOK_DEVICE must be .*'tpu'"):
        choose()


def test_text_of_unknown_size_is_looked_at_first(machine, monkeypatch):
    """Text that was read to choose a device is not lost."""
    monkeypatch.setattr(backend, "SMALL_BYTES", 100)
    monkeypatch.setattr(backend, "CUDA_BATCH_BYTES", 60)
    for driver, device, n_texts, expected in (
        (12, None, 9, "cpu"),
        (12, "auto", 10, "cuda"),
        (12, "cuda", 0, "cuda"),
        (None, None, 10, "cpu"),
        (12, None, 0, "cpu"),
    ):
        machine(driver=driver, devices=1)
        read = functools.partial(corpus.read_texts, iter(["ten bytes."] * n_texts))
        chosen, batches = backend.choose_for(read, None, device)
        assert chosen.name == expected
        assert [text for batch in batches for text in batch.strings()] == ["ten bytes."] * n_texts


def everything(tmp_path):
    """Everything that trains, counts or encodes."""
    tokenizer, trainer = recipe("bpe", vocab_size=300)
    texts, path = ["some text"], tmp_path / "text.txt"
    path.write_text("some text")
    words = tokenizer.count_words(iter(texts), device="cpu")
    tokenizer.train_from_word_counts(words, trainer, device="cpu")
    languages = Tokenizer(models.BPE())
    file, out = tmp_path / "tokenizer.json", tmp_path / "out.npy"
    tokenizer.save(str(file))
    return {
        "train": lambda: tokenizer.train([str(path)], trainer),
        "train_from_iterator": lambda: tokenizer.train_from_iterator(texts, trainer),
        "train_from_word_counts": lambda: tokenizer.train_from_word_counts(words, trainer),
        "count_words": lambda: tokenizer.count_words(str(path)),
        "encode_corpus": lambda: tokenizer.encode_corpus(iter(texts)),
        "train_new_from_iterator": lambda: train_new_from_iterator(tokenizer, texts, 300),
        "ParityBpeTrainer": lambda: ParityBpeTrainer(num_merges=1).train_from_iterator(
            languages, [texts, texts], ratio=[1, 1]
        ),
        "ByteLevelBPETokenizer": lambda: ByteLevelBPETokenizer().train_from_iterator(texts),
        "gputok train": lambda: command("train", path, "--vocab-size", 300, "-o", file),
        "gputok count": lambda: command("count", path, "-o", tmp_path / "counts.parquet"),
        "gputok encode": lambda: command("encode", path, "--tokenizer", file, "-o", out),
    }


def command(*arguments):
    done = CliRunner().invoke(cli.app, [*map(str, arguments)])
    if done.exception:
        raise done.exception


def test_training_counting_and_encoding_choose_a_device(tmp_path, monkeypatch):
    work = everything(tmp_path)
    monkeypatch.setenv("GPUTOK_DEVICE", "tpu")
    for name, run in work.items():
        with pytest.raises(ValueError, match=r"(GPUTOK_DEVICE|device) must be .*'tpu'"):
            run()
            pytest.fail(name)
