"""The first GPT's tokenizer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gputok import decoders
from gputok.implementations.base_tokenizer import BaseTokenizer, chain_of, trained_by
from gputok.models import BPE
from gputok.normalizers import BertNormalizer, Lowercase, unicode_normalizer_from_str
from gputok.pre_tokenizers import BertPreTokenizer, WhitespaceSplit
from gputok.tokenizer import Tokenizer
from gputok.trainers import BpeTrainer
from gputok.types import public

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gputok.tokens.added_token import AddedToken


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
    """The tokenizer of the first GPT: BPE over characters, with a suffix at the ends of words (Sennrich et al. 2016).

    Args:
        vocab: token -> id, or the path of a vocab.json; None: to be trained.
        merges: the merges, or the path of a merges.txt; None: to be trained.
        unk_token: the token for unknown characters.
        suffix: the suffix of tokens that end a word.
        dropout: the probability that a merge is skipped (BPE-dropout); None: none is.
        lowercase: write the text in lower case.
        unicode_normalizer: "nfc", "nfd", "nfkc" or "nfkd"; None: no normalization.
        bert_normalizer: clean the text as BERT does, without changing its case.
        split_on_whitespace_only: do not cut the text at punctuation.

    Example:
        >>> tokenizer = CharBPETokenizer()
        >>> tokenizer.train_from_iterator(["so it goes"] * 2, vocab_size=40, show_progress=False)
        >>> tokenizer.encode("so it goes").tokens
        ['so</w>', 'it</w>', 'goes</w>']
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
        if vocab is None or merges is None:
            vocab = merges = None
        tokenizer = Tokenizer(BPE(vocab, merges, dropout=dropout, unk_token=str(unk_token), end_of_word_suffix=suffix))
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
        """Reads a vocab.json and a merges.txt.

        Args:
            vocab_filename: the path of vocab.json.
            merges_filename: the path of merges.txt.
            kwargs: further arguments of the class.

        Returns:
            The tokenizer.
        """
        return CharBPETokenizer(*BPE.read_file(vocab_filename, merges_filename), **kwargs)

    train, train_from_iterator = trained_by(_trainer)
