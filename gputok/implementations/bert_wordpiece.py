"""BERT's tokenizer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gputok import decoders
from gputok.implementations.base_tokenizer import BaseTokenizer, shown, trained_by
from gputok.models import WordPiece
from gputok.normalizers import BertNormalizer
from gputok.pre_tokenizers import BertPreTokenizer
from gputok.processors import BertProcessing
from gputok.tokenizer import Tokenizer
from gputok.trainers import WordPieceTrainer
from gputok.types import public

if TYPE_CHECKING:
    from gputok.tokens.added_token import AddedToken


@public("gputok.implementations")
class BertWordPieceTokenizer(BaseTokenizer):
    """BERT's tokenizer: WordPiece with BERT's normalizer, pre-tokenizer and special tokens.

    Args:
        vocab: token -> id, or the path of a vocab.txt; None: to be trained.
        unk_token: the token for unknown words.
        sep_token: the token after each text.
        cls_token: the token before the first text.
        pad_token: the token for padding.
        mask_token: the token that hides a word.
        clean_text: remove control characters, and write all white space as spaces.
        handle_chinese_chars: make each Chinese character a word.
        strip_accents: remove accents; None: if `lowercase`.
        lowercase: write the text in lower case.
        wordpieces_prefix: the prefix of tokens that continue a word.

    Raises:
        TypeError: a vocabulary lacks `sep_token` or `cls_token`.

    Example:
        >>> tokenizer = BertWordPieceTokenizer()
        >>> tokenizer.train_from_iterator(["so it goes"] * 2, vocab_size=40, show_progress=False)
        >>> tokenizer.encode("So it goes").tokens
        ['so', 'it', 'goes']
    """

    def __init__(
        self,
        vocab: str | dict[str, int] | None = None,
        unk_token: str | AddedToken = "[UNK]",
        sep_token: str | AddedToken = "[SEP]",
        cls_token: str | AddedToken = "[CLS]",
        pad_token: str | AddedToken = "[PAD]",
        mask_token: str | AddedToken = "[MASK]",
        clean_text: bool = True,
        handle_chinese_chars: bool = True,
        strip_accents: bool | None = None,
        lowercase: bool = True,
        wordpieces_prefix: str = "##",
    ) -> None:
        parameters = shown("BertWordPiece", locals())
        tokenizer = Tokenizer(WordPiece(vocab, unk_token=str(unk_token)))
        for token in map(str, (unk_token, sep_token, cls_token, pad_token, mask_token)):
            if tokenizer.token_to_id(token) is not None:
                tokenizer.add_special_tokens([token])
        tokenizer.normalizer = BertNormalizer(clean_text, handle_chinese_chars, strip_accents, lowercase)
        tokenizer.pre_tokenizer = BertPreTokenizer()
        if vocab is not None:
            around = []
            for name, token in (("sep_token", str(sep_token)), ("cls_token", str(cls_token))):
                if (token_id := tokenizer.token_to_id(token)) is None:
                    raise TypeError(f"{name} not found in the vocabulary: {token!r}")
                around.append((token, token_id))
            tokenizer.post_processor = BertProcessing(*around)
        tokenizer.decoder = decoders.WordPiece(prefix=wordpieces_prefix)
        super().__init__(tokenizer, parameters)

    @staticmethod
    def from_file(vocab: str, **kwargs: Any) -> BertWordPieceTokenizer:
        """Reads a vocab.txt.

        Args:
            vocab: the path of the file, with one token per line.
            kwargs: further arguments of the class.

        Returns:
            The tokenizer.
        """
        return BertWordPieceTokenizer(WordPiece.read_file(vocab), **kwargs)

    train, train_from_iterator = trained_by(
        lambda wordpieces_prefix, **options: WordPieceTrainer(continuing_subword_prefix=wordpieces_prefix, **options),
        vocab_size=30000,
        min_frequency=2,
        limit_alphabet=1000,
        initial_alphabet=[],
        special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
        show_progress=True,
        wordpieces_prefix="##",
    )
