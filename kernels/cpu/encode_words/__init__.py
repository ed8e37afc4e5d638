"""Words to tokens by BPE: by merging, or by backtracking if the vocabulary is one of bytes."""

from gputok.kernels.cpu.encode_words.backtrack import backtrack_tables
from gputok.kernels.cpu.encode_words.byte_words import encode_byte_words
from gputok.kernels.cpu.encode_words.cache import word_cache
from gputok.kernels.cpu.encode_words.encode import encode_words
from gputok.kernels.cpu.encode_words.tables import prepare

__all__ = ["backtrack_tables", "encode_byte_words", "encode_words", "prepare", "word_cache"]
