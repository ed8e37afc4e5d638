"""What `cupy_device` says to CuPy, told to a stand-in: launches, streams, copies, graphs."""

import sys

import numpy as np
import pytest
from gputok.kernels.cuda import bpe, words
from gputok.kernels.cuda.device import cupy_device

from gputok import backend
from gputok.bench import device as probes
from gputok.counting import count_words as count_on_cpu
from gputok.pre_tokenizers import SplitPlan
from gputok.text import TextBatch
from tests.cuda import stand_in
from tests.cuda.sanitized import agree, results
from tests.cuda.stages import in_cuda
from tests.test_kernels import GPT2, in_python, inputs_of_all_stages


@pytest.fixture
def device(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", stand_in.Cupy("cupy"))
    monkeypatch.setattr(backend, "_driver_version", lambda: 13)
    monkeypatch.setattr(stand_in.Stream, "made", [])
    cupy_device.cache_clear()
    (found,) = backend.choose("cuda:0").devices
    yield found
    cupy_device.cache_clear()


def test_all_stages_through_cupy(device, monkeypatch):
    monkeypatch.setattr(bpe, "_MERGES_PER_LOOK", 8)
    monkeypatch.setattr(bpe, "_LEAST_CAPACITY", 512)
    given = inputs_of_all_stages()
    assert device.name == "a stand-in"
    agree(results(in_cuda(device), given), results(in_python(), given))


def test_a_batch_is_copied_while_the_one_before_is_counted(device):
    """Work waits for its own copy, and for no other."""
    pending, launched = [], device.launch

    def launch(file, kernel, *arguments, **options):
        if kernel == "count_words":
            pending.append(stand_in.pending())
        launched(file, kernel, *arguments, **options)

    batches = [TextBatch.from_strings([f"batch {i}", " of some words" * i]) for i in range(5)]
    numbered = [(*batch, i << 32) for i, batch in enumerate(batches)]
    data, _, counts, _ = words.count_words(device._replace(launch=launch), numbered, GPT2)
    expected = count_on_cpu(batches, SplitPlan(GPT2, False), threads=1)
    assert np.array_equal(data, expected.data) and np.array_equal(counts, expected.counts)
    assert pending == [2, 2, 2, 2, 0]  # text and offsets of the next batch


def test_probes_through_cupy(device):
    """A graph that is launched again, a cooperative launch, and times."""
    sizes = probes.Sizes(steps=6, steps_in_graph=2, values=200, keys=500, distinct=100)
    assert all(figure.seconds > 0 for figure in probes.measure(device, sizes))
