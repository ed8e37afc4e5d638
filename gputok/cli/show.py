"""`gputok show`: text coloured by token, in the terminal."""

from __future__ import annotations

import itertools
import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from gputok.cli import options

if TYPE_CHECKING:
    from collections.abc import Iterator


_AT_ONCE = 100  # documents that are encoded together


def show(
    inputs: Annotated[
        list[str],
        typer.Argument(
            help="A text, or a file as for train, or - for standard input.",
            metavar="FILE or TEXT...",
            show_default=False,
        ),
    ],
    tokenizer: options.TokenizerFile,
    *,
    reading: options.Reading,
    lines: Annotated[int, typer.Option("--lines", "-n", help="The most documents to show; 0: all.", min=0)] = 100,
    ids: Annotated[bool, typer.Option("--ids", help="Show the ids below each document.")] = False,
) -> None:
    """Show text with its tokens in colours; without a terminal, or if NO_COLOR is set, with bars between them."""
    from gputok.tools.terminal import colored

    options.check_standard_input([*inputs, tokenizer])
    loaded = options.load_tokenizer(tokenizer, reading.storage)
    color, number = _has_colors(), 0
    n_tokens = n_bytes = n_texts = 0
    for texts in _texts(inputs, reading):
        if lines and n_texts == lines:
            print(f"gputok: these are the first {lines:,} documents; --lines 0 shows all", file=sys.stderr)
            break
        texts = texts[: lines - n_texts] if lines else texts
        n_texts += len(texts)
        for text, encoding in zip(texts, loaded.encode_batch(texts, add_special_tokens=False), strict=True):
            shown, number = colored(text, encoding.offsets, color=color, first=number)
            sys.stdout.write(shown if shown.endswith("\n") else shown + "\n")
            if ids:
                print(*encoding.ids)
            n_tokens, n_bytes = n_tokens + len(encoding), n_bytes + len(text.encode())
    sys.stdout.flush()
    if sys.stderr.isatty():
        each = f", {n_bytes / n_tokens:.2f} bytes each" if n_tokens else ""
        print(f"{n_tokens:,} tokens{each}", file=sys.stderr)


def _texts(inputs: list[str], reading: options.Reading) -> Iterator[list[str]]:
    """Yields lists of documents: those of a file, or an argument that is not the name of a file.

    Raises FileNotFoundError for what seems to be the name of a file that does not exist.
    """
    from gputok import corpus

    for name in inputs:
        if (text := options.as_text(name)) is not None:
            yield [text]
            continue
        (source,) = reading.sources([name])
        for batch in corpus.read(source, **reading.options):
            texts = batch.strings()
            while some := [*itertools.islice(texts, _AT_ONCE)]:
                yield some


def _has_colors() -> bool:
    """Returns True if standard output is a terminal with colours, and NO_COLOR (https://no-color.org) is not set."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
