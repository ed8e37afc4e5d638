"""Reports: how well tokenizers suit a text, as numbers, as figures and as a page for the browser.

>>> from gputok import Tokenizer, models, pre_tokenizers
>>> letters = Tokenizer(models.BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")]))
>>> letters.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
>>> print(report(letters, iter(["ab ab b"])))
           vocabulary  tokens  bytes/token  tokens/word  unused  unknown
tokenizer           3       3         2.33         1.00   33.3%     0.0%
"""

from __future__ import annotations

import datetime
import html
import pathlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

from gputok.corpus import Source
from gputok.files.locations import OpenFile
from gputok.files.outputs import returned
from gputok.files.repositories import LeftOut
from gputok.pipeline.run import Run, RunOptions
from gputok.progress import reporting
from gputok.report.figures import CompressionCurve, aligned, draw
from gputok.report.file_tokens import Counted, FileCounts, count_files
from gputok.report.groups import Grouping, GroupMeasures, Groups
from gputok.report.measures import COLUMNS, Made, Measures, Text, measure, own_pipeline
from gputok.report.page import playground, render
from gputok.report.portable import MOST_BYTES
from gputok.report.sizes import SizeMeasures, Sizes
from gputok.version import __version__

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from typing import Unpack

    from matplotlib.figure import Figure

__all__ = ["COLUMNS", "CompressionCurve", "Counted", "FileCounts", "GroupMeasures", "Groups", "LeftOut", "Made"]
__all__ += [
    "Measures",
    "Report",
    "ReportOptions",
    "SizeMeasures",
    "Sizes",
    "Text",
    "count_files",
    "playground",
    "report",
]

_MOST_NAMED = 3  # the most files that the header names


@dataclass(frozen=True, eq=False, repr=False)
class Report:
    """The measurements of one or several tokenizers on the same text.

    Attributes:
        text: the text.
        tokenizers: the measurements of each tokenizer.
        samples: passages of the text of about 1 kB, drawn at random: documents cut to that size, or several lines.
        made: where the report comes from.
        groups: the numbers of each file, or of each value of a column; None for a single file without `group_by`.
    """

    text: Text
    tokenizers: tuple[Measures, ...]
    samples: tuple[str, ...]
    made: Made
    groups: Groups | None = None

    def table(self) -> list[tuple[str, ...]]:
        """Returns a row of headings, and a row of formatted numbers for each tokenizer."""
        styles = "{:,} {:,} {:.2f} {:.2f} {:.1%} {:.1%}"
        return [("", *COLUMNS), *((one.name, *styles.format(*one.row()).split()) for one in self.tokenizers)]

    def summary(self) -> str:
        """Says the result in one sentence: how many tokens the text becomes, and how the first tokenizer compares."""
        first, *others = self.tokenizers
        sentence = f"{first.name} makes {first.n_tokens:,} tokens of this text, {first.bytes_per_token:.2f} bytes each"
        parts = [_compared(first.n_tokens, other) for other in others if other.n_tokens]
        return ", ".join([sentence, *parts]) + "."

    def to_dict(self) -> dict[str, Any]:
        """Returns the numbers for JSON: those of the text, and for each tokenizer its name and those of `COLUMNS`."""
        of, scripts = self.text, dict(zip(self.text.scripts, self.text.script_characters.tolist(), strict=True))
        text = {"documents": of.n_documents, "bytes": of.n_bytes, "characters": of.n_characters}
        text = {**text, "words": of.n_words, "scripts": scripts}
        named = [(one, dict(zip(COLUMNS, one.row(), strict=True))) for one in self.tokenizers]
        rows = [{"name": one.name, **numbers, "unknown tokens": one.n_unknown} for one, numbers in named]
        groups = {} if self.groups is None else {"groups": self.groups.to_dict()}
        return {"text": text, "tokenizers": rows, **groups}

    def __str__(self) -> str:
        whole = "\n".join(aligned(self.table()))
        return whole if self.groups is None else f"{whole}\n\n{self.groups}"

    def __repr__(self) -> str:
        names = ", ".join(one.name for one in self.tokenizers)
        return f"<{type(self).__name__}: {names} on {self.text.n_bytes:,} bytes>"

    def _repr_html_(self) -> str:
        cells = [[html.escape(cell) for cell in row] for row in self.table()]
        rows = (f"<tr><th>{row[0]}</th><td>{'</td><td>'.join(row[1:])}</td></tr>" for row in cells[1:])
        return f"<table><tr><th>{'</th><th>'.join(cells[0])}</th></tr>{''.join(rows)}</table>"

    def figures(self) -> dict[str, Figure]:
        """Draws the figures; needs matplotlib (`pip install 'gputok[plot]'`).

        Returns:
            Name -> figure: compression, lengths, usage, scripts and, if a tokenizer has merges, merges and sizes.
        """
        return draw(self)

    @overload
    def to_html(self, path: None = None, *, most_bytes: int | None = MOST_BYTES) -> str: ...

    @overload
    def to_html(self, path: str | os.PathLike[str], *, most_bytes: int | None = MOST_BYTES) -> None: ...

    def to_html(self, path: str | os.PathLike[str] | None = None, *, most_bytes: int | None = MOST_BYTES) -> str | None:
        """Makes one HTML page with all measurements, which opens in any browser.

        The page loads nothing from the network, and no text in it can become markup. Text that is typed in the page is
        tokenized there.

        Args:
            path: the file to write, atomically; None: the page is returned.
            most_bytes: tokenizers that take up more bytes of the page tokenize no typed text; None: any size.

        Returns:
            The page, or None if it was written.
        """
        return returned(render(self, most_bytes), path)


class ReportOptions(RunOptions, total=False):
    """Keyword arguments of `Tokenizer.report` beside those of `RunOptions`; `report` explains them. None is needed."""

    others: Mapping[str, Any] | None
    name: str
    title: str
    command: str
    samples: int
    group_by: str | None


def report(
    tokenizer: Any,
    corpus: Any,
    *,
    others: Mapping[str, Any] | None = None,
    name: str = "tokenizer",
    title: str = "Tokenizer report",
    command: str = "",
    samples: int = 100,
    group_by: str | None = None,
    **options: Unpack[RunOptions],
) -> Report:
    """Encodes a corpus by one or several tokenizers and measures the results.

    Args:
        tokenizer: a gputok Tokenizer, one of the `tokenizers` package, or a fast tokenizer of `transformers`.
        corpus: as in `Tokenizer.encode_corpus`; it is read once for all tokenizers.
        others: more tokenizers, by name.
        name: the name of `tokenizer`.
        title: the title of the page.
        command: the command that makes the report, for the header of the page.
        samples: how many passages of the text, of about 1 kB, the page shows.
        group_by: the column of JSON Lines, CSV, Parquet or Arrow whose values are the groups of `Report.groups`, such
            as a language; None: each file is a group, if there are several.
        options: how the corpus is read, and with how many threads (`gputok.pipeline.run.RunOptions`).

    Returns:
        The measurements.

    Raises:
        TypeError: if an argument is not a tokenizer.
        ValueError: if two tokenizers have the same name, the text cannot be read, or it has no column `group_by`.
        FileNotFoundError: if a path or glob names no file.
    """
    if samples < 0:
        raise ValueError(f"samples={samples}: must be at least 0")
    if others and name in others:
        raise ValueError(f"two tokenizers are called {name!r}: pass another name=, or rename one in others=")
    tokenizers = {key: own_pipeline(key, one) for key, one in {name: tokenizer, **(others or {})}.items()}
    run, reading = Run.asked(options, RunOptions)
    source = Source.of(corpus, **reading)
    grouping, total = Grouping(source, group_by, [*tokenizers]), source.total_bytes
    with reporting(run.progress) as on_progress:
        text, measures, texts = measure(
            tokenizers, grouping, samples, run.threads, lambda done: on_progress("encode", done, total)
        )
    made = Made(title, _names(source), datetime.date.today().isoformat(), __version__, command)
    return Report(text, measures, texts, made, grouping.groups())


def _names(source: Source) -> str:
    """Lists the names of the files of a corpus, without their folders; empty for other sources."""
    files = [place.file for place in source.content] if source.is_files else []
    names = [pathlib.PurePath(str(file)).name if isinstance(file, OpenFile) else file.name for file in files]
    # The query of a URL is left out: it can hold a secret key.
    names = [name.partition("?")[0] if file.is_remote else name for name, file in zip(names, files, strict=True)]
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more files" if more > 0 else "")


def _compared(n_tokens: int, other: Measures) -> str:
    """Says how many more or fewer tokens these are than those of another tokenizer."""
    share = n_tokens / other.n_tokens - 1
    if round(abs(share), 3) == 0:
        return f"as many as {other.name}"
    return f"{abs(share):.1%} {'more' if share > 0 else 'fewer'} than {other.name}"
