"""`gputok report`: measures how well tokenizers suit a text, and writes a page and a table."""

from __future__ import annotations

import re
import shlex
from typing import Annotated

import typer

from gputok.cli import options


def report(
    inputs: options.Inputs,
    tokenizer: options.TokenizerFile,
    beside: Annotated[
        list[str] | None, typer.Option(help="Another tokenizer.json to compare with; can be repeated.")
    ] = None,
    output: Annotated[
        str, typer.Option("--output", "-o", help="Page to write, or - for standard output.")
    ] = "report.html",
    samples: Annotated[int, typer.Option(help="How many passages of the text the page shows.", min=0)] = 100,
    title: Annotated[str, typer.Option(help="Title of the page.")] = "Tokenizer report",
    most_bytes: Annotated[
        int,
        typer.Option(help="Larger tokenizers don't tokenize what is typed in the page.", parser=options.whole_number),
    ] = 5_000_000,
    *,
    reading: options.Reading,
    running: options.Running,
    as_json: options.AsJson = False,
) -> None:
    """Measure how tokenizers suit a text, and write a page to look at it coloured by token."""
    paths = [tokenizer, *(beside or [])]
    options.check_standard_input([*inputs, *paths])
    first, *others = (options.load_tokenizer(path, reading.storage) for path in paths)
    short = short_names(paths)
    command = _command(inputs, short, output, title, samples, reading)
    names = ["standard input" if name == options.STANDARD else name for name in short]
    with options.output_file(output, reading.storage, [*inputs, *paths]) as page:
        measured = first.report(
            reading.sources(inputs),
            name=names[0],
            others=dict(zip(names[1:], others, strict=True)),
            title=title,
            command=command,
            samples=samples,
            **reading.options,
            **running.options,
        )
        measured.to_html(page, most_bytes=most_bytes)
    options.sum_up(str(measured), measured.to_dict(), output=output, as_json=as_json)


def short_names(paths: list[str]) -> list[str]:
    """Shortens paths to their last parts, as few as keep the names different.

    >>> short_names(["models/a/tokenizer.json", "models/b/tokenizer.json", "http://me:word@host/gpt2.json?key=12"])
    ['a/tokenizer.json', 'b/tokenizer.json', 'gpt2.json']
    """
    parts = [_without_secrets(path).rstrip("/").split("/") for path in paths]
    counts = [1] * len(paths)

    def names() -> list[str]:
        return ["/".join(part[-count:]) for part, count in zip(parts, counts, strict=True)]

    for _ in range(max(map(len, parts), default=0)):
        shown = names()
        counts = [count + (shown.count(name) > 1) for count, name in zip(counts, shown, strict=True)]
    return names()


def _without_secrets(path: str) -> str:
    """Removes user, password and query from a URL; returns any other path unchanged."""
    if "://" not in path:
        return path
    return re.sub("://[^/]*@", "://", path.partition("?")[0])


def _command(
    inputs: list[str], tokenizers: list[str], output: str, title: str, samples: int, reading: options.Reading
) -> str:
    """The command for the header of the page: the arguments that the result depends on, with short names of files."""
    named = {"--column": reading.column, "--separator": reading.separator}
    named |= {"--samples": str(samples)} if samples != 100 else {}
    named |= {"--errors": reading.errors} if reading.errors != "strict" else {}
    named |= {"--title": title} if title != "Tokenizer report" else {}
    first, *others = tokenizers
    words = ["gputok", "report", *short_names(inputs), "-t", first]
    words += [word for name in others for word in ("--beside", name)]
    words += [word for name, value in named.items() if value is not None for word in (name, value)]
    return shlex.join([*words, "-o", output.rsplit("/", 1)[-1]])
