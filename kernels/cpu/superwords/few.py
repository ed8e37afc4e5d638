"""One to four ids as two numbers, which is how results are remembered."""

from __future__ import annotations

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.primitives.constants import LOW32, U0, U1, U2, U3, U4, U32

FEW = U4


@kernel(inline=True)
def few_ids(ids, at, n):
    """ids[at:at + n] as two numbers, with NONE (all bits) instead of those that are missing; n: at most FEW."""
    second = np.uint64(ids[at + (U1 if n > U1 else U0)])
    third = np.uint64(ids[at + (U2 if n > U2 else U0)])
    fourth = np.uint64(ids[at + (U3 if n > U3 else U0)])
    low = np.uint64(ids[at]) | (second if n > U1 else LOW32) << U32
    high = (third if n > U2 else LOW32) | (fourth if n > U3 else LOW32) << U32
    return low, high


@kernel(inline=True)
def put_few(out, n, low, high):
    """Writes the ids of `few_ids` to out[n:n + FEW], whatever their number, and returns where they end."""
    second, third, fourth = low >> U32, high & LOW32, high >> U32
    out[n], out[n + U1], out[n + U2], out[n + U3] = low, second, third, fourth
    return n + U1 + np.uint64(second != LOW32) + np.uint64(third != LOW32) + np.uint64(fourth != LOW32)
