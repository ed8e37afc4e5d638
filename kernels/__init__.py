"""The kernels of gputok: every loop over bytes, words or pairs.

A *stage* has one name, one signature and the same arrays in and out in its three versions:

    kernels/reference.py   plain Python: the specification, and the tests' slow oracle
    kernels/cpu/           Numba
    kernels/cuda/          CUDA C++ through CuPy

Kernels know arrays and numbers, and no class of the Python layer. They trust their inputs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class BpeLimits(NamedTuple):
    """What ends and shapes the training of BPE."""

    vocab_size: int
    min_frequency: int = 0
    max_token_length: int = 2**62  # in initial symbols; pairs of this length or more are not counted
    prefix: bytes = b""  # continuing_subword_prefix, stripped from the right part of a merge


class BpeMerges(NamedTuple):
    """What training BPE learnt, in order."""

    left: np.ndarray  # uint32[m], token ids
    right: np.ndarray  # uint32[m]
    merged: np.ndarray  # uint32[m]
    tokens: np.ndarray  # uint8[bytes], the strings of all tokens, one after the other
    token_offsets: np.ndarray  # int64[tokens + 1]
