"""Rows of files of ids: the kernels write what plain Python writes."""

import numpy as np
import pytest
from gputok.kernels.cpu import records

from tests import reference

LENGTHS = [0, 1, 254, 255, 256, 257, 65_535, 65_536, 65_537]


def random_rows(rng: np.random.Generator) -> np.ndarray:
    lengths = rng.choice([*LENGTHS[:3], *rng.integers(0, 40, 3)] if rng.integers(4) else LENGTHS, rng.integers(0, 20))
    return int(rng.integers(0, 1 << 40)) + np.cumsum([0, *lengths], dtype=np.int64)


@pytest.mark.parametrize("itemsize", [2, 4, 8])
def test_samples_equal_their_plain_version(itemsize):
    rng = np.random.default_rng(itemsize)
    for _ in range(60):
        rows = random_rows(rng)
        ids = rng.integers(0, 256, (rows[-1] - rows[0]) * itemsize, np.uint8)
        samples = records.mds_samples(rows, ids, itemsize)
        assert samples.tobytes() == reference.mds_samples(rows, ids, itemsize).tobytes()
        for with_heads in (False, True):
            offsets = records.sample_offsets(rows, itemsize, with_heads=with_heads)
            assert offsets.tolist() == reference.sample_offsets(rows, itemsize, with_heads=with_heads).tolist()
        assert offsets[-1] == len(samples)


def test_lines_equal_their_plain_version():
    rng = np.random.default_rng(3)
    most = (1 << 63) - 1
    edges = np.array([0, 0, 9, 10, 99, 100, 10**18 - 1, 10**18, most, most])
    for rows, first in [
        (edges, most - 9),
        (edges, 0),
        *((random_rows(rng), int(rng.integers(0, 1 << 40))) for _ in range(60)),
    ]:
        assert records.olmo_lines(rows, first).tobytes() == reference.olmo_lines(rows, first).tobytes()
