"""The trainer of parity-aware BPE, which distributes merges among languages so that all are compressed well."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gputok.checks import choice, field, optional, string, switch, warn
from gputok.counts.word_counts import WordCounts
from gputok.kernels import ParityLimits
from gputok.kernels.cpu import train_parity_bpe as parity_bpe
from gputok.lazy import public
from gputok.models import BPE
from gputok.models.bpe.trainer import BpeTrainer, TrainedBpe, spelled
from gputok.models.trainer import CheckedOptions, characters, contents, count, ratios, real, specials
from gputok.progress import Progress, reporting
from gputok.text.pieces import joined_offsets
from gputok.tokens.added_token import AddedToken
from gputok.tokens.vocabulary import Vocabulary, pack
from gputok.types import Counts, Device, Ids, Positions, Positions32

_OF_ALPHABET = "special_tokens limit_alphabet initial_alphabet continuing_subword_prefix end_of_word_suffix".split()


@public("gputok.trainers")
@dataclass(eq=False, repr=False)
class ParityBpeTrainer(CheckedOptions):
    """Trains a BPE that treats languages alike, with the same merges as `tokenizers.trainers.ParityBpeTrainer`.

    Each step chooses the language that is compressed worst at that moment, takes its most frequent pair, and merges the
    pair in all languages (Foroutan et al., "Parity-Aware Byte-Pair Encoding", 2025, arXiv:2508.04796). The language
    that is compressed worst is the one with the most tokens in its development text (these texts should be translations
    of each other); without development texts, the one with the lowest compression relative to its `ratio`; without
    ratios as well, the one with the most tokens in its training text.

    Among equally frequent pairs, the pair whose strings come last by code point is merged first. A language that has no
    pair left is not chosen again. Ids are given in the order that `BpeTrainer` describes.

    Differences from `tokenizers`: if a result of `tokenizers` depends on the order of a hash table, the order is fixed
    here, as in `BpeTrainer`. If two merges make the same string, and two development words become equal by that,
    `tokenizers` forgets how often one of them occurs. `tokenizers` never returns if `ratio` is given and a language has
    no text, and sometimes if variant "window" makes the only language that still has pairs wait; here the language
    without text is never chosen, and the only language left goes on.

    Args:
        num_merges: how many merges to learn.
        variant: "base", or "window": a language waits if it has over alpha / n_languages of the last window_size steps.
        min_frequency: a pair that occurs fewer times in its language is not merged.
        ratio: for each language, the compression to aim at; only their proportions matter.
        global_merges: the number of merges at the start that take the most frequent pairs of all languages together.
        window_size: see `variant`.
        alpha: see `variant`.
        total_symbols: True: num_merges includes the special tokens and characters.
        special_tokens: strings or AddedTokens that get the first ids.
        show_progress: shows a progress bar.
        limit_alphabet: how many different characters to keep, the most frequent of them; None: all.
        initial_alphabet: single characters to keep even if they don't occur.
        continuing_subword_prefix: written before every token that does not begin a word.
        end_of_word_suffix: written after every token that ends a word.
        max_token_length: merged tokens have fewer initial symbols than this; but two symbols are always merged.

    Raises:
        TypeError: if an option has a value of a wrong type, or is unknown.
        ValueError: if an option has a value that is not allowed.

    Example:
        >>> from gputok import Tokenizer, models
        >>> tokenizer = Tokenizer(models.BPE())
        >>> ParityBpeTrainer(num_merges=2).train_from_iterator(tokenizer, [["hello"] * 9, ["bye"]], ratio=[1, 1])
        >>> sorted(tokenizer.get_vocab(), key=len)[-2:]
        ['lo', 'ye']
    """

    num_merges: int = field(count, default=32000)
    variant: str = field(choice("base", "window"), default="base")
    min_frequency: int = field(count, default=0)
    ratio: Sequence[float] | None = field(optional(ratios), default=None)
    global_merges: int = field(count, default=0)
    window_size: int = field(count, default=100)
    alpha: float = field(real, default=2.0)
    total_symbols: bool = field(switch, default=False)
    special_tokens: Sequence[str | AddedToken] | None = field(
        lambda value: specials([] if value is None else value), default=None
    )
    show_progress: bool = field(switch, default=True)
    limit_alphabet: int | None = field(optional(count), default=None)
    initial_alphabet: Sequence[str] | None = field(
        lambda value: characters(() if value is None else value), default=None
    )
    continuing_subword_prefix: str | None = field(optional(string), default=None)
    end_of_word_suffix: str | None = field(optional(string), default=None)
    max_token_length: int | None = field(optional(count), default=None)

    def train_from_iterator(
        self,
        tokenizer: Any,
        train_iterators: Sequence[Iterable[Any]],
        dev_iterators: Sequence[Iterable[Any]] | None = None,
        ratio: Sequence[float] | None = None,
        *,
        threads: int | None = None,
        device: Device | None = None,
        progress: Progress = None,
    ) -> None:
        """Trains a new BPE model and replaces the model of a tokenizer by it.

        Args:
            tokenizer: its normalizer and pre-tokenizer cut the texts into words; its added tokens are not looked for.
            train_iterators: for each language, its training texts, as in `Tokenizer.train_from_iterator`.
            dev_iterators: for each language, in the same order, its development texts.
            ratio: used instead of the option `ratio`. With dev_iterators, neither is used.
            threads: how many threads count the words; None: all cores.
            device: what counts the words (`gputok.backend`); merges are found on the CPU.
            progress: None: bars if stderr is a terminal or notebook; see `gputok.progress`.

        Raises:
            ValueError: if the numbers of languages differ, or a number is not allowed.
        """
        if progress is None and not self.show_progress:
            progress = False

        def count(iterators: Sequence[Iterable[Any]]) -> list[WordCounts]:
            return [tokenizer.count_without_added(texts, device, threads, progress) for texts in iterators]

        self._check_languages(train_iterators, dev_iterators, ratio)
        train = count(train_iterators)
        dev = None if dev_iterators is None else count(dev_iterators)
        with reporting(progress) as report:
            learned = self.train(train, dev, ratio, progress=report)
        model = BPE()
        learned.into(model)
        tokenizer.replace_model(model, self.special_tokens)

    def train(
        self,
        train: Sequence[WordCounts],
        dev: Sequence[WordCounts] | None = None,
        ratio: Sequence[float] | None = None,
        *,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> TrainedBpe:
        """Learns the vocabulary and the merges from counted words; the trainer itself does not change.

        Args:
            train: for each language, the words of its training text, and how often each occurs.
            dev: for each language, in the same order, the words of its development text.
            ratio: used instead of the option `ratio`. With `dev`, neither is used.
            progress: called as progress("merge", done, total) a few times a second; an exception ends the training.

        Returns:
            What was learned; `into(model)` writes it into a BPE model.

        Raises:
            ValueError: if the numbers of languages differ, a number is not allowed, or text has over 2**63 - 1 bytes.
        """
        self._check_languages(train, dev, ratio)
        if dev is not None:
            ratio = None
        elif ratio is None:
            ratio = self.ratio
        n, texts = len(train), [*train, *(dev or ())]
        if not all(words.byte_level or len(words) == 0 for words in texts):
            texts = [words.spelled_out() for words in texts]
        everything = WordCounts.merge(texts[:n])
        for words in (everything, *texts[n:]):
            words.check_symbols()
        if len(everything) == 0:
            nothing = "the corpora have no words: the vocabulary has only special tokens and the initial alphabet"
            warn(nothing)
        options = {name: getattr(self, name) for name in _OF_ALPHABET}
        vocab, ids = BpeTrainer(**options)._alphabet(everything, WordCounts.merge(texts[n:]))
        of_train = [spelled(words, ids, np.uint32) for words in texts[:n]]
        parts = [*of_train, *(_known_symbols(words, ids, len(vocab)) for words in texts[n:])]
        symbols, offsets, counts = zip(*parts, strict=True)
        limits = ParityLimits(
            n,
            min(max(0, self.num_merges - len(vocab) * self.total_symbols), 2**62),
            everything.threshold(self.min_frequency),
            2**62 if self.max_token_length is None else min(self.max_token_length, 2**62),
            (self.continuing_subword_prefix or "").encode(),
            min(self.global_merges, 2**62),
            dev is not None,
            tuple(ratio or ()),
            self.window_size if self.variant == "window" else 0,
            self.alpha / n,
        )
        learned = parity_bpe.train_parity_bpe(
            np.concatenate(symbols),
            joined_offsets(offsets),
            np.concatenate(counts),
            np.repeat(np.arange(len(counts)), [*map(len, counts)]),
            *pack([*vocab]),
            limits,
            None if progress is None else lambda done, total: progress("merge", done, total),
        )
        return TrainedBpe(
            Vocabulary(learned.tokens, learned.token_offsets),
            np.column_stack([learned.left, learned.right]),
            self.continuing_subword_prefix,
            self.end_of_word_suffix,
        )

    def _check_languages(self, train: Sequence[Any], dev: Sequence[Any] | None, ratio: Sequence[float] | None) -> None:
        """Raises ValueError if the numbers of languages differ, or a number is not allowed."""
        n = len(train)
        if n == 0:
            raise ValueError("expected at least one language to train on, got none")
        if dev is not None and len(dev) != n:
            raise ValueError(f"{n} languages to train on, but {len(dev)} development texts: give one for each language")
        ratio = self.ratio if ratio is None else ratio
        if dev is None and ratio is not None:
            if len(ratio) != n:
                raise ValueError(f"{n} languages to train on, but {len(ratio)} ratios: give one for each language")
            if wrong := [value for value in ratio if not 0 < value < math.inf]:
                raise ValueError(f"ratio must contain positive finite numbers, not {wrong[0]!r}")
        if self.variant == "window" and self.window_size == 0:
            raise ValueError("window_size must be at least 1 if variant is 'window', not 0")
        if self.variant == "window" and not 0 < self.alpha < math.inf:
            raise ValueError(f"alpha must be positive and finite if variant is 'window', not {self.alpha!r}")

    def __repr__(self) -> str:
        alpha = np.format_float_positional(self.alpha, trim="-").replace("nan", "NaN")
        return (
            f'ParityBpeTrainer(num_merges={self.num_merges}, variant="{self.variant}", '
            f"min_frequency={self.min_frequency}, global_merges={self.global_merges}, "
            f"window_size={self.window_size}, alpha={alpha}, total_symbols={str(self.total_symbols).lower()})"
        )

    def __getstate__(self) -> dict[str, Any]:
        state = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return state | {"special_tokens": contents(self.special_tokens or [])}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)


def _known_symbols(words: WordCounts, ids: Positions32, unknown: int) -> tuple[Ids, Positions, Counts]:
    """Like `spelled`, but drops each word with a character that lacks an id; unknown: a number that is no id."""
    symbols, offsets, counts = spelled(words, np.where(ids < 0, np.int32(unknown), ids), np.uint32)
    sizes = np.diff(offsets)
    before = np.concatenate([[0], np.cumsum(symbols == unknown)])[offsets]
    known = before[1:] == before[:-1]
    ends = np.concatenate([[0], np.cumsum(sizes[known])])
    return symbols[np.repeat(known, sizes)], ends, counts[known]
