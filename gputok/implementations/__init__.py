"""Ready-made tokenizers, each with the steps of a well-known model."""

from gputok.implementations.base_tokenizer import BaseTokenizer
from gputok.implementations.bert_wordpiece import BertWordPieceTokenizer
from gputok.implementations.byte_level_bpe import ByteLevelBPETokenizer
from gputok.implementations.char_level_bpe import CharBPETokenizer
from gputok.implementations.sentencepiece_bpe import SentencePieceBPETokenizer
from gputok.implementations.sentencepiece_unigram import SentencePieceUnigramTokenizer

__all__ = [
    "BaseTokenizer",
    "BertWordPieceTokenizer",
    "ByteLevelBPETokenizer",
    "CharBPETokenizer",
    "SentencePieceBPETokenizer",
    "SentencePieceUnigramTokenizer",
]
