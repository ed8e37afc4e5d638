"""Launches the kernels that list and number the bits that are set in an array."""

from __future__ import annotations

from typing import Any

from gputok.kernels.cuda.device import Device

_BLOCK, _TILE = 128, 1024  # as in bits.cu


def _summed(device: Device, bits: Any) -> Any:
    """Returns uint32[tiles + 1]: how many bits are set before each tile, and in all."""
    n_tiles = -(-len(bits) // _TILE)
    sums = device.xp.empty(n_tiles + 1, device.xp.uint32)
    if n_tiles:
        _launch(device, "sum_bits", n_tiles, (bits, len(bits), sums))
    device.launch("bits.cu", "scan_sums", 1, _BLOCK, (sums, n_tiles))
    return sums


def listed(device: Device, bits: Any, more: int = 0) -> Any:
    """Lists the bits that are set in uint32[n].

    Returns:
        uint32[bits + more]: where they are, in order, and `more` elements that nobody has written.
    """
    sums = _summed(device, bits)
    found = device.xp.empty(int(sums[-1]) + more, device.xp.uint32)
    if len(bits):
        _launch(device, "list_bits", len(sums) - 1, (bits, len(bits), sums, found))
    return found


def ranked(device: Device, bits: Any) -> tuple[Any, int]:
    """Returns uint32[n]: how many bits are set before each word of uint32[n], and how many there are in all."""
    sums = _summed(device, bits)
    ranks = device.xp.empty(len(bits), device.xp.uint32)
    if len(bits):
        _launch(device, "rank_bits", len(sums) - 1, (bits, len(bits), sums, ranks))
    return ranks, int(sums[-1])


def _launch(device: Device, kernel: str, n_tiles: int, arguments: tuple) -> None:
    device.launch("bits.cu", kernel, min(device.blocks, n_tiles), _BLOCK, arguments)
