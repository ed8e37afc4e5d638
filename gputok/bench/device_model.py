"""A model of how long a GPU takes, for a machine that has none: bytes, launches and rounds of each stage times rates of cards.

`gputok bench device --model CORPUS` counts, on the CPU, what the stages of that corpus would do, and multiplies. **It is a
model: no rate of it was measured on a GPU by gputok.** Bandwidths are those of the cards' data sheets; rates of kernels
are estimates from their instructions and from a simulator (see kernels/cuda/NOTES.md); rates of the host were measured
on two cores. On a machine with a GPU the same stages are measured, and stand beside the model's figures.

The number of rounds is a bound from below: merges that follow each other, none of which meets one before it or is made of a
token of its own round. On 6 MB of English, 8,000 merges took 498 rounds where the bound is 383.
"""

from __future__ import annotations

import datetime
import json
import pathlib
import tempfile
import time
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from gputok.kernels.cuda.device import Device
    from gputok.text.word_counts import WordCounts
    from gputok.types import Bytes

_READ = 3.1e9  # bytes a second that one thread reads from the page cache into pinned memory (measured, in ordinary memory)
_LINES_BYTES = (
    2  # of memory traffic for each byte of text whose lines are found: the text, bits, and where lines begin
)
_LAUNCH = 2.5e-6  # seconds from one small kernel to the next in a stream
_LOOK = 20e-6  # seconds for the host to see a number of the device
_LOOKS_A_BATCH = 12  # of the host, while a batch is counted
_BATCH = 64 << 20  # bytes of text
_CHOOSE = 15e-6  # seconds of one block that puts candidates in order
_LAUNCHES_A_ROUND, _ROUNDS_A_LOOK = 4, 16

_RUNS = 3  # of what is measured
_STAGES = {
    "find_lines": "find lines",
    "count_words": "split and count",
    "train_bpe": "merge",
    "encode_text": "encode",
}  # as `bench.stages` calls them


class Card(NamedTuple):
    """Rates of a GPU, in bytes a second."""

    name: str
    memory: float  # of its memory
    link: float  # from pinned memory
    split: float  # of text cut into words
    count: float  # of text, of words that are counted
    encode: float  # of text


CARDS = (
    Card("T4", 320e9, 12e9, 7e9, 3e9, 1.5e9),
    Card("A100", 1.9e12, 25e9, 40e9, 20e9, 5e9),
    Card("H100", 3.3e12, 50e9, 60e9, 30e9, 8e9),
)


class Work(NamedTuple):
    """What the stages have to do for a corpus, as the CPU has counted."""

    n_bytes: int  # of text
    n_words: int  # distinct ones
    n_symbols: int  # of the distinct words, before the first merge
    n_symbols_left: int  # after the last one
    n_merges: int
    n_rounds: int  # at least
    n_readers: int  # threads

    @classmethod
    def of(
        cls, n_bytes: int, words: WordCounts, merges: Iterable[Sequence[int]], n_tokens: int, readers: int
    ) -> Work:
        """The work that counting words and learning merges was.

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
        return cls(
            n_bytes, len(lengths), n_symbols, n_symbols // 3, len(pairs), rounds_of(pairs, n_tokens), readers
        )


def rounds_of(merges: Sequence[tuple[int, int]], n_tokens: int) -> int:
    """How many rounds at least learn these merges, the first of which makes the token n_tokens.

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


def seconds(work: Work, card: Card) -> dict[str, float]:
    """How long each stage takes by the model; "end to end, count" overlaps reading, copying and counting.

    >>> nothing = Work(0, 0, 0, 0, 0, 0, 1)
    >>> max(seconds(nothing, CARDS[0]).values())
    0.0
    """
    n_batches = -(-work.n_bytes // _BATCH)
    looks = n_batches * _LOOKS_A_BATCH * _LOOK
    found = {
        "read": work.n_bytes / (_READ * work.n_readers),
        "copy to the GPU": work.n_bytes / card.link,
        "find lines": work.n_bytes * _LINES_BYTES / card.memory,
        "split and count": work.n_bytes / card.split + work.n_bytes / card.count + looks,
        "encode": work.n_bytes / card.encode + looks,
    }
    places = 4 * (work.n_symbols + work.n_words)  # bytes that a round reads in the beginning ...
    places_left = 4 * (work.n_symbols_left + work.n_words)  # ... and in the end
    scan = (places + places_left) / 2 / card.memory
    launches = _LAUNCHES_A_ROUND * _LAUNCH + _CHOOSE + _LOOK / _ROUNDS_A_LOOK
    found["merge"] = work.n_rounds * (scan + launches)
    on_device = found["find lines"] + found["split and count"]
    found["end to end, count"] = max(found["read"], found["copy to the GPU"], on_device)
    found["end to end, train"] = found["end to end, count"] + found["merge"]
    return found


def of_file(path: str, vocab_size: int, threads: int | None) -> Work:
    """The work of training byte-level BPE on a text file, counted by doing it on the CPU."""
    from gputok import corpus
    from gputok.kernels.threads import thread_count
    from gputok.recipes import recipe

    tokenizer, trainer = recipe("bpe", vocab_size=vocab_size)
    words = tokenizer.count_words(path, device="cpu", threads=threads)
    learned = trainer.train(words, threads=threads)
    n_bytes = corpus.total_bytes(corpus.located(path)) or sum(len(batch.data) for batch in corpus.read(path))
    n_tokens = len(learned.vocabulary.ids) - len(learned.merges)
    return Work.of(n_bytes, words, learned.merges.tolist(), n_tokens, thread_count(threads))


def measured(path: str, vocab_size: int, threads: int | None, card: Device, device: str) -> dict[str, float]:
    """The seconds of the stages of `seconds` on a GPU, as far as they can be measured one by one; the best of some runs.

    Stages on the device are measured with text that is there already, at most a GB of it, and scaled to the whole text.

    Args:
        path: A text file.
        vocab_size: Of the tokenizer that is trained on it.
        threads: Of the host; None: all cores.
        card: The GPU.
        device: The name of the GPU, "cuda:0" or another one.

    Raises:
        ValueError: A result differs from the CPU's.
    """
    from gputok.bench import stages
    from gputok.bench.peers import Job
    from gputok.kernels.threads import thread_count
    from gputok.recipes import recipe

    n_threads, n_bytes = thread_count(threads), pathlib.Path(path).stat().st_size
    found = {
        "read": _best(lambda: _read(path, threads, card)),
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
    return found


def _read(path: str, threads: int | None, card: Device) -> None:
    from gputok import corpus

    for _ in corpus.read_raw(path, card.host_memory, threads=threads):
        pass


def _copied(path: str, threads: int | None, card: Device) -> float:
    """The seconds for the whole text by those of a batch of it, from the memory that it was read into."""
    from gputok import corpus

    parts: list[Bytes] = []
    for batch in corpus.read_raw(path, card.host_memory, threads=threads):
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


def _best(work: Callable[[], None]) -> float:
    seconds = []
    for _ in range(_RUNS):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def to_json(work: Work, of_cards: dict[str, dict[str, float]], why_not: str = "") -> str:
    """What was counted, and the seconds of each stage: by the model, and of the cards that were measured."""
    by_model = {card.name: seconds(work, card) for card in CARDS}
    found = {"work": work._asdict(), "model": by_model, "measured": of_cards, "not measured": why_not}
    return json.dumps({"date": f"{datetime.date.today()}", **found}, indent=2)


def table(work: Work, of_cards: dict[str, dict[str, float]], why_not: str = "") -> str:
    """What was counted, and the seconds of each stage on each card: by the model, then as measured.

    Args:
        work: What was counted.
        of_cards: Name of a card -> what `measured` found there.
        why_not: Why nothing was measured.
    """
    columns = {f"{card.name}, model": seconds(work, card) for card in CARDS}
    columns |= {f"{name}, measured": found for name, found in of_cards.items()}
    rows = [
        ["stage, seconds", *columns],
        ["---"] * (1 + len(columns)),
        *(
            [stage, *(f"{column[stage]:.3g}" if stage in column else "" for column in columns.values())]
            for stage in seconds(work, CARDS[0])
        ),
    ]
    source = "columns of a model are no measurements"
    if not of_cards:
        source = f"a model, not a measurement: nothing here has run on a GPU ({why_not})"
    return "\n".join(
        [
            f"{work.n_bytes:,} bytes of text, {work.n_words:,} distinct words of {work.n_symbols:,} symbols, "
            f"{work.n_merges:,} merges in at least {work.n_rounds:,} rounds, {work.n_readers} readers",
            source,
            *(f"| {' | '.join(row)} |" for row in rows),
        ]
    )
