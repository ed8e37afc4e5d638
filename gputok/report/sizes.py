"""What a tokenizer of each vocabulary size makes of a text: one training and one encoding give all sizes.

BPE with its first merges alone is a smaller tokenizer, the same that a training with that size gives. A merge that is
taken back turns each of its tokens into the two tokens before, so the tokens of all smaller sizes follow from those of
the largest: exactly, and without another encoding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from gputok.counts.word_counts import WordCounts
from gputok.lazy import public
from gputok.models.bpe.model import BPE
from gputok.models.bpe.prune import plain, splits
from gputok.pipeline.pipeline import Pipeline
from gputok.report.figures import CompressionCurve, aligned, compression_by_size, tokens_by_merge
from gputok.report.groups import evenness
from gputok.types import Counts

COLUMNS = ("tokens", "bytes/token", "tokens/pre-token", "one token", "Rényi", "unused", "unreachable")


@public("gputok.report")
class SizeMeasures(NamedTuple):
    """What a vocabulary of one size makes of one text.

    Attributes:
        vocab_size: the size, special tokens included.
        text: the name of the text.
        n_tokens: the tokens of the text.
        bytes_per_token: compression.
        tokens_per_pre_token: a pre-token is a piece that the pre-tokenizer cuts; a word between white space
            (`Measures.tokens_per_word`) can be several of them.
        one_token: the share of pre-tokens that are one token.
        renyi: the Rényi efficiency with power 2.5 (Zouhar et al. 2023): the entropy of the tokens of the text, divided
            by that of an even distribution over the tokens that occur.
        unused: tokens of the model that the text lacks. Neither this number nor the next counts added tokens.
        unreachable: tokens of the model that no merges lead to, of any text.
    """

    vocab_size: int
    text: str
    n_tokens: int
    bytes_per_token: float
    tokens_per_pre_token: float
    one_token: float
    renyi: float
    unused: int
    unreachable: int


@public("gputok.report")
@dataclass(frozen=True, eq=False, repr=False)
class Sizes:
    """Measures by vocabulary size and text.

    Attributes:
        rows: the measures, by size, then by text.
        parity: size -> tokens a byte of the text with most, divided by those of the text with fewest; 1 is even.
        gini: size -> the Gini coefficient of the tokens a byte of all texts; 0 is even.
        curves: text -> its CompressionCurve.
    """

    rows: tuple[SizeMeasures, ...]
    parity: dict[int, float]
    gini: dict[int, float]
    curves: dict[str, CompressionCurve]

    def table(self) -> list[tuple[str, ...]]:
        """Returns a row of headings and a row of formatted numbers for each size and text."""
        styles = "{:,} {:.3f} {:.3f} {:.1%} {:.3f} {:,} {:,}"
        rows = [(f"{row.vocab_size:,}", row.text, *styles.format(*row[2:]).split()) for row in self.rows]
        return [("size", "text", *COLUMNS), *rows]

    def to_dict(self) -> dict[str, Any]:
        """Returns the numbers for JSON."""
        return {"sizes": [row._asdict() for row in self.rows], "parity": self.parity, "gini": self.gini}

    def figure(self) -> Any:
        """Draws bytes a token by vocabulary size for each text; needs matplotlib (`pip install 'gputok[plot]'`)."""
        return compression_by_size(self.curves)

    def __str__(self) -> str:
        lines = aligned(self.table(), (1,))
        lines += [f"{size:,}: parity {self.parity[size]:.3f}, Gini {self.gini[size]:.3f}" for size in self.parity]
        return "\n".join(lines)


def measure_sizes(
    pipeline: Pipeline, vocab_sizes: Sequence[int], texts: Mapping[str, WordCounts], sources: Sequence[str] = ()
) -> Sizes:
    """Measures a BPE tokenizer at several sizes.

    pipeline: the parts of the tokenizer, trained with the largest size; texts: name -> the counted words of a text;
    sources: the names of the texts that parity and Gini compare. Raises ValueError if the model is not BPE, or a size
    is larger than the tokenizer, or smaller than it is without merges.

    >>> from gputok import Tokenizer, WordCounts, models
    >>> tokenizer = Tokenizer(models.BPE({"a": 0, "b": 1, "ab": 2, "abb": 3}, [("a", "b"), ("ab", "b")]))
    >>> text = WordCounts.from_dict({"abb": 3, "ba": 1})
    >>> print(measure_sizes(tokenizer.pipeline, [2, 3, 4], {"text": text}))
    size  text  tokens  bytes/token  tokens/pre-token  one token  Rényi  unused  unreachable
       2  text      11        1.000             2.750       0.0%  0.875       0            0
       3  text       8        1.375             2.000       0.0%  0.798       0            0
       4  text       5        2.200             1.250      75.0%  0.702       1            0
    """
    if not isinstance(pipeline.model, BPE):
        raise ValueError(f"sizes need a BPE model, whose merges have an order, not {type(pipeline.model).__name__}")
    pipeline.model.vocabulary.require_own_ids("sizes")
    model = plain(pipeline.model)
    # parts[token]: the two tokens that the last merge to this token joins; order: tokens in the order of their merges
    parts, (order, _) = splits(model), tokens_by_merge(model)
    n_fixed = pipeline.get_vocab_size() - len(order)
    most = n_fixed + len(order)
    if wrong := [size for size in vocab_sizes if not n_fixed <= size <= most]:
        raise ValueError(f"{wrong[0]:,} is not a size from {n_fixed:,} (without merges) to {most:,}")
    learned = ~np.isin(model.vocabulary.ids, np.array([*pipeline.added.tokens], np.int64))
    reached, unmerged = parts[:, 0] >= 0, np.ones(len(model.vocabulary), bool)
    unmerged[order] = False
    rows: dict[int, list[SizeMeasures]] = {size: [] for size in vocab_sizes}
    curves: dict[str, CompressionCurve] = {}
    for name, words in texts.items():
        usage, single = _usage(model, words)
        n_bytes, n_words = words.n_bytes_of_text(), words.n_occurrences()
        n_tokens, stays = [int(usage.sum())], int(single.sum())
        for k in range(len(order), -1, -1):
            if (size := n_fixed + k) in rows:
                there = unmerged.copy()
                there[order[:k]] = True
                there &= learned
                missing = (int(np.count_nonzero(there & are)) for are in (usage == 0, ~reached))
                n, words_of_one = n_tokens[-1], stays / max(n_words, 1)
                rates = n_bytes / max(n, 1), n / max(n_words, 1), words_of_one, renyi_efficiency(usage)
                rows[size].append(SizeMeasures(size, name, n, *rates, *missing))
            if k:
                token = order[k - 1]
                count, usage[token] = int(usage[token]), 0
                np.add.at(usage, parts[token], count)
                n_tokens.append(n_tokens[-1] + count)
                stays -= int(single[token])
        curves[name] = CompressionCurve(n_fixed + np.arange(len(order) + 1), np.array(n_tokens[::-1]), n_bytes)
    parity: dict[int, float] = {}
    gini: dict[int, float] = {}
    for size, found in sorted(rows.items()):
        costs = [1 / row.bytes_per_token for row in found if row.text in sources and row.bytes_per_token]
        if len(costs) > 1:
            parity[size], gini[size] = evenness(costs)
    return Sizes(tuple(row for size in sorted(rows) for row in rows[size]), parity, gini, curves)


def renyi_efficiency(usage: Counts, power: float = 2.5) -> float:
    """Computes the Rényi efficiency of tokens (Zouhar et al. 2023) as their package `tokenization-scorer` does.

    This is the entropy of the order `power`, divided by the logarithm of the number of tokens that occur; 0 for fewer
    than two.

    >>> round(renyi_efficiency(np.array([1, 1, 0, 1])), 6), round(renyi_efficiency(np.array([8, 1, 1])), 3)
    (1.0, 0.332)
    """
    found = usage[usage > 0]
    if len(found) < 2:
        return 0.0
    share = found / found.sum()
    return float(np.log2(np.sum(share**power)) / (1 - power) / np.log2(len(found)))


def _usage(model: BPE, words: WordCounts) -> tuple[Counts, Counts]:
    """Returns how often each token occurs in a text, and how often it is a whole word: int64[n] each."""
    usage, single = np.zeros((2, len(model.vocabulary)), np.int64)
    for some in words.slices(1 << 18):
        ids, rows = model.encode_words(some.data, some.offsets[:-1], some.offsets[1:], byte_level=some.byte_level)
        tokens, lengths = model.vocabulary.positions(ids.astype(np.int64)), np.diff(rows)
        np.add.at(usage, tokens, np.repeat(some.counts, lengths))
        alone = lengths == 1
        np.add.at(single, tokens[rows[:-1][alone]], some.counts[alone])
    return usage, single
