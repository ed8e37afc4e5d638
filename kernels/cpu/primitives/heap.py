"""A binary heap in a view or an array: parents come before their children by `before(context, a, b)`.

`before` is an inline kernel, and `context` whatever it needs. The first entry is heap[0].
"""

from __future__ import annotations

from gputok.kernels.cpu import kernel


@kernel(inline=True)
def push(heap, n, entry, before, context):
    """Adds an entry to a heap of n."""
    i = n
    while i > 0 and before(context, entry, heap[(i - 1) >> 1]):
        heap[i] = heap[(i - 1) >> 1]
        i = (i - 1) >> 1
    heap[i] = entry


@kernel(inline=True)
def pop(heap, n, before, context):
    """Takes the first entry out of a heap of n (read it before)."""
    n -= 1
    entry = heap[n]
    i = 0
    while 2 * i + 1 < n:
        child = 2 * i + 1
        if child + 1 < n and before(context, heap[child + 1], heap[child]):
            child += 1
        if not before(context, heap[child], entry):
            break
        heap[i] = heap[child]
        i = child
    heap[i] = entry


@kernel(inline=True)
def less(context, a, b):
    """`before` of a heap of numbers, the least first; context: anything."""
    return a < b
