"""Lists and ranks of bits and sums of sizes on a device, against NumPy."""

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
        found = device.download(bits.listed(device, there, 7))
        ranks, n_bits = map(device.download, bits.ranked(device, there))
    assert np.array_equal(found, [*np.flatnonzero(flags), 7])
    expected = np.cumsum(flags.reshape(-1, 32).sum(axis=1))
    assert n_bits[0] == flags.sum() and np.array_equal(ranks, expected - flags.reshape(-1, 32).sum(axis=1))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [0, 1, 1024, 1025, 140_000])
def test_sizes_are_added_up(n, kind):
    """Also to more than 32 bits."""
    device = device_of(kind, n % 4)
    for most, wide in ((9, False), (1 << 32, True)):
        sizes = np.random.default_rng(n).integers(0, most, n).astype(np.uint32)
        with device.active():
            found = device.download(bits.offsets_of(device, device.xp.asarray(sizes), wide))
        assert np.array_equal(found, np.cumsum([0, *sizes.tolist()], dtype=np.uint64))
        assert found.dtype == (np.uint64 if wide else np.uint32)
