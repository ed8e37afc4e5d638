"""The emulator of a GPU: correct kernels give correct results, and planted faults are found."""

import pathlib
import re
from typing import NamedTuple

import numpy as np
import pytest
from gputok.kernels.cuda.device import SOURCES

from tests.bench.device import PROBE, Probe
from tests.emulation import ptx, translate
from tests.emulation.emulator import EmulationError, code_of, launch
from tests.emulation.memory import MEMORY

FAULTS = pathlib.Path(__file__).parents[1] / "emulation" / "faults.cu"
VALUES = np.arange(640, dtype=np.uint64)


class Given(NamedTuple):
    """The fields of the struct `Given` of faults.cu."""

    values: np.ndarray
    sums: np.ndarray
    n: int = len(VALUES)


def run(kernel, n_sums=10, blocks=10, seed=1, values=VALUES, **options):
    sums = MEMORY.zeros(n_sums, np.uint64)
    launch(FAULTS, kernel, blocks, 64, (Given(MEMORY.asarray(values), sums),), at_once=2, seed=seed, **options)
    return MEMORY.on_host(sums)


@pytest.mark.parametrize("seed", range(20))
def test_correct_kernels_pass_under_every_schedule(seed):
    sums = VALUES.reshape(10, 64).sum(axis=1)
    for kernel, n_sums, expected in (
        ("sum_blocks", 10, sums),
        ("pass_on", 10, sums),
        ("pass_after_syncwarp", 10, sums),
        ("count_parity", 2, [320, 320]),
        ("warp_sum", 1, [VALUES.sum()]),
    ):
        assert np.array_equal(run(kernel, n_sums, seed=seed, races=True), expected)
    assert run("pass_after_fences", blocks=2, seed=seed, races=True)[3] == 7


def test_a_missing_barrier_gives_wrong_sums():
    """Under this schedule."""
    found = []
    for seed in range(8):
        try:
            found.append((run("missing_barrier", seed=seed) != VALUES.reshape(10, 64).sum(axis=1)).any())
        except EmulationError as error:
            found.append("was never written" in str(error))
    assert any(found)


FOUND = {
    "half_a_barrier": "a thread ended while others wait at the barrier",
    "waits_forever": r"ended while others of its warp wait|others have ended",
    "meet_at_two_lines": r"lanes of a warp meet at faults.cu:\d+, others at faults.cu:\d+",
    "meet_without_some": r"others have ended|ended while others of its warp wait",
    "mask_of_others": "a lane is not in its own mask",
    "two_masks": r"with different masks|not in its own mask",
    "spin_on_a_load": "deadlock: threads wait for what no thread writes",
    "read_past_the_end": r"reads 8 bytes at [0-9a-f]+ of global memory: it is out of bounds",
    "read_what_nobody_wrote": r"reads 8 bytes at [0-9a-f]+ of shared memory: it was never written",
    "read_between_words": r"reads 8 bytes at [0-9a-f]+ of global memory: it is not aligned",
}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kernel", FOUND)
def test_errors_name_the_place(kernel, seed):
    values = VALUES[1:] if kernel == "waits_forever" else VALUES
    blocks = 11 if kernel == "read_past_the_end" else 1
    with pytest.raises(
        EmulationError, match=rf"{kernel}: (\w+.cuh?:\d+[^,]*, )?block \d+, thread \d+: .*({FOUND[kernel]})"
    ):
        run(kernel, blocks=blocks, values=values, seed=seed)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "kernel",
    [
        "missing_barrier",
        "one_barrier_too_few",
        "lost_update",
        "no_fence_before",
        "no_fence_after",
        "fences_of_others",
        "pass_after_a_shuffle",
    ],
)
def test_data_races_are_found_whether_or_not_a_schedule_shows_them(kernel, seed):
    with pytest.raises(EmulationError, match=r"in a data race with \w+\.cuh?:\d+|was never written"):
        run(kernel, blocks=2, seed=seed, races=True)


@pytest.mark.slow
def test_a_launch_that_does_not_end():
    with pytest.raises(EmulationError, match=r"never_ends: .*it does not end"):
        run("never_ends", blocks=1)


def test_waiting_for_a_block_that_has_not_started_is_an_error():
    """A barrier of the whole grid wants all blocks resident: what a cooperative launch is for."""
    for seed in range(8):
        values, total, arrived = (MEMORY.zeros(n, np.uint64) for n in (300, 1, 1))
        probe = Probe(values, total, arrived, None, None, len(values), times=3)
        launch(pathlib.Path(PROBE), "take_steps", 4, 128, (probe,), at_once=4, seed=seed, races=True)
        assert total[0] == 300 * (1 + 2 + 3)
    arrived[:] = 0
    with pytest.raises(EmulationError, match=r"take_steps: .*deadlock: threads wait for what no thread writes"):
        launch(pathlib.Path(PROBE), "take_steps", 4, 128, (probe,), at_once=3, seed=1)


def test_memory_is_watched_byte_by_byte():
    array = MEMORY.empty(3, np.uint8)
    array[:2] = 7
    with pytest.raises(AssertionError, match=r"uint8\[3\]: what was never written is downloaded"):
        MEMORY.on_host(array)
    assert MEMORY.on_host(MEMORY.written(array, 7)).tolist() == [7, 7, 7]
    copy = MEMORY.empty(3, np.uint8)
    MEMORY.copied(copy, array)
    assert (MEMORY.state(copy) == 3).all()
    state = MEMORY.state(array)
    del array
    assert not state.any()


# -- without a run


@pytest.mark.parametrize("architecture", [75, 90, 120])
@pytest.mark.parametrize("path", [*sorted(SOURCES.glob("*.cu")), pathlib.Path(PROBE)], ids=lambda path: path.stem)
def test_the_ptx_of_all_kernels_is_known_and_without_faults(path, architecture):
    """No access of any address space, no register that is unset on a path, no instruction that is not known."""
    code = code_of(path, architecture)
    assert code.kernels.keys() == {*re.findall(r'extern "C" __global__ void (\w+)\(', path.read_text())}
    assert "kernel_" in translate.translated(code)


KERNEL = """
.visible .entry kernel(
	.param .align 8 .b8 given[16]
)
{
	.reg .pred 	%p<2>;
	.reg .b32 	%r<4>;
	.reg .b64 	%rd<4>;
	ld.param.u64 	%rd1, [given];
	ld.param.u32 	%r1, [given+8];
	setp.eq.s32 	%p1, %r1, 0;
	@%p1 bra 	$L__BB0_2;
	mov.u32 	%r2, 1;
$L__BB0_2:
	st.u32 	[%rd1], %r2;
	ret;
}
"""


def test_faults_that_are_seen_without_a_run():
    assert ptx.faults(ptx.read(KERNEL)) == ["kernel, : st.u32 is generic", "kernel, : %r2 may be unset"]
    mended = KERNEL.replace("st.u32", "st.global.u32").replace("	setp", "	mov.u32 	%r2, 0;\n	setp")
    assert not ptx.faults(ptx.read(mended))
    for wrong in (
        "frobnicate.u32 	%r2, %r1;",
        "add.sat.s32 	%r2, %r1, %r1;",
        "shfl.sync.up.b32 	%r2, %r1, 1, 0, -1;",
    ):
        with pytest.raises(SyntaxError, match="of PTX is not known"):
            translate.translated(ptx.read(mended.replace("mov.u32 	%r2, 1;", wrong)))
