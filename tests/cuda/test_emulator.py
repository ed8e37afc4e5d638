"""The emulator of a GPU: correct kernels give correct results, and planted faults are found."""

import pathlib
import subprocess
from typing import NamedTuple

import numpy as np
import pytest
from gputok.kernels.cuda.device import SOURCES

from tests.bench.device import Probe
from tests.emulation.emulator import EmulationError, build, launch
from tests.emulation.sanitized import command

FAULTS = pathlib.Path(__file__).parents[1] / "emulation" / "faults.cu"
VALUES = np.arange(640, dtype=np.uint64)


class Given(NamedTuple):
    """The fields of the struct `Given` of faults.cu."""

    values: np.ndarray
    sums: np.ndarray
    n: int = len(VALUES)


def run(kernel, sums, blocks=10, seed=1, sanitizer="", values=VALUES):
    launch(FAULTS, kernel, blocks, 64, (Given(values, sums),), at_once=2, seed=seed, sanitizer=sanitizer)
    return sums


@pytest.mark.parametrize("seed", range(20))
def test_correct_kernels_pass_under_every_schedule(seed):
    sums = run("sum_blocks", np.zeros(10, np.uint64), seed=seed)
    assert (sums == VALUES.reshape(10, 64).sum(axis=1)).all()
    assert run("count_parity", np.zeros(2, np.uint64), seed=seed).tolist() == [320, 320]
    assert run("warp_sum", np.zeros(1, np.uint64), seed=seed)[0] == VALUES.sum()


def test_a_missing_barrier_gives_wrong_sums():
    sums = run("missing_barrier", np.zeros(10, np.uint64))
    assert (sums != VALUES.reshape(10, 64).sum(axis=1)).any()


def test_a_barrier_that_half_a_block_reaches_is_an_error():
    with pytest.raises(EmulationError, match=r"half_a_barrier: .* a thread ended while others wait at the barrier"):
        run("half_a_barrier", np.zeros(10, np.uint64))


def test_a_warp_that_never_meets_is_an_error():
    with pytest.raises(EmulationError, match=r"ended while others of its warp wait|others have ended"):
        run("waits_forever", np.zeros(1, np.uint64), blocks=1, values=VALUES[1:])


def test_lanes_that_meet_at_different_lines_are_an_error():
    with pytest.raises(EmulationError, match=r"lanes of a warp meet at line \d+, others at line \d+"):
        run("meet_at_two_lines", np.zeros(1, np.uint64), blocks=1)


@pytest.mark.parametrize("seed", range(4))
def test_lanes_that_meet_without_all_others_are_an_error(seed):
    with pytest.raises(EmulationError, match=r"others have ended|ended while others of its warp wait"):
        run("meet_without_some", np.zeros(1, np.uint64), blocks=1, seed=seed)


def test_a_loop_that_only_loads_gives_way():
    """And is a deadlock if no thread writes what it waits for."""
    with pytest.raises(EmulationError, match="deadlock: threads wait for what no thread writes"):
        run("spin_on_a_load", np.zeros(2, np.uint64), blocks=1)


def test_waiting_for_a_block_that_has_not_started_is_an_error():
    """A barrier of the whole grid wants all blocks resident: what a cooperative launch is for."""
    values, total, arrived = np.zeros(300, np.uint64), np.zeros(1, np.uint64), np.zeros(1, np.uint64)
    probe = Probe(values, total, arrived, None, None, len(values), times=3)
    launch(SOURCES / "probe.cu", "take_steps", 4, 128, (probe,), at_once=4, seed=1)
    assert total[0] == 300 * (1 + 2 + 3)
    arrived[:] = 0
    with pytest.raises(EmulationError, match="take_steps: deadlock: threads wait for what no thread writes"):
        launch(SOURCES / "probe.cu", "take_steps", 4, 128, (probe,), at_once=3, seed=1)


def sanitized(kernel: str, sanitizer: str) -> subprocess.CompletedProcess:
    """Runs one kernel in a process of its own, under a sanitizer's runtime."""
    more = "blocks=11, values=VALUES.copy(), " if kernel == "read_past_the_end" else ""
    more = "blocks=2, " if "fence" in kernel else more
    call = f"run({kernel!r}, np.zeros(10, np.uint64), {more}sanitizer={sanitizer!r})"
    code = f"from tests.cuda.test_emulator import *; {call}"
    return command(sanitizer, "-c", code)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kernel", "sanitizer", "found"),
    [
        ("read_past_the_end", "address", "heap-buffer-overflow"),
        ("missing_barrier", "thread", "data race"),
        ("one_barrier_too_few", "thread", "data race"),
        ("lost_update", "thread", "data race"),
        ("sum_blocks", "address", None),
        ("sum_blocks", "thread", None),
        ("pass_on", "thread", None),
        ("count_parity", "thread", None),
        ("warp_sum", "thread", None),
        ("pass_after_fences", "thread", None),
        ("no_fence_before", "thread", "data race"),
        ("no_fence_after", "thread", "data race"),
        ("fences_of_others", "thread", "data race"),
    ],
)
def test_sanitizers_find_what_no_schedule_shows(kernel, sanitizer, found):
    build(FAULTS, sanitizer)
    done = sanitized(kernel, sanitizer)
    if found is None:
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode != 0
        where = {"missing_barrier": "sum_block<false>", "one_barrier_too_few": "pass_on_twice<false>"}
        where = "pass_by_flag" if "fence" in kernel else where.get(kernel, kernel)
        assert found in done.stderr and where in done.stderr
