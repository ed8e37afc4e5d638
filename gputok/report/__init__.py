"""How a tokenizer suits a text: numbers, figures, and a page to look at, for one tokenizer or several side by side.

>>> from gputok import Tokenizer, models, pre_tokenizers
>>> letters = Tokenizer(models.BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")]))
>>> letters.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
>>> print(report(letters, iter(["ab ab b"])))
           vocabulary  tokens  bytes/token  tokens/word  unused  unknown
tokenizer           3       3         2.33         1.00   33.3%     0.0%
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gputok.encoding import Encoding

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gputok.locations import StorageOptions
    from gputok.progress import Progress
    from gputok.tokenizer import Tokenizer

COLUMNS = ("vocabulary", "tokens", "bytes/token", "tokens/word", "unused", "unknown")


@dataclass(frozen=True, eq=False)
class Text:
    """What a corpus holds, whatever the tokenizer."""

    n_documents: int
    n_bytes: int  # of UTF-8
    n_characters: int
    n_words: int  # runs of characters that are not white space
    scripts: tuple[str, ...]  # those that occur, the most frequent first
    script_characters: np.ndarray  # int64[scripts], white space left out


@dataclass(frozen=True, eq=False, repr=False)
class Measures:
    """What one tokenizer makes of the text. Arrays over tokens follow rising ids."""

    name: str
    text: Text
    tokens: list[str]  # what each token stands for, as far as its bytes are UTF-8
    ids: np.ndarray  # int64[tokens]
    usage: np.ndarray  # int64[tokens], how often each occurs in the text
    lengths: np.ndarray  # int64[tokens], bytes of text that each stands for
    special: np.ndarray  # bool[tokens], added tokens: not counted as unused, nor in lengths
    n_unknown: int  # tokens of the text that are the unknown token
    script_tokens: np.ndarray  # int64[scripts], tokens of the vocabulary in each script of the text
    # int64[scripts], characters of the text that are one token when they stand alone
    script_covered: np.ndarray
    merge_counts: np.ndarray | None
    """int64[merges], how often each merge is applied to the text; None for models that do not merge.

    On the text that it was trained on, this is the count that each pair had when it was chosen (but for runs as in `aaa`,
    whose pairs overlap). Where several merges spell one token, as in SentencePiece's files, it counts for the first.
    """
    encodings: tuple[Encoding, ...]  # of the samples

    @property
    def n_tokens(self) -> int:
        """The length of the text in tokens."""
        return int(self.usage.sum())

    @property
    def bytes_per_token(self) -> float:
        """Compression: bytes of UTF-8 for each token."""
        return self.text.n_bytes / self.n_tokens if self.n_tokens else 0.0

    @property
    def tokens_per_word(self) -> float:
        """Fertility: tokens for each run of characters that are not white space."""
        return self.n_tokens / self.text.n_words if self.text.n_words else 0.0

    @property
    def unused_share(self) -> float:
        """The share of the vocabulary, special tokens aside, that the text does not use."""
        return float((self.usage[~self.special] == 0).mean()) if (~self.special).any() else 0.0

    @property
    def unknown_share(self) -> float:
        """The share of the text's tokens that stand for something unknown."""
        return self.n_unknown / self.n_tokens if self.n_tokens else 0.0

    def length_histogram(self) -> tuple[np.ndarray, np.ndarray]:
        """int64[longest + 1] each: tokens of the vocabulary, and tokens of the text, of 0, 1, 2, ... bytes."""
        lengths, usage = self.lengths[~self.special], self.usage[~self.special]
        n = int(lengths.max(initial=0)) + 1
        of_text = np.zeros(n, np.int64)
        np.add.at(of_text, lengths, usage)
        return np.bincount(lengths, minlength=n), of_text

    def longest(self, n: int = 20) -> list[tuple[str, int]]:
        """The longest tokens and how often each occurs; of equal lengths the most frequent first."""
        order = np.lexsort((-self.usage, -self.lengths, self.special))[: min(n, int((~self.special).sum()))]
        return [(self.tokens[i], int(self.usage[i])) for i in order.tolist()]

    def row(self) -> tuple[int, int, float, float, float, float]:
        """The numbers of `COLUMNS`."""
        return (
            len(self.ids),
            self.n_tokens,
            self.bytes_per_token,
            self.tokens_per_word,
            self.unused_share,
            self.unknown_share,
        )


@dataclass(frozen=True, eq=False, repr=False)
class Report:
    """One tokenizer, and others beside it, on the same text."""

    text: Text
    tokenizers: tuple[Measures, ...]  # the one that was asked for first
    samples: tuple[str, ...]  # documents of the text, drawn at random, the long ones cut

    def table(self) -> list[tuple[str, ...]]:
        """A row of names, then one for each tokenizer, written as people read numbers."""
        styles = ("{:,}", "{:,}", "{:.2f}", "{:.2f}", "{:.1%}", "{:.1%}")
        rows = [
            (one.name, *(style.format(value) for style, value in zip(styles, one.row(), strict=True)))
            for one in self.tokenizers
        ]
        return [("", *COLUMNS), *rows]

    def __str__(self) -> str:
        table = self.table()
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = ([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in table)
        return "\n".join("  ".join(line) for line in lines)

    def __repr__(self) -> str:
        return f"<Report: {', '.join(one.name for one in self.tokenizers)} on {self.text.n_bytes:,} bytes>"

    def _repr_html_(self) -> str:
        import html

        cells = [[html.escape(cell) for cell in row] for row in self.table()]
        rows = (f"<tr><th>{row[0]}</th><td>{'</td><td>'.join(row[1:])}</td></tr>" for row in cells[1:])
        return f"<table><tr><th>{'</th><th>'.join(cells[0])}</th></tr>{''.join(rows)}</table>"

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
        from gputok.locations import writing
        from gputok.report.page import render

        page = render(self)
        if path is None:
            return page
        with writing(path) as beside:
            beside.write_text(page, encoding="utf-8", newline="\n")
        return None


def report(
    tokenizer: Tokenizer,
    corpus: Any,
    *,
    others: Mapping[str, Tokenizer] | None = None,
    name: str = "tokenizer",
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
    samples: how many documents to keep for looking at. The other arguments are those of `Tokenizer.train`.

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
        return measure(tokenizers, batches, samples, threads, lambda done: tell("encode", done, total))


def _own(name: str, tokenizer: Any) -> Tokenizer:
    """The Tokenizer that it is, wraps or, in another package, is written like."""
    from gputok.tokenizer import Tokenizer

    inner = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if isinstance(inner, Tokenizer):
        return inner
    if not hasattr(inner, "to_str"):
        raise TypeError(f"{name!r} is {type(tokenizer).__name__}, not a tokenizer")
    return Tokenizer.from_str(inner.to_str())
