"""Launches the kernels that list and number bits, and those that say where items begin if they follow each other."""

from __future__ import annotations

from typing import Any

from gputok.kernels.cuda.device import Device, address, number, structs_of

_BLOCK, _TILE = 128, 1024  # as in bits.cu
Bits, Sizes, Sums = structs_of("bits.cu", "Bits Sizes Sums")


def listed(device: Device, bits: Any, end: int, most: int | None = None) -> Any:
    """Lists the bits that are set in uint32[n]: uint32[bits + 1] or [most + 1], their indexes in order, then `end`.

    most: there are not more bits. None: the host looks how many there are.
    """
    struct = _summed(device, bits)
    room = 1 + (number(device, struct.sums) if most is None else most)
    struct = struct._replace(found=device.xp.empty(room, device.xp.uint32), room=room, end=end)
    _launch(device, "list_bits", struct)
    return struct.found


def ranked(device: Device, bits: Any) -> tuple[Any, Any]:
    """Returns uint32[n]: how many bits are set before each word of uint32[n]; and uint64[1]: how many there are."""
    struct = _summed(device, bits)
    struct = struct._replace(found=device.xp.empty(len(bits), device.xp.uint32))
    _launch(device, "rank_bits", struct)
    return struct.found, struct.sums[-1:]


def offsets_of(device: Device, sizes: Any, wide: bool = False) -> Any:
    """Finds where items of some sizes, uint32[n], begin if they follow each other, and the sum of all sizes.

    wide: uint64[n + 1], since the sum may have more than 32 bits; else uint32[n + 1].
    """
    xp, n = device.xp, len(sizes)
    offsets = xp.empty(n + 1, xp.uint64 if wide else xp.uint32)
    struct = Sizes(sizes, xp.empty(_tiles(n) + 1, xp.uint64), None if wide else offsets, offsets if wide else None, n)
    _launch(device, "sum_sizes", struct)
    _scan(device, struct)
    _launch(device, "write_offsets", struct)
    return offsets


def _summed(device: Device, bits: Any) -> Bits:
    """Counts how many bits are set before each tile, and in all."""
    struct = Bits(bits, device.xp.empty(_tiles(len(bits)) + 1, device.xp.uint64), None, len(bits), 0, 0)
    _launch(device, "sum_bits", struct)
    _scan(device, struct)
    return struct


def _tiles(n: int) -> int:
    return -(-n // _TILE)


def _scan(device: Device, struct: Bits | Sizes) -> None:
    device.launch("bits.cu", "scan_sums", 1, _BLOCK, (Sums(struct.sums, _tiles(struct.n)),))


def _launch(device: Device, kernel: str, struct: Bits | Sizes) -> None:
    # Kernels access four numbers at a time
    for array in (struct[0], struct[2]):
        if array is not None and address(array) % 16:
            raise ValueError(f"{kernel}: an array must begin at a multiple of 16 bytes, not at {address(array):#x}")
    device.launch("bits.cu", kernel, max(1, min(device.blocks, _tiles(struct.n))), _BLOCK, (struct,))
