"""The normalizing stages: Numba against plain Python, on random text with frozen pieces and gaps."""

import numpy as np
import pytest
from gputok.kernels.cpu import edits, normalize, precompiled
from make_normalization_tables import charsmap

from gputok.normalizers import Precompiled
from gputok.text import unicode_maps
from gputok.text.pieces import TextBatch
from tests import reference
from tests.text.test_normalizers import random_strings


def pieces(seed: int):
    """data, start, end, frozen of random strings; every fifth is in no piece, every third of the rest is frozen."""
    data, offsets = TextBatch.from_strings(random_strings(seed, 300))
    keep = np.arange(300) % 5 > 0
    start, end = offsets[:-1][keep], offsets[1:][keep]
    return data, start, end, np.arange(len(start)) % 3 == 0


def same_text(data, one, two) -> None:
    """As `same`; any byte of a character may stand for it in a source."""
    lead = np.maximum.accumulate(np.where((data & 0xC0) != 0x80, np.arange(len(data)), 0))
    same(*((new, offsets, np.where(source < 0, source, lead[source])) for new, offsets, source in (one, two)))


def same(one, two) -> None:
    for a, b in zip(one, two, strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("name", ["lowercase", "uppercase", "nmt", "bert_clean_chinese", "bert_marks_lowercase"])
def test_map_characters(name, aligned):
    text, table = pieces(1), unicode_maps.character_map(name)
    same_text(text[0], normalize.map_characters(*text, table, aligned), reference.map_characters(*text, table, aligned))


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("name", ["nfc", "nfd", "nfkc", "nfkd"])
def test_normalize_form(name, aligned):
    text, form = pieces(2), unicode_maps.normalization_form(name)
    pairs = unicode_maps.compositions() if name.endswith("c") else None
    same_text(
        text[0],
        normalize.normalize_form(*text, form, pairs, aligned),
        reference.normalize_form(*text, form, pairs, aligned),
    )


@pytest.mark.parametrize("name", ["nfc", "nfkd"])
def test_pieces_without_gaps_that_hardly_change(name):
    """Text of many pieces stays as it is: these are copied with one call."""
    rng = np.random.default_rng(7)
    strings = [
        "",
        *rng.choice(["", "the ", "é", "漢字", "\u0301a", "e\u0301", "\ufb01"], 400, p=[0.1, *[0.29] * 3, *[0.01] * 3]),
    ]
    data, offsets = TextBatch.from_strings(strings)
    form, pairs = (unicode_maps.normalization_form(name), unicode_maps.compositions() if name == "nfc" else None)
    for first, last in ((0, len(strings)), (5, 390), (9, 9)):
        for frozen in (None, rng.random(last - first) < 0.1):
            text = data, offsets[first:last], offsets[first + 1 : last + 1], frozen
            for aligned in (False, True):
                ours = normalize.normalize_form(*text, form, pairs, aligned)
                same_text(data, ours, reference.normalize_form(*text, form, pairs, aligned))


@pytest.mark.parametrize("aligned", [False, True])
def test_normalize_precompiled(aligned):
    text, graphemes = pieces(3), unicode_maps.grapheme_classes()
    some = sorted(set(text[0].tobytes().decode()) - {"\0"})[::2]
    tables = Precompiled(charsmap(some)).tables
    same_text(
        text[0],
        precompiled.normalize_precompiled(*text, *tables, graphemes, aligned),
        reference.normalize_precompiled(*text, *tables, graphemes, aligned),
    )


def test_is_inert():
    data, start, end, frozen = pieces(4)
    page, member, n_inert, *_ = unicode_maps.normalization_form("nfc")
    answers = []
    for i in range(len(start)):
        piece = data, start[i : i + 1], end[i : i + 1], frozen[i : i + 1]
        answers.append(normalize.is_inert(*piece, page, member, n_inert))
        assert answers[-1] == reference.is_inert(*piece, page, member, n_inert)
    assert len(set(answers)) == 2


@pytest.mark.parametrize("name", ["nfc", "nfd", "nfkc", "nfkd"])
def test_long_texts_of_all_scripts(name):
    """Of long text, characters are looked at only if they begin with certain bytes: those that change are all found."""
    rng = np.random.default_rng(11)
    form, pairs = unicode_maps.normalization_form(name), None
    if name.endswith("c"):
        pairs = unicode_maps.compositions()
    points = np.r_[1:0xD800, 0xE000:0x30000]
    kinds = form[1].ravel()[form[0][points >> 7].astype(np.int64) << 7 | points & 127]
    inert, others = (np.array([*map(chr, some)]) for some in (points[kinds < form[2]], points[kinds >= form[2]]))
    plain = "".join(rng.permutation(inert)[:30_000]) + "the end " * 9
    assert len(plain.encode()) > normalize.MUCH_TEXT

    def inert_text(text):
        data, offsets = TextBatch.from_strings([text])
        return normalize.is_inert(data, offsets[:1], offsets[1:], None, *form[:3])

    assert inert_text(plain)
    for c in [*rng.choice(others, 300), *others[:: len(others) // 100]]:
        at = int(rng.integers(len(plain) + 1))
        assert not inert_text(plain[:at] + c + plain[at:])
    changed = list(plain)
    for at in rng.integers(0, len(plain), 200):
        changed[at] += rng.choice(others)
    data, offsets = TextBatch.from_strings(["".join(changed[:9000]), "".join(changed[9000:])])
    text = data, offsets[:-1], offsets[1:], None
    ours = normalize.normalize_form(*text, form, pairs, True)
    same_text(data, ours, reference.normalize_form(*text, form, pairs, True))


@pytest.mark.parametrize("literal", ["a", "\u0301", "aa", "é "])
def test_find_and_splice(literal):
    text, literal = pieces(5), np.frombuffer(literal.encode(), np.uint8)
    found, rows = edits.find_literal(*text, literal)
    same((found, rows), reference.find_literal(*text, literal))
    edit = rows, found, found + len(literal), np.frombuffer("<é>".encode(), np.uint8), ~found
    for aligned in (False, True):
        same_text(text[0], edits.splice(*text[:3], *edit, aligned), reference.splice(*text[:3], *edit, aligned))


@pytest.mark.parametrize(("left", "right"), [(True, True), (True, False), (False, True)])
def test_strip(left, right):
    text, space = pieces(6), unicode_maps.character_map("whitespace")[:2]
    same(edits.strip(*text, space, left, right), reference.strip(*text, space, left, right))


def test_follow():
    source = np.array([0, 2, ~2, ~0, 1])
    start, end = np.array([5, 6, 7], np.int32), np.array([6, 7, 9], np.int32)
    assert [side.tolist() for side in normalize.follow(source, start, end)] == [[5, 7, 7, 5, 6], [6, 9, 7, 5, 7]]
    same(normalize.follow(source, start, end), reference.follow(source, start, end))
