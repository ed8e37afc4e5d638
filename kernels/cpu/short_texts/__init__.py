"""One short text to ids, in one call that takes a microsecond."""

from gputok.kernels.cpu.short_texts.encode import (
    encode_bpe,
    encode_unigram,
    encode_wordlevel,
    encode_wordpiece,
    new_handle,
    put_bpe,
    put_unigram,
    put_wordlevel,
    put_wordpiece,
    with_memory,
)
from gputok.kernels.cpu.short_texts.units import encode_units, put_cache, put_walk, put_words

__all__ = [
    "encode_bpe",
    "encode_unigram",
    "encode_units",
    "encode_wordlevel",
    "encode_wordpiece",
    "new_handle",
    "put_bpe",
    "put_cache",
    "put_unigram",
    "put_walk",
    "put_wordlevel",
    "put_wordpiece",
    "put_words",
    "with_memory",
]
