"""Hashes words and pairs, compares bytes, and draws random numbers."""

from __future__ import annotations

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.primitives.constants import GOLDEN, U0, U1, U4, U8, U16, U32
from gputok.kernels.cpu.primitives.memory import load_u32, load_u64


@kernel(inline=True)
def mix(h):
    """Mixes the bits of a 64-bit number; the upper bits of the result depend on all of them."""
    h = h * GOLDEN
    return h ^ (h >> np.uint64(29))


@kernel(inline=True)
def hash_pair(key):
    """A hash of two numbers that are packed in 64 bits."""
    h = key * GOLDEN
    return h ^ (h >> U32)


@kernel(inline=True)
def hash_bytes(text, begin, n):
    """A 64-bit hash of n bytes from text[begin] on, eight at a time; the last eight may overlap the bytes before."""
    h = mix(n + U1)
    if n >= U8:
        i = U0
        while i + U8 <= n:
            h = mix(h ^ load_u64(text, begin + i))
            i += U8
        if i < n:
            h = mix(h ^ load_u64(text, begin + n - U8))
    elif n >= U4:
        low, high = np.uint64(load_u32(text, begin)), np.uint64(load_u32(text, begin + n - U4))
        h = mix(h ^ (low | high << U32))
    elif n > U0:
        first, middle = np.uint64(text[begin]), np.uint64(text[begin + (n >> U1)])
        h = mix(h ^ (first | middle << U8 | np.uint64(text[begin + n - U1]) << U16))
    return mix(h)


@kernel(inline=True)
def same_long(a, i, b, j, n):
    """`same_bytes` for at least 8 bytes; the last eight may overlap the bytes before."""
    k = U0
    while k + U8 < n:
        if load_u64(a, i + k) != load_u64(b, j + k):
            return False
        k += U8
    return load_u64(a, i + n - U8) == load_u64(b, j + n - U8)


@kernel(inline=True)
def same_bytes(a, i, b, j, n):
    """Whether the n bytes from a[i] on equal the n bytes from b[j] on; as in `hash_bytes`, parts may overlap."""
    if n >= U8:
        return same_long(a, i, b, j, n)
    if n >= U4:
        return load_u32(a, i) == load_u32(b, j) and load_u32(a, i + n - U4) == load_u32(b, j + n - U4)
    if n == U0:
        return True
    middle = n >> U1
    return a[i] == b[j] and a[i + middle] == b[j + middle] and a[i + n - U1] == b[j + n - U1]


@kernel(inline=True)
def next_random(random):
    """The next random number by xorshift64*, float64 in [0, 1); random: the state, uint64[1]."""
    x = random[0]
    x ^= x >> np.uint64(12)
    x ^= x << np.uint64(25)
    x ^= x >> np.uint64(27)
    random[0] = x
    return np.float64((x * np.uint64(0x2545F4914F6CDD1D)) >> np.uint64(40)) / 16777216.0
