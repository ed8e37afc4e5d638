"""The calls of `cupy_device` to CuPy (launches, streams, copies, graphs), made to a stand-in for CuPy."""

import pathlib
import re
import subprocess
import sys
from typing import NamedTuple

import numpy as np
import pytest
from gputok.kernels.cuda import count_words as words
from gputok.kernels.cuda import encode_words as lookup
from gputok.kernels.cuda import train_bpe as bpe
from gputok.kernels.cuda.device import SOURCES, Device

from gputok import backend
from gputok.bench import device as probes
from gputok.pipeline.count_words import count_words as count_on_cpu
from gputok.pre_tokenizers import SplitPlan
from gputok.recipes import recipe
from gputok.text.pieces import TextBatch
from tests.emulation import signatures, stand_in
from tests.emulation.emulator import emulated_device
from tests.emulation.sanitized import agree, results
from tests.emulation.stages import in_cuda
from tests.test_kernels import GPT2, in_python, inputs_of_all_stages, random_documents

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture
def devices(monkeypatch):
    with stand_in.installed(monkeypatch):
        yield backend.choose("cuda").devices


@pytest.fixture
def device(devices):
    return devices[0]


@pytest.fixture
def few_pairs(monkeypatch):
    monkeypatch.setattr(bpe, "_MERGES_PER_LOOK", 8)
    monkeypatch.setattr(bpe, "_LEAST_CAPACITY", 512)


@pytest.mark.parametrize("by_graph", [False, True])
def test_all_stages_through_cupy(by_graph, device, few_pairs):
    given = inputs_of_all_stages()
    assert device.name == "a stand-in"
    agree(results(in_cuda(device._replace(by_graph=by_graph)), given), results(in_python(), given))


def test_a_batch_is_copied_while_the_one_before_is_counted(device):
    """Work waits only for the copy that it needs."""
    pending, launched = [], device.launch

    def launch(file, kernel, *arguments, **options):
        if kernel == "count_words":
            pending.append(stand_in.pending())
        launched(file, kernel, *arguments, **options)

    batches = [TextBatch.from_strings([f"batch {i}", " of some words" * i]) for i in range(5)]
    numbered = [(*batch, i << 32) for i, batch in enumerate(batches)]
    data, _, counts, _ = words.count_batches(device._replace(launch=launch), numbered, GPT2)
    expected = count_on_cpu(batches, SplitPlan(GPT2, False), threads=1)
    assert np.array_equal(data, expected.data) and np.array_equal(counts, expected.counts)
    assert pending == [2, 2, 2, 2, 0]  # text and offsets of the next batch


def test_copies_end_with_the_work_that_fails(device):
    """The target memory of a copy is reused as soon as nothing refers to it."""
    with pytest.raises(KeyError), device.active():
        device.upload((np.arange(9),))
        assert stand_in.pending() == 1
        raise KeyError
    assert stand_in.pending() == 0


def test_the_whole_path_on_two_devices_through_cupy(devices, few_pairs, monkeypatch):
    """Two threads with one device each never use an array of the other device."""
    monkeypatch.setattr(backend, "CUDA_BATCH_BYTES", 1000)
    documents = [*random_documents(np.random.default_rng(5), 100).strings(), "the<|endoftext|>the"]

    def run(device):
        tokenizer, trainer = recipe("bpe", vocab_size=280)
        tokenizer.train_from_iterator(iter(documents), trainer, device=device, progress=False)
        batches = [*tokenizer.encode_corpus(iter(documents), device=device, progress=False)]
        assert device == "cpu" or len(batches) > 3
        return tokenizer.to_str(), np.concatenate([batch.ids for batch in batches])

    assert len(devices) == 2 and backend.choose("cuda:1").devices == devices[1:]
    (ours, our_ids), (theirs, their_ids) = run("cuda"), run("cpu")
    assert ours == theirs and np.array_equal(our_ids, their_ids)


def test_probes_through_cupy(device):
    """A graph that is launched again, a cooperative launch, and times."""
    sizes = probes.Sizes(steps=6, steps_in_graph=2, values=200, keys=500, distinct=100)
    assert all(figure.seconds > 0 for figure in probes.measure(device, sizes))


def test_structs_are_those_of_the_kernels(monkeypatch, few_pairs):
    """Names, order and elements of the arrays that a kernel gets as one pointer."""
    pointers, seen = Device.pointers, set()

    def checked(self, arrays):
        name = type(arrays).__name__
        (source,) = (path for path in SOURCES.glob("*.cu") if f"struct {name} {{" in path.read_text())
        signatures.check_struct(source, name, arrays)
        seen.add(name)
        return pointers(self, arrays)

    monkeypatch.setattr(Device, "pointers", checked)
    results(in_cuda(emulated_device(1)), inputs_of_all_stages())
    assert seen == {"Training", "Model", "Words", "Rounds"}


class Fewer(NamedTuple):
    begin: np.ndarray
    text: np.ndarray


def test_wrong_kernel_arguments_are_errors():
    device, text = emulated_device(1), np.zeros(64, np.uint8)
    starts, rank = np.zeros(2, np.uint32), np.zeros(2, np.int64)

    def launch(*arguments):
        device.launch("count_words.cu", "list_bits", 1, 1, arguments)

    launch(starts, 2, rank, starts)
    launch(starts, np.int64(2), rank, None)
    for wrong in (
        (starts, 2, rank),
        (starts, rank, 2, starts),
        (text, 2, rank, starts),
        (starts, 2.0, rank, starts),
        (starts, 2, np.zeros(4, np.int64)[::2], starts),
    ):
        with pytest.raises(TypeError, match=r"words\.cu, list_bits: "):
            launch(*wrong)
    with pytest.raises(TypeError, match=r"Words of lookup\.cu has"):
        signatures.check_struct(SOURCES / "encode_words.cu", "Words", Fewer(rank, text))
    with pytest.raises(TypeError, match=r"lookup\.cu, Words: i64\* begin can't be uint32"):
        wrong = lookup.Words(text, starts, rank, rank, starts, starts, starts)
        signatures.check_struct(SOURCES / "encode_words.cu", "Words", wrong)


def test_the_stand_in_is_as_strict_as_cupy(device):
    import cupy

    with device.active():
        array = cupy.asarray(np.arange(4))
        assert int(array[3]) == 3 and array[1].shape == ()
        for wrong in (
            lambda: np.asarray(array),
            lambda: array + np.arange(4),
            lambda: cupy.zeros(array[3], cupy.uint8),
            lambda: np.concatenate([array, array]),
        ):
            with pytest.raises(TypeError):
                wrong()
        with pytest.raises(AttributeError):
            cupy.bincount  # noqa: B018


def test_the_tests_for_a_device_are_rehearsed(test_data):
    """`pytest -m gpu` on the stand-in: all that it runs nowhere else, and one test of each stage."""
    chosen = "whole or sanitizer or gigabyte or hello or asked"
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "tests.emulation.rehearsal"]
    files = ["tests/test_cuda_corpora.py", "tests/test_kernels.py", "tests/test_bench.py"]
    done = subprocess.run([*command, "-k", chosen, *files], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and re.search(r"\b11 passed, \d+ deselected", done.stdout), done.stdout[
        -5000:
    ]
