"""The calls of `cupy_device` to CuPy (launches, streams, copies, graphs), made to a stand-in for CuPy."""

import collections
import gc
import itertools
import pathlib
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from gputok.kernels import BpeLimits
from gputok.kernels.cuda import count_words as words
from gputok.kernels.cuda import device as cuda
from gputok.kernels.cuda import encode_corpus, split
from gputok.kernels.cuda import encode_words as lookup
from gputok.kernels.cuda import train_bpe as bpe
from gputok.kernels.cuda.bits import Bits, Sums
from gputok.kernels.cuda.device import SOURCES, packed
from gputok.kernels.cuda.lines import Needles, Watched
from gputok.kernels.wheel import cubins

from gputok import backend
from gputok.corpus import Source
from gputok.corpus.options import ReadSizes
from gputok.normalizers import NFC
from gputok.pipeline.count.words import count_corpus
from gputok.pipeline.count.words import count_words as count_on_cpu
from gputok.pipeline.encode.corpus import encode_corpus as encode
from gputok.pipeline.run import Run
from gputok.recipes import recipe
from gputok.text.pieces import TextBatch
from gputok.text.way import Way
from tests.bench import device as probes
from tests.emulation import signatures, stand_in
from tests.emulation.emulator import emulated_device
from tests.emulation.sanitized import agree, results
from tests.emulation.stages import in_cuda
from tests.kernels.test_kernels import GPT2, byte_model, in_python, inputs_of_all_stages, random_documents

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture
def devices(monkeypatch):
    """With few launches after the last merge."""
    with stand_in.installed(monkeypatch, cuda.DeviceSizes(batch=1000, rounds_per_look=2, pair_slots=512)):
        yield backend.choose("cuda").devices


@pytest.fixture
def device(devices):
    return devices[0]


@pytest.mark.slow
def test_all_stages_through_cupy(device):
    given = inputs_of_all_stages()
    assert device.name == "a stand-in"
    agree(results(in_cuda(device), given), results(in_python(), given))


def numbered(batches: list[TextBatch]) -> Iterator[words.Batch]:
    return (words.Batch([batch.data], batch.offsets, i << 32) for i, batch in enumerate(batches))


def test_a_batch_is_copied_while_the_one_before_is_counted(device):
    """By another thread: counting does not begin before the copy of the next batch begins, for which no code waits."""
    pending, begun, n = [], [threading.Event() for _ in range(6)], itertools.count()

    def upload(arrays):
        arrived = device.upload(arrays)
        begun[next(n)].set()
        return arrived

    def launch(file, kernel, *arguments, **options):
        if kernel == "count_words" and len(pending) < 4:
            assert begun[len(pending) + 1].wait(60)
            pending.append(stand_in.pending())
        device.launch(file, kernel, *arguments, **options)

    batches = [TextBatch.from_strings([f"batch {i}", " of some words" * i]) for i in range(5)]
    watched = device._replace(launch=launch, upload=upload)
    data, _, counts, _ = words.count_batches(watched, numbered(batches), GPT2)
    expected = count_on_cpu(batches, Way(automaton=GPT2), threads=1)
    assert np.array_equal(data, expected.data) and np.array_equal(counts, expected.counts)
    assert pending == [2, 2, 2, 2]  # text and offsets of the next batch


def test_the_padding_of_an_upload_is_written(device):
    """Kernels load it by whole words; compute-sanitizer would call that a load of memory that was never written."""
    with device.active() as lane:
        for array in (np.arange(5, dtype=np.uint8), np.arange(3), np.ones(1, np.uint32)):
            (there,) = device.upload((array,))()
            lane.wait()
            padding = there._block.memory[array.nbytes : array.nbytes + cuda.PADDING_BYTES]
            assert not padding.any() and np.array_equal(device.download(there), array)


def test_copies_end_with_the_work_that_fails(device):
    """The target memory of a copy is reused as soon as nothing refers to it."""
    with pytest.raises(KeyError), device.active():
        device.upload((np.arange(9),))
        assert stand_in.pending() == 1
        raise KeyError
    assert stand_in.pending() == 0


def test_streams_and_pinned_memory_belong_to_lanes(device):
    """However many threads work on a device, and however large what they copy is."""

    def work(i):
        with device.active(), device.active():
            there = device.upload(([np.arange(i * 1000, dtype=np.uint32), np.arange(3, dtype=np.uint32)],))
            return device.download(there()[0]).sum()

    with ThreadPoolExecutor(16) as pool:
        sums = [*pool.map(work, range(64))]
    assert sums == [np.arange(i * 1000).sum() + 3 for i in range(64)]
    assert len(stand_in.Stream.made) <= 2 * cuda.LANES
    assert stand_in.faults.pinned <= 4 * device.sizes.piece * cuda.LANES


def test_an_array_goes_through_pinned_memory_in_pieces(monkeypatch):
    with stand_in.installed(monkeypatch, cuda.DeviceSizes(piece=64)):
        device = cuda.cupy_device()
        for n in (0, 1, 7, 8, 9, 100, 1000):
            array = np.arange(n, dtype=np.int64)
            with device.active():
                (there,) = device.upload((array,))()
                assert np.array_equal(device.download(there), array)


def test_no_pinned_memory_is_no_memory(device):
    stand_in.faults.pinned_limit = device.sizes.piece
    with pytest.raises(MemoryError, match="MiB of pinned host memory can't be had"), device.active():
        pass
    assert stand_in.faults.pinned <= device.sizes.piece


def test_merges_that_do_not_fit_say_what_to_do(device):
    """And nothing stays in the memory of the device."""
    symbols = np.arange(60_000, dtype=np.uint16) % 250
    corpus = symbols, np.arange(0, 60_001, 6), np.ones(10_000, np.int64)
    names = np.arange(250, dtype=np.uint8), np.arange(251)
    for number in (0, 7, 20):
        stand_in.faults.fails_at = {stand_in.faults.allocations + number}
        with pytest.raises(MemoryError, match=r"60,000 symbols of 10,000 distinct words .*: use device='cpu'"):
            bpe.train_bpe(device, *corpus, *names, BpeLimits(300))
    gc.collect()
    assert stand_in.faults.used[0] == 0


def test_a_symbol_takes_at_most_16_bytes(device):
    """At any time of training, in words of six symbols, besides the tables of pairs."""
    n, sizes = 60_000, device.sizes._replace(candidate_room=1024, candidates=64)
    symbols = np.random.default_rng(0).integers(0, 30, n).astype(np.uint16)
    corpus = symbols, np.arange(0, n + 1, 6), np.ones(n // 6, np.int64)
    names = np.arange(30, dtype=np.uint8), np.arange(31)
    found = bpe.train_bpe(device._replace(sizes=sizes), *corpus, *names, BpeLimits(50, 0, 5))
    assert len(found.left) == 20 and stand_in.faults.most_used <= 16 * n + (1 << 16)
    assert stand_in.faults.most_used > 10 * n


def test_memory_is_given_again_at_once_within_a_stream(device):
    """What the stand-in is worth: a kernel finds the bytes that are there when it runs, not when it was launched."""
    import cupy

    with device.active() as lane:
        bits, sums = cupy.asarray(np.ones(1, np.uint32)), cupy.zeros(2, cupy.uint64)
        at = bits.data.ptr
        struct = packed(Bits(bits, sums, cupy.zeros(2, cupy.uint32), 1, 1, 0))
        device.launch("bits.cu", "list_bits", 1, 128, (struct,))
        with lane.copying:
            assert cupy.empty(1, cupy.uint32).data.ptr != at
        del bits
        assert cupy.empty(1, cupy.uint32).data.ptr == at and stand_in.faults.given_again


def source_of(documents) -> Source:
    return Source(documents, False, sizes=ReadSizes(batch=400))


def trained(tokenizer, trainer, documents, device) -> None:
    counts = count_corpus(tokenizer.pipeline, source_of(documents), Run(device, progress=False))
    tokenizer.train_from_word_counts(counts, trainer, device=device, progress=False)


def encoded(tokenizer, documents, device) -> Iterator:
    return encode(tokenizer.pipeline, source_of(documents).read(), devices=Run(device).devices)


def test_the_whole_path_on_two_devices_through_cupy(devices):
    """Two threads with one device each never use an array of the other device."""
    documents = [*random_documents(np.random.default_rng(5), 100).strings(), "the<|endoftext|>the"]

    def run(device):
        tokenizer, trainer = recipe("bpe", vocab_size=280)
        trained(tokenizer, trainer, documents, device)
        batches = [*encoded(tokenizer, documents, device)]
        assert device == "cpu" or len(batches) > 3
        return tokenizer.to_str(), np.concatenate([batch.ids for batch in batches])

    assert len(devices) == 2 and backend.choose("cuda:1").devices == devices[1:]
    (ours, our_ids), (theirs, their_ids) = run("cuda"), run("cpu")
    assert ours == theirs and np.array_equal(our_ids, their_ids)


def test_probes_through_cupy(device):
    """A graph that is launched again, a cooperative launch, and times."""
    sizes = probes.Sizes(steps=6, steps_in_graph=2, values=200, keys=500, distinct=100)
    assert all(figure.seconds > 0 for figure in probes.measure(device, sizes))


def test_cupy_takes_every_launch(device, monkeypatch):
    """Its own `Function` is asked for each launch of each kernel; it would refuse a struct of several elements."""
    asked, accepted = set(), stand_in.accepted
    monkeypatch.setattr(stand_in, "accepted", lambda *a: asked.add("a launch") or accepted(*a))
    launched, launch = set(), device.launch
    watched = device._replace(
        launch=lambda file, kernel, *a, **o: launched.add(kernel) or launch(file, kernel, *a, **o),
        sizes=device.sizes._replace(candidates=8, candidate_room=10, pair_slots=256, rounds_per_look=1),
    )
    results(in_cuda(watched), inputs_of_all_stages())
    batches = [TextBatch.from_strings(["a few words", "the words"])]
    words.count_batches(
        watched,
        numbered(batches),
        GPT2,
        capacity=4,
        watched=Watched(Needles.of([b"the"]), NFC().inert),
        leave=lambda *_: None,
    )
    tables = byte_model([("a", "b")]).byte_tables
    in_cuda(watched).encode_words(np.zeros(150, np.uint8), [0], [150], tables)
    model = lookup.upload(watched, tables)
    pieces = *batches[0], None
    automaton = split.upload(watched, GPT2)
    encode_corpus.encode_corpus(watched, *pieces, automaton, model, np.uint16)
    encode_corpus.encode_documents(watched, *pieces, np.arange(3), ([1], [2]), automaton, model)
    probes.measure(watched, probes.Sizes(steps=2, steps_in_graph=2, values=64, keys=64, distinct=9))
    known = {name for path in [*SOURCES.glob("*.cu"), pathlib.Path(probes.PROBE)] for name in signatures.kernels(path)}
    assert launched == known and asked


@pytest.mark.parametrize("value", [np.zeros(24, np.uint64), np.zeros(2, np.uint8), "text", [1]])
def test_what_cupy_refuses_is_refused(value, device, monkeypatch):
    """With CuPy's own message, and by the rule that stands in for it where CuPy is not installed."""
    for _ in range(2):
        with pytest.raises(TypeError):
            stand_in.accepted((1,), (1,), (value,), False)
        monkeypatch.setattr(stand_in, "real", None)
    if isinstance(value, np.ndarray):
        with device.active(), pytest.raises(TypeError):
            device.launch("train_bpe.cu", "count_pairs", 1, 128, (value,))


def test_structs_are_arrays_of_one_element(device):
    struct = packed((np.zeros(3, np.uint8), 7, np.zeros(2, np.int64)))
    assert struct.shape == (1,) and struct.nbytes == 24 and struct.view(np.uint64)[1] == 7
    stand_in.accepted((1,), (1,), (struct,), False)


def test_memory_goes_back_to_the_device_when_work_ends(devices):
    """Not between the parts of a call, and all of it at its end: training, counting, encoding."""
    documents = [*random_documents(np.random.default_rng(5), 100).strings()]
    tokenizer, trainer = recipe("bpe", vocab_size=280)
    trained(tokenizer, trainer, documents, "cuda")
    assert stand_in.faults.most_used > 100_000 and not any(stand_in.faults.reserved.values())
    batches = encoded(tokenizer, documents, "cuda:0")
    next(batches)
    assert stand_in.faults.reserved[0] > stand_in.faults.used[0] > 0
    assert len([*batches]) > 3 and not any(stand_in.faults.reserved.values())
    with devices[0].in_use():
        for _ in range(2):
            with devices[0].active():
                devices[0].xp.zeros(100, np.uint8)
        assert stand_in.faults.reserved[0] == 512
    assert stand_in.faults.reserved[0] == 0


def test_threads_share_a_device_from_its_first_use(monkeypatch):
    """And what they compile."""
    with stand_in.installed(monkeypatch):
        modules, new = [], stand_in.RawModule.__init__

        def slowly(module, **options):
            modules.append(1)
            time.sleep(0.05)
            new(module, **options)

        properties = stand_in.Cupy.cuda.runtime.getDeviceProperties
        monkeypatch.setattr(
            stand_in.Cupy.cuda.runtime, "getDeviceProperties", lambda i: time.sleep(0.05) or properties(i)
        )
        monkeypatch.setattr(stand_in.RawModule, "__init__", slowly)

        def work(_):
            device = cuda.cupy_device(0)
            with device.active():
                device.launch("bits.cu", "scan_sums", 1, 128, (Sums(device.xp.zeros(1, np.uint64), 0),))
            return id(device)

        with ThreadPoolExecutor(4) as pool:
            assert len({*pool.map(work, range(4))}) == 1 and len(modules) == 1


@pytest.fixture
def cubins_of_the_wheel(tmp_path, monkeypatch):
    """Files instead of cubins, for compute capability 8.0 and 9.0 (that of the stand-in)."""
    monkeypatch.setattr(cuda, "CUBINS", tmp_path)
    for source in SOURCES.glob("*.cu"):
        for architecture in (80, 90):
            (tmp_path / cubins.name_of(source.name, architecture)).write_bytes(b"machine code")
    return tmp_path


def test_machine_code_is_loaded_where_there_is_no_compiler(cubins_of_the_wheel, device, monkeypatch):
    stand_in.faults.no_compiler = True
    given = inputs_of_all_stages()
    agree(results(in_cuda(device), given), results(in_python(), given))


def test_code_that_the_driver_does_not_know_is_compiled(cubins_of_the_wheel, device):
    (cubins_of_the_wheel / "bits.sm_90.cubin").write_bytes(b"too new")
    with device.active():
        values = device.xp.zeros(1, np.uint64)
        device.launch("bits.cu", "scan_sums", 1, 128, (Sums(values, 0),))
        device.launch(probes.PROBE, "add_one", 1, 128, (probes.Probe(values, None, None, None, None, 1, 1),))


def test_which_machine_code_fits_a_device(cubins_of_the_wheel):
    for capability, fitting in {(8, 0): 80, (8, 9): 80, (9, 0): 90, (7, 5): None, (10, 0): None}.items():
        found = cuda.cubin_for("lines.cu", *capability)
        assert (found and found.name) == (fitting and f"lines.sm_{fitting}.cubin")


def test_wrong_structs_are_errors():
    """Names, order, elements and number of fields; of a packed struct, its size."""
    device = emulated_device(1)
    zeros = device.xp.zeros
    right = Bits(zeros(2, np.uint32), zeros(2, np.uint64), zeros(1, np.uint32), 2, 1, 0)

    def launch(*structs):
        device.launch("bits.cu", "list_bits", 1, 128, structs)

    launch(right)
    launch(packed(right))
    other = collections.namedtuple("Bits", "sums bits found n room end")
    for wrong in (
        (),
        (right, right),
        (Sums(right.sums, 2),),
        (other(right.sums, right.bits, *right[2:]),),
        (right._replace(bits=np.zeros(2, np.int64)),),
        (right._replace(bits=np.zeros(4, np.uint32)[::2]),),
        (right._replace(n=2.0),),
        (right._replace(n=-1),),
        (right._replace(n=1 << 32),),
        (packed(right[:-1]),),
        (right.bits,),
    ):
        with pytest.raises(TypeError, match=r"bits\.cu"):
            launch(*wrong)


def test_the_stand_in_is_as_strict_as_cupy(device):
    import cupy

    with device.active():
        array = cupy.asarray(np.arange(4))
        assert cuda.number(device, array, 3) == 3 and array[1].shape == ()

        def assign():
            array[1:] = array[:-1]

        for wrong in (
            lambda: int(array[0]),
            lambda: np.asarray(array),
            lambda: array + 1,
            lambda: array < array,
            lambda: array[array],
            lambda: np.concatenate([array, array]),
            assign,
        ):
            with pytest.raises(TypeError):
                wrong()
        for name in ("sum", "astype", "fill", "copy"):
            with pytest.raises(AttributeError):
                getattr(array, name)
        with pytest.raises(AttributeError):
            cupy.bincount  # noqa: B018


@pytest.mark.parametrize(("threads", "blocks"), [(1024, 8), (1536, 12), (2048, 16)])
def test_a_launch_fills_the_device(threads, blocks, monkeypatch):
    """Eight blocks of 128 threads on sm_75, twice as many on sm_80, sm_90 and sm_100."""
    card = {"MultiProcessorCount": 3, "MaxThreadsPerMultiProcessor": threads}
    monkeypatch.setattr(stand_in.Device, "attributes", card)
    with stand_in.installed(monkeypatch):
        assert cuda.cupy_device().blocks == 3 * blocks
    with stand_in.installed(monkeypatch, cuda.DeviceSizes(threads=512)):
        assert cuda.cupy_device().blocks == 12


@pytest.mark.parametrize(("registers", "blocks"), [(20, 32), (32, 32), (33, 24), (64, 16)])
def test_no_block_waits_for_the_registers_of_others(registers, blocks, device, monkeypatch):
    monkeypatch.setattr(stand_in.Device, "registers", registers)
    monkeypatch.setattr(stand_in.Device, "attributes", {"MultiProcessorCount": 2, "MaxThreadsPerMultiProcessor": 2048})
    cuda._made.cache_clear()
    monkeypatch.setattr(stand_in, "accepted", lambda grid, *_: grids.append(grid))
    device, grids = cuda.cupy_device(), []
    with device.active():
        device.launch("bits.cu", "scan_sums", device.blocks, 128, (Sums(device.xp.zeros(1, np.uint64), 0),))
        device.launch("bits.cu", "scan_sums", 3, 128, (Sums(device.xp.zeros(1, np.uint64), 0),))
    assert grids == [(blocks,), (3,)]


def test_no_wait_keeps_a_core_busy(device):
    import cupy

    with device.active() as lane, pytest.raises(AssertionError, match="keeps a core busy"):
        lane.working.record(cupy.cuda.Event()).synchronize()


@pytest.mark.slow
def test_the_tests_for_a_device_are_rehearsed(test_data):
    """`pytest -m gpu` on the stand-in: all that it runs nowhere else, and one test of each stage."""
    chosen = "whole or memcheck or gigabyte or hello or (test_bench and cuda)"
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "tests.emulation.rehearsal"]
    files = ["tests/cuda/test_device_corpora.py", "tests/kernels/test_kernels.py", "tests/cli/test_bench.py"]
    done = subprocess.run([*command, "-k", chosen, *files], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and re.search(r"\b11 passed, \d+ deselected", done.stdout), done.stdout[-5000:]
