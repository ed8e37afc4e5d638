"""Finding the first byte of a text that is not UTF-8."""

from __future__ import annotations

import functools

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.primitives.arrays import pointer
from gputok.kernels.cpu.primitives.constants import NO_ASCII, U0, U1, U63, U64
from gputok.kernels.cpu.primitives.memory import load_u64, view
from gputok.kernels.signatures import i64, u64

ERROR = 48  # the last state of _utf8_steps


@functools.cache
def _utf8_steps() -> np.ndarray:
    """The steps of an automaton that checks UTF-8, uint64[256]: a word for each byte.

    A state is a shift: the word of a byte, shifted right by the state, has the next state in its lower six bits (Per
    Vognsen 2020). The walk takes one cycle a byte, whatever the text is. The states say which bytes must follow: none; one;
    two; three; two, the first of them not below A0 (after E0) or not above 9F (after ED); three, the first of them not
    below 90 (after F0) or not above 8F (after F4); and the error state, which stays. See table 3-7 of the Unicode standard.
    """
    start, one, two, three, after_e0, after_ed, after_f0, after_f4 = range(0, 48, 6)
    steps = [dict.fromkeys(range(0, 54, 6), ERROR) for _ in range(256)]
    leads = [(0x00, 0x7F, start), (0xC2, 0xDF, one), (0xE0, 0xE0, after_e0), (0xE1, 0xEC, two), (0xED, 0xED, after_ed)]
    leads += [(0xEE, 0xEF, two), (0xF0, 0xF0, after_f0), (0xF1, 0xF3, three), (0xF4, 0xF4, after_f4)]
    followers = [(one, 0x80, 0xBF, start), (two, 0x80, 0xBF, one), (three, 0x80, 0xBF, two)]
    followers += [(after_e0, 0xA0, 0xBF, one), (after_ed, 0x80, 0x9F, one)]
    followers += [(after_f0, 0x90, 0xBF, two), (after_f4, 0x80, 0x8F, two)]
    for state, first, last, following in [(start, *lead) for lead in leads] + followers:
        for byte in range(first, last + 1):
            steps[byte][state] = following
    return np.array([sum(to << state for state, to in step.items()) for step in steps], np.uint64)


def find_invalid_utf8(data: np.ndarray) -> int:
    """The index in data (uint8[n]) of the first byte that begins no valid UTF-8 character; -1 if all of it is valid.

    The result is that of `UnicodeDecodeError.start`. Over-long forms, surrogates and code points past U+10FFFF are invalid.
    """
    return _find_invalid_utf8(pointer(data), len(data), _utf8_steps())


@kernel(i64, i64, u64[:])
def _find_invalid_utf8(data, n_bytes, utf8_steps):
    text, n, steps = view(data, np.uint8), np.uint64(n_bytes), view(utf8_steps)
    p, state, good = U0, U0, U0  # all bytes before `good` are valid
    while p < n:
        stop = min(p + U64, n)
        if state == U0 and stop == p + U64:
            bits = U0
            for i in range(8):
                bits |= load_u64(text, p + np.uint64(8 * i))
            if bits & NO_ASCII == U0:
                p = stop
                good = p
                continue
        if state == U0:
            good = p
        while p < stop:
            state = steps[text[p]] >> (state & U63)
            p += U1
        state &= U63
        if state == np.uint64(ERROR):
            break
    if state == U0:
        return np.int64(-1)
    p, state = good, U0  # walk again from `good`, and note where each character begins
    while p < n:
        if state == U0:
            good = p
        state = steps[text[p]] >> state & U63
        if state == np.uint64(ERROR):
            break
        p += U1
    return np.int64(good)
