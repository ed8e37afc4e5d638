"""Times fresh processes with little work, as a shell, a worker, a serverless function or a test is one, by their parts.

A process imports a package, loads a tokenizer, encodes one text, and then all of a file. The packages take turns.
"""

from __future__ import annotations

import json
import pathlib
import resource
import statistics
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

PARTS = "numpy", "imports", "work", "load", "first text", "first pass", "process"
"""`numpy` is the import of NumPy, `imports` that of all other modules, also of those that a later part imports; the next four are
without imports; `process` is all of it, the start and the end of Python included."""
_PRELUDE = """
import importlib._bootstrap as bootstrap, json, time
cpu, find, parts, imported, depth = time.process_time, bootstrap._find_and_load, {}, 0.0, 0
def timed_import(*names):
    global imported, depth
    start, depth = cpu(), depth + 1
    try:
        return find(*names)
    finally:
        depth -= 1
        imported += 0 if depth else cpu() - start
def timed(name, work):
    start, before = cpu(), imported
    made = work()
    parts[name] = cpu() - start - imported + before
    return made
bootstrap._find_and_load = timed_import
if PACKAGE == "gputok":
    import numpy
parts["numpy"], imported = imported, 0.0
"""
_POSTLUDE = """
parts["imports"] = imported
print(json.dumps(parts))
"""
_TRAIN = """
def train():
    module = __import__(PACKAGE, fromlist=["models", "pre_tokenizers", "trainers"])
    tokenizer = module.Tokenizer(module.models.{0})
    tokenizer.pre_tokenizer = module.pre_tokenizers.{1}
    text = ["the quick brown fox jumps over the lazy dog", "pack my box with five dozen liquor jugs"] * 20
    trainer = module.trainers.{2}(vocab_size=60, show_progress=False, **{3})
    tokenizer.train_from_iterator(text, trainer)
    assert tokenizer.decode(tokenizer.encode("the lazy fox").ids)
timed("work", train)
"""
_LOAD = """
def load():
    kind = __import__(PACKAGE).Tokenizer
    try:
        return kind({path!r}) if PACKAGE == "gigatoken" else kind.from_file({path!r})
    except Exception:
        if PACKAGE == "gputok":
            raise
        raise SystemExit(CANNOT_LOAD) from None
tokenizer = timed("load", load)
first = timed("first text", lambda: tokenizer.encode("Hello world, this is a first text: it's 12 words, or so, naïve."))
assert len(first if PACKAGE == "gigatoken" else first.ids)
"""
_PASS = """
with open({text!r}, encoding="utf-8", errors="replace") as file:
    read = file.read()
documents = [read[at : at + 4096] for at in range(0, len(read), 4096)]
batch = {{"gputok": "encode_batch_fast", "gigatoken": "encode_batch_list"}}.get(PACKAGE, "encode_batch")
timed("first pass", lambda: getattr(tokenizer, batch)(documents))
"""
_TASKS = {
    "BPE, encode, decode": ("BPE()", "ByteLevel(add_prefix_space=False)", "BpeTrainer", {}),
    "WordPiece": ("WordPiece(unk_token='?')", "Whitespace()", "WordPieceTrainer", {"special_tokens": ["?"]}),
    "Unigram": ("Unigram()", "Metaspace()", "UnigramTrainer", {"special_tokens": ["?"], "unk_token": "?"}),
}

_CANNOT_LOAD = 3
"""The exit status of a process whose peer can't load the tokenizer."""


class Start(NamedTuple):
    """The processes of one task by one package."""

    task: str
    package: str  # and the Python if it is another one
    parts: dict[str, float]  # of PARTS: the medians of the CPU time, in milliseconds


def start(
    tokenizers: Sequence[str | os.PathLike[str]] = (),
    *,
    text: str | os.PathLike[str] | None = None,
    peers: Sequence[str] = (),
    runs: int = 9,
) -> list[Start]:
    """Times each task: loading each of `tokenizers` and encoding, or, without these, a small training for each model.

    tokenizers: paths of tokenizer.json files, or of compiled ones; text: a plain text file, which each process encodes last, in documents of
    4,096 characters; peers: the Python of each other environment that has a package `tokenizers` (1.0, say) or gigatoken;
    runs: processes of each package for each task. Peers are tokenizers and, if installed, gigatoken, which trains nothing. A
    peer that can't load a tokenizer has no row for it. Raises RuntimeError if a process fails.
    """
    names = ("tokenizers", "gigatoken") if tokenizers else ("tokenizers",)
    others = [(name, python) for python in (sys.executable, *peers) for name in names if _has(python, name)]
    packages = [("gputok", sys.executable), *others]
    rows: list[Start] = []
    for task, code in _tasks(tokenizers, text).items():
        runs_of = [[_run(code, *package) for package in packages] for _ in range(runs)]
        for (package, python), found in zip(packages, zip(*runs_of, strict=True), strict=True):
            parts = {name: statistics.median(one[name] for one in found) for name in PARTS if name in found[0]}
            if parts:
                rows.append(Start(task, package if python == sys.executable else f"{package} of {python}", parts))
    return rows


def table(rows: Sequence[Start]) -> str:
    """Returns the rows as a table."""
    lines = [f"{'milliseconds of CPU time':36}" + "".join(f"{name:>12}" for name in PARTS)]
    for task in dict.fromkeys(row.task for row in rows):
        lines.append(task)
        for row in (row for row in rows if row.task == task):
            cells = (f"{row.parts[name]:12.1f}" if name in row.parts else f"{'-':>12}" for name in PARTS)
            lines.append(f"  {row.package:34}" + "".join(cells))
    return "\n".join(lines)


def _tasks(tokenizers: Sequence[str | os.PathLike[str]], text: str | os.PathLike[str] | None) -> dict[str, str]:
    if not tokenizers:
        return {f"train a small {model}": _TRAIN.format(*parts) for model, parts in _TASKS.items()}
    encode = "" if text is None else _PASS.format(text=str(pathlib.Path(text).resolve()))
    paths = {str(pathlib.Path(path).resolve()): pathlib.Path(path).name for path in tokenizers}
    return {f"load {name}, encode": _LOAD.format(path=path) + encode for path, name in paths.items()}


def _has(python: str, package: str) -> bool:
    found = "import importlib.util, sys; sys.exit(importlib.util.find_spec(sys.argv[1]) is None)"
    return subprocess.run([python, "-c", found, package], check=False).returncode == 0


def _run(code: str, package: str, python: str) -> dict[str, float]:
    """Returns the milliseconds of CPU time of each part of one process, in all threads; none if a peer can't load."""
    given = f"PACKAGE, CANNOT_LOAD = {package!r}, {_CANNOT_LOAD}\n"
    command = [python, "-c", f"{given}{_PRELUDE}{code}{_POSTLUDE}"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode == _CANNOT_LOAD:
        return {}
    if process.returncode:
        last = process.stderr.strip().splitlines()[-1:] or ["no message"]
        raise RuntimeError(f"{package} of {python} failed: {last[0]}")
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    parts: dict[str, float] = json.loads(process.stdout) | {"process": used}
    return {name: 1000 * seconds for name, seconds in parts.items()}
