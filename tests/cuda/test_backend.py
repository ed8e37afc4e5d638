"""The choice of a device, and the messages if no device is available."""

import sys
import types
import warnings

import pytest
from gputok.kernels.cuda import device
from typer.testing import CliRunner

from gputok import Tokenizer, backend, cli, models, train_new_from_iterator
from gputok.backend import choose
from gputok.implementations import ByteLevelBPETokenizer
from gputok.recipes import recipe
from gputok.trainers import ParityBpeTrainer
from tests.emulation import stand_in

CARDS = {
    "H100": {"name": b"H100", "major": 9, "minor": 0},
    "T4": {"name": b"T4", "major": 7, "minor": 5},
    "V100": {"name": b"V100", "major": 7, "minor": 0},
    "P100": {"name": b"P100", "major": 6, "minor": 0},
}


def version_of(compiler: int) -> tuple[int, int]:
    """What NVRTC says; -1: there is none."""
    if compiler < 0:
        raise RuntimeError('Failure finding "libnvrtc.so.13"')
    return compiler, 0


@pytest.fixture
def machine(monkeypatch):
    """Pretends to be a machine with a driver (or none), CuPy (or none), a compiler and cards."""

    def pretend(driver, cards=None, compiler=None):
        monkeypatch.delenv("GPUTOK_DEVICE", raising=False)
        monkeypatch.setattr(backend, "_driver_version", lambda: driver)
        there = [CARDS[card] for card in cards or ()]
        runtime = types.SimpleNamespace(
            getDeviceCount=lambda: len(there),
            getDeviceProperties=there.__getitem__,
            CUDARuntimeError=stand_in.CUDARuntimeError,
        )
        nvrtc = types.SimpleNamespace(getVersion=lambda: version_of(compiler or driver))
        cuda = types.SimpleNamespace(runtime=runtime, nvrtc=nvrtc)
        cupy = None if cards is None else types.SimpleNamespace(cuda=cuda)
        monkeypatch.setitem(sys.modules, "cupy", cupy)
        monkeypatch.setattr(device, "cupy_device", lambda ordinal: ordinal)

    return pretend


def test_auto_is_the_cpu_and_says_how_to_ask_for_a_device(machine):
    machine(12, ["H100", "H100"])
    assert choose().name == choose("auto").name == "cpu"
    assert 'device="cuda" asks for the GPU' in choose().reason
    assert choose("cuda") == backend.Backend("cuda", "device asks for it", (0, 1))
    assert choose("cuda:1").devices == (1,) and choose("cpu").name == "cpu"


def test_auto_does_not_import_cupy(machine):
    machine(12)  # without CuPy
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert choose().name == "cpu"


def test_devices_that_the_compiler_does_not_serve_are_named_and_left_out(machine):
    machine(13, ["H100", "V100", "T4", "P100"])
    assert choose("cuda").devices == (0, 2)
    v100 = r"cuda:1 \(V100, compute capability 7\.0\) is not served by the compiler of CUDA 13: pip install"
    with pytest.raises(RuntimeError, match=rf"{v100} 'gputok\[cuda12\]' instead; .*usable: cuda:0, cuda:2"):
        choose("cuda:1")
    with pytest.raises(RuntimeError, match=r"cuda:3 \(P100, .* 6\.0\) is too old: gputok needs 7\.0"):
        choose("cuda:3")
    machine(13, ["V100"], compiler=12)
    assert choose("cuda").devices == (0,)
    machine(13, ["V100"])
    with pytest.raises(RuntimeError, match=r'device="cuda" can\'t be had: cuda:0 \(V100'):
        choose("cuda")


def test_without_a_compiler_only_devices_with_machine_code_can_be_used(machine, monkeypatch):
    machine(13, ["T4", "H100"], compiler=-1)
    monkeypatch.setattr(device, "cubin_for", lambda file, major, minor: None)
    missing = r"cuda:0 \(T4, .* 7\.5\) needs CUDA's compiler, NVRTC, which is missing: pip install 'gputok\[cuda13\]'"
    with pytest.raises(RuntimeError, match=missing):
        choose("cuda")
    monkeypatch.setattr(device, "cubin_for", lambda file, major, minor: "lines.sm_90.cubin" if major == 9 else None)
    assert choose("cuda").devices == (1,)
    with pytest.raises(RuntimeError, match=missing):
        choose("cuda:0")


def test_a_driver_without_cupy_is_one_line_that_names_the_extra(machine):
    for version in (12, 13):
        machine(version)
        with pytest.raises(RuntimeError, match=rf"no CuPy: pip install 'gputok\[cuda{version}\]'$"):
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
    machine(12, ["T4"])
    with pytest.raises(RuntimeError, match="there are 1 CUDA devices, numbered from 0"):
        choose("cuda:1")


def test_the_environment_chooses_the_device_by_default(machine, monkeypatch):
    machine(12, ["T4"])
    monkeypatch.setenv("GPUTOK_DEVICE", "cpu")
    assert choose().reason == "GPUTOK_DEVICE asks for it"
    monkeypatch.setenv("GPUTOK_DEVICE", "cuda")
    assert choose() == backend.Backend("cuda", "GPUTOK_DEVICE asks for it", (0,))
    assert choose("auto").name == "cpu"
    monkeypatch.setenv("GPUTOK_DEVICE", "tpu")
    with pytest.raises(ValueError, match=r"GPUTOK_DEVICE must be .*'tpu'"):
        choose()


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
