"""The size of the caches in which threads look words up."""

from __future__ import annotations

import os


def most_lines() -> int:
    """Returns the largest number of lines of a thread's word cache: as many as fit into GPUTOK_CACHE_MB megabytes.

    The environment variable is 32 (of 2**20 bytes) by default. A cache begins with 4 MB, and grows with the
    number of different words.

    Raises:
        ValueError: the variable is not a whole number.
    """
    from gputok.kernels.cpu.encode_text.cache import BYTES_A_LINE, FIRST_LINES

    megabytes = os.environ.get("GPUTOK_CACHE_MB", "") or "32"
    if not megabytes.isdecimal() or len(megabytes) > 9:
        raise ValueError(f"GPUTOK_CACHE_MB must be a whole number of megabytes, not {megabytes!r}")
    n_lines = (int(megabytes) << 20) // BYTES_A_LINE
    return max(FIRST_LINES, 1 << n_lines.bit_length() >> 1)
