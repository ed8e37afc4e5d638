"""The stages in plain Python: the shortest correct versions, and the oracle of the tests. Begin to read here."""

from tests.reference.count_words import count_pieces, count_words, distinct_words, word_keys, words_of
from tests.reference.documents import documents
from tests.reference.edits import find_literal, splice, strip
from tests.reference.encode_corpus import encode_corpus, encode_marked
from tests.reference.encode_one import encode_text
from tests.reference.encode_words import encode_short_words, encode_words, merge_symbols
from tests.reference.find_tokens import find_tokens
from tests.reference.lines import find_invalid_utf8, is_utf8, lines
from tests.reference.match_longest import match_longest
from tests.reference.normalize import follow, is_inert, map_characters, normalize_form
from tests.reference.precompiled import normalize_precompiled
from tests.reference.records import mds_samples, olmo_lines, sample_offsets
from tests.reference.rewrite import gather, rewrite_bytes
from tests.reference.spell_words import count_characters, spell_cut_words, spell_words
from tests.reference.split import find_cuts, find_words, split_words
from tests.reference.superwords import add_pairs, cut_runs, deal_pairs, fit_tokens, merge_runs
from tests.reference.train_bpe import merge_word, train_bpe
from tests.reference.train_bpe_in_batches import train_bpe_in_batches
from tests.reference.train_parity_bpe import choose_language, train_parity_bpe
from tests.reference.train_superwords import train_superwords
from tests.reference.viterbi import viterbi

__all__ = [
    "add_pairs",
    "choose_language",
    "count_characters",
    "count_pieces",
    "count_words",
    "cut_runs",
    "deal_pairs",
    "distinct_words",
    "documents",
    "encode_corpus",
    "encode_marked",
    "encode_short_words",
    "encode_text",
    "encode_words",
    "find_cuts",
    "find_invalid_utf8",
    "find_literal",
    "find_tokens",
    "find_words",
    "fit_tokens",
    "follow",
    "gather",
    "is_inert",
    "is_utf8",
    "lines",
    "map_characters",
    "match_longest",
    "mds_samples",
    "merge_runs",
    "merge_symbols",
    "merge_word",
    "normalize_form",
    "normalize_precompiled",
    "olmo_lines",
    "rewrite_bytes",
    "sample_offsets",
    "spell_cut_words",
    "spell_words",
    "splice",
    "split_words",
    "strip",
    "train_bpe",
    "train_bpe_in_batches",
    "train_parity_bpe",
    "train_superwords",
    "viterbi",
    "word_keys",
    "words_of",
]
