"""Counts what kernels do, in their PTX: instructions of warps, requests to memory, and sectors that requests touch.

The emulator runs each thread by itself. A warp is taken to run a part of the code as often as the lane that runs it
most often, and the n-th time that its lanes come to an access is one request: true where lanes go the same ways, and
too low where some of them come to the same place later than others.
"""

from __future__ import annotations

import ctypes
from collections import defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from gputok.kernels.cuda.device import SOURCES, Device

from tests.emulation.emulator import code_of, emulated_device, launch

WARP = 32
# Bytes that memory and caches move together
SECTOR = 32
REQUEST = np.dtype(
    [("at", np.uint64), ("thread", np.uint32), ("line", np.uint32), ("size", np.uint32), ("", np.uint32)]
)


class Counts(NamedTuple):
    """What the launches of a kernel did.

    Attributes:
        instructions: Of warps, in PTX; a card's own are some 0.7 to 1.2 times as many.
        lanes: The mean number of lanes that take part in an instruction.
        requests: Of warps, to global memory.
        sectors: That each request touches, added up.
        touched: Sectors of memory that a launch touches at all, added up over launches.
        n_launches: Launches.
    """

    instructions: int = 0
    lanes: float = 0.0
    requests: int = 0
    sectors: int = 0
    touched: int = 0
    n_launches: int = 0

    def __add__(self, other: Counts) -> Counts:
        """Adds what other launches did."""
        sums = Counts(*(a + b for a, b in zip(self, other, strict=True)))
        lanes = self.lanes * self.instructions + other.lanes * other.instructions
        return sums._replace(lanes=lanes / max(1, sums.instructions))


def counted(run: Callable[[Device], Any], blocks: int = 4, architecture: int = 90) -> dict[str, Counts]:
    """Runs something on an emulated device, and returns what each kernel did there."""
    found: defaultdict[str, Counts] = defaultdict(Counts)

    def counting(file: str, kernel: str, n_blocks: int, threads: int, structs: tuple, together: bool = False) -> None:
        parts = code_of(SOURCES / file, architecture).kernels[kernel].parts()
        lengths = np.array([len(part) for _, part in parts])

        def take(requests: int, n_requests: int, visits: int, n_visits: int) -> None:
            accesses = (ctypes.c_uint8 * (n_requests * REQUEST.itemsize)).from_address(requests or visits)
            of_parts = (ctypes.c_uint32 * n_visits).from_address(visits)
            of_lanes = np.frombuffer(of_parts, np.uint32).reshape(-1, WARP, len(lengths))
            found[kernel] += _counts(np.frombuffer(accesses, REQUEST), of_lanes, lengths)

        options = {"at_once": n_blocks if together else 2, "seed": 0, "architecture": architecture, "counts": take}
        launch(SOURCES / file, kernel, n_blocks, threads, structs, **options)

    run(emulated_device(blocks=blocks)._replace(launch=counting))
    return dict(found)


def _counts(accesses: np.ndarray, visits: np.ndarray, lengths: np.ndarray) -> Counts:
    instructions = int((visits.max(axis=1).astype(np.int64) @ lengths).sum())
    of_lanes = int((visits.astype(np.int64) @ lengths).sum())
    accesses = accesses[np.lexsort((accesses["line"], accesses["thread"]))]
    place = accesses["thread"].astype(np.int64) << 32 | accesses["line"]
    # The n-th access of a thread at a line is one request with those of the other lanes
    begins = np.flatnonzero(np.diff(place, prepend=-1))
    nth = np.arange(len(place)) - np.repeat(begins, np.diff(np.append(begins, len(place))))
    sectors, sector = np.unique(accesses["at"] // SECTOR, return_inverse=True)
    warp_and_line = (accesses["thread"] // WARP).astype(np.int64) << 15 | accesses["line"]
    requests, request = np.unique(warp_and_line << 32 | nth, return_inverse=True)
    n_sectors = len(np.unique(request.astype(np.int64) << 32 | sector))
    return Counts(instructions, of_lanes / max(1, instructions), len(requests), n_sectors, len(sectors), 1)
