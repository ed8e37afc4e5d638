"""The trainer of superwords: BPE whose later merges span words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, NoReturn

import numpy as np

from gputok.checks import SIZE, field, integer, optional, switch
from gputok.counts.word_counts import WordCounts
from gputok.kernels import BpeLimits, Veto
from gputok.models.bpe.trainer import BpeTrainer, TrainedBpe, learned_merges
from gputok.models.trainer import (
    How,
    Trainer,
    characters,
    contents,
    count,
    expression,
    progress_word,
    share_or_count,
    specials,
    within,
)
from gputok.text.byte_alphabet import BYTE_CHARACTERS
from gputok.tokens.added_token import AddedToken
from gputok.tokens.vocabulary import Vocabulary, pack
from gputok.types import Array, Counts, Ids, Positions

SUPERWORDS = r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]{2,}[\r\n/]*| +(?!\S)"
"""The pattern of the second stage that SuperBPE's authors publish (github.com/PythonNut/superbpe): it keeps numbers,
runs of marks, and spaces before other white space apart, and cuts nothing else."""

_LESS = "raise the limit, or give less text"
_RUNS_AT_ONCE = 1 << 20  # runs that are handed to the kernel at a time


class SuperBpeTrainer(Trainer):
    """Trains a byte-level BPE whose tokens may span words: SuperBPE.

    Liu et al. 2025, "SuperBPE: Space Travel for Language Models", arXiv:2503.13423. The first stage learns `transition`
    of the tokens from words, as `BpeTrainer` does. The second stage goes on to merge the tokens of these words in
    larger pieces, which `superword_pattern` cuts; so later tokens are phrases, and the same text has up to a third
    fewer tokens. The tokenizer's pre-tokenizer, which must write bytes (`ByteLevel`), cuts the words, and is replaced
    by the superword pattern and `ByteLevel` at the end. `tokenizers` and `transformers` open the result, a plain BPE.

    Training is exact: the merges are those of a trainer that keeps the whole corpus in memory. It reads the corpus
    three times: it counts words; then neighbouring tokens, by counters that several pairs may share; then the runs of
    tokens that lie between pairs too rare for a merge, in the memory of the word counter. The texts of an iterator,
    which can be read only once, are kept in a temporary file meanwhile.

    Args:
        vocab_size: the size of the final vocabulary, with special tokens and alphabet.
        transition: where the second stage begins: a share of the vocabulary (float), or a number of tokens (int).
        superword_pattern: an expression; its matches, and the text between them, are the pieces of the second stage.
        max_words: the most words of a token; a word is what stands between spaces; None: any number.
        allow_colon_space: True: a token may have a colon before a space inside, as in "Answer: yes".
        min_frequency: a stage ends when the most frequent pair occurs fewer times than this.
        show_progress: shows a progress bar.
        progress_format: as for `BpeTrainer`.
        special_tokens: strings or AddedTokens that get the first ids.
        limit_alphabet: as for `BpeTrainer`.
        initial_alphabet: characters to keep even if they don't occur; by default all 256 of `ByteLevel`.
        max_token_length: merged tokens have fewer bytes than this; but two bytes are always merged.
        stage1: what the first stage is, if not the corpus itself: a byte-level BPE Tokenizer, whose first `transition`
            tokens are kept, or another corpus (files, or an iterable of texts) to learn them from, or its WordCounts.

    Raises:
        TypeError: if an option has a value of a wrong type, or is unknown.
        ValueError: if an option has a value that is not allowed.

    Example:
        >>> from gputok import Tokenizer, models, pre_tokenizers
        >>> tokenizer = Tokenizer(models.BPE())
        >>> tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        >>> trainer = SuperBpeTrainer(vocab_size=266, transition=260)
        >>> tokenizer.train_from_iterator(["so it goes, and so it goes"], trainer)
        >>> tokenizer.encode("so it goes").tokens
        ['soĠitĠgoes']
    """

    trains: ClassVar[str] = "BPE"
    vocab_size: int = field(count, default=30000)
    transition: float | int = field(share_or_count, default=0.8)
    superword_pattern: str = field(expression, default=SUPERWORDS)
    max_words: int | None = field(optional(integer(1, SIZE)), default=4)
    allow_colon_space: bool = field(switch, default=False)
    min_frequency: int = field(count, default=0)
    show_progress: bool = field(switch, default=True)
    progress_format: str = field(progress_word, default="indicatif")
    special_tokens: Sequence[str | AddedToken] = field(specials, default_factory=list)
    limit_alphabet: int | None = field(optional(count), default=None)
    initial_alphabet: Sequence[str] = field(characters, default_factory=lambda: list(BYTE_CHARACTERS))
    max_token_length: int | None = field(optional(count), default=None)
    stage1: Any = None

    @property
    def n_words(self) -> int:
        """The number of tokens after the first stage; raises ValueError if none is left for the second one."""
        share = self.transition
        n = share if isinstance(share, int) else round(share * self.vocab_size)
        if not 0 < n < self.vocab_size:
            raise ValueError(
                f"transition={share}: of vocab_size={self.vocab_size} tokens, the first stage must learn some and "
                "leave some; give a share between 0 and 1, or a number of tokens below vocab_size"
            )
        return n

    @property
    def least(self) -> int:
        """How often a pair must occur to be merged."""
        return max(1, min(self.min_frequency, 2**62))

    def first_stage(self) -> BpeTrainer:
        """Returns the trainer of the first stage."""
        names = ("min_frequency", "special_tokens", "limit_alphabet", "initial_alphabet", "max_token_length")
        return BpeTrainer(vocab_size=self.n_words, **{name: getattr(self, name) for name in names})

    def check_first_stage(self, n_tokens: int) -> None:
        """Raises ValueError if the first stage has fewer tokens than it should."""
        if n_tokens < self.n_words:
            why = f"but stage1 gives {n_tokens}: pass transition={n_tokens} to keep all of them"
            if self.stage1 is None:
                why = f"and has {n_tokens}, since there is no further pair to merge: "
                why += f"lower transition to {n_tokens}, or vocab_size, or give more text"
            raise ValueError(f"transition={self.transition}: the first stage should have {self.n_words} tokens, {why}")

    def veto(self) -> Veto:
        """Returns which merged tokens are refused in the second stage."""
        most = 2**28 - 1
        return Veto(
            most if self.max_words is None else min(self.max_words, most),
            most if self.max_token_length is None else min(max(3, self.max_token_length), most),
            self.allow_colon_space,
            "Ġ".encode(),
        )

    def second_stage(self, first: TrainedBpe, runs: WordCounts, threshold: int, how: How) -> TrainedBpe:
        """Goes on from the tokens of the first stage, and returns the vocabulary and merges of both.

        There are fewer than `vocab_size` tokens if no pair is left that occurs `threshold` times. runs: sequences of
        tokens of the first stage, and how often each occurs; their `data` has ids (`run_type`) instead of bytes.
        """
        if not len(runs):
            return first
        dtype = run_type(len(first.vocabulary))

        def symbols(some: WordCounts) -> tuple[Array, Positions, Counts]:
            return np.ascontiguousarray(some.data).view(dtype), some.offsets // dtype.itemsize, some.counts

        def parts() -> Iterable[tuple[Array, Positions, Counts]]:
            return map(symbols, runs.slices(_RUNS_AT_ONCE))

        limits = BpeLimits(min(self.vocab_size, 2**62), max(threshold, self.least), veto=self.veto())
        progress = how.progress
        on_progress = None if progress is None else lambda done, total: progress("merge superwords", done, total)
        others = first.vocabulary.data, first.vocabulary.offsets, limits, on_progress
        learned = learned_merges(parts, lambda: symbols(runs), others, how.devices, how.threads)
        merges = np.concatenate([first.merges, np.column_stack([learned.left, learned.right])])
        return TrainedBpe(Vocabulary(learned.tokens, learned.token_offsets), merges)

    def memory_needed(self, n_words: int, n_bytes: int, threads: int = 1) -> int:
        """About how many bytes of memory the second stage takes, for `n_words` runs of ids with `n_bytes` bytes."""
        trainer = BpeTrainer(vocab_size=self.vocab_size)
        return trainer.memory_needed(n_words, n_bytes // run_type(self.n_words).itemsize, threads)

    def check_memory(self, words: WordCounts, limit: int, threads: int = 1) -> int:
        """Returns `memory_needed` for these runs and `threads` threads; raises MemoryError if the limit is lower."""
        needed = self.memory_needed(len(words), len(words.data), threads)
        return within(limit, needed, f"training on {len(words):,} runs of words", _LESS)

    def check_first_memory(self, words: WordCounts, limit: int, threads: int = 1) -> int:
        """Does what `check_memory` does, for the first stage and its distinct words."""
        needed = self.first_stage().memory_needed(len(words), len(words.data), threads)
        return within(limit, needed, f"training on {len(words):,} distinct words", _LESS)

    def learn(self, words: WordCounts, how: How) -> NoReturn:
        """Raises TypeError: superwords can't be learned from words."""
        raise TypeError(
            "superwords are learned from text, of which word counts know nothing: call train or train_from_iterator; "
            "word counts can be the first stage alone: SuperBpeTrainer(stage1=word_counts)"
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns the options as JSON values.

        Raises:
            TypeError: if `stage1` is a corpus of texts in memory, or WordCounts.
        """
        stage1 = self.stage1
        if stage1 is not None and not isinstance(stage1, str | list):
            if not hasattr(stage1, "to_str"):
                raise TypeError(f"stage1={type(stage1).__name__} has no JSON form: give file names, or a Tokenizer")
            stage1 = {"tokenizer": stage1.to_str()}
        return {**super().to_dict(), "stage1": stage1}


def run_type(n_tokens: int) -> np.dtype[Any]:
    """Returns the type of the ids in runs: uint16 if the ids of all tokens of the first stage fit, or else uint32."""
    return np.dtype(np.uint16 if n_tokens <= 1 << 16 else np.uint32)


def first_tokens(model: Any, added: dict[int, AddedToken], trainer: SuperBpeTrainer) -> TrainedBpe:
    """Returns the tokens and merges of a BPE model for the first stage; added: the tokenizer's added tokens by id.

    Raises ValueError if ids have gaps, a merge needs a token with a later id, or a special token is missing.
    """
    n = trainer.n_words
    if not hasattr(model, "merges"):
        raise ValueError(f"stage1 has the model {type(model).__name__}: superwords go on from a byte-level BPE")
    options = {name: getattr(model, name) for name in ("continuing_subword_prefix", "end_of_word_suffix", "dropout")}
    for name, value in options.items():
        if value:
            raise ValueError(f"stage1 has {name}={value!r}, which superwords can't go on from")
    names = {int(token_id): token for token, token_id in model.get_vocab().items()}
    names |= {token_id: token.content for token_id, token in added.items() if token_id not in names}
    trainer.check_first_stage(len(names))
    if missing := [token_id for token_id in range(n) if token_id not in names]:
        raise ValueError(f"stage1: no token has id {missing[0]}, and superwords need all ids below {n}")
    kept = [names[token_id] for token_id in range(n)]
    if absent := [token for token in contents(trainer.special_tokens) if token not in set(kept)]:
        raise ValueError(f"special_tokens: {absent[0]!r} is not among the first {n} tokens of stage1")
    merges: Ids = np.asarray(model.merges, np.uint32)
    merges = merges[merges[:, 2] < n]
    if (merges[:, :2] >= n).any():
        late = merges[(merges[:, :2] >= n).any(axis=1)][0]
        raise ValueError(
            f"stage1: token {int(late[2])} is merged from a token with id {int(late[:2].max())}, so the first {n} "
            "tokens are no vocabulary of their own; give transition as the number of all its tokens"
        )
    return TrainedBpe(Vocabulary(*pack(kept)), merges[:, :2])
