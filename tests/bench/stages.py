"""Times the stages of training and encoding on a GPU, and each kernel: `python -m tests.bench stages TEXT`.

The device seconds of a stage are measured by two CUDA events around the stage; the text is in the memory of the device
before, and the result after. The kernel seconds are measured by events around each launch of gputok's kernels, in a
separate run. The difference of the two is the time of waiting for the host. Each
result is compared with the CPU's before it is timed.
"""

from __future__ import annotations

import contextlib
import pathlib
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from gputok.kernels.cpu.lines import lines as lines_on_cpu
from gputok.kernels.cuda import count_words as words
from gputok.kernels.cuda import encode_corpus as device_encode
from gputok.kernels.cuda import encode_words, lines, split
from gputok.kernels.cuda.device import SIZES, Device, indexes, number

from gputok import Tokenizer, corpus
from gputok.bench import spread
from gputok.bench.peers import END, Job
from gputok.counts.word_counts import WordCounts
from gputok.pipeline.count.units import POSITIONS
from gputok.pipeline.count.words import count_words
from gputok.pipeline.encode.corpus import encode_corpus
from gputok.pipeline.encode.devices import ByDevice
from gputok.recipes import recipe
from gputok.text.way import Way
from tests.bench.device import record, seconds_between

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gputok.text.pieces import TextBatch

_MOST_BYTES = 1 << 30  # the largest size of the text in the memory of the device
_EVENTS_AT_A_TIME = 4096


Work = Callable[[Device], Any]
"""A stage; it uses the device inside `device.active()`."""


class Stage(NamedTuple):
    """The times of one stage on a GPU.

    Attributes:
        stage: its name.
        card: the name of the GPU.
        n_bytes: the size of the text.
        device_seconds: for each run, the time on the device.
        kernel_seconds: the time of each of gputok's kernels, longest first.
    """

    stage: str
    card: str
    n_bytes: int
    device_seconds: list[float]
    kernel_seconds: dict[str, float]

    def line(self) -> str:
        """Describes the stage in one line."""
        device, kernels = statistics.median(self.device_seconds), sum(self.kernel_seconds.values())
        rates = [f"{self.n_bytes / 1e9 / seconds:.3g} GB/s" if seconds else "-" for seconds in (device, kernels)]
        each = ", ".join(f"{kernel} {seconds:.3g}" for kernel, seconds in self.kernel_seconds.items())
        return (
            f"{self.card}, {self.stage}: device {spread(self.device_seconds, '{:.3g}')} s, {rates[0]}; "
            f"kernels {kernels:.3g} s, {rates[1]} ({each})"
        )


def of_file(text: str, vocab_size: int, threads: int, device: Device, runs: int) -> list[Stage]:
    """Times the stages of training byte-level BPE on a text file, and of encoding the file by what was learnt."""
    with tempfile.TemporaryDirectory() as folder:
        saved = str(pathlib.Path(folder, "tokenizer.json"))
        tokenizer, trainer = recipe("bpe", vocab_size=vocab_size)
        tokenizer.train([text], trainer, threads=threads, progress=False)
        tokenizer.save(saved)
        job = Job("train", "gputok", text, "", "", threads, "bpe", vocab_size)
        jobs = job, job._replace(task="encode", tokenizer=saved)
        return [stage for one in jobs for stage in measure(one, device, runs)]


def measure(job: Job, device: Device, runs: int) -> list[Stage]:
    """Times the stages of a job's task on a device; raises ValueError if a result differs from the CPU's."""
    stages = _training(job, device) if job.task == "train" else _encoding(job, device)
    return [_measured(name, n_bytes, work, device, runs) for name, n_bytes, work in stages]


def _measured(name: str, n_bytes: int, work: Work, device: Device, runs: int) -> Stage:
    seconds = [_timed(work, device) for _ in range(1 + runs)][1:]  # the first run fills CuPy's pool of memory
    with _timed_launches(device) as (watched, kernels):
        work(watched)
    longest_first = sorted(kernels.items(), key=lambda item: item[1], reverse=True)
    return Stage(name, device.name, n_bytes, seconds, dict(longest_first))


def _timed(work: Work, device: Device) -> float:
    seconds = []

    @contextlib.contextmanager
    def active() -> Iterator[None]:
        with device.active():
            first = record(device)
            yield
            seconds.append(seconds_between(device, first, record(device)))

    work(device._replace(active=active))
    return sum(seconds)


@contextlib.contextmanager
def _timed_launches(device: Device) -> Iterator[tuple[Device, dict[str, float]]]:
    """Yields the device and a dictionary, which contains the seconds of each kernel when the block is left."""
    kernels: dict[str, float] = defaultdict(float)
    events: list[tuple[str, Any, Any]] = []

    def add_up() -> None:
        for kernel, first, last in events:
            kernels[kernel] += seconds_between(device, first, last)
        events.clear()

    def launch(file: str, kernel: str, *arguments: Any, **options: Any) -> None:
        first = record(device)
        device.launch(file, kernel, *arguments, **options)
        events.append((kernel, first, record(device)))
        if len(events) == _EVENTS_AT_A_TIME:
            add_up()

    yield device._replace(launch=launch), kernels
    add_up()


def _training(job: Job, device: Device) -> Iterator[tuple[str, int, Work]]:
    tokenizer, trainer = recipe(job.model, vocab_size=job.vocab_size)
    plan: Any = tokenizer.pipeline.way
    batches = _head(corpus.read(job.text, batch_bytes=SIZES.batch))
    n_bytes, tables = sum(batch.data.nbytes for batch in batches), split.upload(device, plan.automaton)
    texts = _resident(device, [(batch.data, indexes(batch.offsets)) for batch in batches])

    def find_lines(device: Device) -> list[Any]:
        with device.active():
            return [lines.lines(device, data)[0] for data, _ in texts]

    def find_words(device: Device) -> None:
        with device.active():
            for data, offsets in texts:
                split.find_words(device, data, offsets, tables)

    def count(device: Device) -> words.DeviceCounts:
        with device.active():
            counts = words.no_words(device)
            for i, (data, offsets) in enumerate(texts):
                counts = words.count_words(device, data, offsets, i * POSITIONS, tables, counts)
            return counts

    with device.active():
        found = [device.download(offsets) for offsets in find_lines(device)]
    expected = [lines_on_cpu(batch.data)[0] for batch in batches]
    _verify("find_lines", all(map(np.array_equal, found, expected)))
    counted = count_words(batches, plan, threads=job.threads)
    with device.active():
        ours = WordCounts(*words.collected(device, count(device))[:3], plan.byte_level)
    _verify("count_words", ours == counted)

    def merge(device: Device) -> Any:
        return trainer.train(counted, devices=[device])

    _verify("train_bpe", np.array_equal(merge(device).merges, trainer.train(counted).merges))
    yield "find_lines", n_bytes, find_lines
    yield "find_words", n_bytes, find_words
    yield "count_words", n_bytes, count
    yield "train_bpe", n_bytes, merge


def _encoding(job: Job, device: Device) -> Iterator[tuple[str, int, Work]]:
    tokenizer = Tokenizer.from_file(job.tokenizer)
    if ByDevice.why_not(tokenizer.pipeline):
        return
    pre_tokenizer: Any = tokenizer.pre_tokenizer
    plan, tables = pre_tokenizer.way(Way()), tokenizer.model.byte_tables
    batches = _head(corpus.read(job.text, separator=END, batch_bytes=SIZES.batch))
    automaton, model = split.upload(device, plan.automaton), encode_words.upload(device, tables)
    with device.active():
        texts = [device_encode.upload(device, *batch, np.full(batch.n_documents, -1)) for batch in batches]

    def encode(device: Device) -> list[Any]:
        with device.active():
            return [
                device_encode.encode_on_device(device, data, offsets, token, automaton, model)
                for data, offsets, token in texts
            ]

    with device.active():
        ours = [device.download(ids[: number(device, ends)]) for ids, ends in encode(device)]
    theirs = [
        batch.ids for batch in encode_corpus(tokenizer.pipeline, batches, add_special_tokens=False, threads=job.threads)
    ]
    _verify("encode_corpus", np.array_equal(np.concatenate(ours), np.concatenate(theirs)))
    yield "encode_corpus", sum(batch.data.nbytes for batch in batches), encode


def _head(batches: Iterator[TextBatch]) -> list[TextBatch]:
    """Returns the first batches, up to 1 GB together, at least one."""
    taken, n_bytes = [], 0
    for batch in batches:
        n_bytes += batch.data.nbytes
        if taken and n_bytes > _MOST_BYTES:
            break
        taken.append(batch)
    return taken


def _resident(device: Device, arrays: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Copies arrays to the device."""
    with device.active():
        return [device.upload(tuple(each))() for each in arrays]


def _verify(stage: str, equal: bool) -> None:
    if not equal:
        raise ValueError(f"not timed: {stage} gives another result on the GPU than on the CPU")
