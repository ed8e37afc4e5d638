"""Short words that are merged side by side, against the plain version and `tokenizers`."""

import numpy as np
import pytest
from gputok.kernels import reference
from gputok.kernels.cpu import lookup
from gputok.kernels.cpu.encode_words import byte_words

from gputok import models
from tests.test_kernels import packed, random_model, random_words


@pytest.mark.parametrize("seed", range(12))
def test_short_words_side_by_side(seed):
    """More words than take turns, of all lengths, in any order; ids that are positions, and others."""
    rng = np.random.default_rng(seed)
    model = random_model(rng, learnt=seed % 3 > 0, ignore_merges=seed % 2 > 0)
    if seed % 4 == 0:
        vocabulary = {token: 7 * i + 5 for token, i in model.get_vocab().items()}
        merges = [tuple(pair) for pair in model.to_dict()["merges"]]
        model = models.BPE(vocabulary, merges, ignore_merges=model.ignore_merges)
    words = [word for _ in range(6) for word in random_words(rng) if len(word) <= byte_words.MOST_BYTES]
    words = [words[i] for i in rng.permutation(len(words))]
    for some in (words, words[:1], words[:17], [b""] * 3, []):
        data, ends = packed(some)
        tables = model._byte_tables
        ids, rows = byte_words.encode_byte_words(data, ends[:-1], ends[1:], byte_words.byte_words(tables))
        expected = reference.encode_words(data, ends[:-1], ends[1:], tables)
        assert ids.tolist() == expected[0].tolist() and rows.tolist() == expected[3].tolist()


def test_side_by_side_when_the_table_of_pairs_is_full():
    """Slots without a free one among them: the search goes on behind four, and round the end of the table."""
    model = random_model(np.random.default_rng(4))
    tables = model._byte_tables
    slots = tables.pairs.slots[tables.pairs.slots != lookup.FREE]
    crowded = np.full(1 << len(slots).bit_length(), lookup.FREE, np.uint64)
    pairs = tables.pairs._replace(slots=crowded)
    rank_bits = 64 - 2 * pairs.bits
    keys, mask = slots >> np.uint64(rank_bits), (1 << rank_bits) - 1
    columns = [
        keys >> np.uint64(pairs.bits),
        keys & np.uint64((1 << pairs.bits) - 1),
        slots & np.uint64(mask),
    ]
    lookup._index_pairs(*(column.astype(np.uint32) for column in columns), pairs)
    words = random_words(np.random.default_rng(5)) * 3
    data, ends = packed([word for word in words if len(word) <= byte_words.MOST_BYTES])
    tables = tables._replace(pairs=pairs)
    ids, rows = byte_words.encode_byte_words(data, ends[:-1], ends[1:], byte_words.byte_words(tables))
    expected = reference.encode_words(data, ends[:-1], ends[1:], tables)
    assert ids.tolist() == expected[0].tolist() and rows.tolist() == expected[3].tolist()
