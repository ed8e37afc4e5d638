"""Words found by windows of five or six bytes, against the walk by pairs, which others compare with `tokenizers`."""

import functools
import os
import random
import subprocess
import sys

import make_windows
import numpy as np
import pytest
from gputok.kernels.cpu.encode_corpus.rounds import Encoder, encode_corpus
from gputok.kernels.cpu.walk import tables as walk
from gputok.kernels.cpu.walk import windows
from splitting import words

from gputok.automaton import PATTERNS, compile_pattern
from gputok.text.pieces import SPACE_PREFIXED_RUN, TextBatch
from gputok.text.way import Way
from tests.text.test_split_plans import WALKS, ours_of

pytestmark = pytest.mark.skipif(not windows.CAN_SHUFFLE, reason="the processor has no fast shuffle")

SOME = b" \n\r\t'/aAsSlLvVrReEtTdDmM0.-\"\x00\x0b\x1f\x7f"


def automaton_of(form):
    return ours_of(WALKS[form]).way(Way()).automaton


@functools.cache
def tables_of(form):
    tables = windows.window_tables(automaton_of(form))
    assert len(tables)
    return tables


def lengths(texts, automaton, tables=windows.NO_TABLES):
    """The length of each word of all texts: a model gives each word its length as its id."""
    data, offsets = TextBatch.from_strings(texts)

    def model(data, start, end):
        return (end - start).astype(np.uint32), np.arange(len(start) + 1)

    return encode_corpus(data, offsets, None, walk.prepare(automaton, tables), model, Encoder())[0]


def same(texts, automaton, tables):
    return np.array_equal(lengths(texts, automaton), lengths(texts, automaton, tables))


@functools.cache
def random_ascii(seed, n, alphabet=SOME):
    """Text of these bytes, in which runs of all lengths occur."""
    rng = random.Random(seed)
    runs = zip(rng.choices(alphabet, k=n), rng.choices([1, 1, 1, 1, 2, 3, 5], k=n), strict=True)
    return "".join(chr(byte) * times for byte, times in runs)


def spread(text):
    """A text in parts of nine characters between plain words: where much is unknown, windows would not be used."""
    parts = (text[at : at + 9] for at in range(0, len(text), 9))
    return "".join(part + " and then some more words of plain text" * 4 for part in parts)


def lines_of(text, seed):
    """A text cut into short documents, at any character."""
    rng, at, found = random.Random(seed), 0, []
    while at < len(text):
        found.append(text[at : at + rng.choice([1, 2, 3, 5, 20, 60])])
        at += len(found[-1])
    return found


@pytest.mark.parametrize("form", WALKS)
def test_all_windows_of_some_characters(form):
    automaton = automaton_of(form)
    texts = [random_ascii(seed, 40_000) for seed in range(3)]
    texts += [random_ascii(3, 20_000, range(128)), random_ascii(4, 20_000, b" ab\n")]
    texts += [random_ascii(5, 20_000, b"0123 a."), random_ascii(6, 20_000, b"'sltve a")]
    texts += map(spread, texts[:])
    assert same(texts, automaton, tables_of(form))
    assert lengths(texts[:1], automaton, tables_of(form))[:5000].tolist() == [
        len(word) for word in words(automaton, texts[:1])[0][:5000]
    ]


@pytest.mark.parametrize("form", WALKS)
def test_documents_of_all_lengths_and_other_characters(form):
    rng = random.Random(7)
    some = random_ascii(8, 3000)
    texts = [some[at : at + rng.randrange(400)] for at in range(0, 2500, 7)]
    for other in "é中\u00a0😀’٣":
        texts += ["".join(rng.choice([*some[:200], other]) if rng.random() < 0.02 else "a " for _ in range(3000))]
    texts += ["é" * 3000, some + "é" * 3000, "", "0123456789" * 4000 + some, (some + "012345678\n" * 400) * 3]
    assert same(texts, automaton_of(form), tables_of(form))


def characters_of_several_bytes(form):
    """Some of each number of bytes that have a class of windows, and some that have none."""
    automaton, wide = automaton_of(form), tables_of(form)[windows.WIDE_CLASSES :]
    page, member = np.array(automaton.page), np.array(automaton.member).ravel()
    clear, unclear = [], []
    for first, last in ((0x80, 0x800), (0x800, 0xD800), (0xE000, 0x10000), (0x10000, 0x110000)):
        codes = np.arange(first, last)
        known = wide[member[page[codes >> 7].astype(np.int64) << 7 | codes & 127]] != windows.UNCLEAR
        for kind, chosen in ((clear, codes[known]), (unclear, codes[~known])):
            kind += map(chr, random.Random(first).sample(chosen.tolist(), min(40, len(chosen))))
    return clear, unclear


@pytest.mark.parametrize("form", WALKS)
def test_characters_of_several_bytes(form):
    """Letters of all scripts have a class: windows tell their words, beside all kinds of ASCII and other characters."""
    automaton, tables = automaton_of(form), tables_of(form)
    clear, unclear = characters_of_several_bytes(form)
    assert {len(c.encode()) for c in clear} >= {2, 3}
    rng = random.Random(11)
    texts = []
    for often, seldom in ((1.0, 0.0), (0.5, 0.0), (0.1, 0.0), (0.5, 0.004), (0.05, 0.004)):
        some = [rng.choice(clear) * rng.choice([1, 1, 2, 9]) for _ in range(1500)]
        kinds = some, [*random_ascii(12, 300), " the ", "ab"], unclear or clear
        shares = often, 1 - often - seldom, seldom
        texts.append("".join(map(rng.choice, rng.choices(kinds, shares, k=20_000))))
    texts += lines_of(texts[1][:9000], 13)
    assert same(texts, automaton, tables)
    for c in {len(c.encode()): c for c in clear}.values():  # on both sides of the edges of 64 bytes
        assert all(same(["a" * n + c + " b1 " * 40], automaton, tables) for n in range(60, 68))
    between = [*" " * 20, " 12 ", " -- "]
    plain = [
        "".join(rng.choice(clear) * rng.choice([1, 2, 9]) + rng.choice(between) for _ in range(5000)) for _ in range(3)
    ]
    broken = tables.copy()
    broken[windows.TERM_SETS : windows.FORM] = 0
    assert same(plain, automaton, tables)
    assert not same(plain, automaton, broken)  # plain text is not walked by pairs
    assert lengths(texts[2:3], automaton, tables)[:3000].tolist() == [
        len(word.encode()) for word in words(automaton, texts[2:3])[0][:3000]
    ]


@pytest.mark.parametrize("form", WALKS)
def test_short_documents(form):
    """Windows tell the words also beside the ends of documents: hardly a position is left to the walk."""
    automaton = automaton_of(form)
    for seed, alphabet in enumerate((SOME, range(128), b" ab\n", b"'sltve a")):
        texts = lines_of(random_ascii(seed, 20_000, alphabet), seed)
        assert same([*texts, "", "a"], automaton, tables_of(form))
        assert same(lines_of("".join(map(spread, texts[:200])), seed), automaton, tables_of(form))
    texts = lines_of(random_ascii(9, 2000), 9)
    assert lengths(texts, automaton, tables_of(form)).tolist() == [
        len(word) for of_text in words(automaton, texts) for word in of_text
    ]


@pytest.mark.parametrize("form", WALKS)
def test_words_and_gaps_longer_than_a_block(form):
    texts = [c * n for c in "a 1.\n" for n in (63, 64, 65, 127, 128, 129, 40_000)]
    texts += ["a" * n + " " * n + "x" for n in (60, 64, 33_000)] + [" " * n + "\n" + " " * n for n in (64, 33_000)]
    assert same(texts, automaton_of(form), tables_of(form))


def test_patterns_of_all_kinds():
    """Also words that end where the walk has gone further: only some windows are known."""
    patterns = [
        *(r"\s?\p{L}+|[\s\S]", r"[a-z]+|[^a-z]+", r"\p{L}+\p{N}|[\s\S]", "a|ab1|[^c]|c", "[0-9]{3}|[^0-9]|[0-9]"),
        *(r"\n+|[^\n]+", "'s|'t|[a-z]+|[^a-z]", r"\w+|\s+(?!\S)|\s+|[^\w\s]", "(?:ab)+|[\\s\\S]", SPACE_PREFIXED_RUN),
    ]
    automata = [compile_pattern(pattern) for pattern in patterns]
    texts = [random_ascii(9, 30_000, alphabet) for alphabet in (SOME, b"ab1c \n", range(128))]
    texts += map(spread, texts[:])
    found = [windows.window_tables(automaton) for automaton in automata]
    assert sum(len(tables) > 0 for tables in found) >= 7
    for automaton, tables in zip(automata, found, strict=True):
        assert same(texts, automaton, tables)


def test_superwords_need_six_bytes():
    """A piece may begin with a space before two marks."""
    forms = [windows.FORMS[tables_of(form)[windows.FORM]] for form in (next(iter(WALKS)), "SuperBPE")]
    assert forms == [(5, 16), (6, 16)]


@pytest.mark.parametrize("form", ["gpt-oss", "GPT-4o as some export it", "Llama 4"])
def test_patterns_with_too_many_classes(form):
    """Rare classes are one class of windows: these tell the words of prose with contractions and capitals, too."""
    automaton, tables = automaton_of(form), tables_of(form)
    assert len(np.unique(automaton.ascii_class)) >= windows.MOST_CLASSES > tables[:128].max()
    prose = "It's what they'll say, and I don't know. \"We've HELD it,\" said McDuff; he'd gone by 10/1984.\n" * 50
    assert same([prose, prose.upper(), prose.lower()], automaton, tables)
    broken = tables.copy()
    broken[windows.TERM_SETS : windows.FORM] = 0
    assert not same([prose], automaton, broken)  # prose is not walked by pairs


@pytest.mark.parametrize("form", [*list(WALKS)[:3], "SuperBPE", "gpt-oss"])
def test_each_term_matters(form):
    automaton, texts = automaton_of(form), [spread(random_ascii(seed, 10_000)) for seed in range(3)]
    texts.append(spread(random_ascii(3, 10_000, b".\n a")))
    texts += lines_of(texts[0], seed=3)
    n_sets = windows.WIDTH * windows.MOST_CLASSES
    for term in range(windows.EIGHT):  # by which words begin
        tables = tables_of(form).copy()
        tables[windows.TERM_SETS : windows.TERM_SETS + n_sets] &= ~np.uint8(1 << term)
        assert not same(texts, automaton, tables), term
    at = slice(windows.FORM - 2, windows.FORM)
    of_begin, of_unknown = tables_of(form)[at]
    for masks in ((0, 0), (0, of_unknown), (of_begin, 0)):
        tables = tables_of(form).copy()
        tables[at] = masks
        assert same(texts, automaton, tables) == np.array_equal(tables, tables_of(form)), masks
    if windows.FORMS[tables_of(form)[windows.FORM]][1] > 2 * windows.EIGHT:  # by which it is unknown
        tables = tables_of(form).copy()
        tables[windows.TERM_SETS + 2 * n_sets : at.start] = 0
        assert not same(texts, automaton, tables)


@pytest.mark.jit_only
@pytest.mark.unchecked
def test_a_processor_without_a_shuffle(tmp_path):
    """As on other machines than x86-64, one byte is looked up after the other."""
    processor = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", __file__, "-k", "longer_than_a_block"]
    done = subprocess.run(command, env=os.environ | processor, capture_output=True, text=True)
    assert done.returncode == 0 and f"{len(WALKS)} passed" in done.stdout, done.stdout + done.stderr


def test_no_tables_if_too_much_is_unknown():
    assert len(windows.window_tables(compile_pattern("[a-z]{5}|[\\s\\S]"))) == 0
    assert len(windows.window_tables(compile_pattern("|".join(["a{3,60}", "[\\s\\S]"])))) == 0
    assert (
        len(
            windows.window_tables(
                compile_pattern("|".join(f"{c}+" for c in "abcdefghijklmnopqrstuvwxyz") + "|[\\s\\S]")
            )
        )
        == 0
    )


def test_the_file_of_tables_is_of_these_automata():
    assert np.array_equal(np.load(windows.READY), make_windows.rows()), "run tests/make_windows.py"


def test_tables_come_when_they_pay():
    walks = walk.Walks(compile_pattern(PATTERNS["gpt2"]))
    assert [len(walks.of(n).windows) for n in (walk.SOME_TEXT - 1, 1, 1)] == [0, *[windows.N_BYTES] * 2]
    walks = walk.Walks(compile_pattern(r"[a-y]+|z|[^a-z]"))
    made = [len(walks.of(n).windows) for n in (walk.SOME_TEXT, walk.MUCH_TEXT - walk.SOME_TEXT - 1, 1)]
    assert made == [0, 0, windows.N_BYTES]
