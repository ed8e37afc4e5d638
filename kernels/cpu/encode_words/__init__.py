"""Words to tokens by BPE."""

from gputok.kernels.cpu.encode_words.byte_words import encode_byte_words
from gputok.kernels.cpu.encode_words.cache import word_cache
from gputok.kernels.cpu.encode_words.characters import character_tables
from gputok.kernels.cpu.encode_words.encode import encode_words
from gputok.kernels.cpu.encode_words.tables import prepare

__all__ = ["character_tables", "encode_byte_words", "encode_words", "prepare", "word_cache"]
