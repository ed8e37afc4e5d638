"""Progress as a callback: bars in a terminal or a notebook, lines of JSON, or a function of the user's."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from typing import Literal

Report = Callable[[str, int, int | None], None]
"""Called as report(stage, done, total) a few times a second; `total` is None where it isn't known before the end.
What follows ": " in a stage's name is detail that may change from call to call."""

Progress = bool | Literal["json"] | Report | None
"""None: bars if somebody watches; True: bars anyway; False: nothing; "json": a line of JSON each; or a function."""

# their bars show bytes and a rate; the others' unit is the stage's own
_STAGES_IN_BYTES = ("count", "encode")
_UNITS = {"merge": "merges"}


@contextlib.contextmanager
def reporting(progress: Progress = None) -> Iterator[Report]:
    """The report function for what `progress` asks; at exit a bar is left at its last state.

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
    elif progress or (progress is None and _somebody_watches()):
        with contextlib.ExitStack() as open_bar:
            yield _bars(open_bar)
    else:
        yield lambda stage, done, total: None


def _somebody_watches() -> bool:
    """In a terminal, or a notebook: an IPython that has a kernel (a package may import ipykernel anywhere)."""
    ipython = sys.modules.get("IPython")
    if ipython is not None and hasattr(ipython.get_ipython(), "kernel"):
        return True
    return sys.stderr is not None and sys.stderr.isatty()


def _json_line(stage: str, done: int, total: int | None) -> None:
    print(json.dumps({"stage": stage, "done": done, "total": total}), file=sys.stderr, flush=True)


def _bars(open_bar: contextlib.ExitStack) -> Report:
    """A bar for each stage, one after the other; `open_bar` closes the last."""
    from tqdm.auto import tqdm

    from gputok.kernels.native.preparation import preparation

    bar, shown, ready = None, "", 0.0

    def report(stage: str, done: int, total: int | None) -> None:
        nonlocal bar, shown, ready
        name, _, detail = stage.partition(": ")
        if bar is None or name != shown:
            open_bar.close()
            in_bytes = name in _STAGES_IN_BYTES
            unit = "B" if in_bytes else " " + _UNITS.get(name, "steps")
            bar = tqdm(desc=name, total=total, unit=unit, unit_scale=in_bytes, file=sys.stderr)
            open_bar.callback(bar.close)
            shown, ready = name, preparation.seconds
        spent, ready = preparation.seconds - ready, preparation.seconds
        if spent and not bar.disable:
            bar.start_t += spent  # loading and compiling kernels is in no rate
        if detail:
            bar.set_postfix_str(detail, refresh=False)
        bar.total = total
        bar.update(done - bar.n)

    return report
