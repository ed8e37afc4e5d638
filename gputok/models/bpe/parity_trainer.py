"""The trainer of parity-aware BPE: merges are shared out between languages, so that none is left behind."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from gputok.models import BPE
from gputok.models.bpe.trainer import BpeTrainer, TrainedBpe
from gputok.models.trainer import Options
from gputok.tokens.added_token import AddedToken
from gputok.tokens.vocabulary import Vocabulary, pack
from gputok.types import public

if TYPE_CHECKING:
    from gputok.progress import Progress
    from gputok.text.word_counts import WordCounts


@public("gputok.trainers")
@dataclass(eq=False, repr=False)
class ParityBpeTrainer(Options):
    """Trains a BPE that treats languages alike, merge for merge as `tokenizers.trainers.ParityBpeTrainer` does.

    Each merge is the most frequent pair of the language that is worst off at that moment, and is applied to all of
    them (Foroutan et al., "Parity-Aware Byte-Pair Encoding", 2025, arXiv:2508.04796). Worst off is the language with
    the most tokens in its development text, which should say the same in each; without such texts that with
    the lowest compression for its `ratio`; without either that with the most tokens in its training text.

    Args:
        num_merges: How many merges to learn.
        variant: "base", or "window": a language waits while it has been chosen in more than alpha / languages of the last
            `window_size` steps.
        min_frequency: A pair that occurs fewer times in its language is not merged.
        ratio: The compression to aim at, for each language; only their relation matters.
        global_merges: So many merges at first are the most frequent pairs of all languages together.
        window_size, alpha: See `variant`.
        total_symbols: Whether num_merges counts the special tokens and characters, too.
        special_tokens: Strings or AddedTokens that get the first ids.
        show_progress: Whether to show a progress bar.
        limit_alphabet, initial_alphabet, continuing_subword_prefix, end_of_word_suffix, max_token_length: As in
            `BpeTrainer`, which also says in which order ids are given; initial_alphabet takes single characters.

    Among pairs of equal count that whose strings are last, by code points, is merged first. A language that has no
    pair left is not chosen again.

    Differences from the namesake: what depends there on the order of a hash table is fixed here, as in `BpeTrainer`.
    Where two merges spell one string and that makes two development words equal, the namesake forgets how often one
    of them occurs. It never returns where `ratio` is given and a language has no text, nor sometimes where "window"
    has the only language that still has pairs wait; here the former language is passed over, the latter goes on.

    >>> from gputok import Tokenizer, models
    >>> tokenizer = Tokenizer(models.BPE())
    >>> ParityBpeTrainer(num_merges=2).train_from_iterator(tokenizer, [["hello"] * 9, ["bye"]], ratio=[1, 1])
    >>> sorted(tokenizer.get_vocab(), key=len)[-2:]
    ['lo', 'ye']
    """

    num_merges: int = 32000
    variant: str = "base"
    min_frequency: int = 0
    ratio: Sequence[float] | None = None
    global_merges: int = 0
    window_size: int = 100
    alpha: float = 2.0
    total_symbols: bool = False
    special_tokens: Sequence[str | AddedToken] | None = None
    show_progress: bool = True
    limit_alphabet: int | None = None
    initial_alphabet: Sequence[str] | None = None
    continuing_subword_prefix: str | None = None
    end_of_word_suffix: str | None = None
    max_token_length: int | None = None

    def train_from_iterator(
        self,
        tokenizer: Any,
        train_iterators: Sequence[Iterable[Any]],
        dev_iterators: Sequence[Iterable[Any]] | None = None,
        ratio: Sequence[float] | None = None,
        *,
        threads: int | None = None,
        device: str | None = None,
        progress: Progress = None,
    ) -> None:
        """Gives a tokenizer a new BPE model, trained on one iterable of texts for each language.

        tokenizer: its normalizer and pre-tokenizer cut the texts into words; its added tokens do not.
        train_iterators, dev_iterators: each as in `Tokenizer.train_from_iterator`, in the same order of languages.
        ratio: instead of the trainer's own; with dev_iterators neither counts.
        threads, device: that count words (`gputok.backend`); merges are found on the CPU. progress: None shows bars where somebody watches; see `gputok.progress`.

        Raises ValueError for lists of different lengths, or numbers that can't be used.
        """
        from gputok import corpus
        from gputok.progress import reporting

        if progress is None and not self.show_progress:
            progress = False
        counter = tokenizer.pipeline.without_added()

        def count(iterators: Sequence[Iterable[Any]]) -> list[WordCounts]:
            readers = [partial(corpus.read_texts, texts) for texts in iterators]
            return [counter.count_batches(read, None, threads, device, progress) for read in readers]

        self._check_languages(train_iterators, dev_iterators, ratio)
        train = count(train_iterators)
        dev = None if dev_iterators is None else count(dev_iterators)
        with reporting(progress) as report:
            learnt = self.train(train, dev, ratio, progress=report)
        model = BPE()
        learnt.into(model)
        tokenizer.replace_model(model, self.special_tokens)

    def train(
        self,
        train: Sequence[WordCounts],
        dev: Sequence[WordCounts] | None = None,
        ratio: Sequence[float] | None = None,
        *,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> TrainedBpe:
        """Learns the vocabulary and the merges of words that were counted before, for each language.

        progress: called as progress("merge", done, total) a few times a second; an exception there ends training.
        """
        from gputok.kernels import ParityLimits
        from gputok.kernels.cpu import train_parity_bpe as parity_bpe
        from gputok.text.word_counts import WordCounts

        self._check_languages(train, dev, ratio)
        if dev is not None:
            ratio = None
        elif ratio is None:
            ratio = self.ratio
        n, texts = len(train), [*train, *(dev or ())]
        if not all(words.byte_level or len(words) == 0 for words in texts):
            texts = [words.spelled_out() for words in texts]
        everything = WordCounts.merge(texts[:n])
        if len(everything) == 0:
            warnings.warn(
                "the corpora have no words: nothing is learnt beyond the given tokens", stacklevel=2
            )
        names = ("special_tokens", "limit_alphabet", "initial_alphabet")
        names += ("continuing_subword_prefix", "end_of_word_suffix")
        options = {name: getattr(self, name) for name in names}
        vocab, ids = BpeTrainer(**options)._alphabet(everything, WordCounts.merge(texts[n:]))
        spelt = [
            (_spell_all if i < n else _spell_whole)(words, ids, len(vocab)) for i, words in enumerate(texts)
        ]
        ends = np.cumsum([0, *(len(symbols) for symbols, _, _ in spelt)])
        offsets = [offsets[1:] + end for (_, offsets, _), end in zip(spelt, ends, strict=False)]
        limits = ParityLimits(
            n,
            min(max(0, self.num_merges - len(vocab) * self.total_symbols), 2**62),
            min(self.min_frequency, 2**62),
            2**62 if self.max_token_length is None else min(self.max_token_length, 2**62),
            (self.continuing_subword_prefix or "").encode(),
            min(self.global_merges, 2**62),
            dev is not None,
            tuple(ratio or ()),
            self.window_size if self.variant == "window" else 0,
            self.alpha / n,
        )
        learnt = parity_bpe.train_parity_bpe(
            np.concatenate([symbols for symbols, _, _ in spelt]),
            np.concatenate([[0], *offsets]),
            np.concatenate([counts for _, _, counts in spelt]),
            np.repeat(np.arange(len(spelt)), [len(counts) for _, _, counts in spelt]),
            *pack([*vocab]),
            limits,
            None if progress is None else lambda done, total: progress("merge", done, total),
        )
        return TrainedBpe(
            Vocabulary(learnt.tokens, learnt.token_offsets),
            np.column_stack([learnt.left, learnt.right]),
            self.continuing_subword_prefix,
            self.end_of_word_suffix,
        )

    def _check_languages(self, train: Sequence, dev: Sequence | None, ratio: Sequence[float] | None) -> None:
        """ValueError unless there is one of everything for each language."""
        n = len(train)
        if n == 0:
            raise ValueError("there must be at least one language to train on")
        if dev is not None and len(dev) != n:
            raise ValueError(
                f"{n} languages to train on, but {len(dev)} to balance by: give one text for each"
            )
        ratio = self.ratio if ratio is None else ratio
        if dev is None and ratio is not None:
            if len(ratio) != n:
                raise ValueError(f"{n} languages to train on, but {len(ratio)} ratios: give one for each")
            if wrong := [value for value in ratio if not 0 < value < math.inf]:
                raise ValueError(f"ratio must hold positive finite numbers, not {wrong[0]!r}")
        if self.variant == "window" and self.window_size == 0:
            raise ValueError("window_size must be at least 1 where variant is 'window'")
        if self.variant == "window" and not 0 < self.alpha < math.inf:
            raise ValueError(
                f"alpha must be positive and finite where variant is 'window', not {self.alpha!r}"
            )

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("special_tokens", "initial_alphabet") and value is None:
            value = []
        super().__setattr__(name, value)

    def __repr__(self) -> str:
        alpha = np.format_float_positional(self.alpha, trim="-").replace("nan", "NaN")
        return (
            f'ParityBpeTrainer(num_merges={self.num_merges}, variant="{self.variant}", '
            f"min_frequency={self.min_frequency}, global_merges={self.global_merges}, "
            f"window_size={self.window_size}, alpha={alpha}, total_symbols={str(self.total_symbols).lower()})"
        )

    def __getstate__(self) -> dict[str, Any]:
        state = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return state | {"special_tokens": [token.content for token in self.special_tokens]}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]


# symbols uint32[m], offsets int64[words + 1], counts int64[words]
Spelt = tuple[np.ndarray, np.ndarray, np.ndarray]


def _spell_all(words: WordCounts, ids: np.ndarray, unknown: int) -> Spelt:
    """Words as symbols; a character without an id is dropped."""
    from gputok.kernels.cpu import spell_words as alphabet

    spelt = alphabet.spell_words(words.data, words.offsets, ids, byte_level=words.byte_level, dtype=np.uint32)
    return *spelt, words.counts


def _spell_whole(words: WordCounts, ids: np.ndarray, unknown: int) -> Spelt:
    """Words as symbols; one that has a character without an id is dropped. unknown: a number that is no id."""
    symbols, offsets, counts = _spell_all(words, np.where(ids < 0, np.int32(unknown), ids), unknown)
    sizes = np.diff(offsets)
    before = np.concatenate([[0], np.cumsum(symbols == unknown)])[offsets]
    known = before[1:] == before[:-1]
    return symbols[np.repeat(known, sizes)], np.concatenate([[0], np.cumsum(sizes[known])]), counts[known]
