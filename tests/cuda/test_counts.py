"""Counts of what kernels do, in their PTX."""

import numpy as np
from gputok.kernels.cuda import bits

from tests.bench.device_counts import counted


def test_counts_of_a_kernel():
    """A warp that adds up 8 neighbours a lane, 4 at a time, touches each of its sectors twice."""
    sizes = np.arange(4096, dtype=np.uint32)

    def run(device):
        bits.offsets_of(device, device.xp.asarray(sizes), wide=False)

    found = counted(run)
    assert found.keys() == {"sum_sizes", "scan_sums", "write_offsets"}
    sums = found["sum_sizes"]
    # 128 requests for 16 kB, each for 32 lanes of 16 bytes, and a sum for each of 4 tiles
    assert sums.n_launches == 1 and sums.requests == 2 * 4096 // 8 // 32 + 4
    assert sums.sectors == 2 * 4096 * 4 // 32 + 4 and sums.touched == 4096 * 4 // 32 + 1
    assert 20 < sums.lanes <= 32 and 1000 < sums.instructions < 100_000
    assert (found["scan_sums"] + sums).n_launches == 2
