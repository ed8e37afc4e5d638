"""Lists and ranks of bits on a device, against NumPy."""

import numpy as np
import pytest
from gputok.kernels.cuda import bits

from tests.emulation.devices import KINDS, device_of


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [0, 1, 31, 1024, 1025, 140_000])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 1.0])
def test_bits_are_listed_and_ranked(n, share, kind):
    rng, device = np.random.default_rng(n), device_of(kind, n % 4)
    flags = rng.random(32 * n) < share
    words = np.packbits(flags, bitorder="little").view(np.uint32)
    with device.active():
        there = device.xp.asarray(words)
        found = device.download(bits.listed(device, there, more=2))
        ranks, n_bits = bits.ranked(device, there)
        ranks = device.download(ranks)
    assert np.array_equal(found[:-2], np.flatnonzero(flags)) and len(found) == flags.sum() + 2
    expected = np.cumsum(flags.reshape(-1, 32).sum(axis=1))
    assert n_bits == flags.sum() and np.array_equal(ranks, expected - flags.reshape(-1, 32).sum(axis=1))
