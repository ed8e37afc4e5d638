"""Times each stage of counting alone, to show which one ends the growth with more threads.

    read        a file from the page cache: bytes to checked documents; for text also from the disk
    cut         the first thread finds where slices begin
    hand out    all that Python does for a slice, which is done by one thread at a time (the GIL)
    count       threads count slices in memory, each in a table of its own
    add up      the tables of all threads become one list of words, at the end

Two threads and more read large files of plain text themselves, a megabyte or two at a time: they cut nothing, and
Python does its part for each of these only. So the times of both stages are those of other files.

With 1 and 2 threads a stage is measured. With more, threads that share nothing are assumed to be as fast as one alone,
and what one thread does alone is assumed to take as long as it does here: a prediction. What cores share (memory
bandwidth, the last cache, a disk) is left out.
"""

from __future__ import annotations

import itertools
import os
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from gputok.kernels.threads import run

from gputok import corpus
from gputok.pipeline.count.units import POSITIONS, ThreadTallies, WalkCounter, Workers

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable, Iterable

    from gputok.kernels import Automaton

    from gputok.text.pieces import TextBatch

THREADS = (1, 2, 4, 16, 64)
N_MEASURED = 2  # the first numbers of THREADS are measured, and the others predicted
_ROW_GROUP = 1 << 14  # a row group has so many rows
_FRAME = 1 << 23  # unpacked bytes of a frame, as pzstd makes them
_LARGE = 1 << 62  # bytes: slices are as large as those of a large text


class Speed(NamedTuple):
    """The speed of one stage alone.

    Attributes:
        stage: its name.
        rates: GB of text a second with each number of THREADS; the first N_MEASURED are measured, the others predicted.
        is_shared: True if threads share the work; False if one thread at a time does it.
    """

    stage: str
    rates: list[float]
    is_shared: bool

    def line(self) -> str:
        """Describes the stage in one line."""
        return f"{self.stage:28}" + "".join(f"{rate:9.2f}" for rate in self.rates)


def table(speeds: list[Speed]) -> list[str]:
    """Returns the lines of a table of all stages, and for each kind of file the predicted speed of the whole."""
    head = "".join(f"{threads:9}" for threads in THREADS)
    lines = [
        "stages of counting, each alone, GB of text a second by the number of threads: "
        f"{' and '.join(map(str, THREADS[:N_MEASURED]))} measured, the others predicted",
        " " * 28 + head,
        *(speed.line() for speed in speeds),
        "all stages together, predicted, not measured:",
    ]
    for read in speeds:
        if read.stage.startswith("read"):
            found = [whole(read, speeds, i) for i in range(len(THREADS))]
            rates = "".join(f"{rate:9.2f}" for rate, _ in found)
            lines.append(f"{read.stage[5:]:28}{rates}  most of the time with {THREADS[-1]}: {found[-1][1]}")
    return lines


def whole(read: Speed, speeds: list[Speed], i: int) -> tuple[float, str]:
    """Returns the speed of all stages with THREADS[i] threads, and the stage that takes the most time.

    Threads share some stages, while one thread at a time does others; adding up comes after them.
    """
    stages = [read, *(speed for speed in speeds if not speed.stage.startswith("read"))]
    seconds = {speed.stage: 1 / speed.rates[i] for speed in stages}
    adding = seconds.pop("add up")
    shared = sum(seconds[speed.stage] for speed in stages if speed.is_shared and speed.stage in seconds)
    alone = {speed.stage: seconds[speed.stage] for speed in stages if not speed.is_shared and speed.stage in seconds}
    slowest = max(alone, key=lambda stage: alone[stage], default="")
    before = max(shared, alone.get(slowest, 0.0))
    if adding > before:
        return 1 / (before + adding), "add up"
    return 1 / (before + adding), slowest if before > shared else "what all threads share"


def speeds(texts: Iterable[str], folder: pathlib.Path, automaton: Automaton) -> list[Speed]:
    """Times all stages on a text.

    Args:
        texts: the text, in parts.
        folder: where files are written.
        automaton: finds the words.

    Returns:
        The stages; without PyArrow, Parquet and .zst are left out.
    """
    files = _files(texts, folder)
    batches = list(corpus.read(files["text"], threads=1))
    n_bytes = sum(len(batch.data) for batch in batches)
    found = [_read(kind, path, n_bytes) for kind, path in files.items()]
    for i, read in enumerate(found):
        if read.stage.endswith("frames"):  # which threads unpack, while one of them cuts documents
            found[i] = read._replace(rates=[min(rate, found[0].rates[0]) for rate in read.rates])
    found.insert(1, _read("text, from the disk", files["text"], n_bytes, from_disk=True))

    text = _Text(batches, automaton)

    def speed(stage: str, seconds: Callable[[int], float], is_shared: bool = False) -> Speed:
        return Speed(stage, [n_bytes / 1e9 / seconds(threads) for threads in THREADS], is_shared)

    counting: dict[int, Any] = {threads: text.count(threads) for threads in THREADS[:N_MEASURED]}
    return [
        *found,
        speed("cut", text.cut),
        speed("hand out", text.hand_out),
        speed("count", lambda threads: counting.get(threads, counting[1] / threads), True),
        speed("add up", text.add_up),
    ]


def _files(texts: Iterable[str], folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """Writes the text in lines of 20 words, in each kind of file."""
    import json

    data = np.frombuffer("".join(texts).encode(), np.uint8).copy()
    data[np.flatnonzero(data == ord(" "))[19::20]] = ord("\n")
    text = data.tobytes()
    files = {"text": folder / "text.txt", "JSON Lines": folder / "text.jsonl"}
    files["text"].write_bytes(text)
    lines = text.decode().splitlines(keepends=True)
    files["JSON Lines"].write_text("".join(json.dumps({"text": line}) + "\n" for line in lines))
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        return files
    files |= {"Parquet": folder / "text.parquet", ".zst, one frame": folder / "text.txt.zst"}
    files[".zst, frames"] = folder / "frames.txt.zst"
    pq.write_table(pa.table({"text": lines}), files["Parquet"], row_group_size=_ROW_GROUP, compression="snappy")
    with pa.CompressedOutputStream(str(files[".zst, one frame"]), "zstd") as stream:
        stream.write(text)
    frames = (pa.Codec("zstd").compress(text[at : at + _FRAME]) for at in range(0, len(text), _FRAME))
    with open(files[".zst, frames"], "wb") as file:
        file.writelines(frames)
    return files


def _read(kind: str, path: pathlib.Path, n_bytes: int, from_disk: bool = False) -> Speed:
    """Reads a file with one thread and with two."""
    rates = []
    for threads in THREADS[:N_MEASURED]:
        times = []
        for _ in range(1 if from_disk else 2):
            if from_disk:
                _forget(path)
            start = time.perf_counter()
            for _batch in corpus.read(path, threads=threads):
                pass
            times.append(time.perf_counter() - start)
        rates.append(n_bytes / 1e9 / min(times))
    is_shared = not from_disk and kind != ".zst, one frame"
    rates += [threads * rates[0] if is_shared else max(rates) for threads in THREADS[N_MEASURED:]]
    return Speed(f"read {kind}", rates, is_shared)


def _forget(path: pathlib.Path) -> None:
    """Has the system drop a file from its page cache, if it can."""
    if not hasattr(os, "posix_fadvise"):
        return
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


class _Nothing(WalkCounter):
    """Does for a slice what is done in Python, and counts no word."""

    def count(self, batch: TextBatch, start: int, stop: int, position: int, tallies: ThreadTallies) -> None:
        """Counts the words of an empty slice."""
        super().count(batch, start, start, position, tallies)


class _Text:
    """A text in memory; a method for each stage returns the seconds that it takes so many threads."""

    def __init__(self, batches: list[TextBatch], automaton: Automaton) -> None:
        self._batches, self._automaton = batches, automaton

    def _counter(self, kind: type[WalkCounter], threads: int) -> WalkCounter:
        return kind.of_words(self._automaton, True, threads, _LARGE)

    def cut(self, threads: int) -> float:
        counter = self._counter(WalkCounter, threads)
        counter.cut(self._batches[0])  # makes tables
        start = time.perf_counter()
        for batch in self._batches:
            counter.cut(batch)
        return time.perf_counter() - start

    def hand_out(self, threads: int) -> float:
        """The slices are those for so many threads; at most two do it here, one at a time."""
        counter, cut = self._counter(_Nothing, threads), self.cut(threads)
        tallies = [ThreadTallies() for _ in range(min(threads, THREADS[N_MEASURED - 1]))]
        start = time.perf_counter()
        with Workers(tallies, None) as workers:
            for batch in self._batches:
                workers.take(counter, batch)
            workers.finish()
        return max(time.perf_counter() - start - cut, 1e-9)

    def _tables(self, threads: int) -> tuple[list[ThreadTallies], Callable[[int], None]]:
        """Makes a tally for each thread, and the function that counts all slices of a thread."""
        counter, tallies = self._counter(WalkCounter, threads), [ThreadTallies() for _ in range(threads)]
        slices = [(batch, *ends) for batch in self._batches for ends in itertools.pairwise(counter.cut(batch))]

        def count(number: int) -> None:
            for i in range(number, len(slices), threads):
                counter.count(*slices[i], i * POSITIONS, tallies[number])

        return tallies, count

    def count(self, threads: int) -> float:
        """The better of two runs: the first one also takes memory from the system."""
        return min(self._count(threads), self._count(threads))

    def _count(self, threads: int) -> float:
        _, count = self._tables(threads)
        start = time.perf_counter()
        for _ in run(count, ((number,) for number in range(threads)), threads):
            pass
        return time.perf_counter() - start

    def add_up(self, threads: int) -> float:
        """What more threads than can be measured would share is done here by one of them."""
        from gputok.kernels.cpu.count_words import joined_counts, woven_words

        tallies, count = self._tables(threads)
        for number in range(threads):
            count(number)
        tables = [of_thread[True].table for of_thread in tallies]
        n_here = threads if threads <= THREADS[N_MEASURED - 1] else 1
        start = time.perf_counter()
        own = joined_counts(tables, n_here, threads)
        woven_words(tables, own, n_here, threads)
        return (time.perf_counter() - start) * n_here / threads
