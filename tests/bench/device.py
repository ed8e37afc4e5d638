"""Measures the properties of a GPU that the design of the CUDA kernels depends on: kernel launches and 64-bit atomics.

`python -m tests.bench device` prints a row for the table in tests/cuda/NOTES.md. Each result is compared with NumPy's
before it is timed; times are between CUDA events, the best of several runs.
"""

from __future__ import annotations

import datetime
import functools
import json
import pathlib
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gputok.kernels.cuda.device import Device

PROBE = str(pathlib.Path(__file__).with_name("probe.cu"))
"""The kernels that are measured; no stage runs them."""
# A block has so many threads, as in probe.cu.
_BLOCK = 128
_RUNS = 5


class Sizes(NamedTuple):
    """How much work each probe does."""

    steps: int = 1000
    steps_in_graph: int = 100  # divides the number of pairs
    values: int = 1 << 16  # that a step changes
    keys: int = 1 << 24  # that are counted
    distinct: int = 1 << 20


USUAL = Sizes()


class Figure(NamedTuple):
    """One probe."""

    probe: str
    seconds: float
    n: int  # steps or additions in that time
    unit: str

    def value(self) -> str:
        """Formats the time of a step, or the additions per second."""
        per = self.seconds / self.n
        return f"{per * 1e6:.2f} µs" if self.unit == "step" else f"{1e-9 / per:.2f} G/s"


def measure(device: Device, sizes: Sizes = USUAL) -> list[Figure]:
    """Runs all probes; raises ValueError if a probe gives a wrong result."""
    with device.active():
        return [*_steps(device, sizes), *_atomics(device, sizes)]


class Probe(NamedTuple):
    """The fields of the struct `Probe` of probe.cu, in its order."""

    values: Any  # uint64[n]
    total: Any  # uint64[1]
    arrived: Any  # uint64[1]
    counts: Any  # uint64[distinct keys]
    keys: Any  # uint32[n]
    n: int
    times: int


def record(device: Device) -> Any:
    """Returns a mark after all work so far of the lane that this thread holds."""
    if not hasattr(device.xp, "cuda"):  # the emulator does all work at once
        return time.perf_counter()
    event = device.xp.cuda.Event(block=True)
    event.record()
    return event


def seconds_between(device: Device, first: Any, last: Any) -> float:
    """Returns the seconds of the device between two marks."""
    if not hasattr(device.xp, "cuda"):
        return last - first
    last.synchronize()
    return device.xp.cuda.get_elapsed_time(first, last) / 1000


def graph_of(device: Device, launches: Callable[[], None]) -> Callable[[], None]:
    """Does launches, and returns a function that does them again, on a card as one CUDA graph."""
    launches()  # compiles kernels, which is not allowed while launches are captured
    with device.active() as lane:
        if lane is None:  # the emulator
            return launches
        lane.wait()
        lane.working.begin_capture()
        launches()
        captured = lane.working.end_capture()
    return lambda: captured.launch(lane.working)


_NOTHING = Probe(None, None, None, None, None, 0, 0)


def _steps(device: Device, sizes: Sizes) -> Iterator[Figure]:
    xp, n = device.xp, sizes.values

    def probe(name: str, work: Callable[[Probe], Callable[[], None]]) -> Figure:
        given = _NOTHING._replace(
            values=xp.zeros(n, xp.uint64),
            total=xp.zeros(1, xp.uint64),
            arrived=xp.zeros(1, xp.uint64),
            n=n,
            times=sizes.steps,
        )
        run = work(given)  # a graph does its steps once when it is made
        values, total = (device.download(array) for array in (given.values, given.total))
        run()
        done = device.download(given.values) - values
        sums = int(values.sum()) * sizes.steps + n * sizes.steps * (sizes.steps + 1) // 2
        right = int(device.download(given.total)[0]) - int(total[0]) == sums and bool((done == sizes.steps).all())
        return _figure(device, name, run, right, sizes.steps, "step")

    def launches(given: Probe, times: int) -> None:
        for _ in range(times):
            device.launch(PROBE, "add_one", device.blocks, _BLOCK, (given,))
            device.launch(PROBE, "add_up", 1, _BLOCK, (given,))

    def from_graph(given: Probe) -> Callable[[], None]:
        graph = graph_of(device, lambda: launches(given, sizes.steps_in_graph))

        def run() -> None:
            for _ in range(sizes.steps // sizes.steps_in_graph):
                graph()

        return run

    def together(given: Probe) -> Callable[[], None]:
        return lambda: device.launch(PROBE, "take_steps", device.blocks, _BLOCK, (given,), together=True)

    yield probe("plain launches", lambda given: lambda: launches(given, sizes.steps))
    yield probe("a graph", from_graph)
    yield probe("a cooperative grid", together)


def _atomics(device: Device, sizes: Sizes) -> Iterator[Figure]:
    xp = device.xp
    on_host = (np.random.default_rng(0).zipf(1.1, sizes.keys) - 1) % sizes.distinct  # the lowest are frequent
    keys, by_law = xp.asarray(on_host.astype(np.uint32)), np.bincount(on_host, minlength=sizes.distinct)
    times = -(-sizes.keys // (8 * device.blocks * _BLOCK))
    at_one = np.zeros(sizes.distinct, np.int64)
    at_one[0] = times * device.blocks * _BLOCK
    for name, kernel, expected in (
        ("one address", "count_at_one_address", at_one),
        ("Zipf law", "count_keys", by_law),
        ("Zipf law, table in shared memory", "count_keys_in_shared_memory", by_law),
    ):
        counts = xp.zeros(sizes.distinct, xp.uint64)
        given = _NOTHING._replace(counts=counts, keys=keys, n=len(keys), times=times)
        run = functools.partial(device.launch, PROBE, kernel, device.blocks, _BLOCK, (given,))
        run()
        right = np.array_equal(device.download(counts), expected)
        yield _figure(device, name, run, right, int(expected.sum()), "addition")


def _figure(device: Device, probe: str, run: Callable[[], None], right: bool, n: int, unit: str) -> Figure:
    if not right:
        raise ValueError(f"not timed: {probe} gives a wrong result on this device")
    seconds = []
    for _ in range(_RUNS):
        first = record(device)
        run()
        seconds.append(seconds_between(device, first, record(device)))
    return Figure(probe, min(seconds), n, unit)


def to_json(found: dict[Device, list[Figure]], code: str = "") -> str:
    """Writes for each card its name, the date, and the seconds and the number of steps or additions of each probe.

    code: what the machine code has, as a sentence.
    """
    cards = [
        {"card": device.name, "figures": [figure._asdict() for figure in figures]} for device, figures in found.items()
    ]
    return json.dumps({"date": f"{datetime.date.today()}", "machine code": code, "cards": cards}, indent=2)


def table(device: Device, figures: list[Figure]) -> str:
    """Formats a heading and a row, with date and card, for the table in NOTES.md."""
    rows = [
        ["date", "card", *(figure.probe for figure in figures)],
        ["---"] * (2 + len(figures)),
        [f"{datetime.date.today()}", device.name, *(figure.value() for figure in figures)],
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
