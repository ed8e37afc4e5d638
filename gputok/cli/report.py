"""`gputok report`, `tokens` and `sizes`: how tokenizers suit a text, its tokens, and those of smaller vocabularies."""

from __future__ import annotations

import json
import shlex
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import typer

from gputok.cli import options
from gputok.cli.help import whole_number
from gputok.recipes import recipe

if TYPE_CHECKING:
    from gputok import WordCounts
    from gputok.report import Groups


def report(
    inputs: list[str],
    tokenizer: str,
    beside: list[str] | None = None,
    output: str = "report.html",
    samples: int = 100,
    title: str = "Tokenizer report",
    most_bytes: int = 5_000_000,
    group_by: str | None = None,
    csv: str | None = None,
    *,
    reading: options.Reading,
    running: options.Running,
    as_json: bool = False,
) -> None:
    """Measure how tokenizers suit a text, and write a page to look at it coloured by token."""
    from gputok.report.groups import short_names

    paths = [tokenizer, *(beside or [])]
    options.check_standard_input([*inputs, *paths])
    options.check_second("csv", csv, output, reading.storage, [*inputs, *paths])
    first, *others = (options.load_tokenizer(path, reading.storage) for path in paths)
    short = short_names(paths)
    # For the header of the page: the arguments that the result depends on, with short names of files
    words = ["gputok", "report", *short_names(inputs), "-t", short[0]]
    words += [word for name in short[1:] for word in ("--beside", name)]
    named = {"--group-by": group_by, "--column": reading.column, "--separator": reading.separator}
    named |= {"--samples": str(samples) if samples != 100 else None}
    named |= {"--errors": reading.errors if reading.errors != "strict" else None}
    named |= {"--title": title if title != "Tokenizer report" else None}
    words += [word for name, value in named.items() if value is not None for word in (name, value)]
    command = shlex.join([*words, "-o", output.rsplit("/", 1)[-1]])
    names = ["standard input" if name == options.STANDARD else name for name in short]
    with options.output_file(output, reading.storage, [*inputs, *paths]) as page:
        asked = {"title": title, "command": command, "samples": samples, "group_by": group_by, "name": names[0]}
        asked |= {"others": dict(zip(names[1:], others, strict=True)), **reading.options, **running.options}
        measured = first.report(reading.sources(inputs), **asked)
        measured.to_html(page, most_bytes=most_bytes)
        if csv is not None:
            write_groups(measured.groups, csv)
    options.sum_up(str(measured), measured.to_dict(), output=output, as_json=as_json)


def write_groups(groups: Groups | None, path: str) -> None:
    """Writes the file of --csv."""
    if groups is None:
        raise ValueError(f"--csv {path}: there is one input, and so no rows: give several, or --group-by COLUMN")
    groups.to_csv(path)


def tokens(
    inputs: list[str],
    tokenizer: list[str],
    by: str = "ending",
    price: float | None = None,
    lines: bool = False,
    gitignore: bool = True,
    group_by: str | None = None,
    csv: str | None = None,
    *,
    reading: options.Reading,
    running: options.Running,
    as_json: bool = False,
) -> None:
    """Count the tokens of files, folders and repositories, without special tokens around each document."""
    from gputok.report import count_files
    from gputok.report import report as report_of

    options.check_standard_input([*inputs, *tokenizer])
    if by not in ("file", "ending", "language"):
        raise ValueError(f"--by {by}: expected file, ending or language")
    options.check_second("csv", csv, "", reading.storage, [*inputs, *tokenizer])
    loaded = options.load_tokenizers(tokenizer, reading.storage)
    if group_by is not None:
        leave_out = "is not for --group-by, whose rows are the documents of a table"
        options.refuse(leave_out, price=price, lines=lines, by=by != "ending", no_gitignore=not gitignore)
        (name, first), *others = loaded.items()
        given: dict[str, Any] = {"group_by": group_by, **reading.options, **running.options}
        groups = report_of(first, reading.sources(inputs), others=dict(others), name=name, samples=0, **given).groups
        if csv is not None:
            write_groups(groups, csv)
        print(json.dumps(groups.to_dict(), indent=2, ensure_ascii=False) if as_json and groups else groups)
        return
    asked: dict[str, Any] = {"lines": lines, "gitignore": gitignore, **reading.options, **running.options}
    found = count_files(reading.sources(inputs), loaded, **asked)
    rows: Any = by
    if csv is not None:
        found.groups(rows).to_csv(csv)
    options.sum_up(found.to_str(rows, price), found.to_dict(rows, price), output="", as_json=as_json)


def sizes(
    inputs: list[str],
    vocab_sizes: str = "8k,16k,32k,64k",
    held_out: list[str] | None = None,
    chart: str | None = None,
    pattern: str | None = None,
    regex: str | None = None,
    *,
    reading: options.Reading,
    running: options.Counting,
    as_json: bool = False,
) -> None:
    """Learn the largest vocabulary, and measure it and the smaller ones, which are its beginnings.

    Each input is measured by itself, too, if there are several: parity and Gini compare them.
    """
    from gputok import WordCounts
    from gputok.report import figures
    from gputok.report.sizes import measure_sizes

    if chart is not None:
        figures.check_matplotlib()

    wanted = _numbers(vocab_sizes)
    options.check_standard_input([*inputs, *(held_out or [])])
    tokenizer, trainer = recipe("bpe", vocab_size=max(wanted), pattern=pattern, regex=regex)

    def counted(name: str) -> WordCounts:
        return tokenizer.count_words(reading.sources([name]), **reading.options, **running.options)

    of_inputs = {name: counted(name) for name in dict.fromkeys(inputs)}
    merge = partial(WordCounts.merge, **running.limits)
    training = next(iter(of_inputs.values())) if len(of_inputs) == 1 else merge(of_inputs.values())
    asked = {"threads": running.threads, "progress": running.progress, "memory_limit": running.memory_limit}
    tokenizer.train_from_word_counts(training, trainer, **asked)
    texts = {"training": training}
    if held_out:
        texts["held out"] = merge(map(counted, held_out))
    if len(of_inputs) > 1:
        texts |= of_inputs
    most = tokenizer.get_vocab_size()
    if max(wanted) > most:
        note = f"the text gives no more than {most:,} tokens, not the {max(wanted):,} of --vocab-sizes"
        print(f"gputok: note: {note}", file=sys.stderr)
    reached = sorted({min(size, most) for size in wanted})
    measured = measure_sizes(tokenizer.pipeline, reached, texts, [*of_inputs])
    options.sum_up(str(measured), measured.to_dict(), output="", as_json=as_json)
    if chart is not None:
        with options.output_file(chart, reading.storage, [*inputs, *(held_out or [])]) as written:
            figures.save(measured.figure(), written, chart.rpartition(".")[2].lower())


def _numbers(text: str) -> list[int]:
    """Reads numbers such as 8k,16000."""
    found = []
    for item in text.split(","):
        try:
            found.append(whole_number(item))
        except typer.BadParameter as error:
            raise ValueError(f"--vocab-sizes {text}: {error}") from None
        if not found[-1]:
            raise ValueError(f"--vocab-sizes {text}: expected numbers such as 8k,16000, not {item!r}")
    return found
