"""Progress reports: bars in a terminal or a notebook, lines of JSON, or calls of a function of the user."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from typing import Literal

from gputok.kernels.native.preparation import preparation

Report = Callable[[str, int, int | None], None]
"""A function that is called as report(stage, done, total) a few times per second. `total` is None if it is not known
before the end. In the name of a stage, the text after ": " is a detail that may change from call to call."""

Progress = bool | Literal["json"] | Report | None
"""None: bars if stderr is a terminal, or in a notebook; True: always bars; False: nothing; "json": a line of JSON on
stderr per report; or a function."""

# The bars of these stages show bytes and bytes per second; the bars of other stages count in _UNITS.
_STAGES_IN_BYTES = ("count", "count pairs", "count runs", "encode")
_UNITS = {"merge": "merges", "merge superwords": "merges"}


@contextlib.contextmanager
def reporting(progress: Progress = None) -> Iterator[Report]:
    """Yields the report function that `progress` selects. At exit, bars stay visible in their last state.

    Example:
        >>> calls = []
        >>> with reporting(lambda *call: calls.append(call)) as report:
        ...     report("merge", 5, 10)
        >>> calls
        [('merge', 5, 10)]
    """
    if callable(progress):
        yield progress
    elif progress == "json":
        yield _json_line
    elif progress or (progress is None and _is_interactive()):
        with contextlib.ExitStack() as open_bar:
            yield _bars(open_bar)
    else:
        yield lambda stage, done, total: None


def _is_interactive() -> bool:
    """True if stderr is a terminal, or in a notebook: IPython with a kernel (any script may import ipykernel)."""
    ipython = sys.modules.get("IPython")
    if ipython is not None and hasattr(ipython.get_ipython(), "kernel"):
        return True
    return sys.stderr is not None and sys.stderr.isatty()


def _json_line(stage: str, done: int, total: int | None) -> None:
    print(json.dumps({"stage": stage, "done": done, "total": total}), file=sys.stderr, flush=True)


def _bars(open_bar: contextlib.ExitStack) -> Report:
    """Makes a function that shows one bar for each stage; `open_bar` closes the last bar."""
    from tqdm.auto import tqdm

    bar, shown, ready = None, "", 0.0

    def report(stage: str, done: int, total: int | None) -> None:
        nonlocal bar, shown, ready
        name, _, detail = stage.partition(": ")
        if bar is None or name != shown:
            open_bar.close()
            in_bytes = name in _STAGES_IN_BYTES
            unit = "B" if in_bytes else " " + _UNITS.get(name, "steps")
            bar = tqdm(desc=name, total=total, unit=unit, unit_scale=in_bytes or (total or 0) >= 1000, file=sys.stderr)
            open_bar.callback(bar.close)
            shown, ready = name, preparation.seconds
        spent, ready = preparation.seconds - ready, preparation.seconds
        if spent and not bar.disable:
            bar.start_t += spent  # rates leave out the time for loading and compiling kernels
        if detail:
            bar.set_postfix_str(detail, refresh=False)
        bar.total = total
        bar.update(done - bar.n)

    return report
