"""Counts, adds up and trains on drawn texts of growing size, to show how time and memory grow: a simulation.

Words are drawn by the law of Zipf and Mandelbrot: the word of rank r has a probability in proportion to
(r + 100) ** -1.33, without an end. So new words never cease: twice the text has 1.7 times the distinct words. Frequent
words are as frequent as in English, new ones come several times as often: 785 MB have 6.7 million distinct words.

No text is stored. For each size, each of these tasks is a process of its own, with and without a memory limit:

    count    counts the words of the text as it is drawn; drawing is not timed
    add up   loads the counts of 64 shards of the text, each counted and saved before, as one
    train    trains 32,000 tokens of BPE on the counts

All counts of a size are compared, whatever the limit, before they are reported.

Then each stage of counting is timed alone, on up to 100 MB of text in files: see `count_stages`.
"""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
from gputok.kernels.threads import thread_count

from gputok.bench.peers import peak_memory
from gputok.files.arrow import needed_for
from gputok.files.temporary import MemoryLimit, n_bytes_of
from gputok.progress import reporting
from tests.bench import count_stages
from tests.bench.count_stages import Speed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gputok.counts.word_counts import WordCounts
    from gputok.progress import Progress
    from gputok.types import Array

_EXPONENT, _SHIFT = 1.33, 100.0
_MOST = 2.0**44  # no text has so many distinct words
_WORDS_AT_ONCE = 1 << 14  # so many words fit a cache while they are drawn
_SHARDS = 64
_VOCAB_SIZE = 32_000
_STAGES_BYTES = 100_000_000  # each stage of counting is timed on at most so many bytes of text
_LEAST_BYTES = 100_000_000  # the smallest size of the text, unless the largest is smaller
_GROWTH = 2.2  # twice the text takes at most so many times the time and the memory

_NEEDS = {"count": "", "train": "count", "save shards": "", "add up": "save shards"}
"""Task -> the task whose files it reads."""

# A letter stands for three bits of the rank. In a word of 16 bytes, 8 to 15 are letters and 0 is nothing.
_LETTERS = bytes(8) + b"etaoinsh" + bytes(16) + b" " + bytes(223)
_BYTE = np.arange(16)
_IS_LETTER = np.where(_BYTE[:, None] > _BYTE, 0xFF, 0).astype(np.uint8).view(np.uint64)  # [letters, half]
_MARKS = np.where(_BYTE[:, None] > _BYTE, 8, 32 * np.eye(16, dtype=int)).astype(np.uint8).view(np.uint64)


class Job(NamedTuple):
    """What one process does."""

    task: str  # "count", "save shards", "add up" or "train"
    n_bytes: int  # of the text
    memory_limit: int | None  # in bytes
    threads: int
    folder: str  # of what the tasks of a size leave for each other


class Row(NamedTuple):
    """What one task took.

    Attributes:
        task: "count", "add up" or "train".
        n_bytes: the size of the text.
        n_words: how many words the text has.
        n_distinct: how many distinct words.
        memory_limit: in bytes; None: no limit.
        seconds: wall time; of "count" with the drawing of the text, which goes on at the same time.
        cpu_seconds: of all threads, without the drawing of the text.
        peak_bytes: the peak memory of the process.
        runtime_bytes: the peak memory before the work: interpreter, packages, compiled code.
        file_bytes: the size of the saved counts; of "add up", of all shards.
    """

    task: str
    n_bytes: int
    n_words: int
    n_distinct: int
    memory_limit: int | None
    seconds: float
    cpu_seconds: float
    peak_bytes: int
    runtime_bytes: int
    file_bytes: int

    def line(self) -> str:
        """Describes the task in one line of the table."""
        limit = "-" if self.memory_limit is None else f"{self.memory_limit / 1e6:,.0f}"
        return (
            f"{self.n_bytes / 1e6:10,.0f}{self.n_distinct / 1e6:11.2f}  {self.task:8}{limit:>9}{self.seconds:9.1f}"
            f"{self.cpu_seconds:9.1f}{self.n_bytes / 1e6 / max(self.cpu_seconds, 1e-9):10,.0f}"
            f"{self.peak_bytes / 1e6:9,.0f}{self.file_bytes / 1e6:10,.1f}"
        )


class Simulation(NamedTuple):
    """The tasks of all sizes; `table()` shows them to a person, `to_json()` writes them for programs.

    Attributes:
        threads: how many threads each task used.
        rows: the tasks, smallest text first.
        skipped: why larger texts, or some tasks with them, are missing.
        stages: the speed of each stage of counting alone, measured and predicted (`count_stages`).
    """

    threads: int
    rows: list[Row]
    skipped: list[str]
    stages: list[Speed]

    def table(self) -> str:
        """Returns a table with a line for each task."""
        head = (
            f"{'text, MB':>10}{'M distinct':>11}  {'task':8}{'limit, MB':>9}{'s':>9}{'CPU s':>9}{'MB/CPU s':>10}"
            f"{'peak MB':>9}{'saved MB':>10}"
        )
        return "\n".join(
            [
                f"drawn text, {self.threads} threads",
                head,
                *(row.line() for row in self.rows),
                *(f"skipped: {why}" for why in self.skipped),
                *(count_stages.table(self.stages) if self.stages else []),
            ]
        )

    def to_json(self) -> str:
        """Returns the results as JSON."""
        names = "rows", "stages"
        rows = {name: [row._asdict() for row in getattr(self, name)] for name in names}
        return json.dumps({**self._asdict(), **rows}, indent=2)


def documents(n_bytes: int, seed: int = 0) -> Iterator[str]:
    """Draws a text of at least `n_bytes` bytes, in documents of about 90 kB; a longer text begins with a shorter one.

    Args:
        n_bytes: the size of the text, which is ASCII.
        seed: another one gives another text.

    Yields:
        The documents.

    Example:
        >>> next(documents(1))[:40]
        'nii httat eoshses aeeionhot eot ei oin t'
    """
    rng, done = np.random.default_rng(seed), 0
    while done < n_bytes:
        text = _spelled(_drawn(rng, _WORDS_AT_ONCE))
        done += len(text)
        yield text.decode("ascii")


def _drawn(rng: np.random.Generator, n: int) -> Array:
    """uint64[n], ranks from 1 on: the inverse of the distribution, of uniform numbers."""
    ranks = _SHIFT * (rng.random(n) ** (-1 / (_EXPONENT - 1)) - 1)
    return np.minimum(ranks, _MOST).astype(np.uint64) + np.uint64(1)


def _spelled(ranks: Array) -> bytes:
    """The words of ranks, each with a space after it: the digits of the rank to the base 8, as letters."""
    n_letters = ((ranks.astype(np.float64).view(np.int64) >> 52) - 1023) // 3 + 1
    words = np.empty((len(ranks), 2), np.uint64)
    for half in range(2):
        digits = _spread(ranks >> np.uint64(24 * half) & np.uint64(0xFFFFFF))
        words[:, half] = digits & _IS_LETTER[n_letters, half] | _MARKS[n_letters, half]
    return words.tobytes().translate(_LETTERS, b"\0")


def _spread(bits: Array) -> Array:
    """Moves each three of 24 bits to a byte of their own."""
    for shift, mask in (20, 0x00000FFF00000FFF), (10, 0x003F003F003F003F), (5, 0x0707070707070707):
        bits = (bits | bits << np.uint64(shift)) & np.uint64(mask)
    return bits


def scale(
    size: int | str,
    *,
    memory_limit: int | str = "400MB",
    minutes: float = 10,
    threads: int | None = None,
    progress: Progress = None,
) -> Simulation:
    """Runs the simulation on texts of `size`, half of it, a quarter and so on, down to about 100 MB; smallest first.

    A task that is expected to end after `minutes`, or to take more than a third of the memory of the machine, is
    left out, and so are larger texts.

    Args:
        size: of the largest text: bytes, or text like "10GB".
        memory_limit: of the tasks with a limit, as in `Tokenizer.count_words`.
        minutes: how long all tasks may take together.
        threads: of each task; None: all cores.
        progress: what shows the progress; see `gputok.progress`.

    Returns:
        The rows.

    Raises:
        ValueError: if two tasks find different counts, or a size is not one.
        ChildProcessError: if a process fails.
        ImportError: if PyArrow is not installed, which saves the counts of shards.
    """
    with needed_for("the simulation"):
        import pyarrow.parquet  # noqa: F401
    limit = cast("MemoryLimit", MemoryLimit.of(memory_limit)).n_bytes
    sizes = [n_bytes_of("size", size)]
    while sizes[0] >= 2 * _LEAST_BYTES:
        sizes.insert(0, sizes[0] // 2)
    run = _Series(limit, thread_count(threads), time.monotonic() + 60 * minutes)
    with reporting(progress) as report:
        for i, n_bytes in enumerate(sizes):
            report(f"simulate: {n_bytes / 1e6:,.0f} MB", i, len(sizes))
            run.all_of(n_bytes)
        report("simulate: each stage of counting alone", len(sizes), len(sizes))
        stages = _stages(min(sizes[-1], _STAGES_BYTES))
    return Simulation(run.threads, run.rows, list(run.skipped.values()), stages)


_Key = tuple[str, int | None]  # a task and its memory limit


class _Series:
    """The tasks of growing sizes; a task that would take too much for a size is left out from then on."""

    def __init__(self, memory_limit: int, threads: int, end: float) -> None:
        self.threads, self._end = threads, end
        self.rows: list[Row] = []
        self.skipped: dict[_Key, str] = {}  # why
        self._taken: dict[_Key, tuple[float, int]] = {}  # seconds and peak of the size before
        self._tasks = [("count", memory_limit), ("count", None), ("train", None)]
        self._tasks += [("save shards", None), ("add up", memory_limit), ("add up", None)]

    def all_of(self, n_bytes: int) -> None:
        """Runs the tasks of one size. Raises ValueError if tasks find different counts."""
        digests = set()
        with tempfile.TemporaryDirectory() as folder:
            for key in self._tasks:
                task, limit = key
                if key not in self.skipped and (why := self._too_much(key)):
                    within = "" if limit is None else " with the limit"
                    self.skipped[key] = f"{task}{within}, from {n_bytes / 1e6:,.0f} MB of text on: {why}"
                if key in self.skipped or _NEEDS[task] in {other for other, _ in self.skipped}:
                    continue
                start = time.monotonic()
                row, digest = _run(Job(task, n_bytes, limit, self.threads, folder))
                self._taken[key] = time.monotonic() - start, row.peak_bytes
                if task != "save shards":
                    self.rows.append(row)
                if digest:
                    digests.add(digest)
        if len(digests) > 1:
            raise ValueError(
                f"not reported: counts of {n_bytes:,} bytes of text depend on the memory limit, or on shards"
            )

    def _too_much(self, key: _Key) -> str:
        """Returns why a task with twice the text would take too much, or "" if it would not."""
        if key not in self._taken:
            return ""
        seconds, peak = (_GROWTH * taken for taken in self._taken[key])
        if time.monotonic() + seconds > self._end:
            return f"about {seconds:.0f} s more are not left"
        if key[1] is None and peak > _machine_memory() / 3:
            return f"about {peak / 1e9:.1f} GB are more than a third of the memory"
        return ""


def _machine_memory() -> float:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not on all systems
        return float("inf")


def _run(job: Job) -> tuple[Row, str]:
    """Does a job in a process of its own. Raises ChildProcessError if it fails."""
    row, digest = _answer(job, f"{job.task} of {job.n_bytes:,} bytes of text")
    return Row(*row), digest


def _stages(n_bytes: int) -> list[Speed]:
    """Times the stages of counting in a process of its own. Raises ChildProcessError if it fails."""
    with tempfile.TemporaryDirectory() as folder:
        job = Job("stages", n_bytes, None, 1, folder)
        return [Speed(*speed) for speed in _answer(job, "timing the stages of counting")]


def stages_of(job: Job) -> list[Speed]:
    """Does the job of `_stages`."""
    from gputok.recipes import recipe

    automaton = recipe("bpe")[0].pipeline.way.automaton
    count_stages.speeds(documents(1), pathlib.Path(job.folder), automaton)  # loads or compiles the kernels
    return count_stages.speeds(documents(job.n_bytes), pathlib.Path(job.folder), automaton)


def _answer(job: Job, what: str) -> Any:
    source = str(pathlib.Path(__file__).parents[2])
    path = os.pathsep.join([source, *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "tests.bench.scale", json.dumps(job)]
    process = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True)
    if process.returncode:
        errors = process.stderr.strip().splitlines() or [f"exit status {process.returncode}"]
        raise ChildProcessError(f"{what} failed: {errors[-1][:200]}")
    return json.loads(process.stdout.splitlines()[-1])


def work(job: Job) -> tuple[Row, str]:
    """Does what one process does: a small text first, which loads or compiles the kernels, then the job.

    Returns:
        The row, and a digest of the counts; "" if they are not those of the whole text.
    """
    with tempfile.TemporaryDirectory() as folder:
        for task in filter(None, [_NEEDS[job.task], job.task]):
            _measured(job._replace(task=task, n_bytes=1, folder=folder))
    return _measured(job)


def _measured(job: Job) -> tuple[Row, str]:
    from gputok import WordCounts
    from gputok.recipes import recipe

    folder, drawing = pathlib.Path(job.folder), _Drawing(job.n_bytes)
    saved, shards = folder / "counts.parquet", folder / "shards"
    tokenizer, trainer = recipe("bpe", vocab_size=_VOCAB_SIZE)
    options: Any = {"memory_limit": job.memory_limit, "temporary": folder, "threads": job.threads}

    def count() -> WordCounts:
        return tokenizer.count_words(iter(drawing), progress=False, **options)

    def save_shards() -> WordCounts:
        shards.mkdir()
        for i in range(_SHARDS):
            counts = tokenizer.count_words(drawing.share(i, _SHARDS), progress=False, **options)
            counts.save(shards / f"{i}.parquet")
        return counts

    def add_up() -> WordCounts:
        return WordCounts.load(shards, **options)

    def train() -> WordCounts:
        tokenizer.train_from_word_counts(given, trainer, progress=False, threads=job.threads)
        return given

    reads = _NEEDS.get(job.task) == "count"
    given = WordCounts.load(saved) if reads else WordCounts.from_dict({})
    do = {"count": count, "save shards": save_shards, "add up": add_up, "train": train}[job.task]
    runtime, start, cpu = peak_memory(), time.perf_counter(), time.process_time()
    counts = do()
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu - drawing.cpu_seconds
    peak, digest = peak_memory(), ""
    if job.task in ("count", "add up"):
        counts.save(saved)
        with open(saved, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    files = [*shards.iterdir()] if job.task in ("save shards", "add up") else [saved]
    n_file_bytes = sum(file.stat().st_size for file in files)
    of_text = job.n_bytes, int(counts.counts.sum()), len(counts)
    return Row(job.task, *of_text, job.memory_limit, seconds, cpu_seconds, peak, runtime, n_file_bytes), digest


class _Drawing:
    """A drawn text, and the CPU seconds that drawing it took."""

    def __init__(self, n_bytes: int) -> None:
        self._texts, self._n_bytes, self._n_drawn, self.cpu_seconds = documents(n_bytes), n_bytes, 0, 0.0

    def __iter__(self) -> Iterator[str]:
        while True:
            start = time.thread_time()
            text = next(self._texts, None)
            self.cpu_seconds += time.thread_time() - start
            if text is None:
                return
            self._n_drawn += len(text)
            yield text

    def share(self, number: int, of: int) -> Iterator[str]:
        """The documents after the previous share, up to the end of this share; at least one document."""
        for text in self:
            yield text
            if self._n_drawn >= self._n_bytes * (number + 1) // of:
                return


if __name__ == "__main__":
    given = Job(*json.loads(sys.argv[1]))
    print(json.dumps(stages_of(given) if given.task == "stages" else work(given)))
