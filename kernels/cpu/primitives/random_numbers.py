"""Random numbers by xorshift64*."""

from __future__ import annotations

import numpy as np
from gputok.kernels.cpu import kernel


@kernel(inline=True)
def next_random(random):
    """The next random number by xorshift64*, float64 in [0, 1); random: the state, uint64[1]."""
    x = random[0]
    x ^= x >> np.uint64(12)
    x ^= x << np.uint64(25)
    x ^= x >> np.uint64(27)
    random[0] = x
    return np.float64((x * np.uint64(0x2545F4914F6CDD1D)) >> np.uint64(40)) / 16777216.0
