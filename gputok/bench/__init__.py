"""Compares gputok with other tokenizer packages (peers): the same work on the same file, each run in its own process.

    train(text, against=[...])    trains a vocabulary on a file of lines
    encode(text, against=[...])   encodes a file, as documents of about 4 kB or as lines, to ids in memory

A run imports the package and does the work once on the first KB of the text. Then the clock runs from the call until
the output has its final name (train), or until all ids exist in the peer's own form (encode). Then the same process
encodes the text again: a tokenizer that caches words is faster than in the first pass, whose speed is that of a corpus.
The peak memory of the work is the peak of the process minus that before the clock started, the memory of the runtime.
The peers take turns, so that a noisy minute affects all of them. Before the first run, the results are compared on a
sample. On a GPU, gputok on the CPU is one of the peers.
"""

from __future__ import annotations

import itertools
import json
import pathlib
import statistics
import sys
import tempfile
from typing import TYPE_CHECKING, Any, NamedTuple

from gputok.bench.peers import ENCODE, END, MODELS_OF, ON_CPU, TRAIN, Job, learned, version
from gputok.bench.processes import in_turn, run
from gputok.checks import first_difference
from gputok.kernels.threads import thread_count
from gputok.progress import reporting
from gputok.recipes import recipe

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    from gputok.progress import Progress, Report
    from gputok.recipes import Model

_SAMPLE_BYTES = 1_000_000  # bytes at the start of the text on which results are compared
_DOCUMENT_BYTES = 4096  # the approximate size of a document that `encode` gets


class PeerRow(NamedTuple):
    """The runs of one peer; a list has one item for each run."""

    peer: str
    version: str
    seconds: list[float]  # of the work
    process_seconds: list[float]  # of the whole process
    peak_bytes: list[int]  # peak memory of the work
    runtime_bytes: list[int]  # peak memory before the work
    start_seconds: list[tuple[float, float]]  # for importing the package, and for the work on the first KB
    later_seconds: list[float]  # of encoding the same text once more (training: 0)
    # How many results equal gputok's, of how many: merges up to the first difference, pieces, or ids (of the sample)
    n_equal: int | None
    n_results: int | None
    failure: str = ""  # why the peer could not run


class Comparison(NamedTuple):
    """The results of a benchmark; `table()` shows them to a person, `to_json()` writes them for programs."""

    task: str  # "train" or "encode"
    text: str  # the file
    n_bytes: int  # its size
    model: str  # "bpe", "unigram", "wordpiece" or "wordlevel"
    vocab_size: int
    threads: int  # that each peer may use
    device: str  # "cpu" or a GPU
    verified: str  # the result of the comparison on the sample, as a sentence
    rows: list[PeerRow]  # gputok first
    skipped: dict[str, str]  # the peers that did not run, and why
    documents: str = ""  # for "encode", the kind of documents
    on_device: str = ""  # on a GPU, the parts of the work that the GPU does

    def to_json(self) -> str:
        """Returns the results as JSON; each row also has `ratio`, its median time divided by gputok's."""
        rows = [{**row._asdict(), "ratio": self._ratio(row)} for row in self.rows]
        return json.dumps({**self._asdict(), "rows": rows}, indent=2)

    def table(self) -> str:
        """Returns a table with one line for each peer: medians with (minimum to maximum)."""
        from gputok.report.figures import aligned

        of_training = "merges agree" if self.model == "bpe" else "pieces in common"
        equal = "ids equal" if self.task == "encode" else of_training
        head = ["", "seconds", "MB/s", "times gputok's"]
        head += ["again, MB/s", "times gputok's"] if self.task == "encode" else []
        head += ["peak MB", "+ runtime MB", "process s", equal]
        setup = f"{self.model}, vocabulary {self.vocab_size:,}, {self.threads} threads, device {self.device}"
        setup += f", {self.documents}" if self.documents else ""
        lines = [f"{self.task} {self.text}, {self.n_bytes / 1e6:.1f} MB: {setup}; median (min to max)"]
        lines.append(f"verified: {self.verified}")
        lines += map(str.rstrip, aligned([head, *(self._line(row) for row in self.rows)], range(len(head))))
        lines += [*self._start(), *filter(None, [self.on_device])]
        return "\n".join([*lines, *(f"skipped: {peer} ({why})" for peer, why in self.skipped.items())])

    def _start(self) -> list[str]:
        """Describes the time before gputok's clock starts."""
        starts = [row.start_seconds for row in self.rows if row.peer == "gputok" and row.start_seconds]
        if not starts:
            return []
        imports, first = (statistics.median(seconds) for seconds in zip(*starts[0], strict=True))
        return [f"gputok's start: {imports:.2f} s of imports, {first:.2f} s for the first KB (loading compiled code)"]

    def _line(self, row: PeerRow) -> list[str]:
        name = f"{row.peer} {row.version}"
        if row.failure:
            return [name, f"failed: {row.failure}", *[""] * (8 if self.task == "encode" else 6)]
        equal = "-" if row.n_equal is None else f"{row.n_equal:,} of {row.n_results:,}"
        again = self._speed(row, "later_seconds") if self.task == "encode" else []
        return [
            name,
            spread(row.seconds, "{:.2f}"),
            *self._speed(row, "seconds"),
            *again,
            spread([n / 1e6 for n in row.peak_bytes], "{:.0f}"),
            f"{statistics.median(row.runtime_bytes) / 1e6:.0f}",
            spread(row.process_seconds, "{:.2f}"),
            equal,
        ]

    def _speed(self, row: PeerRow, of: str) -> list[str]:
        """Returns MB/s and the ratio to gputok's time, by the field `seconds` or `later_seconds`."""
        rate, ratio = self.n_bytes / 1e6 / statistics.median(getattr(row, of)), self._ratio(row, of)
        return [f"{rate:.0f}" if rate >= 20 else f"{rate:.1f}", "-" if ratio is None else f"{ratio:.1f}"]

    def _ratio(self, row: PeerRow, of: str = "seconds") -> float | None:
        """Returns the median time of a peer divided by gputok's."""
        ours = next((getattr(row, of) for row in self.rows if row.peer == "gputok"), [])
        theirs = getattr(row, of)
        return statistics.median(theirs) / statistics.median(ours) if ours and theirs else None


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
    """Trains gputok and other packages on a text file, with the reference configuration of a model (`gputok.recipes`).

    text: the file, which gputok reads in any of its formats, and passes on as plain text; model: "bpe", "unigram",
    "wordpiece" or "wordlevel"; against: the peers: tokenizers, gigabpe, rustbpe, sentencepiece; threads: that each peer
    may use, None: all cores; device: "cpu", or the GPU on which gputok runs (`gputok.backend`); runs: of each peer;
    progress: see `gputok.progress`. Returns the times, memory, and equal results of all peers. Raises ValueError if a
    peer is unknown, or gputok and `tokenizers` learn different BPE or WordLevel, which are unique, from the first MB.
    """
    threads = thread_count(threads)
    peers, skipped = _installed(against, TRAIN, model, device)
    with tempfile.TemporaryDirectory() as folder, reporting(progress) as report:
        plain = _plain(text, pathlib.Path(folder, "text.txt"))
        sample = _head(plain, pathlib.Path(folder, "sample.txt"), _SAMPLE_BYTES)
        warm = _head(plain, pathlib.Path(folder, "warm.txt"), 1024)

        def job(peer: str, text: pathlib.Path = plain) -> Job:
            output = str(pathlib.Path(folder, f"{peer}.out"))
            return Job("train", peer, str(text), str(warm), output, threads, model, vocab_size, device)

        def result(peer: str) -> Any:
            return learned(peer, model, job(peer).output)

        for peer in ("gputok", "tokenizers"):
            if peer in peers:
                report(f"verify: {peer}", 0, 1)
                _run(job(peer, sample))  # this also stores gputok's compiled code on disk
        verified = "nothing (tokenizers is not among the peers)"
        if "tokenizers" in peers:
            ours, theirs = result("gputok"), result("tokenizers")
            n = _n_equal(ours, theirs, model)
            if model in ("bpe", "wordlevel") and ours != theirs:
                both = f"gputok {version('gputok')} and tokenizers {version('tokenizers')}"
                where = f"on the first {sample.stat().st_size:,} bytes of {text}"
                raise ValueError(f"not timed: {where}, {both} learn the same {n:,} of {len(theirs):,} and then differ")
            results = "merges" if model == "bpe" else "pieces"
            verified = f"{n:,} of {len(theirs):,} {results} equal those of tokenizers on the first MB"
        rows = _take_turns(peers, job, runs, report)
        for i, row in enumerate(rows):
            if not (row.failure or rows[0].failure) and (theirs := result(row.peer)) is not None:
                rows[i] = row._replace(n_equal=_n_equal(result("gputok"), theirs, model), n_results=len(theirs))
        n_bytes = plain.stat().st_size
        where = _on_device(device, lambda: recipe(model)[0], "count words", "merge")
    done = threads, device, verified, rows, skipped
    return Comparison("train", str(text), n_bytes, model, vocab_size, *done, on_device=where)


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
    """Encodes a text file, cut into documents of about 4 kB or into lines, with gputok and other packages.

    tokenizer: any tokenizer.json, None: trains one like GPT-2's, of `vocab_size`, on the text. A peer that can't read
    it is skipped, and no peer puts special tokens around a document. lines: cuts the file into lines, not documents;
    against: the peers: tokenizers, tiktoken, gigatoken. The other options are as for `train`, and so is the result.
    Raises ValueError if a peer is unknown, or gputok and `tokenizers` give different ids for the first MB.
    """
    import numpy as np

    from gputok import Tokenizer

    threads = thread_count(threads)
    peers, skipped = _installed(against, ENCODE, "bpe", device)
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
            return Job("encode", peer, *paths, threads, device=device, tokenizer=str(tokenizer), keep_ids=keep_ids)

        ids: dict[str, Any] = {}
        for peer in peers:
            report(f"verify: {peer}", len(ids), len(peers))
            try:
                _run(job(peer, sample, keep_ids=True))
                ids[peer] = np.fromfile(job(peer).output, np.uint32)
            except ChildProcessError as error:
                if peer in ("gputok", "tokenizers"):
                    raise
                skipped[peer] = str(error)
        peers, ours = [*ids], ids["gputok"]
        equal = {peer: first_difference(ours, theirs) for peer, theirs in ids.items()}
        if "tokenizers" in ids and not np.array_equal(ours, ids["tokenizers"]):
            both = f"gputok {version('gputok')} and tokenizers {version('tokenizers')}"
            same = f"{equal['tokenizers']:,} of {len(ours):,} ids"
            raise ValueError(f"not timed: on the first MB of {text}, {both} give the same {same} and then differ")
        verified = f"{len(ours):,} ids of the first MB compared"
        rows = _take_turns(peers, job, runs, report)
        rows = [row._replace(n_equal=equal[row.peer], n_results=len(ours)) for row in rows]
        n_bytes, read = plain.stat().st_size, Tokenizer.from_file(str(tokenizer))
        where = _on_device(device, lambda: read, "encode")
        model, vocab_size = type(read.model).__name__.lower(), read.get_vocab_size()
    done = threads, device, verified, rows, skipped, "lines" if lines else "documents of about 4 kB", where
    return Comparison("encode", str(text), n_bytes, model, vocab_size, *done)


def _on_device(device: str, tokenizer: Callable[[], Any], *stages: str) -> str:
    """Returns a line that says which stages a GPU does, if one is requested."""
    if device == "cpu":
        return ""
    from gputok.pipeline.about import device_work

    work = device_work(tokenizer().pipeline)
    return "; ".join(f"{stage}: {work[stage]}" for stage in stages)


def _installed(
    against: Sequence[str], known: dict[str, Any], model: str, device: str = "cpu"
) -> tuple[list[str], dict[str, str]]:
    """Returns the peers that can run, gputok first (on a GPU, also on the CPU), and why the other peers can't."""
    skipped: dict[str, str] = {}
    against = against if device == "cpu" else [ON_CPU, *against]
    for peer in against:
        if peer not in known:
            peers = ", ".join(name for name in known if name not in ("gputok", ON_CPU))
            raise ValueError(f"expected a peer of {peers}; got {peer!r}")
        if model not in MODELS_OF.get(peer, (model,)):
            skipped[peer] = f"does not train {model}"
        elif version(peer) is None:
            skipped[peer] = f"not installed: pip install {peer}"
    return [peer for peer in dict.fromkeys(["gputok", *against]) if peer not in skipped], skipped


def _take_turns(peers: Sequence[str], job: Callable[[str], Job], runs: int, report: Report) -> list[PeerRow]:
    failures: dict[str, str] = {}
    numbers = itertools.count()

    def one(peer: str) -> tuple[Any, float] | None:
        report(f"runs: {peer}", next(numbers), runs * len(peers))
        try:
            return _run(job(peer))
        except ChildProcessError as error:
            failures[peer] = str(error)
            return None

    found = in_turn(peers, one, runs)
    report("runs", runs * len(peers), runs * len(peers))
    return [_row(peer, found[peer], failures.get(peer, "")) for peer in peers]


def _row(peer: str, runs: Sequence[tuple[Any, float]], failure: str) -> PeerRow:
    names = "seconds", "later_seconds", "peak_bytes", "runtime_bytes"
    seconds, later, peak, runtime = ([run[name] for run, _ in runs] for name in names)
    starts = [(run["import_seconds"], run["warm_seconds"]) for run, _ in runs]
    whole = [of_process for _, of_process in runs]
    return PeerRow(peer, version(peer) or "", seconds, whole, peak, runtime, starts, later, None, None, failure)


def _run(job: Job) -> tuple[Any, float]:
    """Runs a process; returns what it measured and its wall time. Raises ChildProcessError if it fails."""
    environment = {"TOKENIZERS_PARALLELISM": "true", "GPUTOK_NUM_THREADS": str(job.threads)}
    environment["RAYON_NUM_THREADS"] = str(job.threads)  # tokenizers, rustbpe, gigatoken
    try:
        code = "from gputok.bench import peers; peers.main()"
        ended = run(sys.executable, "-c", code, json.dumps(job._asdict()), **environment)
    except ChildProcessError as error:
        raise ChildProcessError(f"{job.peer} could not {job.task}: {error}") from None
    return ended.printed, ended.seconds


def _plain(text: str | os.PathLike[str], target: pathlib.Path) -> pathlib.Path:
    """Returns the text as a plain file, which all peers can read; `target` is written if necessary."""
    from gputok import corpus

    if corpus.Source.of(text).total_bytes is not None and pathlib.Path(text).is_file():
        return pathlib.Path(text)
    with open(target, "wb") as file:
        for batch in corpus.read(text):
            file.write(batch.data.data)
    return target


def _head(text: pathlib.Path, target: pathlib.Path, n_bytes: int) -> pathlib.Path:
    """Writes the first `n_bytes` of the text, up to the end of a line if possible, else of a character."""
    with open(text, "rb") as file:
        head = file.read(n_bytes)
    if len(head) == n_bytes:
        head = head[: head.rfind(b"\n") + 1] or head.decode(errors="ignore").encode()
    target.write_bytes(head)
    return target


def _in_documents(text: bytes, document_bytes: int) -> bytes:
    """Joins whole lines to documents of at least `document_bytes` bytes, with the end token between two documents."""
    documents, start = [], 0
    while start < len(text):
        stop = text.find(b"\n", start + document_bytes) + 1 or len(text)
        documents.append(text[start:stop])
        start = stop
    return END.encode().join(documents)


def _n_equal(ours: Sequence[tuple[str, ...]], theirs: Sequence[tuple[str, ...]], model: str) -> int:
    """Counts the equal merges from the first on (as strings if a peer doesn't keep pairs), or the pieces in common."""
    if model != "bpe":
        return len(set(ours) & set(theirs))
    if theirs and len(theirs[0]) == 1:
        ours = [("".join(merge),) for merge in ours]
    return first_difference(ours, theirs)


def spread(values: Sequence[float], form: str) -> str:
    """Formats the median, the minimum and the maximum."""
    low, middle, high = (form.format(f(values)) for f in (min, statistics.median, max))
    return f"{middle} ({low} to {high})"
