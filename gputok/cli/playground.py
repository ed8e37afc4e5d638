"""`gputok playground`: a page in which people type a text and see its tokens."""

from __future__ import annotations

import pathlib
import webbrowser
from typing import Annotated

import typer

from gputok.cli.options import (
    STANDARD,
    StorageOption,
    check_standard_input,
    load_tokenizer,
    output_file,
    shown_output,
    storage_options,
)


def playground(
    tokenizer: Annotated[
        list[str] | None,
        typer.Option(
            "--tokenizer", "-t", help="As for encode; can be repeated, to compare.", metavar="FILE", show_default=False
        ),
    ] = None,
    output: Annotated[
        str, typer.Option("--output", "-o", help="Page to write, or - for standard output.")
    ] = "playground.html",
    text: Annotated[str, typer.Option(help="Text that the box has at first.", metavar="TEXT")] = "",
    title: Annotated[str, typer.Option(help="Title of the page.")] = "Tokenizer playground",
    open_it: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    storage_option: StorageOption = None,
) -> None:
    """Write a page that tokenizes what you type, without a network; it opens a tokenizer.json that you drop on it."""
    from gputok.report import playground as page_of
    from gputok.report.groups import short_names

    paths, storage = tokenizer or [], storage_options(storage_option)
    check_standard_input(paths)
    if len({*paths}) < len(paths):
        raise ValueError(f"--tokenizer {max(paths, key=paths.count)}: is given twice")
    if open_it and output == STANDARD:
        raise ValueError("--open: a page on standard output can't be opened; give a file by --output")
    named = zip(short_names(paths), (load_tokenizer(path, storage) for path in paths), strict=True)
    with output_file(output, storage, paths) as page:
        page_of(dict(named), page, text=text, title=title)
    if output != STANDARD:
        print(f"{shown_output(output)}: a page with {len(paths)} tokenizer{'' if len(paths) == 1 else 's'}")
    if open_it:
        webbrowser.open(pathlib.Path(output).resolve().as_uri())
