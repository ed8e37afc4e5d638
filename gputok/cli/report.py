"""`gputok report`: measures how well tokenizers suit a text, and writes a page and a table."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from gputok.cli import options

if TYPE_CHECKING:
    from gputok.report import Groups

GroupBy = Annotated[
    str | None, typer.Option(help="Column whose values are the rows, such as a language.", metavar="COLUMN")
]
GroupsFile = Annotated[str | None, typer.Option(help="CSV file to write, with all rows.", metavar="FILE")]


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
    group_by: GroupBy = None,
    csv: GroupsFile = None,
    *,
    reading: options.Reading,
    running: options.Running,
    as_json: options.AsJson = False,
) -> None:
    """Measure how tokenizers suit a text, and write a page to look at it coloured by token."""
    from gputok.report.groups import short_names

    paths = [tokenizer, *(beside or [])]
    options.check_standard_input([*inputs, *paths])
    options.check_second("csv", csv, output, reading.storage, [*inputs, *paths])
    first, *others = (options.load_tokenizer(path, reading.storage) for path in paths)
    short = short_names(paths)
    command = _command(inputs, short, output, title, samples, group_by, reading)
    names = ["standard input" if name == options.STANDARD else name for name in short]
    with options.output_file(output, reading.storage, [*inputs, *paths]) as page:
        measured = first.report(
            reading.sources(inputs),
            name=names[0],
            others=dict(zip(names[1:], others, strict=True)),
            title=title,
            command=command,
            samples=samples,
            group_by=group_by,
            **reading.options,
            **running.options,
        )
        measured.to_html(page, most_bytes=most_bytes)
        if csv is not None:
            write_groups(measured.groups, csv)
    options.sum_up(str(measured), measured.to_dict(), output=output, as_json=as_json)


def write_groups(groups: Groups | None, path: str) -> None:
    """Writes the file of --csv."""
    if groups is None:
        raise ValueError(f"--csv {path}: there is one input, and so no rows: give several, or --group-by COLUMN")
    groups.to_csv(path)


def _command(
    inputs: list[str],
    tokenizers: list[str],
    output: str,
    title: str,
    samples: int,
    group_by: str | None,
    reading: options.Reading,
) -> str:
    """The command for the header of the page: the arguments that the result depends on, with short names of files."""
    from gputok.report.groups import short_names

    named = {"--group-by": group_by, "--column": reading.column, "--separator": reading.separator}
    named |= {"--samples": str(samples)} if samples != 100 else {}
    named |= {"--errors": reading.errors} if reading.errors != "strict" else {}
    named |= {"--title": title} if title != "Tokenizer report" else {}
    first, *others = tokenizers
    words = ["gputok", "report", *short_names(inputs), "-t", first]
    words += [word for name in others for word in ("--beside", name)]
    words += [word for name, value in named.items() if value is not None for word in (name, value)]
    return shlex.join([*words, "-o", output.rsplit("/", 1)[-1]])
