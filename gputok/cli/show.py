"""`gputok show`: text coloured by token, in the terminal."""

from __future__ import annotations

import difflib
import glob
import itertools
import os
import pathlib
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gputok.cli.options import (
    STANDARD,
    Column,
    Errors,
    Separator,
    StorageOption,
    TokenizerFile,
    check_standard_input,
    load_tokenizer,
    sources,
    storage_options,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


_AT_ONCE = 100  # so many documents are encoded together
_LONGEST_NAME = 255
_NEAR = 0.8  # of 1 for the same name


def show(
    inputs: Annotated[
        list[str],
        typer.Argument(
            help="A text, or a file as for train, or - for standard input.",
            metavar="FILE or TEXT...",
            show_default=False,
        ),
    ],
    tokenizer: TokenizerFile,
    column: Column = None,
    separator: Separator = None,
    errors: Errors = "strict",
    lines: Annotated[
        int, typer.Option("--lines", "-n", help="The most documents to show; 0: all.", min=0)
    ] = 100,
    storage_option: StorageOption = None,
) -> None:
    """Show text with its tokens in colours; without a terminal, or if NO_COLOR is set, with bars between them."""
    from gputok.tools.terminal import colored

    storage = storage_options(storage_option)
    check_standard_input([*inputs, tokenizer])
    loaded = load_tokenizer(tokenizer, storage)
    options = {"column": column, "separator": separator, "errors": errors, "storage_options": storage}
    color, number = _has_colors(), 0
    n_tokens = n_bytes = n_texts = 0
    for texts in _texts(inputs, options):
        if lines and n_texts == lines:
            print(f"gputok: these are the first {lines:,} documents; --lines 0 shows all", file=sys.stderr)
            break
        texts = texts[: lines - n_texts] if lines else texts
        n_texts += len(texts)
        for text, encoding in zip(texts, loaded.encode_batch(texts, add_special_tokens=False), strict=True):
            shown, number = colored(text, encoding.offsets, color=color, first=number)
            sys.stdout.write(shown if shown.endswith("\n") else shown + "\n")
            n_tokens, n_bytes = n_tokens + len(encoding), n_bytes + len(text.encode())
    sys.stdout.flush()
    if sys.stderr.isatty():
        each = f", {n_bytes / n_tokens:.2f} bytes each" if n_tokens else ""
        print(f"{n_tokens:,} tokens{each}", file=sys.stderr)


def _texts(inputs: list[str], options: dict[str, Any]) -> Iterator[list[str]]:
    """Yields lists of documents: those of a file, or an argument that is not the name of a file.

    Raises FileNotFoundError for what seems to be the name of a file that does not exist.
    """
    from gputok import corpus
    from gputok.files.file_systems import is_url

    for name in inputs:
        if name != STANDARD and not is_url(name) and not os.path.exists(name):
            if not _is_name(name):
                # The bytes of the argument are UTF-8, whatever the locale made of them
                yield [os.fsencode(name).decode(errors="replace")]
                continue
            if not glob.has_magic(name):
                meant = _near(name)
                raise FileNotFoundError(
                    f"{name}: no such file or folder{f'; is it {meant[0]}?' if meant else ''} (to show this as a text, "
                    "give it on standard input, as -)"
                )
        (source,) = sources([name], options["column"])
        for batch in corpus.read(source, **options):
            texts = batch.strings()
            while some := [*itertools.islice(texts, _AT_ONCE)]:
                yield some


def _is_name(given: str) -> bool:
    """Is an argument that names no file meant as a name, or a glob, and not as a text?

    A name has no white space, and has the ending of a kind of files with documents, lies in a folder that exists, or looks
    like the name of a file beside it.
    """
    from gputok.corpus.document_kinds import file_kind
    from gputok.files.locations import LocalFile

    path = pathlib.Path(given)
    if not path.name or len(given) > _LONGEST_NAME or any(character.isspace() for character in given):
        return False
    is_of_documents = path.suffix.lower() == ".txt" or any(file_kind(LocalFile(path)))
    if is_of_documents and path.stem.strip("."):
        return True
    in_folder = path.parent != pathlib.Path() and path.parent.is_dir()
    return in_folder or (bool(path.suffix) and bool(glob.glob(given) or _near(given)))


def _near(name: str) -> list[str]:
    """The name of a file or folder beside a missing one that looks like it; none, or one."""
    folder, last = os.path.split(name)
    if not os.path.isdir(folder or "."):
        return []
    found = difflib.get_close_matches(last, os.listdir(folder or "."), 1, _NEAR)
    return [os.path.join(folder, one) for one in found]


def _has_colors() -> bool:
    """Returns True if standard output is a terminal with colours, and NO_COLOR (https://no-color.org) is not set."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
