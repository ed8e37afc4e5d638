"""A binary heap in a view or an array. The first entry is heap[0].

`before(context, a, b)`, an inline kernel, says which of two entries comes first; `context` is passed to that kernel.
"""

from __future__ import annotations

import numpy as np
from gputok.kernels.cpu import kernel


@kernel(inline=True)
def push(heap, n, entry, before, context):
    """Adds an entry to a heap of n entries."""
    i = n
    while i > 0 and before(context, entry, heap[(i - 1) >> 1]):
        heap[i] = heap[(i - 1) >> 1]
        i = (i - 1) >> 1
    heap[i] = entry


@kernel(inline=True)
def pop(heap, n, before, context):
    """Removes the first entry of a heap of n entries; read it before."""
    n -= 1
    entry = heap[n]
    i = 0
    while 2 * i + 1 < n:
        child = 2 * i + 1
        # Without a branch, which would be taken half of the time; heap[n] is no child, but the entry itself
        child += np.int64(before(context, heap[child + 1], heap[child]))
        if not before(context, heap[child], entry):
            break
        heap[i] = heap[child]
        i = child
    heap[i] = entry


@kernel(inline=True)
def less(context, a, b):
    """`before` for a heap of numbers, the smallest first; ignores the context."""
    return a < b
