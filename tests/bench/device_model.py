"""Estimates how long a GPU would take: bytes, launches and rounds of each stage, multiplied by the rates of cards.

`python -m tests.bench device --model CORPUS` counts, on the CPU, the work of each stage for that corpus, and multiplies. **This is a
model: gputok has measured none of its rates on a GPU.** Each constant has a fast and a slow value, and each result is a
range. Bandwidths are those of the cards' data sheets, less what kernels usually miss of them; rates of kernels are
estimates from the instructions of their machine code (`machine_code`), and from counts in an emulator (see
kernels/cuda/NOTES.md); rates of the host were measured on two cores. Beside the model stand this machine's CPU, measured
for the same text, and on a machine with a GPU the same stages as measured there.

The number of rounds is a lower bound: a round has consecutive merges that share no token with each other, and use no token
that the round itself makes. On 6 MB of English, 8,000 merges took 498 rounds, and the bound is 383; on 20 MB, 31,744 merges
took 1,182 rounds, and the bound is 949.
"""

from __future__ import annotations

import datetime
import json
import pathlib
import tempfile
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from gputok.kernels.cuda.device import Device

    from gputok.counts.word_counts import WordCounts
    from gputok.types import Bytes


class Range(NamedTuple):
    """A constant or a result: its value if all goes well, and if it does not."""

    fast: float
    slow: float

    def __str__(self) -> str:
        return f"{self.fast:.2g} to {self.slow:.2g}"


# Bytes a second that one thread reads from the page cache into pinned memory (measured, in ordinary memory), and that all
# threads read together: memory, and Python's lock, 75 us for each block of 2 MiB
_READ, _READ_TOGETHER = Range(3.1e9, 2.0e9), Range(28e9, 15e9)
_START_WARM = Range(1.5, 2.5)  # seconds: importing CuPy, a context, 256 MiB of pinned memory
# Seconds for compiling at first use: none with the cubins of a wheel; seven sources without. CuPy compiles no kernel of its own
_COMPILING = Range(0.0, 6.0)
# Bytes of memory traffic for each byte of text whose lines are found: the text, bits, and where lines begin
_LINES_BYTES = 2
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
# As `bench.stages` calls them
_STAGES = {
    "find_lines": "find lines",
    "count_words": "split and count",
    "train_bpe": "merge",
    "encode_corpus": "encode",
}


class Card(NamedTuple):
    """Rates of a GPU, in bytes a second."""

    name: str
    memory: float  # of its memory, by the data sheet
    link: Range  # from pinned memory
    split: Range  # of text cut into words
    count: Range  # of text, of words that are counted
    encode: Range  # of text, from and to the memory of the device
    host_copies: Range  # of text that is encoded: two copies on the host, and the ids that come back


CARDS = (
    Card("T4", 320e9, Range(12e9, 6e9), Range(25e9, 12e9), Range(20e9, 10e9), Range(4e9, 2e9), Range(2.5e9, 1.5e9)),
    Card("A100", 1.9e12, Range(25e9, 20e9), Range(130e9, 80e9), Range(90e9, 50e9), Range(15e9, 9e9), Range(6e9, 4e9)),
    Card(
        "H100", 3.3e12, Range(50e9, 25e9), Range(250e9, 150e9), Range(130e9, 60e9), Range(25e9, 15e9), Range(8e9, 5e9)
    ),
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

    @classmethod
    def of(cls, n_bytes: int, words: WordCounts, merges: Iterable[Sequence[int]], n_tokens: int, readers: int) -> Work:
        """Computes the work of counting words and learning merges.

        Args:
            n_bytes: Bytes of the corpus.
            words: The distinct words of the corpus.
            merges: Pairs of ids, in the order in which they were learned; the first makes the token n_tokens.
            n_tokens: Tokens before the first merge.
            readers: Threads that read.
        """
        pairs = [(int(a), int(b)) for a, b in merges]
        lengths = np.diff(words.offsets)
        n_symbols = int(lengths[lengths > 1].sum())
        # An assumption: merges shorten words to about a third
        return cls(n_bytes, len(lengths), n_symbols, n_symbols // 3, len(pairs), rounds_of(pairs, n_tokens), readers)


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

    >>> nothing = Work(0, 0, 0, 0, 0, 0, 1)
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
    found = {
        "start, warm": of(_START_WARM),
        "start, first": of(_START_WARM) + of(_COMPILING),
        "read": work.n_bytes / min(of(_READ) * work.n_readers, of(_READ_TOGETHER)),
        "copy to the GPU": work.n_bytes / of(card.link),
        "find lines": work.n_bytes * _LINES_BYTES / memory,
        "split and count": work.n_bytes / of(card.split) + work.n_bytes / of(card.count) + host,
        "encode": work.n_bytes / of(card.encode) + host,
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
    n_bytes = corpus.Source.of(path).total_bytes or sum(len(batch.data) for batch in corpus.read(path))
    n_tokens = len(learned.vocabulary.ids) - len(learned.merges)
    work = Work.of(n_bytes, words, learned.merges.tolist(), n_tokens, thread_count(threads))
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

    from gputok.bench import stages
    from gputok.bench.peers import Job
    from gputok.recipes import recipe

    n_threads, n_bytes = thread_count(threads), pathlib.Path(path).stat().st_size
    found = {"read": _best(lambda: _read(path, threads, card)), "copy to the GPU": _copied(path, threads, card)}
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


def _read(path: str, threads: int | None, card: Device) -> None:
    from gputok import corpus

    for _ in corpus.Source.of(path).read_raw(card.host_memory, threads):
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
            first = card.record()
            card.upload((parts,))()
            seconds.append(card.seconds(first, card.record()))
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
            *(f"| {' | '.join(row)} |" for row in rows),
        ]
    )


def _cell(found: Range | float | None) -> str:
    return "" if found is None else str(found) if isinstance(found, Range) else f"{found:.3g}"
