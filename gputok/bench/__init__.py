"""gputok beside what a user would use instead: the same work on the same file, each run in a process of its own.

    train(text, against=[...])    learning a vocabulary from a file of lines
    encode(text, against=[...])   a file of documents of about 4 kB, or of lines, to ids in memory

What a run measures: the package is imported and the work done once on the first KB of the text; then the clock
runs from the call to the renamed output (train), or to all ids in the peer's own form (encode). Peak memory is that
of the process less its peak before the clock started, which stands beside it as the runtime's own share. Runs of
the peers take turns, so that a noisy minute hits all. Before anything is timed, results are compared on a sample.
On a GPU, gputok on the CPU is one of the peers, and the stages' times on the device stand below (`bench.stages`).
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
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from gputok.bench.peers import ENCODE, END, MODELS_OF, ON_CPU, TRAIN, Job, learnt, version
from gputok.kernels.threads import thread_count
from gputok.progress import Progress, Report, reporting
from gputok.recipes import Model

_SAMPLE_BYTES = 1_000_000  # of the text, to verify on
_DOCUMENT_BYTES = 4096  # of a document of `encode`, about


class Row(NamedTuple):
    """One peer's runs."""

    peer: str
    version: str
    seconds: list[float]  # one for each run, as the others
    process_seconds: list[float]  # wall time of the whole process of that run
    peak_bytes: list[int]
    runtime_bytes: list[int]
    start_seconds: list[tuple[float, float]]  # of process_seconds: (importing the package, the first KB)
    # leading merges (other models: pieces; encode: ids of the sample) that equal gputok's
    n_equal: int | None
    n_results: int | None  # of how many
    failure: str = ""  # why it has no runs


class Stage(NamedTuple):
    """What one stage took on a GPU."""

    stage: str
    card: str
    n_bytes: int  # of text
    device_seconds: list[float]  # one for each run
    kernel_seconds: dict[str, float]  # of each of gputok's kernels, longest first

    def line(self) -> str:
        device, kernels = statistics.median(self.device_seconds), sum(self.kernel_seconds.values())
        rates = [
            f"{self.n_bytes / 1e9 / seconds:.3g} GB/s" if seconds else "-" for seconds in (device, kernels)
        ]
        each = ", ".join(f"{kernel} {seconds:.3g}" for kernel, seconds in self.kernel_seconds.items())
        return (
            f"{self.card}, {self.stage}: device {_spread(self.device_seconds, '{:.3g}')} s, {rates[0]}; "
            f"kernels {kernels:.3g} s, {rates[1]} ({each})"
        )


class Comparison(NamedTuple):
    """All that a bench found out; `table()` is for eyes, `to_json()` for machines."""

    task: str
    text: str
    n_bytes: int
    model: str
    vocab_size: int
    threads: int
    device: str
    verified: str
    rows: list[Row]
    skipped: dict[str, str]  # peer -> why
    stages: Sequence[Stage] = ()  # on a GPU
    documents: str = ""  # of encode: what is encoded one by one

    def to_json(self) -> str:
        rows = [{**row._asdict(), "ratio": self._ratio(row)} for row in self.rows]
        stages = [stage._asdict() for stage in self.stages]
        return json.dumps({**self._asdict(), "rows": rows, "stages": stages}, indent=2)

    def table(self) -> str:
        """Medians with (min to max), a line for each peer."""
        equal = {"encode": "ids equal"}.get(
            self.task, "merges agree" if self.model == "bpe" else "pieces in common"
        )
        head = ["", "seconds", "MB/s", "times gputok's", "peak MB", "+ runtime MB", "process s", equal]
        lines = [head, *(self._line(row) for row in self.rows)]
        widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
        what = f"{self.model}, vocabulary {self.vocab_size:,}, {self.threads} threads, device {self.device}"
        what += f", {self.documents}" if self.documents else ""
        return "\n".join(
            [
                f"{self.task} {self.text}, {self.n_bytes / 1e6:.1f} MB: {what}; median (min to max)",
                f"verified: {self.verified}",
                *(
                    "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
                    for line in lines
                ),
                *self._start(),
                *(stage.line() for stage in self.stages),
                *(f"skipped: {peer} ({why})" for peer, why in self.skipped.items()),
            ]
        )

    def _start(self) -> list[str]:
        """Where the time goes before gputok's clock starts."""
        starts = [row.start_seconds for row in self.rows if row.peer == "gputok" and row.start_seconds]
        if not starts:
            return []
        imports, first = (statistics.median(seconds) for seconds in zip(*starts[0], strict=True))
        return [
            f"gputok's start: {imports:.2f} s of imports, {first:.2f} s for the first KB (loading compiled code)"
        ]

    def _line(self, row: Row) -> list[str]:
        name = f"{row.peer} {row.version}"
        if row.failure:
            return [name, f"failed: {row.failure}", *[""] * 6]
        rate = self.n_bytes / 1e6 / statistics.median(row.seconds)
        equal = "-" if row.n_equal is None else f"{row.n_equal:,} of {row.n_results:,}"
        ratio = self._ratio(row)
        return [
            name,
            _spread(row.seconds, "{:.2f}"),
            f"{rate:.0f}" if rate >= 20 else f"{rate:.1f}",
            "-" if ratio is None else f"{ratio:.1f}",
            _spread([n / 1e6 for n in row.peak_bytes], "{:.0f}"),
            f"{statistics.median(row.runtime_bytes) / 1e6:.0f}",
            _spread(row.process_seconds, "{:.2f}"),
            equal,
        ]

    def _ratio(self, row: Row) -> float | None:
        """Times gputok's median."""
        ours = next((row.seconds for row in self.rows if row.peer == "gputok"), [])
        return statistics.median(row.seconds) / statistics.median(ours) if ours and row.seconds else None


def train(
    text: str | os.PathLike[str],
    *,
    vocab_size: int = 32_000,
    model: Model = "bpe",
    against: Sequence[str] = ("tokenizers",),
    threads: int | None = None,
    device: str = "cpu",
    runs: int = 3,
    progress: Progress = None,
) -> Comparison:
    """Trains gputok and each peer of `against` on a text file, in the reference configuration of `model`.

    Peers: tokenizers, gigabpe, rustbpe, sentencepiece. Raises ValueError where gputok and `tokenizers` learn
    different things from the first MB (for BPE and WordLevel, whose results are determined).
    """
    threads = thread_count(threads)
    peers, skipped = _installed(_beside(against, device), TRAIN, model)
    with tempfile.TemporaryDirectory() as folder, reporting(progress) as report:
        plain = _plain(text, pathlib.Path(folder, "text.txt"))
        sample = _head(plain, pathlib.Path(folder, "sample.txt"), _SAMPLE_BYTES)
        warm = _head(plain, pathlib.Path(folder, "warm.txt"), 1024)

        def job(peer: str, text: pathlib.Path = plain) -> Job:
            output = str(pathlib.Path(folder, f"{peer}.out"))
            return Job("train", peer, str(text), str(warm), output, threads, model, vocab_size, device)

        def result(peer: str) -> Any:
            return learnt(peer, model, job(peer).output)

        for peer in ("gputok", "tokenizers"):
            if peer in peers:
                report(f"verify: {peer}", 0, 1)
                _run(job(peer, sample))  # and gputok's compiled code is on disk from here on
        verified = "nothing (tokenizers is not among the peers)"
        if "tokenizers" in peers:
            ours, theirs = result("gputok"), result("tokenizers")
            n = _n_equal(ours, theirs, model)
            if model in ("bpe", "wordlevel") and ours != theirs:
                raise ValueError(
                    f"not timed: on the first {sample.stat().st_size:,} bytes of {text}, gputok {version('gputok')} and "
                    f"tokenizers {version('tokenizers')} learn the same {n:,} of {len(theirs):,} and then differ"
                )
            of_what = "merges" if model == "bpe" else "pieces"
            verified = f"{n:,} of {len(theirs):,} {of_what} equal those of tokenizers on the first MB"
        rows = _take_turns(peers, job, runs, report)
        ours = result("gputok") if not rows[0].failure else None
        rows = [
            row if row.failure else row._replace(**_agreement(ours, result(row.peer), model)) for row in rows
        ]
        stages = _stages(job("gputok"), runs) if model == "bpe" else []
        n_bytes = plain.stat().st_size
    return Comparison(
        "train", str(text), n_bytes, model, vocab_size, threads, device, verified, rows, skipped, stages
    )


def encode(
    text: str | os.PathLike[str],
    *,
    tokenizer: str | os.PathLike[str] | None = None,
    vocab_size: int = 32_000,
    lines: bool = False,
    against: Sequence[str] = ("tokenizers",),
    threads: int | None = None,
    device: str = "cpu",
    runs: int = 3,
    progress: Progress = None,
) -> Comparison:
    """Encodes a text file, cut into documents of about 4 kB or into lines, with gputok and each peer of `against`.

    Peers: tokenizers, tiktoken, gigatoken. `tokenizer` is a GPT-2-style tokenizer.json; without one, it is trained
    on the text. Raises ValueError where gputok and `tokenizers` give different ids for the first MB.
    """
    import numpy as np

    threads = thread_count(threads)
    peers, skipped = _installed(_beside(against, device), ENCODE, "bpe")
    with tempfile.TemporaryDirectory() as folder, reporting(progress) as report:
        plain = _plain(text, pathlib.Path(folder, "text.txt"))
        warm = _head(plain, pathlib.Path(folder, "warm.txt"), 1024)
        documents, sample = pathlib.Path(folder, "documents.txt"), pathlib.Path(folder, "sample.txt")
        document_bytes = 0 if lines else _DOCUMENT_BYTES
        documents.write_bytes(_in_documents(plain.read_bytes(), document_bytes))
        sample.write_bytes(_in_documents(_head(plain, sample, _SAMPLE_BYTES).read_bytes(), document_bytes))
        if tokenizer is None:
            report("verify: training the tokenizer", 0, 1)
            tokenizer = pathlib.Path(folder, "tokenizer.json")
            paths = str(plain), str(warm), str(tokenizer)
            _run(Job("train", "gputok", *paths, threads, vocab_size=vocab_size, device=device))

        def job(peer: str, text: pathlib.Path = documents, keep_ids: bool = False) -> Job:
            paths = str(text), str(warm), str(pathlib.Path(folder, f"{peer}.ids"))
            return Job(
                "encode", peer, *paths, threads, device=device, tokenizer=str(tokenizer), keep_ids=keep_ids
            )

        ids: dict[str, Any] = {}
        for peer in peers:
            report(f"verify: {peer}", len(ids), len(peers))
            _run(job(peer, sample, keep_ids=True))
            ids[peer] = np.fromfile(job(peer).output, np.uint32)
        ours = ids["gputok"]
        equal = {peer: _n_leading(ours, theirs) for peer, theirs in ids.items()}
        if "tokenizers" in ids and not np.array_equal(ours, ids["tokenizers"]):
            raise ValueError(
                f"not timed: on the first MB of {text}, gputok {version('gputok')} and tokenizers "
                f"{version('tokenizers')} give the same {equal['tokenizers']:,} of {len(ours):,} ids and then differ"
            )
        verified = f"{len(ours):,} ids of the first MB compared"
        rows = _take_turns(peers, job, runs, report)
        rows = [row._replace(n_equal=equal[row.peer], n_results=len(ours)) for row in rows]
        stages = _stages(job("gputok"), runs)
        n_bytes = plain.stat().st_size
    unit = "lines" if lines else "documents of about 4 kB"
    return Comparison(
        "encode",
        str(text),
        n_bytes,
        "bpe",
        vocab_size,
        threads,
        device,
        verified,
        rows,
        skipped,
        stages,
        unit,
    )


def _beside(against: Sequence[str], device: str) -> Sequence[str]:
    return against if device == "cpu" else [ON_CPU, *against]


def _stages(job: Job, runs: int) -> list[Stage]:
    return [] if job.device == "cpu" else [Stage(**found) for found in _run(job, "stages", str(runs))[0]]


def _installed(against: Sequence[str], known: dict[str, Any], model: str) -> tuple[list[str], dict[str, str]]:
    """The peers that can run, gputok first, and why the others can't."""
    skipped = {}
    for peer in against:
        if peer not in known:
            raise ValueError(
                f"{peer!r} is no peer; there are {', '.join(name for name in known if name not in ('gputok', ON_CPU))}"
            )
        if model not in MODELS_OF.get(peer, (model,)):
            skipped[peer] = f"it trains no {model}"
        elif version(peer) is None:
            skipped[peer] = f"not installed: pip install {peer}"
    return list(dict.fromkeys(["gputok", *(peer for peer in against if peer not in skipped)])), skipped


def _take_turns(peers: Sequence[str], job: Callable[[str], Job], runs: int, report: Report) -> list[Row]:
    rows = {peer: Row(peer, version(peer) or "", [], [], [], [], [], None, None) for peer in peers}
    for turn in range(runs):
        for i in range(len(peers)):
            row = rows[peers[(turn + i) % len(peers)]]
            if row.failure:
                continue
            report(f"runs: {row.peer}", turn * len(peers) + i, runs * len(peers))
            try:
                run, process_seconds = _run(job(row.peer))
            except ChildProcessError as error:
                rows[row.peer] = row._replace(failure=str(error))
                continue
            row.seconds.append(run["seconds"])
            row.process_seconds.append(process_seconds)
            row.peak_bytes.append(run["peak_bytes"])
            row.runtime_bytes.append(run["runtime_bytes"])
            row.start_seconds.append((run["import_seconds"], run["warm_seconds"]))
    report("runs", runs * len(peers), runs * len(peers))
    return list(rows.values())


def _run(job: Job, module: str = "worker", *arguments: str) -> tuple[Any, float]:
    """One process: what it measured of itself, and its wall time. Raises ChildProcessError where it fails."""
    threads = str(job.threads)
    source = str(pathlib.Path(__file__).parents[2])
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([source, *filter(None, [os.environ.get("PYTHONPATH")])]),
        "RAYON_NUM_THREADS": threads,  # tokenizers, rustbpe, gigatoken
        "GPUTOK_NUM_THREADS": threads,
        "TOKENIZERS_PARALLELISM": "true",
    }
    command = [sys.executable, "-m", f"gputok.bench.{module}", json.dumps(job._asdict()), *arguments]
    start = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise ChildProcessError(f"{job.peer} could not {job.task}: {said[-1][:200]}")
    return json.loads(done.stdout.strip().splitlines()[-1]), seconds


def _plain(text: str | os.PathLike[str], target: pathlib.Path) -> pathlib.Path:
    """The text as a plain file, which is what every peer can read."""
    from gputok import corpus

    if corpus.total_bytes(text) is not None and pathlib.Path(text).is_file():
        return pathlib.Path(text)
    with open(target, "wb") as file:
        for batch in corpus.read(text):
            file.write(batch.data)
    return target


def _head(text: pathlib.Path, target: pathlib.Path, n_bytes: int) -> pathlib.Path:
    """The first `n_bytes` of the text, up to the end of a line where there is one, else of a character."""
    with open(text, "rb") as file:
        head = file.read(n_bytes)
    if len(head) == n_bytes:
        head = head[: head.rfind(b"\n") + 1] or head.decode(errors="ignore").encode()
    target.write_bytes(head)
    return target


def _in_documents(text: bytes, document_bytes: int) -> bytes:
    """Whole lines joined to documents of at least so many bytes, with the end token between two of them."""
    documents, start = [], 0
    while start < len(text):
        stop = text.find(b"\n", start + document_bytes) + 1 or len(text)
        documents.append(text[start:stop])
        start = stop
    return END.encode().join(documents)


def _agreement(ours: Any, theirs: Any, model: str) -> dict[str, int | None]:
    if ours is None or theirs is None:
        return {"n_equal": None, "n_results": None}
    return {"n_equal": _n_equal(ours, theirs, model), "n_results": len(theirs)}


def _n_equal(ours: Sequence[tuple], theirs: Sequence[tuple], model: str) -> int:
    """Leading merges that are equal (as strings where a peer doesn't keep the pairs); pieces in common."""
    if model != "bpe":
        return len(set(ours) & set(theirs))
    if theirs and len(theirs[0]) == 1:
        ours = [("".join(merge),) for merge in ours]
    return _n_leading(ours, theirs)


def _n_leading(ours: Sequence[Any], theirs: Sequence[Any]) -> int:
    pairs = enumerate(zip(ours, theirs, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(ours), len(theirs)))


def _spread(values: Sequence[float], form: str) -> str:
    low, middle, high = (form.format(f(values)) for f in (min, statistics.median, max))
    return f"{middle} ({low} to {high})"
