"""The trainer of BPE: the alphabet and its ids, then all merges by one kernel stage."""

from __future__ import annotations

import functools
import itertools
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from gputok.models.trainer import Trainer
from gputok.text.byte_alphabet import BYTE_CHARACTERS
from gputok.tokens.added_token import AddedToken
from gputok.tokens.vocabulary import Vocabulary, pack
from gputok.types import public

if TYPE_CHECKING:
    from gputok.text.word_counts import WordCounts


@public("gputok.trainers")
class TrainedBpe(NamedTuple):
    """What a BPE model learns."""

    vocabulary: Vocabulary  # ids are positions
    merges: np.ndarray  # uint32[m, 2], ids by rising rank; of a pair that is there twice the last rank counts
    continuing_subword_prefix: str | None = None
    end_of_word_suffix: str | None = None

    def into(self, model: Any) -> None:
        """Puts it into a model, whose other options stay as they are."""
        model.set_vocabulary(
            self.vocabulary,
            self.merges,
            continuing_subword_prefix=self.continuing_subword_prefix,
            end_of_word_suffix=self.end_of_word_suffix,
        )


@public("gputok.trainers")
@dataclass(kw_only=True, eq=False, repr=False)
class BpeTrainer(Trainer):
    """Trains a byte-pair encoding, merge for merge as `tokenizers.trainers.BpeTrainer` does.

    Args:
        min_frequency: Training ends at the first pair that occurs fewer times.
        vocab_size: The size of the final vocabulary, special tokens and alphabet included.
        show_progress: Whether to show a progress bar.
        progress_format: "indicatif" (a bar), "json" (lines of JSON on standard error) or "silent".
        special_tokens: Strings or AddedTokens that get the first ids.
        limit_alphabet: How many different characters to keep, the most frequent ones.
        initial_alphabet: Characters to keep although they may not occur; of longer strings the first one.
        continuing_subword_prefix: Written before every token that does not begin a word.
        end_of_word_suffix: Written behind every token that ends a word.
        max_token_length: No merge reaches this many initial symbols (except that two always may merge).

    Order: ids go to the special tokens, the alphabet by code point, then (with an affix) the characters with their
    affixes by falling count, then code point, then the merges. The pair with the highest count is merged
    first, among equals that of the smaller left id, then right id. Whether `limit_alphabet` drops one of two equally
    frequent characters, the larger code point goes.

    Differences from the namesake: counts have 64 bits where it wraps at 32; where its result depends on the order of
    a hash table (ids of affixed characters, ties of `limit_alphabet`), ours is fixed as said above; an unknown
    keyword is a TypeError instead of a printed line.

    >>> trainer = BpeTrainer(vocab_size=300, special_tokens=["<s>"])
    >>> trainer.vocab_size, trainer.special_tokens[0].content
    (300, '<s>')
    """

    trains: ClassVar[str] = "BPE"
    min_frequency: int = 0
    vocab_size: int = 30000
    show_progress: bool = True
    progress_format: str = "indicatif"
    special_tokens: Sequence[str | AddedToken] = field(default_factory=list)
    limit_alphabet: int | None = None
    initial_alphabet: Sequence[str] = field(default_factory=list)
    continuing_subword_prefix: str | None = None
    end_of_word_suffix: str | None = None
    max_token_length: int | None = None

    def train(
        self,
        words: WordCounts,
        *,
        threads: int | None = None,
        progress: Callable[[str, int, int], None] | None = None,
        devices: Sequence[Any] = (),
    ) -> TrainedBpe:
        """Learns the vocabulary and the merges of counted words; nothing of the trainer changes.

        threads: merging takes one, whatever is asked; counting the words is what many threads are for.
        progress: called as progress("merge", done, total) a few times a second; an exception there ends training.
        """
        from gputok.kernels import BpeLimits
        from gputok.kernels.cpu import spell_words as alphabet
        from gputok.kernels.cpu.train_bpe import train as bpe

        vocab, ids = self._alphabet(words)
        if len(words.counts) == 0:
            warnings.warn("the corpus has no words: nothing is learnt beyond the given tokens", stacklevel=2)
        elif len(vocab) > self.vocab_size:
            warnings.warn(
                f"vocab_size={self.vocab_size} is smaller than the {len(vocab)} special tokens and characters, which are"
                " all kept: no merge is learnt. Raise vocab_size, or set limit_alphabet",
                stacklevel=2,
            )

        # A vocabulary that fits 16 bits halves the memory that the merges run over
        dtype = np.uint16 if max(self.vocab_size, len(vocab)) < 0xFFFF else np.uint32
        symbols, offsets = alphabet.spell_words(
            words.data, words.offsets, ids, byte_level=words.byte_level, dtype=dtype
        )
        length = 2**62 if self.max_token_length is None else self.max_token_length
        limits = BpeLimits(
            *(min(limit, 2**62) for limit in (self.vocab_size, self.min_frequency, length)),
            (self.continuing_subword_prefix or "").encode(),
        )
        on_progress = None if progress is None else lambda done, total: progress("merge", done, total)
        if devices and not self.continuing_subword_prefix and not self.end_of_word_suffix:
            from gputok.kernels.cuda.train_bpe import train_bpe as train_on

            train_bpe = functools.partial(train_on, devices[0])  # one device is enough to merge on
        else:
            train_bpe = bpe.train_bpe
        learnt = train_bpe(symbols, offsets, words.counts, *pack([*vocab]), limits, on_progress)
        return TrainedBpe(
            Vocabulary(learnt.tokens, learnt.token_offsets),
            np.column_stack([learnt.left, learnt.right]),
            self.continuing_subword_prefix,
            self.end_of_word_suffix,
        )

    def _alphabet(
        self, words: WordCounts, others: WordCounts | None = None
    ) -> tuple[dict[str, int], np.ndarray]:
        """The tokens before any merge, and the id of each character in each role (int32[characters, roles]; -1: none).

        The characters of `others`, which are encoded in the same way, are in the alphabet, too, without any affix.
        """
        from gputok.kernels.cpu import spell_words as alphabet

        prefix, suffix = self.continuing_subword_prefix or "", self.end_of_word_suffix or ""
        vocab: dict[str, int] = {}
        for token in self.special_tokens:
            vocab.setdefault(token.content, len(vocab))
        if len(vocab) < len(self.special_tokens):
            warnings.warn("special_tokens holds a token more than once; it is one token", stacklevel=3)

        if (
            words.byte_level
            and not (prefix or suffix)
            and self.limit_alphabet is None
            and set(BYTE_CHARACTERS) <= set(self.initial_alphabet)
        ):
            totals = np.ones((256, 1), np.int64)  # all are kept, whatever there is
        else:
            totals = alphabet.count_characters(
                words.data,
                words.offsets,
                words.counts,
                byte_level=words.byte_level,
                n_roles=4 if prefix or suffix else 1,
            )
        seen = totals.sum(axis=1)
        if others is not None:
            other = alphabet.count_characters(
                others.data, others.offsets, others.counts, byte_level=others.byte_level, n_roles=1
            )
            n_rows = max(len(totals), len(other))
            seen = np.pad(seen, (0, n_rows - len(seen))) + np.pad(other[:, 0], (0, n_rows - len(other)))
            totals = np.pad(totals, ((0, n_rows - len(totals)), (0, 0)))
        rows = np.flatnonzero(seen).tolist()
        characters = [BYTE_CHARACTERS[row] if words.byte_level else chr(row) for row in rows]
        counts = dict(zip(characters, seen[rows].tolist(), strict=True))
        # The namesake counts characters of the initial alphabet as the most frequent ones
        counts.update(dict.fromkeys(self.initial_alphabet, 2**64))
        ranked = sorted(counts, key=lambda c: (-counts[c], c))
        for c in sorted(ranked[: self.limit_alphabet]):
            vocab.setdefault(c, len(vocab))

        def spelt(c: str, role: int) -> str:
            return (prefix if role & 1 else "") + c + (suffix if role & 2 else "")

        kept = [(row, c) for row, c in zip(rows, characters, strict=True) if c in vocab]
        affixed: dict[str, int] = {}
        for (row, c), role in itertools.product(kept, range(totals.shape[1])):
            if totals[row, role]:
                affixed[spelt(c, role)] = affixed.get(spelt(c, role), 0) + int(totals[row, role])
        for name in self._affixed_order(affixed):
            vocab.setdefault(name, len(vocab))

        ids = np.full(totals.shape, -1, np.int32)
        for (row, c), role in itertools.product(kept, range(totals.shape[1])):
            ids[row, role] = vocab.get(spelt(c, role), -1)
        return vocab, ids

    def _affixed_order(self, counts: dict[str, int]) -> list[str]:
        """Characters with their affixes in the order of their ids."""
        return sorted(counts, key=lambda name: (-counts[name], name))
