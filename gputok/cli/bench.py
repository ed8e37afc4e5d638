"""`gputok bench`: compares gputok with other packages on the user's text."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from typing import Any

import typer

from gputok.cli import options


class _Comparing(options.Running):
    """What gputok is compared with, and how."""

    against: list[str] | None = None
    device: str = "cpu"
    runs: int = 3

    @property
    def options(self) -> dict[str, Any]:
        return super().options | {"against": self.against or ["tokenizers"]}


def train(
    corpus: str, vocab_size: int = 32_000, model: str = "bpe", *, comparing: _Comparing, as_json: bool = False
) -> None:
    """Learn the same vocabulary with each peer and compare time, memory and result.

    Peers are tokenizers, gigabpe, rustbpe and sentencepiece.
    """
    from gputok import bench

    with options.local_file(corpus) as text:
        asked: dict[str, Any] = {"vocab_size": vocab_size, "model": model, **comparing.options}
        comparison = bench.train(text, **asked)
    print(comparison.to_json() if as_json else comparison.table())


def encode(
    corpus: str,
    tokenizer: str | None = None,
    vocab_size: int = 32_000,
    lines: bool = False,
    *,
    comparing: _Comparing,
    as_json: bool = False,
) -> None:
    """Encode the same documents with each peer and compare time, memory and ids.

    Peers are tokenizers, tiktoken and gigatoken; one that can't read the tokenizer is skipped. The first pass over the
    text and a later one, with all words known, are timed apart.
    """
    from gputok import bench

    options.check_standard_input([corpus, tokenizer])
    with options.local_file(corpus) as text, options.local_file(tokenizer or "") as path:
        comparison = bench.encode(text, tokenizer=path or None, vocab_size=vocab_size, lines=lines, **comparing.options)
    print(comparison.to_json() if as_json else comparison.table())


def start(
    tokenizers: list[str] | None = None,
    text: str | None = None,
    peer: list[str] | None = None,
    runs: int = 9,
    as_json: bool = False,
) -> None:
    """Time fresh processes that import, load and encode one text, also with tokenizers and gigatoken, by parts."""
    from gputok.bench import processes

    options.check_standard_input([*(tokenizers or []), text])
    with contextlib.ExitStack() as opened:
        paths = [opened.enter_context(options.local_file(path, "standard input.json")) for path in tokenizers or []]
        plain = opened.enter_context(options.local_file(text or ""))
        rows = processes.start(paths, text=plain or None, peers=peer or [], runs=runs)
    found = [{"task": row.task, "package": row.package, "parts": row.figures} for row in rows]
    print(json.dumps(found, indent=2) if as_json else f"milliseconds of CPU time\n{processes.table(rows)}")


def latency(
    tokenizers: list[str],
    text: str | None = None,
    runs: int = 21,
    peer: list[str] | None = None,
    doors: bool = False,
    as_json: bool = False,
) -> None:
    """Time the encoding of a short text (repeated, new, not ASCII, with special tokens); compare with tokenizers."""
    from gputok.bench import processes

    if peer or doors:
        if text is None:
            raise typer.BadParameter("prompts, batches and first texts need --text, a file of 10 MB")
        rows = processes.doors(tokenizers, text, peer or [])
        figures = ((row, kind, value) for row in rows for kind, value in row.figures.items())
        found = [{"tokenizer": row.task, "kind": k, "package": row.package, "value": v} for row, k, v in figures]
        print(json.dumps(found, indent=2) if as_json else processes.table(rows))
        return
    from gputok.kernels.native import choose

    rows, kernels = processes.latency(tokenizers, text=text, runs=runs), choose().reason
    found = [
        {"tokenizer": ours.task, "text": text, "asked": asked, "gputok": value, "tokenizers": theirs.figures[figure]}
        for ours, theirs in zip(rows[::2], rows[1::2], strict=True)
        for figure, value in ours.figures.items()
        for text, _, asked in [figure.partition(": ")]
    ]
    shown = f"microseconds for a text; kernels: {kernels}\n{processes.table(rows)}"
    print(json.dumps({"kernels": kernels, "rows": found}, indent=2) if as_json else shown)


def repeat_option(arguments: Sequence[str]) -> list[str]:
    """Writes `--against a b` as `--against a --against b`, which the parser of options understands."""
    if "--against" not in arguments:
        return [*arguments]  # importing the peers takes 50 ms
    from gputok.bench.peers import PEERS

    result: list[str] = []
    for argument in arguments:
        if argument in PEERS and result[-2:-1] == ["--against"] and result[-1] in PEERS:
            result.append("--against")
        result.append(argument)
    return result
