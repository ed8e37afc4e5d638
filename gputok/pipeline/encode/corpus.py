"""Encodes a corpus into arrays: the ids, and where those of each document begin, without a Python object for each token.

`encode.units` encodes documents by the way of their tokenizer, and `encode.devices` on CUDA devices; here, they are handed to
threads, and get special tokens around them.
"""

from __future__ import annotations

import contextlib
import itertools
import warnings
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from gputok.corpus.readers import Task
from gputok.corpus.source import task_bytes
from gputok.kernels.threads import Submit, in_order, thread_count
from gputok.pipeline.encode.devices import ByDevice, grouped, joined
from gputok.pipeline.encode.units import UNIT_BYTES, Walked, engine_of, id_type, units_of
from gputok.pipeline.special_tokens import ids_around, surrounded, surrounded_unless_empty
from gputok.text.pieces import TextBatch
from gputok.token_files.batches import TokenBatch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gputok.pipeline.encode.units import Engine, Sliced
    from gputok.pipeline.pipeline import Pipeline
    from gputok.pipeline.special_tokens import Ends
    from gputok.progress import Report
    from gputok.types import Array

# Hands work to the threads, and returns a function that waits for the ids
_Begin = Callable[[Submit], Callable[[], list[TokenBatch]]]

_LONG = 4  # units of so many times the bytes of a slice have a long document
_LONG_TASK = 16  # and so do tasks


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
    """Encodes documents.

    Args:
        pipeline: the parts of the tokenizer.
        batches: the documents; or tasks, which the threads read (`corpus.Source.read_apart`): not with `skip` or `devices`.
        add_special_tokens: adds the special tokens of the post-processor.
        ends: ids to put around each document.
        threads: how many threads to use; None: all cores.
        report: called as report("encode", bytes, total) for each batch that is yielded.
        total: the bytes of all documents, if known.
        skip: how many documents at the start to leave out.
        devices: CUDA devices (`backend.choose`). They encode many batches at a time if the tokenizer is one walk over
            bytes and a BPE model; other tokenizers run on the CPU. The ids are the same.
        unit_bytes: about how many bytes of documents a thread encodes at a time.

    Yields:
        The ids of whole documents, in order, of one to eight megabytes of text at a time. The ids of a document are those of
        `tokenizer.encode(document)` without truncation and padding.

    Example:
        >>> from gputok import Tokenizer, models, pre_tokenizers
        >>> tokenizer = Tokenizer(models.BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")]))
        >>> [(ids, rows)] = encode_corpus(tokenizer.pipeline, [TextBatch.from_strings(["abb", "", "b"])])
        >>> ids.tolist(), rows.tolist()
        ([2, 1, 1], [0, 2, 2, 3])
    """
    n_threads = thread_count(threads)
    dtype = id_type(pipeline)
    engine = engine_of(pipeline)
    reason = ByDevice.why_not(pipeline) if devices else ""
    if reason:
        warnings.warn(f"the CPU encodes the corpus: {reason}", stacklevel=2)
    on_device = ByDevice(pipeline, devices, engine, dtype) if devices and not reason else None
    around = ids_around(pipeline, add_special_tokens)
    skips_empty = False
    if ends is not None:
        # A document without ids stays without, unless the post-processor adds some
        skips_empty = ends.skips_empty and not any(around)
        around = ends.around(around)
    n_skipped = 0  # bytes of documents at the end of those that are left out

    def finished(found: tuple[Array, Array]) -> TokenBatch:
        ids, rows = found
        if around != [[], []]:
            put = surrounded_unless_empty if skips_empty else surrounded
            ids, rows = put(ids, rows, around)
        return TokenBatch(ids.astype(dtype, copy=False), rows)

    def kept() -> Iterator[tuple[int, TextBatch]]:
        """Yields the batches to encode, each with the bytes of the documents left out before it."""
        nonlocal n_skipped
        for n_before, batch in _after(cast("Iterable[TextBatch]", texts), skip):
            if batch.n_documents:
                yield n_before, batch
            else:
                n_skipped = n_before

    def units() -> Iterator[tuple[int, _Begin]]:
        """Yields for each unit its bytes, with those left out before it, and a function that starts encoding it."""
        n_all = 0
        for n_before, batch in kept():
            n_bytes = max(unit_bytes, task_bytes(n_all, n_threads))
            for unit in units_of(batch, n_bytes):
                sliced = _sliced(engine, unit, n_bytes) if n_threads > 1 else None
                yield n_before + unit.data.nbytes, partial(begin, unit, sliced)
                n_before, n_all = 0, n_all + unit.data.nbytes

    def begin(unit: TextBatch, sliced: Sliced | None, submit: Submit) -> Callable[[], list[TokenBatch]]:
        if sliced is None:
            return submit(encoded, unit).result
        work = [submit(sliced.encode, pieces) for pieces in sliced.cut.slices]
        return lambda: [finished(sliced.joined([future.result() for future in work]))]

    def encoded(batch: TextBatch) -> list[TokenBatch]:
        # What Python does for a unit takes one thread at a time; but arrays of the steps should stay small
        as_is = engine.as_is(batch) if isinstance(engine, Walked) else None
        return [*map(finished, map(engine.encode, units_of(batch, unit_bytes)) if as_is is None else [as_is])]

    def begin_task(task: Task, submit: Submit) -> Callable[[], list[TokenBatch]]:
        """Starts reading and encoding a range of a file."""
        reading = submit(read, task)

        def ids() -> list[TokenBatch]:
            nonlocal done
            n_bytes, made, long = reading.result()
            done += n_bytes
            for unit in () if long is None else units_of(long, unit_bytes):
                made += begin(unit, _sliced(engine, unit, unit_bytes), submit)()
            return made

        return ids

    def read(task: Task) -> tuple[int, list[TokenBatch], TextBatch | None]:
        """Returns the bytes that a task reads, and their ids; or the text, if it has a document for all threads together."""
        batch = next(iter(cast("Iterable[TextBatch]", task.read())), None)
        if batch is None:  # no document begins in the range
            return 0, [], None
        n_bytes = len(batch.data)
        return (n_bytes, encoded(batch), None) if n_bytes < _LONG_TASK * unit_bytes else (n_bytes, [], batch)

    def groups(on_device: ByDevice) -> Iterator[tuple[int, _Begin]]:
        """Yields the same for a device, which encodes many batches at a time."""
        for n_bytes, group in grouped(kept(), devices[0].sizes.batch):
            yield n_bytes, partial(begin_group, on_device, group)

    def begin_group(on_device: ByDevice, group: list[TextBatch], submit: Submit) -> Callable[[], list[TokenBatch]]:
        return submit(lambda: [finished(on_device.encode(joined(group)))]).result

    done = 0  # bytes encoded so far, in this run or an earlier one; of tasks, their result tells the bytes
    first, texts = _first_of(batches)
    if isinstance(first, Task):
        begun = in_order(((0, partial(begin_task, task)) for task in texts), n_threads, n_threads)
    elif on_device:
        begun = in_order(groups(on_device), on_device.n_threads(n_threads), 0)
    else:
        begun = in_order(units(), n_threads, n_threads)
    with contextlib.ExitStack() as stack:
        if on_device:
            stack.callback(on_device.close)
        stack.callback(begun.close)  # before the devices are closed, no thread waits for one
        for n_bytes, made in begun:
            yield from made
            done += n_bytes
            if report:
                report("encode", done, total)
    if n_skipped and report:
        report("encode", done + n_skipped, total)


def _first_of(items: Iterable[Any]) -> tuple[Any, Iterator[Any]]:
    """Returns the first item, or None, and an iterator of all."""
    items = iter(items)
    first = [*itertools.islice(items, 1)]
    return first[0] if first else None, itertools.chain(first, items)


def _sliced(engine: Engine, unit: TextBatch, n_bytes: int) -> Sliced | None:
    """Cuts a unit with a long document for several threads; None: the unit is not long, or can't be cut."""
    return None if len(unit.data) < _LONG * n_bytes else engine.sliced(unit, n_bytes)


def _after(batches: Iterable[TextBatch], skip: int) -> Iterator[tuple[int, TextBatch]]:
    """Yields batches of the documents after the first `skip`, each with the bytes of the documents left out before it.

    If no document follows those that are left out, the last batch is empty.
    """
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
