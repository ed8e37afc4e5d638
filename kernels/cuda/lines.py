"""Launches the search for lines on a CUDA device, which also checks that the text is UTF-8."""

from __future__ import annotations

from typing import Any

from gputok.kernels.cuda.device import Device, offsets_of
from gputok.kernels.cuda.split import bit_counts, mark


def lines(device: Device, data: Any, begins: Any = None) -> tuple[Any, bool]:
    """Finds where the lines of a text begin, and whether the text is UTF-8, as kernels.cpu.lines does.

    Args:
        device: Where the text is.
        data: uint8[n], n < 2**31.
        begins: int64[texts + 1] from 0 to n: where each of several texts begins, and n. Lines begin there, too, so the result
            ends with n. The texts are checked like one text: a character that begins at the end of a text may go on in the
            next one.

    Returns:
        int64[lines]: 0, and the place behind each newline; and True if the text is UTF-8.
    """
    xp, n_words = device.xp, len(data) // 32 + 1
    bits, is_invalid = xp.empty(n_words, xp.uint32), xp.zeros(1, xp.uint32)
    arguments = data, len(data), bits, is_invalid
    device.launch("lines.cu", "find_lines", min(device.blocks, -(-n_words // 128)), 128, arguments)
    if begins is not None:
        mark(device, begins, len(data) + 1, bits)
    rank = offsets_of(xp, bit_counts(xp, bits))
    starts = xp.empty(int(rank[-1]), xp.uint32)
    device.launch("count_words.cu", "list_bits", device.blocks, 128, (bits, n_words, rank, starts))
    return starts.astype(xp.int64), not int(is_invalid[0])
