"""Makes batches of about the same size: cuts large ones, and joins small ones."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from gputok.corpus.packing import cuts
from gputok.text.pieces import RawLines, TextBatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


def regroup(
    batches: Iterable[TextBatch | RawLines], batch_bytes: Callable[[int], int]
) -> Iterator[TextBatch | RawLines]:
    """Cuts large batches and joins small ones (from a folder of small files, or from Arrow chunks of few rows).

    Args:
        batches: batches of any size.
        batch_bytes: about the size of the batch to make, in bytes, after so many bytes in others.

    Yields:
        Batches with the same documents in the same order; RawLines stay as they are.
    """
    held: list[TextBatch] = []
    size = n_before = 0
    for batch in batches:
        if isinstance(batch, RawLines):
            if held:
                yield joined(held)
                held, size = [], 0
            yield batch
            continue
        most = batch_bytes(n_before)
        for part in _slices(batch, most):
            held.append(part)
            size += len(part.data)
            if 2 * size >= most:
                yield joined(held)
                n_before += size
                held, size = [], 0
    if held:
        yield joined(held)


def _slices(batch: TextBatch, batch_bytes: int) -> Iterator[TextBatch]:
    """Cuts a batch between documents into views of about equal size, none of which is empty."""
    data, offsets = batch
    for first, last in itertools.pairwise(cuts(offsets, batch_bytes)):
        start, stop = offsets[first], offsets[last]
        yield TextBatch(data[start:stop], offsets[first : last + 1] - start if first else offsets[: last + 1])


def joined(batches: list[TextBatch]) -> TextBatch:
    """Puts the documents of some batches, of one at least, into one."""
    if len(batches) == 1:
        return batches[0]
    starts = np.cumsum([0, *(len(batch.data) for batch in batches)])
    offsets = [batch.offsets[1:] + start for batch, start in zip(batches, starts[:-1], strict=True)]
    return TextBatch(np.concatenate([batch.data for batch in batches]), np.concatenate([starts[:1], *offsets]))
