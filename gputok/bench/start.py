"""Times whole processes with little work, from the start of Python to its end, as in a test, a worker or a shell.

Each task runs with gputok and an empty cache of compiled code (without effect if the package contains machine code), then
with gputok again and with tokenizers in turn. Medians are reported.
"""

from __future__ import annotations

import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

_TRAIN = """
from PACKAGE import Tokenizer, models, pre_tokenizers, trainers
tokenizer = Tokenizer(models.{model})
tokenizer.pre_tokenizer = pre_tokenizers.{split}
text = ["the quick brown fox jumps over the lazy dog", "pack my box with five dozen liquor jugs"] * 20
tokenizer.train_from_iterator(text, trainers.{trainer}(vocab_size=60, show_progress=False{more}))
encoding = tokenizer.encode("the lazy fox")
assert tokenizer.decode(encoding.ids)
"""
_LOAD = """
from PACKAGE import Tokenizer
tokenizer = Tokenizer.from_file({path!r})
assert tokenizer.encode("Hello world, this is a text of some words.").ids
"""
_TASKS = {
    "train a small BPE, encode, decode": ("BPE()", "ByteLevel(add_prefix_space=False)", "BpeTrainer", ""),
    "train a small WordPiece": (
        "WordPiece(unk_token='[UNK]')",
        "Whitespace()",
        "WordPieceTrainer",
        ", special_tokens=['[UNK]']",
    ),
    "train a small Unigram": (
        "Unigram()",
        "Metaspace()",
        "UnigramTrainer",
        ", special_tokens=['<unk>'], unk_token='<unk>'",
    ),
}


class Process(NamedTuple):
    """The seconds of one process."""

    wall: float
    cpu: float  # of all threads, in user and kernel mode


class Start(NamedTuple):
    """The processes of one task.

    Attributes:
        task: its name.
        first: gputok with an empty cache of compiled code.
        again: gputok, medians.
        tokenizers: tokenizers, medians.
    """

    task: str
    first: Process
    again: Process
    tokenizers: Process

    def line(self) -> str:
        """Describes the task in one line of the table."""
        numbers = (number for process in self[1:] for number in process)
        return f"{self.task:36}" + "".join(f"{number:9.2f}" for number in numbers)


def start(tokenizers: Sequence[str | os.PathLike[str]] = (), *, runs: int = 9) -> list[Start]:
    """Times each task: a training for each model, and loading a tokenizer.json for each of `tokenizers`.

    Args:
        tokenizers: paths of tokenizer.json files.
        runs: how many processes of gputok, and of tokenizers, run for each task.

    Returns:
        One row for each task.
    """
    return [_measured(task, code, runs) for task, code in _tasks(tokenizers).items()]


def table(rows: Sequence[Start]) -> str:
    """Returns the rows as a table."""
    head = "seconds of a whole process, wall and CPU"
    return "\n".join(
        [
            f"{'':36}{'gputok, first':>18}{'gputok':>18}{'tokenizers':>18}",
            f"{head:36}" + f"{'wall':>9}{'CPU':>9}" * 3,
            *(row.line() for row in rows),
        ]
    )


def _tasks(tokenizers: Sequence[str | os.PathLike[str]]) -> dict[str, str]:
    names = "model", "split", "trainer", "more"
    tasks = {task: _TRAIN.format(**dict(zip(names, parts, strict=True))) for task, parts in _TASKS.items()}
    for path in map(pathlib.Path, tokenizers):
        tasks[f"load {path.stem}, encode"] = _LOAD.format(path=str(path.resolve()))
    return tasks


def _measured(task: str, code: str, runs: int) -> Start:
    with tempfile.TemporaryDirectory() as empty:
        first = _run(code, "gputok", {"NUMBA_CACHE_DIR": empty})
        again, peer = [], []
        for _ in range(runs):
            again.append(_run(code, "gputok", {"NUMBA_CACHE_DIR": empty}))
            peer.append(_run(code, "tokenizers", {}))
    return Start(task, first, _median(again), _median(peer))


def _run(code: str, package: str, variables: dict[str, str]) -> Process:
    command = [sys.executable, "-c", code.replace("PACKAGE", package)]
    start = time.perf_counter()
    process = subprocess.Popen(command, env=os.environ | variables, stderr=subprocess.PIPE)
    assert process.stderr is not None
    errors = process.stderr.read().decode(errors="replace")
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{package} failed:\n{errors}")
    return Process(wall, used.ru_utime + used.ru_stime)


def _median(processes: Sequence[Process]) -> Process:
    return Process(*map(statistics.median, zip(*processes, strict=True)))


def to_json(rows: Sequence[Start]) -> str:
    """Returns the rows as JSON."""
    return json.dumps(
        [{"task": row.task, **{name: getattr(row, name)._asdict() for name in row._fields[1:]}} for row in rows],
        indent=2,
    )
