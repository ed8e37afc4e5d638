"""The CUDA devices that tests run on: emulated ones, or with `pytest -m gpu` the one of this machine."""

from __future__ import annotations

import pytest
from gputok.kernels.cuda.device import SIZES, Device, DeviceSizes

from gputok import backend
from tests.emulation.emulator import emulated_device

# Blocks, and how many of them at a time.
GEOMETRIES = ((1, 1), (3, 2), (7, 3), (4, 4))
KINDS = ["emulated", pytest.param("cuda", marks=pytest.mark.gpu)]


def device_of(kind: str, seed: int = 0, sizes: DeviceSizes = SIZES) -> Device:
    """An emulated device of a grid shape and with schedules that depend on the seed, or the real one."""
    device = emulated_device(seed, *GEOMETRIES[seed % 4]) if kind == "emulated" else cuda_device()
    return device._replace(sizes=sizes)


def cuda_device() -> Device:
    """The first CUDA device; where there is no driver, the test is skipped and says so."""
    try:
        return backend.choose("cuda:0").devices[0]
    except RuntimeError as error:
        if backend._driver_version() is not None:
            raise
        pytest.skip(str(error))
