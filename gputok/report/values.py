"""What a report holds: numbers of a text, and of tokenizers on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from gputok.encoding.encoding import Encoding
from gputok.types import public

if TYPE_CHECKING:
    from gputok.pipeline.pipeline import Pipeline

COLUMNS = ("vocabulary", "tokens", "bytes/token", "tokens/word", "unused", "unknown")


Sample: TypeAlias = tuple[tuple[int, Encoding], ...]
"""A passage of the text: the number of characters, and the encoding, of each of its documents."""


@public("gputok.report")
class Made(NamedTuple):
    """Where a report comes from, for its header; empty strings are left out."""

    title: str
    source: str  # names of the files
    date: str
    version: str  # of gputok
    command: str


@public("gputok.report")
@dataclass(frozen=True, eq=False)
class Text:
    """What a corpus holds, whatever the tokenizer."""

    n_documents: int
    n_bytes: int  # of UTF-8
    n_characters: int
    n_words: int  # runs of characters that are not white space
    scripts: tuple[str, ...]  # those that occur, the most frequent first
    script_characters: np.ndarray  # int64[scripts], white space left out


@public("gputok.report")
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
    encodings: tuple[Sample, ...]  # of the samples
    tokenizer: Pipeline  # what was measured

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
class Findings:
    """What was measured of one tokenizer, and of others beside it, on the same text."""

    text: Text
    tokenizers: tuple[Measures, ...]  # the one that was asked for first
    samples: tuple[
        str, ...
    ]  # passages of about 1 kB, drawn at random: documents cut to that, or lines joined
    made: Made

    def table(self) -> list[tuple[str, ...]]:
        """A row of names, then one for each tokenizer, written as people read numbers."""
        styles = ("{:,}", "{:,}", "{:.2f}", "{:.2f}", "{:.1%}", "{:.1%}")
        rows = [
            (one.name, *(style.format(value) for style, value in zip(styles, one.row(), strict=True)))
            for one in self.tokenizers
        ]
        return [("", *COLUMNS), *rows]

    def to_dict(self) -> dict[str, Any]:
        """The numbers, for JSON: those of the text, and for each tokenizer its name and those of `COLUMNS`."""
        text = {
            "documents": self.text.n_documents,
            "bytes": self.text.n_bytes,
            "characters": self.text.n_characters,
            "words": self.text.n_words,
            "scripts": dict(zip(self.text.scripts, self.text.script_characters.tolist(), strict=True)),
        }
        rows = [
            {"name": one.name, **dict(zip(COLUMNS, one.row(), strict=True)), "unknown tokens": one.n_unknown}
            for one in self.tokenizers
        ]
        return {"text": text, "tokenizers": rows}

    def __str__(self) -> str:
        table = self.table()
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = ([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in table)
        return "\n".join("  ".join(line) for line in lines)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {', '.join(one.name for one in self.tokenizers)} on {self.text.n_bytes:,} bytes>"

    def _repr_html_(self) -> str:
        import html

        cells = [[html.escape(cell) for cell in row] for row in self.table()]
        rows = (f"<tr><th>{row[0]}</th><td>{'</td><td>'.join(row[1:])}</td></tr>" for row in cells[1:])
        return f"<table><tr><th>{'</th><th>'.join(cells[0])}</th></tr>{''.join(rows)}</table>"
