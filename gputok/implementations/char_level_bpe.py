"""The first GPT's tokenizer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gputok import decoders
from gputok.implementations.base_tokenizer import BaseTokenizer, chain_of, from_bpe_files, shown, trained_by
from gputok.models import BPE
from gputok.normalizers import BertNormalizer, Lowercase, unicode_normalizer_from_str
from gputok.pre_tokenizers import BertPreTokenizer, WhitespaceSplit
from gputok.tokenizer import Tokenizer
from gputok.trainers import BpeTrainer
from gputok.types import public

if TYPE_CHECKING:
    from gputok.tokens.added_token import AddedToken


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
        parameters = shown("BPE", locals(), "merges")
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
        super().__init__(tokenizer, parameters)

    from_file = from_bpe_files
    train, train_from_iterator = trained_by(
        lambda suffix, **options: BpeTrainer(end_of_word_suffix=suffix, **options),
        vocab_size=30000,
        min_frequency=2,
        special_tokens=["<unk>"],
        limit_alphabet=1000,
        initial_alphabet=[],
        suffix="</w>",
        show_progress=True,
    )
