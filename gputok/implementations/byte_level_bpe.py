"""GPT-2's tokenizer."""

from __future__ import annotations

from gputok import decoders, pre_tokenizers, processors
from gputok.implementations.base_tokenizer import BaseTokenizer, chain_of, from_bpe_files, shown, trained_by
from gputok.models import BPE
from gputok.normalizers import Lowercase, unicode_normalizer_from_str
from gputok.tokenizer import Tokenizer
from gputok.trainers import BpeTrainer
from gputok.types import public


@public("gputok.implementations")
class ByteLevelBPETokenizer(BaseTokenizer):
    """GPT-2's tokenizer: byte-level BPE.

    Args:
        vocab: token -> id, or the path of a vocab.json; None: to be trained.
        merges: the merges, or the path of a merges.txt; None: to be trained.
        add_prefix_space: insert a space before the text, so that its first word is like the others.
        lowercase: write the text in lower case.
        dropout: the probability that a merge is skipped (BPE-dropout); None: none is.
        unicode_normalizer: "nfc", "nfd", "nfkc" or "nfkd"; None: no normalization.
        continuing_subword_prefix: the prefix of tokens that continue a word.
        end_of_word_suffix: the suffix of tokens that end a word.
        trim_offsets: exclude the white space of tokens from their offsets.

    Example:
        >>> tokenizer = ByteLevelBPETokenizer()
        >>> tokenizer.train_from_iterator(["so it goes"] * 2, vocab_size=270, show_progress=False)
        >>> tokenizer.decode(tokenizer.encode("so it goes é").ids)
        'so it goes é'
    """

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
        parameters = shown("ByteLevelBPE", locals(), "merges")
        if vocab is not None and merges is not None:
            prefix, suffix = continuing_subword_prefix or "", end_of_word_suffix or ""
            model = BPE(vocab, merges, dropout=dropout, continuing_subword_prefix=prefix, end_of_word_suffix=suffix)
            tokenizer = Tokenizer(model)
        else:
            tokenizer = Tokenizer(BPE())
        normalizers = [unicode_normalizer_from_str(unicode_normalizer)] if unicode_normalizer else []
        tokenizer.normalizer = chain_of([*normalizers, Lowercase()] if lowercase else normalizers)
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
        tokenizer.decoder = decoders.ByteLevel()
        tokenizer.post_processor = processors.ByteLevel(trim_offsets=trim_offsets)
        super().__init__(tokenizer, parameters)

    from_file = from_bpe_files
    train, train_from_iterator = trained_by(
        lambda **options: BpeTrainer(initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), **options),
        vocab_size=30000,
        min_frequency=2,
        show_progress=True,
        special_tokens=[],
    )
