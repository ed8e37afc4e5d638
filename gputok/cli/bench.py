"""`gputok bench`: compares gputok with other packages on the user's text."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gputok.cli import options

if TYPE_CHECKING:
    from collections.abc import Sequence


def _peers(incomplete: str) -> list[str]:
    from gputok.bench.peers import ENCODE, TRAIN

    return [name for name in dict.fromkeys([*TRAIN, *ENCODE]) if name.startswith(incomplete)]


@dataclass(frozen=True)
class _Comparing(options.Running):
    """What gputok is compared with, and how."""

    against: Annotated[
        list[str] | None,
        typer.Option(help="Peers, one or more. [default: tokenizers]", metavar="PEER...", autocompletion=_peers),
    ] = None
    device: Annotated[str, typer.Option(help="Where gputok runs: cpu, cuda or cuda:N.")] = "cpu"
    runs: Annotated[int, typer.Option(help="Runs of each, taking turns.", min=1)] = 3

    @property
    def options(self) -> dict[str, Any]:
        return super().options | {"against": self.against or ["tokenizers"]}


Corpus = Annotated[
    str,
    typer.Argument(
        help="A text file (also .gz, .xz, .zst), or - for standard input.", metavar="CORPUS", show_default=False
    ),
]


def train(
    corpus: Corpus,
    vocab_size: options.VocabSize = 32_000,
    model: options.Model = "bpe",
    *,
    comparing: _Comparing,
    as_json: options.AsJson = False,
) -> None:
    """Learn the same vocabulary with each peer and compare time, memory and result.

    Peers are tokenizers, gigabpe, rustbpe and sentencepiece.
    """
    from gputok import bench

    with options.local_file(corpus) as text:
        comparison = bench.train(
            text,
            vocab_size=vocab_size,
            model=model,  # type: ignore[arg-type]  # bench names what is wrong
            **comparing.options,
        )
    print(comparison.to_json() if as_json else comparison.table())


def encode(
    corpus: Corpus,
    tokenizer: Annotated[
        str | None,
        typer.Option(
            "--tokenizer",
            "-t",
            help="Any tokenizer.json, or - for standard input. [default: one like GPT-2's, trained on the text]",
        ),
    ] = None,
    vocab_size: options.VocabSize = 32_000,
    lines: Annotated[
        bool, typer.Option("--lines", help="Encode each line alone. [default: documents of about 4 kB]")
    ] = False,
    *,
    comparing: _Comparing,
    as_json: options.AsJson = False,
) -> None:
    """Encode the same documents with each peer and compare time, memory and ids.

    Peers are tokenizers, tiktoken and gigatoken; one that can't read the tokenizer is skipped. The first pass over the
    text and a later one, with all words known, are timed apart.
    """
    from gputok import bench

    options.check_standard_input([corpus, tokenizer])
    with options.local_file(corpus) as text, options.local_file(tokenizer or "") as path:
        comparison = bench.encode(
            text,
            tokenizer=path or None,
            vocab_size=vocab_size,
            lines=lines,
            **comparing.options,
        )
    print(comparison.to_json() if as_json else comparison.table())


def start(
    tokenizers: Annotated[
        list[str] | None,
        typer.Argument(
            help="tokenizer.json files to load, or - for standard input. [default: train small tokenizers]",
            metavar="[TOKENIZER...]",
            show_default=False,
        ),
    ] = None,
    text: Annotated[
        str | None, typer.Option(help="A text file, which each process encodes last: the first pass.")
    ] = None,
    peer: Annotated[
        list[str] | None,
        typer.Option(
            help="The Python of another environment, whose packages tokenizers (1.0, say) and gigatoken are timed too.",
            metavar="PYTHON",
        ),
    ] = None,
    runs: Annotated[int, typer.Option(help="Processes of each kind, taking turns.", min=1)] = 9,
    as_json: options.AsJson = False,
) -> None:
    """Time fresh processes that import, load and encode one text, by their parts, and those of tokenizers and gigatoken."""
    from gputok.bench import start as processes

    options.check_standard_input([*(tokenizers or []), text])
    with contextlib.ExitStack() as opened:
        paths = [opened.enter_context(options.local_file(path, "standard input.json")) for path in tokenizers or []]
        plain = opened.enter_context(options.local_file(text or ""))
        rows = processes.start(paths, text=plain or None, peers=peer or [], runs=runs)
    print(processes.to_json(rows) if as_json else processes.table(rows))


def latency(
    tokenizers: Annotated[
        list[str], typer.Argument(help="tokenizer.json files.", metavar="TOKENIZER...", show_default=False)
    ],
    text: Annotated[
        str | None, typer.Option(help="A text file, each line of which is encoded once. [default: made-up words]")
    ] = None,
    runs: Annotated[int, typer.Option(help="Measurements of each text, taking turns.", min=1)] = 21,
    peer: Annotated[
        list[str] | None,
        typer.Option(
            help="The Python of another environment, whose package tokenizers (1.0, say) is timed too. For prompts, batches "
            "and first texts, in processes of their own; --text must have 10 MB.",
            metavar="PYTHON",
        ),
    ] = None,
    doors: Annotated[
        bool,
        typer.Option(
            "--doors",
            help="Time prompts, batches and first texts, without a peer too; also of gigatoken, if installed.",
        ),
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Time the encoding of one short text (repeated, new, not ASCII, with special tokens), and compare with tokenizers."""
    if peer or doors:
        from gputok.bench import doors as ways

        if text is None:
            raise typer.BadParameter("prompts, batches and first texts need --text, a file of 10 MB")
        found = ways.doors(tokenizers, text, peer or [])
        print(json.dumps([door._asdict() for door in found], indent=2) if as_json else ways.table(found))
        return
    from gputok.bench import latency as texts

    rows = texts.latency(tokenizers, text=text, runs=runs)
    print(texts.to_json(rows) if as_json else texts.table(rows))


def repeat_option(arguments: Sequence[str]) -> list[str]:
    """Writes `--against a b` as `--against a --against b`, which the parser of options understands."""
    if "--against" not in arguments:
        return [*arguments]  # importing the peers takes 50 ms
    from gputok.bench.peers import ENCODE, TRAIN

    peers = {*TRAIN, *ENCODE}
    result: list[str] = []
    for argument in arguments:
        if argument in peers and result[-2:-1] == ["--against"] and result[-1] in peers:
            result.append("--against")
        result.append(argument)
    return result
