"""GPT-2's tokenizer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gputok import decoders, pre_tokenizers, processors
from gputok.implementations.base_tokenizer import BaseTokenizer, chain_of, trained_by
from gputok.models import BPE
from gputok.normalizers import Lowercase, unicode_normalizer_from_str
from gputok.tokenizer import Tokenizer
from gputok.trainers import BpeTrainer
from gputok.types import public

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gputok.tokens.added_token import AddedToken


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
        """Reads a vocab.json and a merges.txt.

        Args:
            vocab_filename: the path of vocab.json.
            merges_filename: the path of merges.txt.
            kwargs: further arguments of the class.

        Returns:
            The tokenizer.
        """
        return ByteLevelBPETokenizer(*BPE.read_file(vocab_filename, merges_filename), **kwargs)

    train, train_from_iterator = trained_by(_trainer)
