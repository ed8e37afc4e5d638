"""Encodes a corpus into arrays: the ids, and where those of each document begin, without an object for each token.

`encode.units` encodes documents by the way of their tokenizer, and `encode.devices` on CUDA devices; here, they are
handed to threads, and get special tokens around them.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from gputok.checks import warn
from gputok.corpus.packing import units_of
from gputok.corpus.readers import Task
from gputok.corpus.source import task_bytes
from gputok.kernels.threads import Submit, in_order, thread_count
from gputok.pipeline.encode.devices import ByDevice, grouped
from gputok.pipeline.encode.units import UNIT_BYTES, Walked, engine_of, id_type
from gputok.pipeline.pipeline import Pipeline
from gputok.pipeline.special_tokens import Ends, ids_around, surrounded, surrounded_unless_empty
from gputok.progress import Report
from gputok.text.pieces import TextBatch, joined
from gputok.token_files.batches import TokenBatch
from gputok.types import Array

# Waits until some text is encoded; returns how many bytes of text these were, and their ids
_Waits = Callable[[], tuple[int, list[TokenBatch]]]

_LONG = 4  # a unit with this many times the bytes of a slice has a long document, which threads share
_LONG_TASK = 32  # a task with this many times the bytes of a unit has one, too


def encode_corpus(
    pipeline: Pipeline,
    batches: Iterable[TextBatch] | Iterable[Task],
    *,
    add_special_tokens: bool = True,
    ends: Ends | None = None,
    threads: int | None = None,
    report: Report | None = None,
    total: int | None = None,
    skip: int = 0,
    devices: Sequence[Any] = (),
    unit_bytes: int = UNIT_BYTES,
) -> Iterator[TokenBatch]:
    """Yields the ids of whole documents, in order, of 1 to 16 megabytes of text at a time.

    The ids of a document are those of `tokenizer.encode(document)` without truncation and padding. batches: the
    documents; or tasks, which the threads read (`corpus.Source.read_apart`): not with `skip` or `devices`. ends: ids to
    put around each document; report: called as report("encode", bytes, total) for each batch that is yielded; total:
    the bytes of all documents, if known; skip: how many documents at the start to leave out; devices: CUDA devices
    (`backend.choose`), which encode if `ByDevice.why_not` says no reason; unit_bytes: about how many bytes of documents
    a thread encodes at a time.

    Example:
        >>> from gputok import Tokenizer, models, pre_tokenizers
        >>> tokenizer = Tokenizer(models.BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")]))
        >>> [(ids, rows)] = encode_corpus(tokenizer.pipeline, [TextBatch.from_strings(["abb", "", "b"])])
        >>> ids.tolist(), rows.tolist()
        ([2, 1, 1], [0, 2, 2, 3])
    """
    n_threads, done = thread_count(threads), 0
    work = _Work(pipeline, add_special_tokens, ends or Ends(), n_threads, unit_bytes)
    if devices and (reason := ByDevice.why_not(pipeline)):
        warn(f"the CPU encodes the corpus: {reason}")
        devices = ()
    texts: Iterator[Any] = iter(batches)
    some = [*itertools.islice(texts, 1)]
    texts = itertools.chain(some, texts)
    with contextlib.ExitStack() as stack:
        if some and isinstance(some[0], Task):
            tasks, ahead = (partial(work.task, task) for task in texts), n_threads
        elif devices:
            device = stack.enter_context(contextlib.closing(ByDevice(pipeline, devices, work.engine, work.dtype)))
            groups = grouped(_after(texts, skip), devices[0].sizes.batch)
            tasks, ahead = (partial(work.group, device, *each) for each in groups), 0
            n_threads = device.n_threads(n_threads)
        else:
            tasks, ahead = work.units(_after(texts, skip)), n_threads
        begun = in_order(((None, begin) for begin in tasks), n_threads, ahead)
        stack.callback(begun.close)  # before the devices are closed, no thread waits for one
        for _, (n_bytes, made) in begun:
            yield from made
            done += n_bytes
            if report:
                report("encode", done, total)


class _Work:
    """Hands the work for a corpus to threads, by `submit`; each method returns a function that waits for it."""

    def __init__(self, pipeline: Pipeline, special: bool, ends: Ends, n_threads: int, unit_bytes: int) -> None:
        self.engine, self.dtype = engine_of(pipeline), id_type(pipeline)
        self._n_threads, self._unit_bytes = n_threads, unit_bytes
        around = ids_around(pipeline, special)
        # A document without ids stays without, unless the post-processor adds some
        self._put = surrounded_unless_empty if ends.skips_empty and not any(around) else surrounded
        self._around = ends.around(around)

    def _finished(self, ids: Array, rows: Array) -> TokenBatch:
        if self._around != [[], []]:
            ids, rows = self._put(ids, rows, self._around)
        return TokenBatch(ids if ids.dtype is self.dtype else ids.astype(self.dtype, copy=False), rows)

    def units(self, batches: Iterable[tuple[int, TextBatch]]) -> Iterator[Callable[[Submit], _Waits]]:
        """Yields for each unit a function that begins its work; bytes that were skipped before it count as its own."""
        n_all = 0
        for n_before, batch in batches:
            if not batch.n_documents:  # the last one, which only says how many bytes were skipped before the end
                yield lambda submit, n=n_before: lambda: (n, [])
            size = max(2 * self._unit_bytes, task_bytes(n_all, self._n_threads))
            for unit in units_of(batch, size):
                yield partial(self._unit, n_before + unit.data.nbytes, unit, size)
                n_before, n_all = 0, n_all + unit.data.nbytes

    def _unit(self, n_bytes: int, unit: TextBatch, size: int, submit: Submit) -> _Waits:
        is_long = self._n_threads > 1 and len(unit.data) >= _LONG * size
        sliced = self.engine.sliced(unit, size) if is_long else None
        if sliced is None:
            return submit(self._encoded, n_bytes, unit).result
        found = sliced.begun(submit)
        return lambda: (n_bytes, [self._finished(*found())])

    def _encoded(self, n_bytes: int, batch: TextBatch) -> tuple[int, list[TokenBatch]]:
        # A walk takes all at once, since Python runs in one thread at a time; but arrays of the steps should stay small
        as_is = self.engine.as_is(batch) if isinstance(self.engine, Walked) else None
        found = map(self.engine.encode, units_of(batch, self._unit_bytes)) if as_is is None else [as_is]
        return n_bytes, [*itertools.starmap(self._finished, found)]

    def task(self, task: Task, submit: Submit) -> _Waits:
        """Reads and encodes a range of a file."""
        reading = submit(self._read, task)

        def found() -> tuple[int, list[TokenBatch]]:
            n_bytes, made, long = reading.result()
            for unit in () if long is None else units_of(long, self._unit_bytes):
                made += self._unit(0, unit, self._unit_bytes, submit)()[1]
            return n_bytes, made

        return found

    def _read(self, task: Task) -> tuple[int, list[TokenBatch], TextBatch | None]:
        """Returns the bytes that a task reads, and their ids; or the text, if all threads are to encode it together."""
        batch: Any = next(iter(task.read()), None)
        if batch is None:  # no document begins in the range
            return 0, [], None
        n_bytes = len(batch.data)
        is_long = n_bytes >= _LONG_TASK * self._unit_bytes
        return (n_bytes, [], batch) if is_long else (*self._encoded(n_bytes, batch), None)

    def group(self, device: ByDevice, n_bytes: int, batches: list[TextBatch], submit: Submit) -> _Waits:
        """Encodes many batches at a time on a device."""

        def encoded() -> tuple[int, list[TokenBatch]]:
            batch = joined(batches)
            return n_bytes, [self._finished(*device.encode(batch))] if batch.n_documents else []

        return submit(encoded).result


def _after(batches: Iterable[TextBatch], skip: int) -> Iterator[tuple[int, TextBatch]]:
    """Yields batches without the first `skip` documents, each with the bytes left out before; the last may be empty."""
    n_bytes = 0
    for batch in batches:
        left_out = min(skip, batch.n_documents)
        skip -= left_out
        n_bytes += int(batch.offsets[left_out] - batch.offsets[0])
        if left_out < batch.n_documents:
            yield n_bytes, TextBatch(batch.data, batch.offsets[left_out:])
            n_bytes = 0
    if n_bytes:
        yield n_bytes, TextBatch(np.zeros(0, np.uint8), np.zeros(1, np.int64))
