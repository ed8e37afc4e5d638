"""Estimates how long a GPU would take, from counts of what its kernels do with a text, and from the rates of cards.

`python -m tests.bench device --model CORPUS` counts, in the emulator, the instructions of warps, the sectors that
their requests touch, and the memory that is touched at all, of each kernel, for the beginning of that corpus; on the
CPU, the work of training. A kernel takes as long as the slowest of the three. **This is a model: gputok has measured
none of its rates on a GPU.** Each constant has a fast and a slow value, and each result is a range: of the fast one
all sectors come from L1, of the slow one none. Beside the model stand this machine's CPU, measured for the same text,
and on a machine with a GPU the same stages as measured there. `UNKNOWN` is what the model can't know.

The number of rounds is a lower bound: a round has consecutive merges that share no token with each other, and use no
token that the round itself makes. On 6 MB of English, 8,000 merges took 498 rounds, and the bound is 383; on 20 MB,
31,744 merges took 1,182 rounds, and the bound is 949.
"""

from __future__ import annotations

import datetime
import json
import pathlib
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tests.bench.device import record, seconds_between

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from gputok.kernels.cuda.device import Device

    from gputok import Tokenizer
    from gputok.counts.word_counts import WordCounts
    from gputok.types import Bytes
    from tests.bench.device_counts import Counts


class Range(NamedTuple):
    """A constant or a result: its value if all goes well, and if it does not."""

    fast: float
    slow: float

    def __str__(self) -> str:
        return f"{self.fast:.2g} to {self.slow:.2g}"


# Bytes a second that one thread reads from the page cache into pinned memory (measured, in ordinary memory), and that
# all threads read together: memory, and Python's lock, 75 us for each block of 2 MiB
_READ, _READ_TOGETHER = Range(3.1e9, 2.0e9), Range(28e9, 15e9)
# Seconds for a context and 256 MiB of pinned memory
_CONTEXT = Range(0.4, 1.5)
_LAUNCH = Range(2.2e-6, 3.5e-6)  # seconds from one small kernel to the next in a stream
# Seconds of Python for a batch: 21 launches, 40 arrays, 6 looks at the device
_HOST_A_BATCH = Range(0.4e-3, 0.8e-3)
_BATCH = 64 << 20  # a batch has so many bytes of text
# Seconds of one block that reads 4,000 candidates four times, and puts 256 in order
_CHOOSE = Range(25e-6, 60e-6)
_ROUNDS = Range(1.15, 1.35)  # the number of rounds, divided by its lower bound
_LAUNCHES_A_ROUND, _ROUNDS_A_LOOK = 4, 16
# Seconds of a look at the merges: two downloads, names of tokens in Python, and a queue that is empty after them
_LOOK_AT_MERGES = Range(200e-6, 400e-6)
_MEMORY = Range(0.9, 0.6)  # kernels reach this share of the bandwidth in the data sheet

_RUNS = 3  # each measurement is made so many times
# As `stages` calls them
_STAGES = {
    "find_lines": "find lines",
    "count_words": "split and count",
    "train_bpe": "merge",
    "encode_corpus": "encode",
}


# Of the slots for instructions of warps, the share that kernels use: they wait for memory, and lanes go other ways
_ISSUED = Range(0.6, 0.2)
# Instructions of a card for one of PTX: split_words has 0.35, whose PTX has not been put in order yet, and others more
_OF_PTX = Range(0.7, 1.2)
_SECTOR = 32
# Bytes of text for which the emulator counts
_SAMPLE = 30_000

UNKNOWN = (
    "not known to the model: how often L1 and L2 have a sector (its ranges are always and never), how long warps wait "
    "for memory and for atomics at one address, how many new words the rest of the text has, clocks under load, the "
    "driver's time for a context, links that others use"
)


class Card(NamedTuple):
    """Rates of a GPU, in bytes a second: those of data sheets, and of L2 also as others measured it."""

    name: str
    multiprocessors: int
    clock: Range  # a second
    l1: int  # bytes of a multiprocessor in a clock
    l2: Range
    memory: float
    link: Range  # from pinned memory
    host_copies: Range  # of text that is encoded: two copies on the host, and the ids that come back


CARDS = (
    Card("T4", 40, Range(1.5e9, 0.9e9), 64, Range(1.3e12, 1.0e12), 320e9, Range(12e9, 6e9), Range(2.5e9, 1.5e9)),
    Card("A100", 108, Range(1.4e9, 1.2e9), 128, Range(7.2e12, 3.5e12), 1.9e12, Range(25e9, 20e9), Range(6e9, 4e9)),
    Card("H100", 132, Range(1.8e9, 1.4e9), 128, Range(9.0e12, 5.5e12), 3.3e12, Range(50e9, 25e9), Range(8e9, 5e9)),
)


class Work(NamedTuple):
    """The work of the stages for a corpus, counted on the CPU."""

    n_bytes: int  # of text
    n_words: int  # distinct ones
    n_symbols: int  # of the distinct words, before the first merge
    n_symbols_left: int  # after the last one
    n_merges: int
    n_rounds: int  # at least
    n_readers: int  # threads
    # A stage -> a kernel -> instructions of warps, sectors of requests and sectors of memory, for a byte of text
    kernels: dict[str, dict[str, Sequence[float]]]
    # Seconds of this machine's CPU: importing CuPy, and compiling all kernels, which a wheel with cubins saves
    importing: float
    compiling: float

    @classmethod
    def of(
        cls,
        n_bytes: int,
        words: WordCounts,
        merges: Iterable[Sequence[int]],
        n_tokens: int,
        readers: int,
        kernels: dict[str, dict[str, Sequence[float]]],
    ) -> Work:
        """Computes the work of counting words and learning merges.

        Args:
            n_bytes: Bytes of the corpus.
            words: The distinct words of the corpus.
            merges: Pairs of ids, in the order in which they were learned; the first makes the token n_tokens.
            n_tokens: Tokens before the first merge.
            readers: Threads that read.
            kernels: The result of `of_kernels`.
        """
        pairs = [(int(a), int(b)) for a, b in merges]
        lengths = np.diff(words.offsets)
        n_symbols = int(lengths[lengths > 1].sum())
        # An assumption: merges shorten words to about a third
        rounds, start = rounds_of(pairs, n_tokens), (_importing(), _compiling())
        return cls(n_bytes, len(lengths), n_symbols, n_symbols // 3, len(pairs), rounds, readers, kernels, *start)


def _importing() -> float:
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", "import cupy"], capture_output=True)
    return time.perf_counter() - began if done.returncode == 0 else 0.0


def _compiling() -> float:
    from gputok.kernels.wheel import cubins

    nvrtc, began = cubins.library(), time.perf_counter()
    for source in cubins.SOURCES.glob("*.cu") if nvrtc else ():
        cubins.compiled(nvrtc, source, 90)
    return time.perf_counter() - began


def of_kernels(data: bytes, tokenizer: Tokenizer) -> dict[str, dict[str, Sequence[float]]]:
    """Counts what the kernels of each stage do with a text, for each of its bytes.

    Args:
        data: UTF-8, some kilobytes.
        tokenizer: A trained one, of byte-level BPE.
    """
    from gputok.kernels.cuda.count_words import Batch, count_batches

    from gputok.text.pieces import TextBatch
    from gputok.text.way import Way
    from tests.bench.device_counts import counted
    from tests.emulation.stages import in_cuda

    batch = TextBatch.from_strings(data.decode(errors="ignore").splitlines(keepends=True))
    automaton, tables = tokenizer.pre_tokenizer.way(Way()).automaton, tokenizer.model.byte_tables
    none = np.full(batch.n_documents, -1, np.int64)
    stages: dict[str, Callable[[Device], Any]] = {
        "find lines": lambda device: in_cuda(device).lines(np.array(batch.data)),
        "split and count": lambda device: count_batches(
            device, iter([Batch([batch.data], batch.offsets, 0)]), automaton
        ),
        "encode": lambda device: in_cuda(device).encode_corpus(batch, none, automaton, tables),
    }

    def of_byte(counts: Counts) -> list[float]:
        return [n / len(batch.data) for n in (counts.instructions, counts.sectors, counts.touched)]

    return {stage: {name: of_byte(each) for name, each in counted(run).items()} for stage, run in stages.items()}


def rounds_of(merges: Sequence[tuple[int, int]], n_tokens: int) -> int:
    """The least number of rounds that can learn these merges, the first of which makes the token n_tokens.

    >>> rounds_of([(1, 2), (3, 2), (5, 1), (3, 3)], 5)
    3
    """
    n_rounds, left, right, first = 0, set(), set(), n_tokens
    for n, (a, b) in enumerate(merges):
        meets = a in right or b in left or a == b or max(a, b) >= first
        if n == 0 or meets:
            n_rounds, left, right, first = n_rounds + 1, set(), set(), n_tokens + n
        left.add(a)
        right.add(b)
    return n_rounds


def seconds(work: Work, card: Card) -> dict[str, Range]:
    """The time of each stage by the model; in "end to end, count", reading, copying and counting overlap.

    >>> nothing = Work(0, 0, 0, 0, 0, 0, 1, {}, 0.0, 0.0)
    >>> max(found.slow for stage, found in seconds(nothing, CARDS[0]).items() if not stage.startswith("start"))
    0.0
    """
    each = [_seconds(work, card, slow) for slow in (False, True)]
    return {stage: Range(each[0][stage], each[1][stage]) for stage in each[0]}


def _seconds(work: Work, card: Card, slow: bool) -> dict[str, float]:
    def of(constant: Range) -> float:
        return constant[slow]

    host = -(-work.n_bytes // _BATCH) * of(_HOST_A_BATCH)
    memory = card.memory * of(_MEMORY)
    # Four instructions of warps in a clock. Sectors come from L1, and if all is slow from L2
    issued = 4 * card.multiprocessors * of(card.clock) * of(_ISSUED)
    caches = card.multiprocessors * of(card.clock) * card.l1 * of(_MEMORY) if not slow else of(card.l2) * of(_MEMORY)

    def kernels(stage: str) -> float:
        seconds = (
            max(instructions * of(_OF_PTX) / issued, sectors * _SECTOR / caches, touched * _SECTOR / memory)
            for instructions, sectors, touched in work.kernels.get(stage, {}).values()
        )
        return work.n_bytes * sum(seconds)

    found = {
        "start, warm": work.importing + of(_CONTEXT),
        "start, first": work.importing + of(_CONTEXT) + slow * work.compiling,
        "read": work.n_bytes / min(of(_READ) * work.n_readers, of(_READ_TOGETHER)),
        "copy to the GPU": work.n_bytes / of(card.link),
        "find lines": kernels("find lines"),
        "split and count": kernels("split and count") + host,
        "encode": kernels("encode") + host,
    }
    first_bytes = 4 * (work.n_symbols + work.n_words)  # bytes that the first round reads ...
    last_bytes = 4 * (work.n_symbols_left + work.n_words)  # ... and the last round
    scan = (first_bytes + last_bytes) / 2 / memory
    launches = _LAUNCHES_A_ROUND * of(_LAUNCH) + of(_CHOOSE) + of(_LOOK_AT_MERGES) / _ROUNDS_A_LOOK
    found["merge"] = work.n_rounds * of(_ROUNDS) * (scan + launches)
    on_device = found["find lines"] + found["split and count"]
    found["end to end, count"] = max(found["read"], found["copy to the GPU"], on_device)
    found["end to end, train"] = found["end to end, count"] + found["merge"]
    found["end to end, encode"] = max(found["read"], found["encode"], work.n_bytes / of(card.host_copies))
    return found


def of_file(path: str, vocab_size: int, threads: int | None) -> tuple[Work, dict[str, float]]:
    """Counts the work of training byte-level BPE on a text file, by training on the CPU.

    Returns:
        The work, and the seconds that this machine's CPU took, from end to end.
    """
    from gputok.kernels.threads import thread_count

    from gputok import corpus
    from gputok.recipes import recipe

    def timed(stage: str, run: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        result = run()
        on_cpu[stage] = time.perf_counter() - began
        return result

    on_cpu: dict[str, float] = {}
    tokenizer, trainer = recipe("bpe", vocab_size=vocab_size)
    tokenizer.count_words(iter(["a word"]), device="cpu", progress=False)  # loads or compiles kernels
    words = timed(
        "end to end, count", lambda: tokenizer.count_words(path, device="cpu", threads=threads, progress=False)
    )
    learned = timed("merge", lambda: trainer.train(words, threads=threads))
    on_cpu["end to end, train"] = on_cpu["end to end, count"] + on_cpu["merge"]
    tokenizer.train_from_word_counts(words, trainer, threads=threads, device="cpu", progress=False)
    for _ in tokenizer.encode_corpus(iter(["a word"]), device="cpu", progress=False):  # loads or compiles kernels
        pass
    timed(
        "end to end, encode",
        lambda: [
            len(batch.ids) for batch in tokenizer.encode_corpus(path, device="cpu", threads=threads, progress=False)
        ],
    )
    timed("read", lambda: _read(path, threads, lambda n_bytes: np.empty(n_bytes, np.uint8)))
    n_bytes = corpus.Source.of(path).total_bytes or sum(len(batch.data) for batch in corpus.read(path))
    n_tokens = len(learned.vocabulary.ids) - len(learned.merges)
    kernels = of_kernels(next(iter(corpus.read(path))).data[:_SAMPLE].tobytes(), tokenizer)
    work = Work.of(n_bytes, words, learned.merges.tolist(), n_tokens, thread_count(threads), kernels)
    return work, on_cpu


def measured(path: str, vocab_size: int, threads: int | None, card: Device, device: str) -> dict[str, float]:
    """Measures the stages of `seconds` on a GPU, without the start of a process; the best of some runs.

    Stages on the device are measured with text in its memory, at most a GB, and scaled to the whole text.

    Args:
        path: A text file.
        vocab_size: Of the tokenizer that is trained on it.
        threads: Of the host; None: all cores.
        card: The GPU.
        device: The name of the GPU, "cuda:0" or another one.

    Raises:
        ValueError: A result differs from the CPU's.
    """
    from gputok.kernels.threads import thread_count

    from gputok.bench.peers import Job
    from gputok.recipes import recipe
    from tests.bench import stages

    n_threads, n_bytes = thread_count(threads), pathlib.Path(path).stat().st_size
    found = {
        "read": _best(lambda: _read(path, threads, card.host_memory)),
        "copy to the GPU": _copied(path, threads, card),
    }
    ends: list[tuple[float, float]] = []  # when words were counted, and when merges were learnt
    for _ in range(_RUNS):
        tokenizer, trainer = recipe("bpe", vocab_size=vocab_size)
        began = time.perf_counter()
        words = tokenizer.count_words(path, threads=threads, device=device, progress=False)
        counted = time.perf_counter() - began
        tokenizer.train_from_word_counts(words, trainer, threads=threads, device=device, progress=False)
        ends.append((counted, time.perf_counter() - began))
    with tempfile.TemporaryDirectory() as folder:
        saved = str(pathlib.Path(folder, "tokenizer.json"))
        tokenizer.save(saved)
        training = Job("train", "gputok", path, "", "", n_threads, "bpe", vocab_size, device)
        encoding = training._replace(task="encode", tokenizer=saved)
        for stage in (*stages.measure(training, card, _RUNS), *stages.measure(encoding, card, _RUNS)):
            if stage.stage in _STAGES:
                # Merges are those of the words of at most a GB; more text has hardly more of them
                scale = 1.0 if stage.stage == "train_bpe" else n_bytes / stage.n_bytes
                found[_STAGES[stage.stage]] = scale * min(stage.device_seconds)
    found["end to end, count"], found["end to end, train"] = map(min, zip(*ends, strict=True))
    found["end to end, encode"] = _best(
        lambda: [
            len(batch.ids) for batch in tokenizer.encode_corpus(path, threads=threads, device=device, progress=False)
        ]
    )
    return found


def _read(path: str, threads: int | None, memory: Callable[[int], Bytes]) -> None:
    from gputok import corpus

    for _ in corpus.Source.of(path).read_raw(memory, threads):
        pass


def _copied(path: str, threads: int | None, card: Device) -> float:
    """Measures the copy of a batch from the memory that it was read into; returns the seconds for the whole text."""
    from gputok import corpus

    parts: list[Bytes] = []
    for batch in corpus.Source.of(path).read_raw(card.host_memory, threads):
        parts.append(batch.data)
        if sum(map(len, parts)) >= _BATCH:
            break
    seconds: list[float] = []
    with card.active():
        for _ in range(_RUNS):
            first = record(card)
            card.upload((parts,))()
            seconds.append(seconds_between(card, first, record(card)))
    return min(seconds) * pathlib.Path(path).stat().st_size / sum(map(len, parts))


def _best(work: Callable[[], object]) -> float:
    seconds = []
    for _ in range(_RUNS):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def to_json(work: Work, on_cpu: dict[str, float], of_cards: dict[str, dict[str, float]], why_not: str = "") -> str:
    """Writes the counted work and the seconds of each stage as JSON: by the model (fast, slow), and as measured."""
    by_model = {card.name: seconds(work, card) for card in CARDS}
    found = {
        "work": work._asdict(),
        "this CPU": on_cpu,
        "model": by_model,
        "measured": of_cards,
        "not measured": why_not,
    }
    return json.dumps({"date": f"{datetime.date.today()}", **found}, indent=2)


def table(work: Work, on_cpu: dict[str, float], of_cards: dict[str, dict[str, float]], why_not: str = "") -> str:
    """Formats the counted work, and the seconds of each stage: on this CPU, on each card by the model, and as measured.

    Args:
        work: The counted work.
        on_cpu: The seconds of this machine's CPU.
        of_cards: The name of a card -> the result of `measured`.
        why_not: The reason, if nothing was measured.
    """
    columns: dict[str, dict[str, Any]] = {f"this CPU, {work.n_readers} threads": on_cpu}
    columns |= {f"{card.name}, model": seconds(work, card) for card in CARDS}
    columns |= {f"{name}, measured": found for name, found in of_cards.items()}
    rows = [
        ["stage, seconds", *columns],
        ["---"] * (1 + len(columns)),
        *([stage, *(_cell(column.get(stage)) for column in columns.values())] for stage in seconds(work, CARDS[0])),
    ]
    source = "columns of a model are no measurements"
    if not of_cards:
        source = f"a model, not a measurement: nothing here has run on a GPU ({why_not})"
    return "\n".join(
        [
            f"{work.n_bytes:,} bytes of text, {work.n_words:,} distinct words of {work.n_symbols:,} symbols, "
            f"{work.n_merges:,} merges in at least {work.n_rounds:,} rounds, {work.n_readers} readers",
            f"{source}; a process on a GPU also takes its start",
            UNKNOWN,
            *(f"| {' | '.join(row)} |" for row in rows),
        ]
    )


def _cell(found: Range | float | None) -> str:
    return "" if found is None else str(found) if isinstance(found, Range) else f"{found:.3g}"
