"""The first GPT's tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gputok import decoders
from gputok.implementations.base_tokenizer import BaseTokenizer, chain_of, trained_by
from gputok.models import BPE
from gputok.normalizers import BertNormalizer, Lowercase, unicode_normalizer_from_str
from gputok.pre_tokenizers import BertPreTokenizer, WhitespaceSplit
from gputok.tokenizer import Tokenizer
from gputok.tokens.added_token import AddedToken
from gputok.trainers import BpeTrainer
from gputok.types import public


def _trainer(
    vocab_size: int = 30000,
    min_frequency: int = 2,
    special_tokens: Sequence[str | AddedToken] = ("<unk>",),
    limit_alphabet: int = 1000,
    initial_alphabet: Sequence[str] = (),
    suffix: str | None = "</w>",
    show_progress: bool = True,
) -> BpeTrainer:
    return BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        special_tokens=list(special_tokens),
        limit_alphabet=limit_alphabet,
        initial_alphabet=list(initial_alphabet),
        end_of_word_suffix=suffix,
        show_progress=show_progress,
    )


@public("gputok.implementations")
class CharBPETokenizer(BaseTokenizer):
    """BPE over characters with a suffix for the ends of words (Sennrich et al. 2016), as the first GPT has it.

    bert_normalizer: clean the text up as BERT does, but keep its case.
    split_on_whitespace_only: do not cut at punctuation.
    """

    def __init__(
        self,
        vocab: str | dict[str, int] | None = None,
        merges: str | list[tuple[str, str]] | None = None,
        unk_token: str | AddedToken = "<unk>",
        suffix: str = "</w>",
        dropout: float | None = None,
        lowercase: bool = False,
        unicode_normalizer: str | None = None,
        bert_normalizer: bool = True,
        split_on_whitespace_only: bool = False,
    ) -> None:
        known = (vocab, merges) if vocab is not None and merges is not None else ()
        tokenizer = Tokenizer(
            BPE(*known, dropout=dropout, unk_token=str(unk_token), end_of_word_suffix=suffix)
        )
        if tokenizer.token_to_id(str(unk_token)) is not None:
            tokenizer.add_special_tokens([str(unk_token)])
        normalizers = [unicode_normalizer_from_str(unicode_normalizer)] if unicode_normalizer else []
        normalizers += [BertNormalizer(lowercase=False)] if bert_normalizer else []
        tokenizer.normalizer = chain_of([*normalizers, Lowercase()] if lowercase else normalizers)
        tokenizer.pre_tokenizer = WhitespaceSplit() if split_on_whitespace_only else BertPreTokenizer()
        tokenizer.decoder = decoders.BPEDecoder(suffix=suffix)
        parameters = {
            "model": "BPE",
            "unk_token": unk_token,
            "suffix": suffix,
            "dropout": dropout,
            "lowercase": lowercase,
            "unicode_normalizer": unicode_normalizer,
            "bert_normalizer": bert_normalizer,
            "split_on_whitespace_only": split_on_whitespace_only,
        }
        super().__init__(tokenizer, parameters)

    @staticmethod
    def from_file(vocab_filename: str, merges_filename: str, **kwargs: Any) -> CharBPETokenizer:
        """From a vocab.json and a merges.txt."""
        return CharBPETokenizer(*BPE.read_file(vocab_filename, merges_filename), **kwargs)

    train, train_from_iterator = trained_by(_trainer)
