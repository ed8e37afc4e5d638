"""The peers: the same training, or the same encoding, by each package.

A peer is a function that takes a Job, imports its package, and returns the function to time. train(text, output) learns
from a plain text file and writes the result. encode(path) returns the ids of all documents of such a file, in the
peer's own form; to compare, `flat` makes one array of them, not timed. This module imports nothing that a peer's
process doesn't need.
"""

from __future__ import annotations

import base64
import importlib
import importlib.metadata
import itertools
import json
import pathlib
import resource
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from gputok.recipes import recipe

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gputok.recipes import Model

ON_CPU = "gputok-cpu"
"""The peer gputok on the CPU, if gputok itself runs on a GPU."""
END = "<|endoftext|>"
"""The special token; `encode` puts it between two documents."""


class Job(NamedTuple):
    """One run of one peer in its own process."""

    task: str  # "train" or "encode"
    peer: str
    text: str  # the plain text file
    warm_text: str  # its first KB
    output: str  # the file to write
    threads: int
    model: Model = "bpe"
    vocab_size: int = 0
    device: str = "cpu"
    tokenizer: str = ""  # the tokenizer.json to encode with
    keep_ids: bool = False  # write the ids of `encode` to `output`, to compare them


Train = Callable[[str, str], None]
Encode = Callable[[str], Any]
Flat = Callable[[Any], Any]  # uint32[n_ids]


# -- train


def train_by_recipe(job: Job) -> Train:
    """Trains gputok or tokenizers; only the import differs."""
    package = "tokenizers" if job.peer == "tokenizers" else "gputok"
    ours = {"threads": job.threads, "device": _device(job), "progress": False} if package == "gputok" else {}

    def train(text: str, output: str) -> None:
        tokenizer, trainer = recipe(job.model, vocab_size=job.vocab_size, package=package)
        trainer.show_progress = False
        tokenizer.train([text], trainer, **ours)
        tokenizer.save(output)

    recipe(job.model, package=package)  # imports the classes that it uses, before the clock starts
    return train


def _device(job: Job) -> str:
    return "cpu" if job.peer == ON_CPU else job.device


def train_gigabpe(job: Job) -> Train:
    """Trains gigabpe, with the pre-tokenizer of GPT-2."""
    gigabpe: Any = importlib.import_module("gigabpe")

    def train(text: str, output: str) -> None:
        options = {"special_tokens": [END], "pretokenizer": "bytelevel", "threads": job.threads}
        gigabpe.train_tokenizer([text], job.vocab_size, output, **options)

    return train


def train_rustbpe(job: Job) -> Train:
    """Trains rustbpe, whose result is written as tokens and their ranks."""
    from gputok.automaton.patterns import PATTERNS

    rustbpe: Any = importlib.import_module("rustbpe")

    def train(text: str, output: str) -> None:
        tokenizer = rustbpe.Tokenizer()
        with open(text, encoding="utf-8", newline="\n") as lines:
            tokenizer.train_from_iterator(lines, job.vocab_size - 1, pattern=PATTERNS["gpt2"])
        ranks = tokenizer.get_mergeable_ranks()
        with open(output, "w") as file:
            file.writelines(f"{base64.b64encode(token).decode()} {rank}\n" for token, rank in ranks)

    return train


def train_sentencepiece(job: Job) -> Train:
    """Trains SentencePiece, without normalization."""
    import sentencepiece

    def train(text: str, output: str) -> None:
        sentencepiece.SentencePieceTrainer.train(
            input=text,
            model_prefix=output,
            model_type=job.model,
            vocab_size=job.vocab_size,
            hard_vocab_limit=False,  # the first KB has fewer than 32,000 pieces
            num_threads=job.threads,
            normalization_rule_name="identity",
            character_coverage=1.0,
            split_by_unicode_script=False,
            split_by_number=False,
            max_sentence_length=1_000_000,
            minloglevel=2,
        )
        pathlib.Path(output + ".model").replace(output)
        pathlib.Path(output + ".vocab").unlink()

    return train


TRAIN: dict[str, Callable[[Job], Train]] = {
    **dict.fromkeys(("gputok", ON_CPU, "tokenizers"), train_by_recipe),
    "gigabpe": train_gigabpe,
    "rustbpe": train_rustbpe,
    "sentencepiece": train_sentencepiece,
}
MODELS_OF = {
    "tokenizers": ("bpe", "wordpiece", "wordlevel", "unigram"),
    "gigabpe": ("bpe",),
    "rustbpe": ("bpe",),
    "sentencepiece": ("bpe", "unigram"),
}
"""Peer -> the models that it trains; a peer that is not here trains all."""


def learned(peer: str, model: str, output: str) -> list[tuple[str, ...]] | None:
    """Reads what a peer has learned, in order.

    Returns merges as pairs, or as one string if the peer keeps only the merged token; of other models, the pieces. None
    if the merges can't be compared with gputok's (SentencePiece merges characters, not bytes).
    """
    if peer == "rustbpe":
        from gputok.text.byte_alphabet import BYTE_CHARACTERS

        lines = pathlib.Path(output).read_text().splitlines()
        tokens = [base64.b64decode(line.split()[0]) for line in lines[256:]]
        return [("".join(BYTE_CHARACTERS[byte] for byte in token),) for token in tokens]
    if peer == "sentencepiece":
        if model == "bpe":
            return None
        import sentencepiece

        pieces = sentencepiece.SentencePieceProcessor(model_file=output)
        return [(pieces.id_to_piece(i),) for i in range(pieces.get_piece_size())]
    form = json.loads(pathlib.Path(output).read_text())["model"]
    if model == "bpe":
        return [tuple(merge.split(" ")) if isinstance(merge, str) else tuple(merge) for merge in form["merges"]]
    return [(piece[0],) if model == "unigram" else (piece,) for piece in form["vocab"]]


# -- encode


def documents(path: str) -> list[str]:
    """Reads the documents of a file."""
    return pathlib.Path(path).read_bytes().decode().split(END)


def encode_gputok(job: Job) -> tuple[Encode, Flat]:
    """Encodes with gputok, the file as a corpus, without special tokens around a document."""
    import numpy as np

    from gputok import Tokenizer

    tokenizer = Tokenizer.from_file(job.tokenizer)

    options: Any = {"threads": job.threads, "device": _device(job), "progress": False}

    def encode(path: str) -> list[Any]:
        return [*tokenizer.encode_corpus(path, separator=END, add_special_tokens=False, **options)]

    return encode, lambda batches: np.concatenate([batch.ids for batch in batches]).astype(np.uint32)


def encode_tokenizers(job: Job) -> tuple[Encode, Flat]:
    """Encodes with tokenizers, by its fastest method, without offsets."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(job.tokenizer)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return (
        lambda path: tokenizer.encode_batch_fast(documents(path), add_special_tokens=False),
        lambda encodings: _flat(encoding.ids for encoding in encodings),
    )


def encode_tiktoken(job: Job) -> tuple[Encode, Flat]:
    """Encodes with tiktoken, by the vocabulary of the tokenizer.json. Raises ValueError if tiktoken can't do this."""
    import tiktoken

    from gputok import Tokenizer
    from gputok.formats.tiktoken import tiktoken_parts

    ranks, options = tiktoken_parts(Tokenizer.from_file(job.tokenizer))
    encoding = tiktoken.Encoding("bench", mergeable_ranks=ranks, **options)
    return lambda path: encoding.encode_ordinary_batch(documents(path), num_threads=job.threads), _flat


def encode_gigatoken(job: Job) -> tuple[Encode, Flat]:
    """Encodes with gigatoken, which reads the file itself."""
    import awkward  # pyright: ignore[reportMissingImports]
    import gigatoken  # pyright: ignore[reportMissingImports]

    tokenizer = gigatoken.Tokenizer(job.tokenizer)
    return (
        lambda path: tokenizer.encode_files(gigatoken.TextFileSource([path], separator=END), parallel=job.threads > 1),
        lambda ids: awkward.to_numpy(awkward.flatten(ids)),
    )


def _flat(rows: Iterable[Any]) -> Any:
    import numpy as np

    return np.concatenate([np.asarray(row, np.uint32) for row in rows])


ENCODE: dict[str, Callable[[Job], tuple[Encode, Flat]]] = {
    **dict.fromkeys(("gputok", ON_CPU), encode_gputok),
    "tokenizers": encode_tokenizers,
    "tiktoken": encode_tiktoken,
    "gigatoken": encode_gigatoken,
}
PEERS = tuple(dict.fromkeys([*TRAIN, *ENCODE]))


def version(peer: str) -> str | None:
    """Returns the installed version of a peer, or None."""
    if peer in ("gputok", ON_CPU):
        from gputok import __version__

        return __version__
    try:
        return importlib.metadata.version(peer)
    except importlib.metadata.PackageNotFoundError:
        return None


# -- one run


class ProcessRun(NamedTuple):
    """The measurements of one process."""

    import_seconds: float  # for importing the package and loading the tokenizer
    warm_seconds: float  # for the same work on the first KB, which loads compiled code and starts threads
    seconds: float  # for the work
    runtime_bytes: int  # peak memory before the work: interpreter, package, compiled code
    peak_bytes: int  # peak memory of the work, minus runtime_bytes
    later_seconds: float = 0.0  # for encoding the same text once more, the faster of two times; 0 for training


def run(job: Job) -> ProcessRun:
    """Does the work of a job and measures it."""
    times = [time.perf_counter()]
    if job.task == "train":
        work = TRAIN[job.peer](job)
    else:
        work, flat = ENCODE[job.peer](job)
    times.append(time.perf_counter())
    _work(job, work, job.warm_text)
    # Else the next output would replace this file, and ext4 writes such a file to the disk at once, which takes 1 ms
    pathlib.Path(job.output).unlink(missing_ok=True)
    times.append(time.perf_counter())
    runtime = peak_memory()
    ready = _preparing()
    result = _work(job, work, job.text)
    times.append(time.perf_counter() - _preparing() + ready)
    peak = peak_memory()
    if job.keep_ids:
        pathlib.Path(job.output).write_bytes(flat(result).tobytes())
    imported, warmed, worked = (later - earlier for earlier, later in itertools.pairwise(times))
    again = 0.0
    if job.task == "encode" and not job.keep_ids:
        del result  # its memory may be used again, as in the first pass
        again = min(_seconds(job, work) for _ in range(2))
    return ProcessRun(imported, warmed, worked, runtime, peak - runtime, again)


def _seconds(job: Job, work: Callable[..., Any]) -> float:
    start = time.perf_counter()
    _work(job, work, job.text)
    return time.perf_counter() - start


def _preparing() -> float:
    """Returns the seconds that gputok has spent on loading and compiling kernels."""
    loaded = sys.modules.get("gputok.kernels.native.preparation")
    return loaded.preparation.seconds if loaded else 0.0


def _work(job: Job, work: Callable[..., Any], text: str) -> Any:
    if job.task == "encode":
        return work(text)
    work(text, job.output + ".part")
    pathlib.Path(job.output + ".part").replace(job.output)


def peak_memory() -> int:
    """Returns the peak memory of this process, in bytes."""
    try:  # getrusage would include the peak before this process became Python
        status = pathlib.Path("/proc/self/status").read_text()
        return 1024 * int(status.split("VmHWM:")[1].split()[0])
    except (OSError, IndexError):
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return used if sys.platform == "darwin" else 1024 * used


def main() -> None:
    """Does the job that this process gets as an argument, in JSON, and prints its ProcessRun as JSON."""
    print(json.dumps(run(Job(**json.loads(sys.argv[1])))._asdict()))
