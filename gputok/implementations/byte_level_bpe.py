"""GPT-2's tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gputok import decoders, pre_tokenizers, processors
from gputok.implementations.base_tokenizer import BaseTokenizer, chain_of, trained_by
from gputok.models import BPE
from gputok.normalizers import Lowercase, unicode_normalizer_from_str
from gputok.tokenizer import Tokenizer
from gputok.tokens.added_token import AddedToken
from gputok.trainers import BpeTrainer
from gputok.types import public


def _trainer(
    vocab_size: int = 30000,
    min_frequency: int = 2,
    show_progress: bool = True,
    special_tokens: Sequence[str | AddedToken] = (),
) -> BpeTrainer:
    return BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        show_progress=show_progress,
        special_tokens=list(special_tokens),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )


@public("gputok.implementations")
class ByteLevelBPETokenizer(BaseTokenizer):
    """Byte-level BPE, as GPT-2 has it."""

    def __init__(
        self,
        vocab: str | dict[str, int] | None = None,
        merges: str | list[tuple[str, str]] | None = None,
        add_prefix_space: bool = False,
        lowercase: bool = False,
        dropout: float | None = None,
        unicode_normalizer: str | None = None,
        continuing_subword_prefix: str | None = None,
        end_of_word_suffix: str | None = None,
        trim_offsets: bool = False,
    ) -> None:
        if vocab is not None and merges is not None:
            affixes = {
                "continuing_subword_prefix": continuing_subword_prefix or "",
                "end_of_word_suffix": end_of_word_suffix or "",
            }
            tokenizer = Tokenizer(BPE(vocab, merges, dropout=dropout, **affixes))
        else:
            tokenizer = Tokenizer(BPE())
        normalizers = [unicode_normalizer_from_str(unicode_normalizer)] if unicode_normalizer else []
        tokenizer.normalizer = chain_of([*normalizers, Lowercase()] if lowercase else normalizers)
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
        tokenizer.decoder = decoders.ByteLevel()
        tokenizer.post_processor = processors.ByteLevel(trim_offsets=trim_offsets)
        parameters = {
            "model": "ByteLevelBPE",
            "add_prefix_space": add_prefix_space,
            "lowercase": lowercase,
            "dropout": dropout,
            "unicode_normalizer": unicode_normalizer,
            "continuing_subword_prefix": continuing_subword_prefix,
            "end_of_word_suffix": end_of_word_suffix,
            "trim_offsets": trim_offsets,
        }
        super().__init__(tokenizer, parameters)

    @staticmethod
    def from_file(vocab_filename: str, merges_filename: str, **kwargs: Any) -> ByteLevelBPETokenizer:
        """From a vocab.json and a merges.txt."""
        return ByteLevelBPETokenizer(*BPE.read_file(vocab_filename, merges_filename), **kwargs)

    train, train_from_iterator = trained_by(_trainer)
