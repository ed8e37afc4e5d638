"""The trainer of BPE: it gives ids to the alphabet, and then one kernel finds all merges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from gputok.checks import field, optional, string, switch, warn
from gputok.kernels import BpeLimits
from gputok.kernels.threads import PLACES_PER_THREAD, thread_count
from gputok.lazy import public
from gputok.models.trainer import How, Trainer, characters, contents, count, progress_word, specials
from gputok.text.byte_alphabet import BYTE_CHARACTERS
from gputok.tokens.vocabulary import Vocabulary, pack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from gputok.counts.word_counts import WordCounts
    from gputok.kernels import BpeMerges
    from gputok.tokens.added_token import AddedToken
    from gputok.types import Counts, Ids, Positions, Positions32


_WORDS_AT_ONCE = 1 << 20  # words that are spelled as symbols at a time, for the kernel, which keeps its own copy


@public("gputok.trainers")
class TrainedBpe(NamedTuple):
    """The part of a BPE model that a trainer learns.

    Attributes:
        vocabulary: the tokens; the id of a token is its position.
        merges: uint32[m, 2], the ids of the tokens of each merge, by rising rank; of a pair, the last rank counts.
        continuing_subword_prefix: the prefix of tokens that don't begin a word, or None.
        end_of_word_suffix: the suffix of tokens that end a word, or None.
        made: uint32[m], the ids of the tokens that the merges form; None: `into` looks them up.
    """

    vocabulary: Vocabulary
    merges: Ids
    continuing_subword_prefix: str | None = None
    end_of_word_suffix: str | None = None
    made: Ids | None = None

    def into(self, model: Any) -> None:
        """Writes this part into a BPE model; the other options of the model stay as they are."""
        model.set_vocabulary(
            self.vocabulary,
            self.merges,
            self.made,
            continuing_subword_prefix=self.continuing_subword_prefix,
            end_of_word_suffix=self.end_of_word_suffix,
        )


class BpeTrainer(Trainer):
    """Trains a byte-pair encoding (BPE), with the same merges as `tokenizers.trainers.BpeTrainer`.

    Ids are given in this order: the special tokens; the alphabet by code point; the characters with prefix or suffix,
    if there are any, by falling count, then by code point; the merged tokens in the order of the merges. The most
    frequent pair is merged first; among equally frequent pairs, the pair with the smaller left id, then the smaller
    right id. Of equally frequent characters, `limit_alphabet` keeps the smaller code points.

    Differences from `tokenizers`: counts have 64 bits, where `tokenizers` has 32 and wraps around. Where a result of
    `tokenizers` depends on the order of a hash table (ids of characters with prefix or suffix, `limit_alphabet`), the
    order is the one above. An unknown option raises a TypeError; `tokenizers` prints a line.

    Args:
        min_frequency: training ends when the most frequent pair occurs fewer times than this.
        vocab_size: the size of the final vocabulary, with special tokens and alphabet.
        show_progress: shows a progress bar.
        progress_format: "indicatif" (a bar), "json" (lines of JSON on standard error) or "silent".
        special_tokens: strings or AddedTokens that get the first ids.
        limit_alphabet: how many different characters to keep, the most frequent of them; None: all.
        initial_alphabet: characters to keep even if they don't occur; of a longer string, the first character.
        continuing_subword_prefix: written before every token that does not begin a word.
        end_of_word_suffix: written after every token that ends a word.
        max_token_length: merged tokens have fewer initial symbols than this; but two symbols are always merged.

    Raises:
        TypeError: if an option has a value of a wrong type, or is unknown.
        ValueError: if an option has a value that is not allowed.

    Example:
        >>> trainer = BpeTrainer(vocab_size=300, special_tokens=["<s>"])
        >>> trainer.vocab_size, trainer.special_tokens[0].content
        (300, '<s>')
    """

    trains: ClassVar[str] = "BPE"
    min_frequency: int = field(count, default=0)
    vocab_size: int = field(count, default=30000)
    show_progress: bool = field(switch, default=True)
    progress_format: str = field(progress_word, default="indicatif")
    special_tokens: Sequence[str | AddedToken] = field(specials, default_factory=list)
    limit_alphabet: int | None = field(optional(count), default=None)
    initial_alphabet: Sequence[str] = field(characters, default_factory=list)
    continuing_subword_prefix: str | None = field(optional(string), default=None)
    end_of_word_suffix: str | None = field(optional(string), default=None)
    max_token_length: int | None = field(optional(count), default=None)

    def learn(self, words: WordCounts, how: How) -> TrainedBpe:
        words.check_symbols()
        vocab, ids = self._alphabet(words)
        if len(words.counts) == 0:
            nothing = "the corpus has no words: the vocabulary has only special tokens and the initial alphabet"
            warn(nothing)
        elif len(vocab) > self.vocab_size:
            warn(
                f"vocab_size={self.vocab_size} is smaller than the {len(vocab)} special tokens and characters, which "
                "are all kept, so no merge is learned: raise vocab_size, or set limit_alphabet",
            )
        # 16 bits halve the memory traffic
        dtype = np.uint16 if max(self.vocab_size, len(vocab)) < 0xFFFF else np.uint32
        limits = BpeLimits(
            min(self.vocab_size, 2**62),
            words.threshold(self.min_frequency),
            2**62 if self.max_token_length is None else min(self.max_token_length, 2**62),
            (self.continuing_subword_prefix or "").encode(),
        )
        # Training asks for the parts twice or more. Few words of text are spelled once; others, and bytes, each time
        kept = [spelled(words, ids, dtype)] if len(words) <= _WORDS_AT_ONCE and not words.byte_level else []

        def parts() -> Iterable[tuple[Any, ...]]:
            return kept or (spelled(part, ids, dtype) for part in words.slices(_WORDS_AT_ONCE))

        progress = how.progress
        on_progress = None if progress is None else lambda done, total: progress("merge", done, total)
        others = *pack([*vocab]), limits, on_progress
        devices = () if self.why_not_on_device() else how.devices
        learned = learned_merges(parts, lambda: spelled(words, ids, dtype), others, devices, how.threads)
        return TrainedBpe(
            Vocabulary(learned.tokens, learned.token_offsets),
            np.column_stack([learned.left, learned.right]),
            self.continuing_subword_prefix,
            self.end_of_word_suffix,
            learned.merged,
        )

    def why_not_on_device(self) -> str:
        if self.continuing_subword_prefix or self.end_of_word_suffix:
            return "tokens have a prefix or a suffix"
        return ""

    def memory_needed(self, n_words: int, n_bytes: int, threads: int = 1) -> int:
        """About how many bytes of memory training takes; each thread beyond the first needs memory of its own.

        Example:
            >>> BpeTrainer().memory_needed(n_words=1_000_000, n_bytes=18_000_000)  # of such words, 139 MB were measured
            152000000
        """
        slots = n_words + n_bytes  # a symbol a byte, and the end of each word
        symbol = 2 if self.vocab_size < 0xFFFF else 4
        # Besides its symbol, a slot takes 6 bytes: a list entry of four, a quarter more of these, a byte of weight
        # Measured on 25 million slots and a vocabulary of 32,000: 218 MB, and 20 to 50 MB for each further thread
        more = min(threads, slots // PLACES_PER_THREAD) - 1
        return slots * (symbol + 6) + max(0, more) * min(800 * self.vocab_size, slots)

    def _alphabet(self, words: WordCounts, others: WordCounts | None = None) -> tuple[dict[str, int], Positions32]:
        """Returns the tokens that exist before the first merge, and the ids of characters.

        The ids are int32[characters, roles]; -1: none. A role is 1 if the character does not begin its word, plus 2 if
        it ends its word; without prefix and suffix, 0 is the only role. The characters of `others`, which has the same
        `byte_level` as `words`, join the alphabet without prefix and suffix.
        """
        vocab: dict[str, int] = {}
        for content in contents(self.special_tokens):
            vocab.setdefault(content, len(vocab))
        if len(vocab) < len(self.special_tokens):
            warn("special_tokens contains a token more than once; it gets one id")

        totals, seen = self._count_characters(words, others)
        rows = np.flatnonzero(seen).tolist()
        characters = [BYTE_CHARACTERS[row] if words.byte_level else chr(row) for row in rows]
        counts = dict(zip(characters, seen[rows].tolist(), strict=True))
        # As in tokenizers, no character is more frequent than those of the initial alphabet
        counts.update(dict.fromkeys(self.initial_alphabet, 2**64))
        ranked = sorted(counts, key=lambda c: (-counts[c], c))
        for c in sorted(ranked[: self.limit_alphabet]):
            vocab.setdefault(c, len(vocab))

        kept = [(row, c) for row, c in zip(rows, characters, strict=True) if c in vocab]
        at = [row for row, _ in kept]
        prefix, suffix = self.continuing_subword_prefix or "", self.end_of_word_suffix or ""
        affixes = [(prefix * (role & 1), suffix * (role >> 1)) for role in range(totals.shape[1])]
        names = [[before + c + after for _, c in kept] for before, after in affixes]
        affixed: dict[str, int] = {}
        for role, of_role in enumerate(names):
            for name, total in zip(of_role, totals[at, role].tolist(), strict=True):
                if total:
                    affixed[name] = affixed.get(name, 0) + total
        for name in self._affixed_order(affixed):
            vocab.setdefault(name, len(vocab))

        ids = np.full(totals.shape, -1, np.int32)
        for role, of_role in enumerate(names):
            ids[at, role] = [vocab.get(name, -1) for name in of_role]
        return vocab, ids

    def _count_characters(self, words: WordCounts, others: WordCounts | None) -> tuple[Counts, Counts]:
        """Counts each character: in `words`, by its role; and in `words` and `others` together.

        Returns int64[characters, roles] and int64[characters]. A character's role says whether it begins and whether it
        ends its word; without affixes there is one role.
        """
        from gputok.kernels.cpu.spell_words import count_characters

        def count(some: WordCounts, n_roles: int) -> Counts:
            return count_characters(some.data, some.offsets, some.counts, byte_level=some.byte_level, n_roles=n_roles)

        has_affixes = bool(self.continuing_subword_prefix or self.end_of_word_suffix)
        keeps_all = self.limit_alphabet is None and set(BYTE_CHARACTERS) <= set(self.initial_alphabet)
        if words.byte_level and keeps_all and not has_affixes:
            totals = np.ones((256, 1), np.int64)  # the alphabet has all bytes, so counts decide nothing
        else:
            totals = count(words, 4 if has_affixes else 1)
        seen: Counts = np.asarray(sum(totals.T))  # NumPy's sum of rows of four takes ten times as long
        if others is None:
            return totals, seen
        other = count(others, 1)[:, 0]
        n = max(len(totals), len(other))
        seen = np.pad(seen, (0, n - len(seen))) + np.pad(other, (0, n - len(other)))
        return np.pad(totals, ((0, n - len(totals)), (0, 0))), seen

    def _affixed_order(self, counts: dict[str, int]) -> list[str]:
        """Returns the characters with prefix or suffix in the order of their ids; counts: how often each occurs."""
        return sorted(counts, key=lambda name: (-counts[name], name))


def learned_merges(
    parts: Callable[[], Iterable[tuple[Any, ...]]],
    whole: Callable[[], tuple[Any, ...]],
    others: tuple[Any, ...],
    devices: Sequence[Any],
    threads: int | None,
) -> BpeMerges:
    """Learns merges: on the first of `devices`, from all words at once; without devices by threads, from parts.

    parts, others: arguments of `kernels.cpu.train_bpe.train_bpe_of_parts`; whole: makes all words, as `spelled` does.
    """
    if devices:
        from gputok.kernels.cuda.train_bpe import train_bpe

        return train_bpe(devices[0], *whole(), *others)
    from gputok.kernels.cpu.train_bpe import train_bpe_of_parts

    return train_bpe_of_parts(parts, *others, threads=thread_count(threads))


def spelled(words: WordCounts, ids: Positions32, dtype: type[Any]) -> tuple[Any, Positions, Counts]:
    """Returns words as symbols, dtype[m], without characters that lack an id (see `_alphabet`), offsets and counts."""
    from gputok.kernels.cpu.spell_words import spell_words

    symbols, offsets = spell_words(words.data, words.offsets, ids, byte_level=words.byte_level, dtype=dtype)
    return symbols, offsets, words.counts
