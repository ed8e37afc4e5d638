"""The trainer of SentencePiece's BPE: the same pieces, in the same order, with the same scores, from counted words.

It is ordinary BPE with another rule for ties (of equally frequent pairs, the one of fewer characters comes first, then
the smaller string), on words that are first cut wherever no piece of SentencePiece may reach across: at characters that
are too rare for the vocabulary, between scripts, and beside digits if `split_digits` says so.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from gputok.automaton.unicode_tables import script_sets
from gputok.checks import field, listed, string, switch
from gputok.counts.word_counts import WordCounts
from gputok.files.sentencepiece_proto import BYTE, CONTROL, NORMAL, UNKNOWN, USER_DEFINED
from gputok.kernels import BpeLimits
from gputok.kernels.cpu.spell_words import count_characters, spell_cut_words
from gputok.kernels.cpu.train_bpe import train_bpe
from gputok.kernels.threads import thread_count
from gputok.lazy import public
from gputok.models.trainer import CheckedOptions, count, real
from gputok.text.byte_alphabet import BYTE_TOKENS
from gputok.tokens.vocabulary import pack
from gputok.types import Bytes, Counts, Positions

_SPACE, _BOUNDARY, _UNKNOWN = ord("▁"), 0, 0x2585
_KANA_MARK = 0x30FC  # it joins Hiragana, Katakana and Han, which are one script here
_ANY = 255  # the script of characters that join any script
_DIGITS = [*range(0x30, 0x3A), *range(0xFF10, 0xFF1A)]


class TrainedPiece(NamedTuple):
    """A piece of a SentencePiece model."""

    piece: str
    score: float
    kind: int  # of `gputok.files.sentencepiece_proto`


@public("gputok.trainers")
@dataclass(kw_only=True)
class SentencePieceBpeTrainer(CheckedOptions):
    """Trains a BPE with the same pieces, order and scores as SentencePiece 0.2.

    `gputok.train_sentencepiece` also reads and normalizes text as SentencePiece does, and makes a tokenizer. The
    options have the names of SentencePiece's. The pieces 0, 1 and 2 are `<unk>`, `<s>` and `</s>`.

    Args:
        vocab_size: the number of pieces.
        character_coverage: the share of all characters that the vocabulary must cover; the rarest are left out.
        max_sentencepiece_length: the most characters of a piece.
        split_by_unicode_script: no piece has characters of two scripts.
        split_by_number: False: digits join any script.
        split_digits: each digit is a piece by itself.
        byte_fallback: adds a piece for each byte, for characters that the vocabulary lacks.
        hard_vocab_limit: only written to the `.model` file. If it is False, SentencePiece learns fewer pieces from a
            text that has too few; gputok always raises an error then, since the last of these pieces occur nowhere.
        split_by_whitespace: True, which is the only value that gputok knows: no piece has characters of two words.
        treat_whitespace_as_suffix: `▁` stands after each word, not before it.
        control_symbols: pieces that no text becomes.
        user_defined_symbols: pieces that are kept whole in text, without spaces; none with treat_whitespace_as_suffix.

    Raises:
        TypeError: an option has a value of another type.
        ValueError: an option has a value that is not allowed.

    Example:
        >>> from gputok import WordCounts
        >>> words = WordCounts.from_dict({"▁low": 5, "▁lower": 3})
        >>> trainer = SentencePieceBpeTrainer(vocab_size=12, character_coverage=1.0)
        >>> [piece.piece for piece in trainer.train(words)]
        ['<unk>', '<s>', '</s>', 'lo', 'low', '▁low', 'l', 'o', 'w', '▁', 'e', 'r']
    """

    vocab_size: int = field(count, default=8000)
    character_coverage: float = field(real, default=0.9995)
    max_sentencepiece_length: int = field(count, default=16)
    split_by_unicode_script: bool = field(switch, default=True)
    split_by_number: bool = field(switch, default=True)
    split_digits: bool = field(switch, default=False)
    byte_fallback: bool = field(switch, default=False)
    hard_vocab_limit: bool = field(switch, default=True)
    split_by_whitespace: bool = field(switch, default=True)
    treat_whitespace_as_suffix: bool = field(switch, default=False)
    control_symbols: Sequence[str] = field(listed(string), default_factory=list)
    user_defined_symbols: Sequence[str] = field(listed(string), default_factory=list)

    def __post_init__(self) -> None:
        if not 0.98 <= self.character_coverage <= 1.0:
            raise ValueError(
                f"character_coverage must be from 0.98 to 1, as in SentencePiece, not {self.character_coverage}"
            )
        if not 1 <= self.max_sentencepiece_length <= 512:
            raise ValueError(f"max_sentencepiece_length must be from 1 to 512, not {self.max_sentencepiece_length}")
        names = [piece.piece for piece in self.meta_pieces()]
        twice = [name for i, name in enumerate(names) if name in names[:i]]
        if twice or not all(names):
            raise ValueError(f"the symbol {twice[0] if twice else ''!r} is there twice, or empty")
        if not self.split_by_whitespace:
            raise ValueError(
                "split_by_whitespace=False is not supported: whole lines, which hardly repeat, would be the words, so "
                "memory would hold the corpus; SuperBpeTrainer learns tokens that span words in bounded memory"
            )
        if self.user_defined_symbols and self.treat_whitespace_as_suffix:
            raise ValueError(
                "user_defined_symbols and treat_whitespace_as_suffix don't go together: no tokenizer.json puts the ▁ "
                "after the last word of a text, but not before a symbol"
            )
        for symbol in self.user_defined_symbols:
            if any(character.isspace() or character == "▁" for character in symbol):
                raise ValueError(f"user_defined_symbols: {symbol!r} contains a space, which gputok's words end at")

    def meta_pieces(self) -> list[TrainedPiece]:
        """The pieces that are not learnt, in the order of their ids."""
        kinds = [("<unk>", UNKNOWN), ("<s>", CONTROL), ("</s>", CONTROL)]
        kinds += [(symbol, CONTROL) for symbol in self.control_symbols]
        kinds += [(symbol, USER_DEFINED) for symbol in self.user_defined_symbols]
        kinds += [(name, BYTE) for name in BYTE_TOKENS] if self.byte_fallback else []
        return [TrainedPiece(name, 0.0, kind) for name, kind in kinds]

    def train(
        self, words: WordCounts, *, threads: int | None = None, progress: Callable[[str, int, int], None] | None = None
    ) -> list[TrainedPiece]:
        """Learns pieces.

        Args:
            words: counted words, normalized, each with its `▁`.
            threads: how many threads merge; None: all cores.
            progress: called as progress("merge", done, total).

        Returns:
            The pieces, by id.

        Raises:
            ValueError: the words have not enough pieces for `vocab_size`, or more characters than that; or the result
                would depend on a rule of SentencePiece that gputok does not have.
        """
        if words.byte_level:
            raise ValueError("SentencePiece's words are text, not the bytes of byte-level words")
        words.check_symbols()
        meta = self.meta_pieces()
        data = _without(words, [piece.piece for piece in meta])
        totals = count_characters(data, words.offsets, words.counts, byte_level=False, n_roles=1)[:, 0]
        if len(totals) > _UNKNOWN and totals[_UNKNOWN]:
            raise ValueError("the text has the character U+2585, which SentencePiece keeps for itself: replace it")
        characters = self._alphabet(totals)
        n_merges = self.vocab_size - len(meta) - len(characters)
        if n_merges < 0:
            there = f"there are {len(meta)} symbols and {len(characters)} characters"
            raise ValueError(f"vocab_size={self.vocab_size} is too small: {there}")
        symbols, bounds, counts, doubtful = self._sequences(data, words, characters)
        tokens = pack([chr(code) for code in characters.tolist()])
        # As in `tokenizers`, max_token_length doesn't limit pairs of characters
        size = len(characters) + n_merges * (self.max_sentencepiece_length > 1)
        limits = BpeLimits(size, max_token_length=self.max_sentencepiece_length + 1, shorter_first=True)
        report = None if progress is None else lambda done, total: progress("merge", done, total)
        found = train_bpe(symbols, bounds, counts, *tokens, limits, report, threads=thread_count(threads))
        if len(found.count) < n_merges:
            most = self.vocab_size - n_merges + len(found.count)
            raise ValueError(
                f"vocab_size={self.vocab_size} is too high: the text has {most} pieces. SentencePiece would go on with "
                "pairs that occur no longer, in an order of its own"
            )
        least = int(found.count[-1]) if n_merges else 1
        if doubtful >= least:
            raise ValueError(
                "characters that take over the script before them (combining marks) stand before another script "
                f"{doubtful:,} times, so often that SentencePiece could join them: set split_by_unicode_script=False, "
                "or a smaller vocab_size"
            )
        ends = found.token_offsets.tolist()
        raw = found.tokens.tobytes()
        names = [raw[ends[i] : ends[i + 1]].decode() for i in found.merged.tolist()]
        names += [chr(code) for code in characters.tolist()]
        return [*meta, *(TrainedPiece(name, -float(i), NORMAL) for i, name in enumerate(names))]

    def _alphabet(self, totals: Counts) -> Positions:
        """Returns the characters of the vocabulary, by falling count, then by code point."""
        totals[_BOUNDARY] = 0
        total = int(totals.sum())
        present = np.flatnonzero(totals)
        present = present[np.argsort(-totals[present], kind="stable")]
        before = np.cumsum(totals[present]) - totals[present]
        coverage = (before / max(total, 1)).astype(np.float32)
        return present[coverage < np.float32(self.character_coverage)]

    def _sequences(
        self, data: Bytes, words: WordCounts, characters: Positions
    ) -> tuple[np.ndarray, Positions, Counts, int]:
        """Returns symbols, offsets of sequences, their counts, and the highest count of doubtful pairs (`train`)."""
        ids = np.full(0x110000, -1, np.int32)
        ids[characters] = np.arange(len(characters))
        scripts, inherited = _scripts()
        if not self.split_by_unicode_script:
            scripts, inherited = np.full_like(scripts, _ANY), -1
        elif not self.split_by_number:
            scripts = scripts.copy()
            scripts[_DIGITS] = _ANY
        if self.split_digits:
            ids[_DIGITS] = -1  # a digit alone merges with nothing
        symbols, bounds, counts, doubts = spell_cut_words(
            data,
            words.offsets,
            words.counts,
            ids,
            scripts,
            any_script=_ANY,
            inherited=inherited,
            dtype=np.uint16 if self.vocab_size < 0xFFFF else np.uint32,
        )
        pairs, row = np.unique(doubts[:, 0], return_inverse=True)
        doubtful = np.zeros(len(pairs), np.int64)
        np.add.at(doubtful, row, doubts[:, 1])
        return symbols, bounds, counts, int(doubtful.max(initial=0))


def _without(words: WordCounts, symbols: Sequence[str]) -> Bytes:
    """Returns the bytes of all words, with zeros instead of `symbols`, which no text becomes; the longest first."""
    text = words.data.tobytes()
    encoded = sorted((symbol.encode() for symbol in symbols), key=len, reverse=True)
    # Few beginnings are searched for: the 256 pieces of byte fallback begin alike
    if not any(start in text for start in {symbol[:2] for symbol in encoded}):
        return words.data
    pattern = re.compile(b"|".join(map(re.escape, encoded)))
    spans = np.array([found.span() for found in pattern.finditer(text)], np.int64).reshape(-1, 2)
    word = [np.searchsorted(words.offsets, at, side="right") for at in (spans[:, 0], spans[:, 1] - 1)]
    data = words.data.copy()
    for first, end in spans[word[0] == word[1]].tolist():
        data[first:end] = _BOUNDARY
    return data


@functools.cache
def _scripts() -> tuple[np.ndarray, int]:
    """Returns the script of each character, uint8[0x110000], and which of them is Inherited."""
    sets = script_sets()
    scripts = np.full(0x110000, _ANY, np.uint8)
    for i, characters in enumerate(sets):
        for first, last in characters.runs():
            scripts[first:last] = i
    common, inherited = int(scripts[ord(".")]), int(scripts[0x301])
    scripts[scripts == _ANY] = common
    scripts[_KANA_MARK] = scripts[ord("漢")]
    scripts[_SPACE] = _ANY
    return scripts, inherited
