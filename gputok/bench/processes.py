"""Times packages in fresh processes, which take turns, so that a noisy minute affects all of them; shows medians.

`start` times the parts of processes that do little work, such as those of a shell, a worker, a serverless function or a
test; `latency` times one short text, repeated or new; and `doors` prompts, batches and first texts. The programs
`start.py` and `texts.py` time one package in the Python that runs them, and need nothing else: `tokenizers` 1.0 and 0.x
have the same name, so each needs an environment of its own.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from gputok.bench.start import TRAINED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_Peer = TypeVar("_Peer")
_Result = TypeVar("_Result")
_TURNS = 3  # processes of each package that time short texts
_SHOWN = 1000  # most characters of a text or a result in an error


class Ended(NamedTuple):
    """What a process printed last, and what it took."""

    printed: Any
    seconds: float
    cpu_seconds: float


class Row(NamedTuple):
    """The figures of one package for one task."""

    task: str  # the name of the tokenizer, or what was trained
    package: str  # with its version, and the Python if it is another one
    figures: dict[str, float]  # medians


def run(python: str, *arguments: str, **environment: str) -> Ended:
    """Runs a process, which prints JSON last. Raises ChildProcessError with the last line of its errors if it fails."""
    given = os.environ | {"PYTHONSAFEPATH": "1"} | environment  # else modules in the folder of a program come first
    if python == sys.executable:  # this Python finds this gputok, even if it is not installed
        paths = str(pathlib.Path(__file__).parents[2]), os.environ.get("PYTHONPATH")
        given["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    ended = subprocess.run([python, *arguments], env=given, capture_output=True, text=True, errors="replace")
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    lines = ended.stdout.strip().splitlines()
    if ended.returncode or not lines:
        errors = ended.stderr.strip().splitlines() or [f"exit status {ended.returncode}, no result"]
        raise ChildProcessError(errors[-1][:200])
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Ended(json.loads(lines[-1]), seconds, cpu)


def in_turn(peers: Sequence[_Peer], work: Callable[[_Peer], _Result | None], runs: int) -> dict[_Peer, list[_Result]]:
    """Calls `work` for each peer in each of the runs, in rotated order; no more for a peer once it returns None."""
    found: dict[_Peer, list[_Result]] = {peer: [] for peer in peers}
    can = set(peers)
    for turn, i in itertools.product(range(runs), range(len(peers))):
        peer = peers[(turn + i) % len(peers)]
        if peer in can:
            result = work(peer)
            found[peer] += [] if result is None else [result]
            can -= {peer} if result is None else set()
    return found


def start(
    tokenizers: Sequence[str | os.PathLike[str]] = (),
    *,
    text: str | os.PathLike[str] | None = None,
    peers: Sequence[str] = (),
    runs: int = 9,
) -> list[Row]:
    """Times each task: loading each of `tokenizers` and encoding, or, without these, a small training for each model.

    tokenizers: paths of tokenizer.json files, or of compiled ones; text: a plain text file, which each process encodes
    last, in documents of 4,096 characters; peers: the Python of each other environment that has a package `tokenizers`
    (1.0, say) or gigatoken; runs: processes of each package for each task. Peers are tokenizers and, if installed,
    gigatoken, which trains nothing. A peer that can't load a tokenizer has no row for it. Figures are milliseconds of
    CPU time. Raises ChildProcessError if a process fails, ValueError if an environment of `peers` has no package.
    """
    tasks = _of_each(tokenizers, "" if text is None else str(text))
    tasks = {f"load {name}, encode": given for name, given in tasks.items()}
    names = ("tokenizers", "gigatoken") if tasks else ("tokenizers",)
    tasks = tasks or {f"train a small {model}": [model] for model in TRAINED}
    return _rows(tasks, [("gputok", sys.executable), *_installed(names, peers)], "start.py", runs)


def latency(
    tokenizers: Sequence[str | os.PathLike[str]], *, text: str | os.PathLike[str] | None = None, runs: int = 21
) -> list[Row]:
    """Times each kind of short text with each tokenizer, with its padding and truncation turned off.

    tokenizers: paths of tokenizer.json files; text: a text file, whose lines of 20 to 70 characters are encoded once
    each, None: lines of made-up words; runs: measurements of each kind of text. Figures are microseconds for a text.
    Raises ValueError if gputok and tokenizers give different results, ChildProcessError if `text` has too few lines.
    """
    turns = min(_TURNS, runs)
    tasks = _of_each(tokenizers, "latency", "" if text is None else str(text), str(-(-runs // turns)))
    return _rows(tasks, [("gputok", sys.executable), ("tokenizers", sys.executable)], "texts.py", turns)


def doors(tokenizers: Sequence[str], text: str, peers: Sequence[str] = ()) -> list[Row]:
    """Times gputok, gputok under the name of tokenizers, tokenizers, gigatoken, and tokenizers of other environments.

    tokenizers: paths of tokenizer.json files; text: a plain text file of at least 10 MB; peers: the Python of each
    other environment that has a package `tokenizers`. Figures are microseconds or seconds of CPU time, or megabytes a
    second; none for what a package can't do. Raises ChildProcessError if a process fails, ValueError if ids differ.
    """
    packages = [("gputok", sys.executable), ("gputok as tokenizers", sys.executable)]
    packages += _installed(("tokenizers", "gigatoken"), peers)
    return _rows(_of_each(tokenizers, "doors", text), packages, "texts.py", 1)


def table(rows: Sequence[Row]) -> str:
    """Returns the rows as a table: a line for each figure, a column for each package; and of two packages the ratio."""
    from gputok.report.figures import aligned

    lines: list[str] = []
    for task, found in itertools.groupby(rows, lambda row: row.task):
        own = [*found]
        packages = ", ".join(f"({i}) {row.package}" for i, row in enumerate(own, 1))
        lines += ["", f"{task}: {packages}{'; (1) / (2)' if len(own) == 2 else ''}"]
        cells: list[list[str]] = []
        for figure in dict.fromkeys(figure for row in own for figure in row.figures):
            values = [row.figures.get(figure) for row in own]
            if len(values) == 2:
                values.append(values[0] / values[1] if values[0] and values[1] else None)
            cells.append([f"  {figure}", *("-" if one is None else f"{one:.4g}" for one in values)])
        lines += aligned(cells)
    return "\n".join(lines[1:])


def _of_each(tokenizers: Sequence[str | os.PathLike[str]], *given: str) -> dict[str, list[str]]:
    """Returns the arguments of a program for each tokenizer, by its file's name, or by its path if two share a name."""
    paths = [pathlib.Path(path) for path in tokenizers]
    names = [path.name for path in paths]
    return {str(path) if names.count(path.name) > 1 else path.name: [str(path), *given] for path in paths}


def _installed(names: Sequence[str], peers: Sequence[str]) -> list[tuple[str, str]]:
    """Returns the packages of these names that are installed, here and in other environments, each with its Python."""
    found = [(name, sys.executable) for name in names if importlib.util.find_spec(name)]
    code = "import importlib.util as util, json, sys; print(json.dumps([n for n in sys.argv[1:] if util.find_spec(n)]))"
    for python in peers:
        try:
            ended = run(python, "-c", code, *names)
        except OSError as error:
            raise ValueError(f"--peer {python} can't be run: {error.strerror or error}") from None
        if not ended.printed:
            raise ValueError(f"--peer {python} has no package {' or '.join(names)}")
        found += [(name, python) for name in ended.printed]
    return found


def _rows(tasks: dict[str, list[str]], packages: Sequence[tuple[str, str]], program: str, runs: int) -> list[Row]:
    """Returns a row for each task and each package that can do it. tasks: name -> arguments of the program."""
    program = str(pathlib.Path(__file__).with_name(program))
    rows: list[Row] = []
    for task, given in tasks.items():

        def one(package: tuple[str, str]) -> Ended | None:
            name, python = package
            try:
                ended = run(python, program, name, *given)  # noqa: B023, called at once
                return ended if ended.printed else None
            except ChildProcessError as error:
                raise ChildProcessError(f"{task}: {name} of {python} failed: {error}") from None  # noqa: B023

        first: dict[str, tuple[str, Any]] = {}
        for (_, python), ended in in_turn(packages, one, runs).items():
            if not ended:
                continue
            name = ended[0].printed["name"] + ("" if python == sys.executable else f" of {python}")
            for text, result in ended[0].printed["checked"]:
                other, wanted = first.setdefault(text, (name, result))
                if result != wanted:
                    shown, ours, theirs = (str(one)[:_SHOWN] for one in (text, wanted, result))
                    raise ValueError(f"not timed: with {task}, {other} gives {ours} for {shown!r}, and {name} {theirs}")
            figures: dict[str, list[float]] = {}
            for process in ended:
                for figure, values in process.printed["figures"].items():
                    figures.setdefault(figure, []).extend(values or [1000 * process.cpu_seconds])
            rows.append(Row(task, name, {figure: statistics.median(values) for figure, values in figures.items()}))
    return rows
