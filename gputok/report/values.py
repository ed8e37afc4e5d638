"""The numbers of a report: those of a text, and those of tokenizers on this text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from gputok.encoding.encoding import Encoding
from gputok.lazy import public
from gputok.models.bpe.model import BPE
from gputok.report.curves import CompressionCurve, tokens_by_merge

if TYPE_CHECKING:
    from gputok.pipeline.pipeline import Pipeline

COLUMNS = ("vocabulary", "tokens", "bytes/token", "tokens/word", "unused", "unknown")


Sample: TypeAlias = tuple[tuple[int, Encoding], ...]
"""A passage of the text: the number of characters, and the encoding, of each of its documents."""


@public("gputok.report")
class Made(NamedTuple):
    """Where a report comes from, for the header of its page, which leaves out empty fields.

    Attributes:
        title: the title of the page.
        source: the names of the files that were read.
        date: the day, as 2026-01-31.
        version: the version of gputok.
        command: the command that made the report.
    """

    title: str
    source: str
    date: str
    version: str
    command: str


@public("gputok.report")
@dataclass(frozen=True, eq=False)
class Text:
    """The numbers of a text, which do not depend on a tokenizer.

    Attributes:
        n_documents: documents.
        n_bytes: bytes of UTF-8.
        n_characters: code points.
        n_words: runs of characters that are not white space.
        scripts: the scripts that occur, the most frequent first.
        script_characters: int64[scripts], how many characters are of each script, without white space.
    """

    n_documents: int
    n_bytes: int
    n_characters: int
    n_words: int
    scripts: tuple[str, ...]
    script_characters: np.ndarray


@public("gputok.report")
@dataclass(frozen=True, eq=False, repr=False)
class Measures:
    """The measurements of one tokenizer on the text. Arrays over tokens are in the order of rising ids.

    Attributes:
        name: the name of the tokenizer.
        text: the text.
        tokens: the text that each token stands for, as far as its bytes are UTF-8.
        ids: int64[tokens].
        usage: int64[tokens], how often each token occurs in the text.
        lengths: int64[tokens], how many bytes of text each token stands for.
        special: bool[tokens], added tokens, which count neither as unused nor in the histograms of lengths.
        n_unknown: how often the unknown token occurs in the text.
        script_tokens: int64[scripts], tokens of the vocabulary in each script of the text.
        script_covered: int64[scripts], characters of the text that alone are encoded as one token.
        merge_counts: int64[merges], how often each merge is applied to the text; None for models that do not merge. On
            the text of the training, this is the count that each pair had when it was chosen (except for runs as in
            `aaa`, whose pairs overlap). If several merges make one token, as in files of SentencePiece, the first one
            has the count.
        encodings: the encodings of the samples.
        tokenizer: the pipeline that was measured.
    """

    name: str
    text: Text
    tokens: list[str]
    ids: np.ndarray
    usage: np.ndarray
    lengths: np.ndarray
    special: np.ndarray
    n_unknown: int
    script_tokens: np.ndarray
    script_covered: np.ndarray
    merge_counts: np.ndarray | None
    encodings: tuple[Sample, ...]
    tokenizer: Pipeline

    @property
    def n_tokens(self) -> int:
        """The number of tokens of the text."""
        return int(self.usage.sum())

    @property
    def bytes_per_token(self) -> float:
        """Compression: bytes of UTF-8 per token."""
        return self.text.n_bytes / self.n_tokens if self.n_tokens else 0.0

    @property
    def tokens_per_word(self) -> float:
        """Fertility: tokens per word, that is per run of characters that are not white space."""
        return self.n_tokens / self.text.n_words if self.text.n_words else 0.0

    @property
    def unused_share(self) -> float:
        """The share of the vocabulary, without special tokens, that does not occur in the text."""
        return float((self.usage[~self.special] == 0).mean()) if (~self.special).any() else 0.0

    @property
    def unknown_share(self) -> float:
        """The share of the tokens of the text that are the unknown token."""
        return self.n_unknown / self.n_tokens if self.n_tokens else 0.0

    def length_histogram(self) -> tuple[np.ndarray, np.ndarray]:
        """Counts tokens of 0, 1, 2, ... bytes.

        Returns:
            Tokens of the vocabulary and tokens of the text of each length, int64[longest + 1] each.
        """
        lengths, usage = self.lengths[~self.special], self.usage[~self.special]
        n = int(lengths.max(initial=0)) + 1
        of_text = np.zeros(n, np.int64)
        np.add.at(of_text, lengths, usage)
        return np.bincount(lengths, minlength=n), of_text

    def compression_curve(self) -> CompressionCurve | None:
        """Returns the tokens of the text by vocabulary size, from the size without merges; None for models that do not merge."""
        model = self.tokenizer.model
        if self.merge_counts is None or not isinstance(model, BPE):
            return None
        _, first = tokens_by_merge(model)
        undone = np.cumsum(self.merge_counts[first][::-1])[::-1]
        sizes = len(self.ids) - len(first) + np.arange(len(first) + 1)
        return CompressionCurve(sizes, self.n_tokens + np.append(undone, 0), self.text.n_bytes)

    def longest(self, n: int = 20) -> list[tuple[str, int]]:
        """Returns the `n` longest tokens with how often each occurs; tokens of equal length by falling frequency."""
        order = np.lexsort((-self.usage, -self.lengths, self.special))[: min(n, int((~self.special).sum()))]
        return [(self.tokens[i], int(self.usage[i])) for i in order.tolist()]

    def row(self) -> tuple[int, int, float, float, float, float]:
        """Returns the numbers of `COLUMNS`."""
        shares = self.unused_share, self.unknown_share
        return (len(self.ids), self.n_tokens, self.bytes_per_token, self.tokens_per_word, *shares)
