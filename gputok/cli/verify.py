"""`gputok verify`: the ids of gputok and of each package that is installed, on the reader's text."""

from __future__ import annotations

from typing import Annotated

import typer

from gputok.cli import options


def verify(
    file: Annotated[
        str,
        typer.Argument(help="A file, a folder or a glob, or - for standard input.", metavar="FILE", show_default=False),
    ],
    tokenizer: options.TokenizerFile,
    *,
    reading: options.Reading,
    package: Annotated[
        list[str] | None,
        typer.Option(help="Compare with this one; can be repeated. [default: all that are installed]", metavar="NAME"),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Compare the ids of gputok with those of tokenizers, transformers, tiktoken, sentencepiece and gigatoken on a file.

    The exit status is 1 if one of them gives other ids, or none can be compared.
    """
    from gputok.verify import verify as compare

    options.check_standard_input([file, tokenizer])
    loaded = options.load_tokenizer(tokenizer, reading.storage)
    with options.local_file(file) as path:
        found = compare(path, loaded, path=tokenizer, packages=package, **reading.options)
    options.sum_up(str(found), found.to_dict(), output="", as_json=as_json)
    if not found.equal:
        raise typer.Exit(1)
