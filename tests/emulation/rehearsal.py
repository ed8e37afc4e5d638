"""`pytest -m gpu -p tests.emulation.rehearsal`: the tests for a device, on a stand-in for CuPy and with little text.

So that what they say, and what the processes say that they start, has been said once before there is a device.
"""

from __future__ import annotations

import os
import pathlib
import sys
import tempfile

from gputok.kernels.cuda.device import DeviceSizes

from tests.emulation import stand_in

LESS = {"WHOLE": 4000, "VOCAB_SIZE": 400, "GIGABYTE": 20_000}  # constants of test modules

folder = pathlib.Path(tempfile.mkdtemp())
root = str(pathlib.Path(__file__).parents[2])
(folder / "sitecustomize.py").write_text("from tests.emulation import stand_in\n\nstand_in.install()\n")
watcher = folder / "compute-sanitizer"
watcher.write_text('#!/bin/sh\nshift 4  # --tool NAME --error-exitcode N\nexec "$@"\n')
watcher.chmod(0o755)
os.environ["PATH"] = f"{folder}{os.pathsep}{os.environ['PATH']}"
sys.path[:0] = [str(folder), root]
os.environ["PYTHONPATH"] = os.pathsep.join(sys.path[:2])
stand_in.install(DeviceSizes(rounds_per_look=2, pair_slots=1 << 10))


def pytest_collection_modifyitems(items) -> None:
    for module in {item.module for item in items}:
        for name in LESS.keys() & vars(module).keys():
            setattr(module, name, LESS[name])
