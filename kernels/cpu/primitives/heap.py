"""A binary heap of numbers in a view. The smallest is heap[0]."""

from __future__ import annotations

import numpy as np
from gputok.kernels.cpu import kernel


@kernel(inline=True)
def push(heap, n, entry):
    """Adds an entry to a heap of n entries."""
    i = n
    while i > 0 and entry < heap[(i - 1) >> 1]:
        heap[i] = heap[(i - 1) >> 1]
        i = (i - 1) >> 1
    heap[i] = entry


@kernel(inline=True)
def pop(heap, n):
    """Removes the smallest of n entries, and returns it."""
    n -= 1
    first, entry = heap[0], heap[n]
    i = 0
    while 2 * i + 1 < n:
        child = 2 * i + 1
        # Adds a comparison, since the processor could not predict a branch here. If there is no second child, it reads
        # heap[n], which is `entry` itself
        child += np.int64(heap[child + 1] < heap[child])
        if heap[child] >= entry:
            break
        heap[i] = heap[child]
        i = child
    heap[i] = entry
    return first
