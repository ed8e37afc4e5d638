"""Every stage in plain Python: the shortest true version, and what the tests hold the fast ones to."""

from .models import encode_words, match_longest, merge_symbols, viterbi
from .normalizers import (
    find_literal,
    follow,
    is_inert,
    map_characters,
    normalize_form,
    normalize_precompiled,
    splice,
    strip,
)
from .pieces import find_tokens, gather, rewrite_bytes, split_words
from .text import find_bytes, find_invalid_utf8, lines
from .training import choose_language, count_characters, merge_word, spell_words, train_bpe, train_parity_bpe
from .words import count_pieces, count_text, encode_text, word_keys, words_of

__all__ = [
    "choose_language",
    "count_characters",
    "count_pieces",
    "count_text",
    "encode_text",
    "encode_words",
    "find_bytes",
    "find_invalid_utf8",
    "find_literal",
    "find_tokens",
    "follow",
    "gather",
    "is_inert",
    "lines",
    "map_characters",
    "match_longest",
    "merge_symbols",
    "merge_word",
    "normalize_form",
    "normalize_precompiled",
    "rewrite_bytes",
    "spell_words",
    "splice",
    "split_words",
    "strip",
    "train_bpe",
    "train_parity_bpe",
    "viterbi",
    "word_keys",
    "words_of",
]
