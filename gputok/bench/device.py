"""Measures the properties of a GPU that the design of the CUDA kernels depends on: kernel launches and 64-bit atomics.

`gputok bench device` prints a row for the table in kernels/cuda/NOTES.md. Each result is compared with NumPy's before
it is timed; times are between CUDA events, the best of several runs.
"""

from __future__ import annotations

import datetime
import json
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from gputok.kernels.cuda.device import Device

_BLOCK = 128  # threads of a block, the same number as in probe.cu
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


def _steps(device: Device, sizes: Sizes) -> list[Figure]:
    xp, n = device.xp, sizes.values
    values, total, arrived = (xp.zeros(size, xp.uint64) for size in (n, 1, 1))
    rounds = sizes.steps // sizes.steps_in_graph

    def launch(kernel: str, blocks: int, *arguments: Any, **options: Any) -> None:
        device.launch("probe.cu", kernel, blocks, _BLOCK, arguments, **options)

    def steps(times: int = sizes.steps) -> None:
        for _ in range(times):
            launch("add_one", device.blocks, values, n)
            launch("add_up", 1, values, n, total)

    graph = device.graph(lambda: steps(sizes.steps_in_graph))

    def from_graph() -> None:
        for _ in range(rounds):
            graph()

    def together() -> None:
        arrived[:] = 0
        launch("take_steps", device.blocks, values, n, total, sizes.steps, arrived, together=True)

    def check(probe: str, run: Callable[[], None]) -> None:
        values[:], total[:] = 0, 0
        run()
        expected = n * sizes.steps * (sizes.steps + 1) // 2
        _verify(probe, int(total[0]) == expected and bool((values == xp.uint64(sizes.steps)).all()))

    runs = {"plain launches": steps, "a graph": from_graph, "a cooperative grid": together}
    return [_figure(device, probe, run, check, sizes.steps, "step") for probe, run in runs.items()]


def _atomics(device: Device, sizes: Sizes) -> list[Figure]:
    xp = device.xp
    on_host = (np.random.default_rng(0).zipf(1.1, sizes.keys) - 1) % sizes.distinct  # the lowest are frequent
    keys, counts = xp.asarray(on_host.astype(np.uint32)), xp.zeros(sizes.distinct, xp.uint64)
    times = -(-sizes.keys // (8 * device.blocks * _BLOCK))
    at_one = np.zeros(sizes.distinct, np.int64)
    at_one[0] = times * device.blocks * _BLOCK
    by_law = np.bincount(on_host, minlength=sizes.distinct)

    def probe(name: str, kernel: str, arguments: tuple, expected: np.ndarray) -> Figure:
        def run() -> None:
            device.launch("probe.cu", kernel, device.blocks, _BLOCK, arguments)

        def check(name: str, run: Callable[[], None]) -> None:
            counts[:] = 0
            run()
            _verify(name, np.array_equal(device.download(counts), expected))

        return _figure(device, name, run, check, int(expected.sum()), "addition")

    given = keys, len(keys), counts
    return [
        probe("one address", "count_at_one_address", (counts, times), at_one),
        probe("Zipf law", "count_keys", given, by_law),
        probe("Zipf law, table in shared memory", "count_keys_in_shared_memory", given, by_law),
    ]


def _figure(
    device: Device, probe: str, run: Callable[[], None], check: Callable[..., None], n: int, unit: str
) -> Figure:
    check(probe, run)
    seconds = []
    for _ in range(_RUNS):
        first = device.record()
        run()
        seconds.append(device.seconds(first, device.record()))
    return Figure(probe, min(seconds), n, unit)


def _verify(probe: str, right: bool) -> None:
    if not right:
        raise ValueError(f"not timed: {probe} gives a wrong result on this device")


def to_json(found: dict[Device, list[Figure]], code: str = "") -> str:
    """Writes for each card its name, the date, and the seconds and the number of steps or additions of each probe.

    code: what the machine code has, as a sentence.
    """
    cards = [
        {"card": device.name, "figures": [figure._asdict() for figure in figures]}
        for device, figures in found.items()
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
