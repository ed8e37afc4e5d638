"""`gputok show`, `explain`, `audit`, `verify` and `playground`: look at a text in tokens, or at a tokenizer."""

from __future__ import annotations

import itertools
import os
import pathlib
import sys
from collections.abc import Iterator, Sequence

import typer

from gputok.cli import options

_AT_ONCE = 100  # documents that are encoded together
_BACKGROUNDS = (153, 223, 158, 183, 229)  # light colours among the 256 of terminals, under black letters
_BAR = "│"  # stands between tokens if there are no colours


def show(inputs: list[str], tokenizer: str, *, reading: options.Reading, lines: int = 100, ids: bool = False) -> None:
    """Show text with its tokens in colours; without a terminal, or if NO_COLOR is set, with bars between them."""
    loaded = options.load_tokenizer(tokenizer, reading.storage, inputs)
    # https://no-color.org
    color = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    number = n_tokens = n_bytes = n_texts = 0
    for texts in _texts(inputs, reading):
        if lines and n_texts == lines:
            print(f"gputok: these are the first {lines:,} documents; --lines 0 shows all", file=sys.stderr)
            break
        texts = texts[: lines - n_texts] if lines else texts
        n_texts += len(texts)
        for text, encoding in zip(texts, loaded.encode_batch(texts, add_special_tokens=False), strict=True):
            shown, number = _colored(text, encoding.offsets, color=color, first=number)
            sys.stdout.write(shown if shown.endswith("\n") else shown + "\n")
            if ids:
                print(*encoding.ids)
            n_tokens, n_bytes = n_tokens + len(encoding), n_bytes + len(text.encode())
    sys.stdout.flush()
    if sys.stderr.isatty():
        each = f", {n_bytes / n_tokens:.2f} bytes each" if n_tokens else ""
        print(f"{n_tokens:,} tokens{each}", file=sys.stderr)


def _texts(inputs: list[str], reading: options.Reading) -> Iterator[list[str]]:
    """Yields lists of documents: of files, or arguments that are texts. FileNotFoundError: a file seems to be meant."""
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


def _colored(text: str, offsets: Sequence[tuple[int, int]], *, color: bool = True, first: int = 0) -> tuple[str, int]:
    r"""Shows the tokens of a text by backgrounds or, without `color`, by bars between them.

    Characters that several tokens share (bytes of a letter) are shown as one token, underlined. Control characters are
    written as escapes such as `\x1b`, so that no text can command the terminal; a line break in a token is `↵`.
    first: the number of the first colour. Returns the text to print, and the number of the next colour.

    >>> _colored("low lower", [(0, 3), (3, 7), (7, 9)], color=False)
    ('low│ low│er', 3)
    """
    parts: list[str] = []
    number = first
    groups = [*_groups(offsets, len(text)), (len(text), len(text), 0)]
    for (start, end, n_tokens), (following, *_) in itertools.pairwise(groups):
        shown = _visible(text[start:end], marks_lines=n_tokens > 0)
        if not color:
            parts.append(shown + (_BAR if following < len(text) and not shown.endswith("\n") else ""))
        elif n_tokens:
            underline = "4;" if n_tokens > 1 else ""
            begin = f"\x1b[{underline}30;48;5;{_BACKGROUNDS[number % len(_BACKGROUNDS)]}m"
            parts.append("\n".join(f"{begin}{line}\x1b[0m" if line else "" for line in shown.split("\n")))
        else:
            parts.append(shown)
        number += n_tokens > 0
    return "".join(parts), number


def _groups(offsets: Sequence[tuple[int, int]], length: int) -> Iterator[tuple[int, int, int]]:
    """Cuts a text into (first, last + 1, number of tokens): a token, tokens that share characters, or text of none."""
    at = i = 0
    while i < len(offsets):
        start, end = offsets[i]
        last = i + 1
        while last < len(offsets) and offsets[last][0] < end:
            end = max(end, offsets[last][1])
            last += 1
        start = max(start, at)
        if start < end:
            if at < start:
                yield at, start, 0
            yield start, end, last - i
            at = end
        i = last
    if at < length:
        yield at, length, 0


def _visible(text: str, *, marks_lines: bool) -> str:
    shown = "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)
    return shown.replace("\n", "↵\n") if marks_lines else shown


def explain(
    text: str,
    tokenizer: str,
    add_special_tokens: bool = True,
    as_json: bool = False,
    storage_option: list[str] | None = None,
) -> None:
    """Explain how a text becomes tokens: its words, what cut them, merges with ranks, what was not merged and why."""
    options.check_standard_input([text, tokenizer])
    given = sys.stdin.buffer.read().decode(errors="replace") if text == options.STANDARD else options.as_text(text)
    if given is None:
        shorter = f"head -c 200 {text} | gputok explain - ..."
        raise ValueError(f"{text} is a file, and explain shows each step of a text: {shorter}")
    loaded = options.load_tokenizer(tokenizer, options.storage_options(storage_option))
    found = loaded.explain(given, add_special_tokens)
    options.sum_up(str(found), found.to_dict(), output="", as_json=as_json)


def audit(
    tokenizer: str,
    embeddings: str | None = None,
    tensor: str | None = None,
    output: str | None = None,
    as_json: bool = False,
    storage_option: list[str] | None = None,
) -> None:
    """Look for tokens that no text gives, special ones that aren't special, doubled ones, unused ids, and more."""
    storage = options.storage_options(storage_option)
    found = options.load_tokenizer(tokenizer, storage).audit(embeddings, tensor=tensor)
    if output is not None:
        with options.output_file(output, storage, [tokenizer, *([embeddings] if embeddings else [])]) as page:
            page.write_text(found.to_html(), encoding="utf-8")
    options.sum_up(str(found), found.to_dict(), output=output or "", as_json=as_json)


def verify(
    file: str, tokenizer: str, *, reading: options.Reading, package: list[str] | None = None, as_json: bool = False
) -> None:
    """Compare the ids of gputok on a file with those of tokenizers, transformers, tiktoken, sentencepiece, gigatoken.

    The exit status is 1 if one of them gives other ids, or none can be compared.
    """
    from gputok.verify import verify as compare

    loaded = options.load_tokenizer(tokenizer, reading.storage, [file])
    with options.local_file(file) as path:
        found = compare(path, loaded, path=tokenizer, packages=package, **reading.options)
    options.sum_up(str(found), found.to_dict(), output="", as_json=as_json)
    if not found.equal:
        raise typer.Exit(1)


def playground(
    tokenizer: list[str] | None = None,
    output: str = "playground.html",
    text: str = "",
    title: str = "Tokenizer playground",
    open_it: bool = False,
    storage_option: list[str] | None = None,
) -> None:
    """Write a page that tokenizes what you type, without a network; it opens a tokenizer.json that you drop on it."""
    from gputok.report import playground as page_of

    paths, storage = tokenizer or [], options.storage_options(storage_option)
    options.check_standard_input(paths)
    if open_it and output == options.STANDARD:
        raise ValueError("--open: a page on standard output can't be opened; give a file by --output")
    loaded = options.load_tokenizers(paths, storage)
    with options.output_file(output, storage, paths) as page:
        page_of(loaded, page, text=text, title=title)
    if output != options.STANDARD:
        print(f"{options.shown_output(output)}: a page with {len(paths)} tokenizer{'' if len(paths) == 1 else 's'}")
    if open_it:
        import webbrowser

        webbrowser.open(pathlib.Path(output).resolve().as_uri())
