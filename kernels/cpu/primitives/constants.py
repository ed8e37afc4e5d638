"""Numbers that several kernels share.

Indices and hashes are unsigned 64-bit numbers. In Numba, the sum of such a number and a Python integer is a float, so
kernels write U0, U1, ... for small numbers.
"""

from __future__ import annotations

import numpy as np

U0, U1, U2, U3, U4, U6, U7, U8 = (np.uint64(i) for i in (0, 1, 2, 3, 4, 6, 7, 8))
U16, U20, U24, U32, U62, U63, U64 = (np.uint64(i) for i in (16, 20, 24, 32, 62, 63, 64))
LOW32 = np.uint64(0xFFFFFFFF)
ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
NO_ASCII = np.uint64(0x8080808080808080)  # the bit that is 0 in ASCII, in each of eight bytes
# 2**64 / golden ratio: as a factor, it spreads a key over the upper bits
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
