"""Words to tokens by BPE."""

from gputok.kernels.cpu.encode_words.cache import word_cache
from gputok.kernels.cpu.encode_words.characters import character_tables
from gputok.kernels.cpu.encode_words.encode import encode_words
from gputok.kernels.cpu.encode_words.short_words import encode_short_words

__all__ = ["character_tables", "encode_short_words", "encode_words", "word_cache"]
