"""How a tokenizer suits a text: numbers, figures, and a page to look at, for one tokenizer or several side by side.

>>> from gputok import Tokenizer, models, pre_tokenizers
>>> letters = Tokenizer(models.BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")]))
>>> letters.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
>>> print(report(letters, iter(["ab ab b"])))
           vocabulary  tokens  bytes/token  tokens/word  unused  unknown
tokenizer           3       3         2.33         1.00   33.3%     0.0%
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gputok.pipeline.pipeline import Pipeline
from gputok.pipeline.serialize import read_pipeline
from gputok.report.values import COLUMNS, Findings, Made, Measures, Text
from gputok.version import __version__

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gputok.files.locations import StorageOptions
    from gputok.progress import Progress

__all__ = ["COLUMNS", "Findings", "Made", "Measures", "Report", "Text", "report"]

_MOST_NAMED = 3  # files, in the header


@dataclass(frozen=True, eq=False, repr=False)
class Report(Findings):
    """One tokenizer, and others beside it, on the same text."""

    def figures(self) -> dict[str, Figure]:
        """Figures by name: compression, lengths, merges (where there are any), usage and scripts.

        Needs matplotlib: `pip install 'gputok[plot]'`.
        """
        from gputok.report.figures import draw

        return draw(self)

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str | None:
        """One page with everything in it, to open in any browser; written to `path`, or returned where that is None.

        Nothing in it comes from the network, and nothing of the text can become markup.
        """
        from gputok.files.locations import writing
        from gputok.report.page import render

        page = render(self)
        if path is None:
            return page
        with writing(path) as beside:
            beside.write_text(page, encoding="utf-8", newline="\n")
        return None


def report(
    tokenizer: Any,
    corpus: Any,
    *,
    others: Mapping[str, Any] | None = None,
    name: str = "tokenizer",
    title: str = "Tokenizer report",
    command: str = "",
    samples: int = 100,
    threads: int | None = None,
    progress: Progress = None,
    errors: str = "strict",
    column: str | None = None,
    separator: str | None = None,
    storage_options: StorageOptions = None,
) -> Report:
    """Encodes a corpus, with other tokenizers beside, and measures what comes out.

    tokenizer: a Tokenizer, or whatever wraps one (`transformers` fast tokenizers, those of the `tokenizers` package).
    corpus: as in `Tokenizer.encode_corpus`; it is read once, whatever the number of tokenizers.
    others: name -> tokenizer. name: what `tokenizer` is called beside them.
    title, command: for the header of the page: its title, and the command that made it.
    samples: how many passages to keep for looking at. The other arguments are those of `Tokenizer.train`.

    Raises what reading the corpus does, TypeError for what is no tokenizer, ValueError for a name that is there twice.
    """
    from gputok import corpus as sources
    from gputok.progress import reporting
    from gputok.report.measures import measure

    if samples < 0:
        raise ValueError(f"samples={samples}: must be at least 0")
    if others and name in others:
        raise ValueError(f"two tokenizers are called {name!r}: pass another name=, or rename it in others=")
    tokenizers = {key: _own(key, one) for key, one in {name: tokenizer, **(others or {})}.items()}
    corpus = sources.located(corpus, storage_options)
    batches = sources.read(corpus, column=column, separator=separator, errors=errors, threads=threads)
    total = sources.total_bytes(corpus, column=column)
    with reporting(progress) as tell:
        text, measures, texts = measure(
            tokenizers, batches, samples, threads, lambda done: tell("encode", done, total)
        )
    made = Made(title, _source(corpus), datetime.date.today().isoformat(), __version__, command)
    return Report(text, measures, texts, made)


def _source(corpus: Any) -> str:
    """The names of the files of a corpus, without their folders; empty for other sources."""
    names = [place.file.name for place in corpus] if isinstance(corpus, list) else []
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more files" if more > 0 else "")


def _own(name: str, tokenizer: Any) -> Pipeline:
    """The parts of the tokenizer that it is, wraps or, in another package, is written like."""
    inner = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if isinstance(pipeline := getattr(inner, "pipeline", None), Pipeline):
        return pipeline
    if not hasattr(inner, "to_str"):
        raise TypeError(f"{name!r} is {type(tokenizer).__name__}, not a tokenizer")
    return read_pipeline(inner.to_str(), name)
