"""Words to tokens by BPE."""

from gputok.kernels.cpu.encode_words.byte_words import encode_byte_words
from gputok.kernels.cpu.encode_words.cache import word_cache
from gputok.kernels.cpu.encode_words.characters import character_tables
from gputok.kernels.cpu.encode_words.encode import encode_words

__all__ = ["character_tables", "encode_byte_words", "encode_words", "word_cache"]
