"""Training of Unigram: suffixes of words, from which the first pieces come, and tries of words that share their prefixes."""

from gputok.kernels.cpu.train_unigram.suffixes import (
    bucket_cuts,
    bucket_sizes,
    character_counts,
    count_suffixes,
    deal_suffixes,
    deal_words,
    decode_words,
    least_score,
    place_pieces,
    seed_candidates,
    sort_suffixes,
    spread_arcs,
)
from gputok.kernels.cpu.train_unigram.tries import best_spellings, expect, fill_trie, renumber

__all__ = [
    "best_spellings",
    "bucket_cuts",
    "bucket_sizes",
    "character_counts",
    "count_suffixes",
    "deal_suffixes",
    "deal_words",
    "decode_words",
    "expect",
    "fill_trie",
    "least_score",
    "place_pieces",
    "renumber",
    "seed_candidates",
    "sort_suffixes",
    "spread_arcs",
]
