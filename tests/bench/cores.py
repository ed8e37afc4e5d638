"""Predicts counting and encoding on 16, 64 and 144 threads from the shares of one thread; says what ends the growth.

For each kind of work, in a process of its own:

    threads    what all threads share; it takes an n-th of the time with n threads
    lock       Python, NumPy and ctypes, by samples of `perf record`: one thread at a time does that (NumPy gives the
               lock back in part, so this is an upper bound)
    writing    files of ids are written and their checksums made by one thread
    memory     bytes to and from the memory for each byte of text, by the bandwidth that the machine is said to have
    adding up  the tables of all threads become one list of words at the end: timed with so many tables (`count_stages`)

With 1 and 2 threads the work is measured, too, which shows what the prediction is worth. The disk is left out: the text
is read from the page cache.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import pathlib
import re
import subprocess
import tempfile
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from gputok import Tokenizer, corpus
from gputok.bench.peers import peak_memory
from tests.bench.count_stages import _Text

if TYPE_CHECKING:
    from collections.abc import Callable

THREADS = (1, 2, 16, 64, 144)
N_MEASURED = 2
# Bytes to and from memory for a byte of text, while the windows of a kernel stay in a cache: the page cache or strings
# are read, a buffer is written and read; ids (1.1 bytes a byte) are written; files copy them again and checksum them
_MEMORY = {"count": 3.0, "lines": 5.0, "texts of 4,096": 5.0, "texts of 300": 5.0, "ids to .npy": 10.0}
_OF_PYTHON = re.compile(r"^(libpython|python3|_multiarray|_ctypes|libffi|_struct|_json)")
_SECONDS = 3.0  # so long a work is sampled


class Work(NamedTuple):
    """What one kind of work takes.

    Attributes:
        name: one of `_MEMORY`.
        n_bytes: of the text.
        lock: the share of the samples that Python, NumPy and ctypes have.
        seconds: CPU time of one thread.
        writing: seconds of these in which files are written.
        measured: wall time with each of the first N_MEASURED numbers of THREADS.
        adding_up: seconds after all else, with each of THREADS.
        thread_bytes: how much the peak of the memory grew with the second thread.
    """

    name: str
    n_bytes: int
    lock: float
    seconds: float
    writing: float
    measured: list[float]
    adding_up: list[float]
    thread_bytes: int

    def predicted(self, i: int, bandwidth: float) -> tuple[float, str]:
        """Returns the seconds with THREADS[i] threads, and what takes most of them; bandwidth: in bytes a second."""
        parts = {
            "threads": self.seconds / THREADS[i],
            "lock": self.seconds * self.lock,
            "writing": self.writing,
            "memory": self.n_bytes * _MEMORY[self.name] / bandwidth,
        }
        most = max(parts, key=lambda part: parts[part])
        return parts[most] + self.adding_up[i], "adding up" if self.adding_up[i] > parts[most] else most

    def line(self, bandwidth: float) -> str:
        """Describes the work in one line of the table."""
        found = [self.predicted(i, bandwidth) for i in range(len(THREADS))]
        rates = [self.n_bytes / 1e9 / seconds for seconds in (*self.measured, *(seconds for seconds, _ in found))]
        return (
            f"{self.name:16}{self.lock:7.1%}{self.thread_bytes / 1e6:7.0f}  "
            + "".join(f"{rate:8.2f}" for rate in rates[:N_MEASURED])
            + "  "
            + "".join(f"{rate:8.2f}" for rate in rates[N_MEASURED:])
            + "  "
            + ", ".join(dict.fromkeys(end for _, end in found[N_MEASURED:]))
        )


def cores(text: str, tokenizer: str, bandwidth: float) -> tuple[list[Work], str]:
    """Measures all kinds of work on a text, and returns them with their table; bandwidth: in bytes a second.

    Raises:
        FileNotFoundError: if there is no `perf`.
    """
    works = []
    for name in _MEMORY:
        with multiprocessing.get_context("spawn").Pool(1) as process:
            works.append(process.apply(_measured, (name, text, tokenizer)))
    heads = "".join(f"{n:8}" for n in THREADS[:N_MEASURED]), "".join(f"{n:8}" for n in THREADS)
    lines = [
        f"GB of text a second by the number of threads, {bandwidth / 1e9:.0f} GB/s of memory; MB: a thread's memory",
        f"{'':32}{'measured':>{8 * N_MEASURED}}  {'predicted, not measured':>{8 * len(THREADS)}}",
        f"{'':16}{'lock':>7}{'MB':>7}  {heads[0]}  {heads[1]}  most of the time goes to",
        *(work.line(bandwidth) for work in works),
    ]
    return works, "\n".join(lines)


def _measured(name: str, text: str, file: str) -> Work:
    tokenizer, n_bytes = Tokenizer.from_file(file), pathlib.Path(text).stat().st_size
    with tempfile.TemporaryDirectory() as folder:
        once = _once(name, text, tokenizer, pathlib.Path(folder, "ids.npy"))
        once(1)  # fills the caches of words
        samples = pathlib.Path(folder, "samples")
        with subprocess.Popen(["perf", "record", "-q", "-p", str(os.getpid()), "-o", samples]) as perf:
            time.sleep(0.5)
            passes: list[tuple[float, float, float]] = []  # CPU time, wall time, seconds of writing
            begun = time.monotonic()
            while time.monotonic() < begun + _SECONDS or len(passes) < 3:
                passes.append(_timed(once, 1))
            perf.terminate()  # it writes its samples, also where Ctrl-C is ignored
        peak = peak_memory()
        several = [min(_timed(once, n)[1] for _ in range(3)) for n in THREADS[1:N_MEASURED]]
        seconds, wall, writing = map(min, zip(*passes, strict=True))
        adding_up = [0.0] * len(THREADS)
        thread_bytes = peak_memory() - peak
        if name == "count" and (automaton := tokenizer.pipeline.way.automaton) is not None:
            counted = _Text([*corpus.read(text, threads=1)], automaton)
            adding_up = [counted.add_up(n) for n in THREADS]
            seconds -= adding_up[0]
        return Work(name, n_bytes, _share(samples), seconds, writing, [wall, *several], adding_up, thread_bytes)


def _once(name: str, text: str, tokenizer: Tokenizer, output: pathlib.Path) -> Callable[[int], Any]:
    """Returns what does the work on so many threads."""
    if name == "count":
        return lambda n: tokenizer.count_words(text, threads=n, progress=False)
    if name == "ids to .npy":
        return lambda n: tokenizer.encode_corpus(text, output, threads=n, progress=False)
    source: Callable[[], Any] = lambda: text  # noqa: E731
    if name != "lines":
        size, whole = int(name.split()[-1].replace(",", "")), pathlib.Path(text).read_text("utf-8")
        texts = [whole[at : at + size] for at in range(0, len(whole), size)]
        source = lambda: iter(texts)  # noqa: E731

    def encode(n: int) -> None:
        for _ in tokenizer.encode_corpus(source(), threads=n, progress=False):
            pass

    return encode


def _timed(once: Callable[[int], Any], n_threads: int) -> tuple[float, float, float]:
    """Returns CPU time, wall time, and the seconds in which files are written."""
    cpu, start = time.process_time(), time.perf_counter()
    found = once(n_threads)
    times = time.process_time() - cpu, time.perf_counter() - start
    return *times, found.seconds.writing if hasattr(found, "seconds") else 0.0


def _share(samples: pathlib.Path) -> float:
    """Returns which share of the samples lies in Python, NumPy and ctypes."""
    report = ["perf", "report", "-q", "-i", samples, "--sort", "dso", "--stdio"]
    shown = subprocess.run(report, capture_output=True, text=True, check=True).stdout
    return sum(float(share) for share, name in re.findall(r"([\d.]+)%\s+(\S+)", shown) if _OF_PYTHON.search(name)) / 100


def to_json(works: list[Work], bandwidth: float) -> str:
    """Returns works with their predictions as JSON."""
    rows = [
        {**work._asdict(), "predicted": [work.predicted(i, bandwidth) for i in range(len(THREADS))]} for work in works
    ]
    return json.dumps({"threads": THREADS, "works": rows}, indent=2)
