"""The walk in blocks, halves, slices and tiles, against the plain walk: wherever text is cut, the words stay the same.

A block is walked from its beginning and from a strong cut near its middle at once (`walk_pairs`), a document longer
than a block is cut at strong cuts (`fill_block`), and so is a long document for threads (`slice_text`) or for those of
a GPU (`split.cu`). So each test moves such a cut to where it matters: into a word that is not decided yet.
"""

import functools
import itertools
import random
from collections import Counter

import numpy as np
import pytest
from gputok.kernels import DEAD
from gputok.kernels.cpu.count_words import count_words, distinct_words
from gputok.kernels.cpu.encode_corpus.rounds import Encoder, encode_corpus
from gputok.kernels.cpu.lookup import side_by_side
from gputok.kernels.cpu.walk.blocks import BLOCK_BYTES
from gputok.kernels.cpu.walk.matches import slice_text
from gputok.kernels.cpu.walk.tables import prepare
from gputok.kernels.cpu.walk.windows import window_tables
from gputok.kernels.cpu.word_table import new_table
from gputok.kernels.cuda import split
from gputok.kernels.cuda.device import DeviceSizes, indexes
from splitting import words

from gputok import Tokenizer, models
from gputok.automaton import compile_pattern
from gputok.models.bpe.cuts import safe_cuts
from gputok.pipeline.way import walk_of
from gputok.text.pieces import TextBatch
from gputok.text.way import Way
from gputok.tokens.vocabulary import pack
from tests.emulation.devices import device_of
from tests.text.test_split_plans import PARTS, WALKS, ours_of

TOKENS = ["th", "the", "▁the", "▁▁", "..", "▁.", "中国", "é.", "12", "\n\n", "a1"]
MADE_UP = {  # undecided for long, and for characters of several bytes
    "a|ab1|[^c]|c": "ends before",
    r"\p{L}{1,3}\p{N}|[\s\S]": "a letter is undecided",
    r"(?:é中)+é1|[\s\S]": "several bytes are undecided",
    "'s|'ll|'éé|[a-z]+|[^a-z]": "quotes",
}


def _automata():
    found = {name: ours_of(form).way(Way()).automaton for name, form in WALKS.items()}
    for name, form in PARTS.items():
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = ours_of(form)
        found[name] = walk_of(tokenizer.pipeline.way)
    found["Llama 2, Gemma, Mistral"] = safe_cuts(side_by_side(*pack(TOKENS), np.ones(len(TOKENS), bool))[0], "▁")
    found |= {name: compile_pattern(pattern) for pattern, name in MADE_UP.items()}
    by_tables = {automaton.delta.tobytes() + automaton.accept.tobytes(): name for name, automaton in found.items()}
    return {name: found[name] for name in by_tables.values()}  # equal automata once


AUTOMATA = _automata()
each_automaton = pytest.mark.parametrize("name", AUTOMATA)


@functools.cache
def characters(name):
    """Characters of each class, one for each number of bytes that they have in UTF-8."""
    automaton = AUTOMATA[name]
    classes = automaton.member[automaton.page].ravel().astype(int)
    classes[:128] = automaton.ascii_class
    classes[0xD800:0xE000] = -1
    ranges = (0, 0x80), (0x80, 0x800), (0x800, 0x10000), (0x10000, 0x110000)
    found = [
        [chr(begin + at[0]) for begin, end in ranges if len(at := np.flatnonzero(classes[begin:end] == k))]
        for k in range(automaton.n_classes)
    ]
    return [of_class or ["?"] for of_class in found]


@functools.cache
def ways(name):
    """For each state, the shortest way to it from the beginning of a word, as classes."""
    automaton = AUTOMATA[name]
    found, todo = {0: ()}, [0]
    for state in todo:
        for k, after in enumerate(automaton.delta[state, :-1].tolist()):
            if after != DEAD and after not in found:
                found[after] = (*found[state], k)
                todo.append(after)
    return found


def strong_pairs(name):
    """(way, a, b): each state, and each two classes with a strong cut between; the first leads on from there."""
    automaton = AUTOMATA[name]
    for state, way in ways(name).items():
        for a, b in itertools.product(range(automaton.n_classes), repeat=2):
            if automaton.strong[a, b] and automaton.delta[state, a] != DEAD:
                yield way, a, b


def spell(name, way, rng=None):
    of_class = characters(name)
    return "".join(rng.choice(of_class[k]) if rng else of_class[k][0] for k in way)


def plain(automaton, texts):
    """The words of the texts, by the plain walk."""
    return list(itertools.chain(*words(automaton, texts)))


def counted(walk, data, offsets, cuts=None):
    """The words of documents, by the walk that counts; cuts: of slices."""
    table = new_table()
    for start, stop in itertools.pairwise([0, len(data)] if cuts is None else cuts):
        table = count_words(data, offsets, 0, walk, table, int(start), int(stop))
    data, offsets, counts = distinct_words([table])
    raw = data.tobytes()
    each = (raw[a:b].decode() for a, b in itertools.pairwise(offsets.tolist()))
    return Counter(dict(zip(each, counts.tolist(), strict=True)))


ENCODER = Encoder()


def lengths(walk, data, offsets):
    """The length of each word, by the walk that encodes: a model gives each word its length as its id."""

    def model(data, start, end):
        return (end - start).astype(np.uint32), np.arange(len(start) + 1)

    return encode_corpus(data, offsets, None, walk, model, ENCODER)[0].tolist()


def check(name, texts, walk):
    """Counts and encodes texts, together as one batch, which short texts fill a block with."""
    automaton = AUTOMATA[name]
    data, offsets = TextBatch.from_strings(texts)
    expected = plain(automaton, texts)
    assert counted(walk, data, offsets) == Counter(expected), texts
    assert lengths(walk, data, offsets) == [len(word.encode()) for word in expected], texts


def around(left, right, shift):
    """Documents whose block has its middle between left and right, if there may be a cut there.

    A block is the documents with a byte after each. The first one has no cut inside: `left` begins in the first state.
    """
    n_left, n_right = len(left.encode()), len(right.encode())
    filler = "a" * max(0, n_right - n_left + shift)
    # Bytes of the block before the cut, which half of the block's bytes has to be
    n_before = len(filler) + 1 + n_left
    after = "a" * (2 * n_before - n_before - n_right - 1 + shift % 2)
    return [filler, left + right + after]


def middles(name, most=None, seed=1):
    """Texts that a block's middle cuts in each state, between each two classes."""
    rng = random.Random(seed)
    found = list(strong_pairs(name))
    if most and len(found) > most:
        found = rng.sample(found, most)
    for way, a, b in found:
        for left, right in itertools.product(characters(name)[a], characters(name)[b]):
            if not most or (left, right) == (characters(name)[a][0], characters(name)[b][0]) or rng.random() < 0.3:
                for shift in range(4):
                    yield around(spell(name, way, rng) + left, right, shift)


@pytest.mark.slow
@each_automaton
def test_the_middle_of_a_block(name):
    walk = prepare(AUTOMATA[name])
    for texts in middles(name, 25):
        check(name, texts, walk)


@pytest.mark.full
@each_automaton
def test_the_middle_of_a_block_in_all_states(name):
    walk = prepare(AUTOMATA[name])
    for texts in middles(name):
        check(name, texts, walk)


def short_texts(name, longest, most=None):
    """All texts of so many classes, or `most` of them; each class stands for its characters of one to four bytes."""
    rng, n = random.Random(2), AUTOMATA[name].n_classes
    ways = [way for size in range(2, longest + 1) for way in itertools.product(range(n), repeat=size)]
    return [spell(name, way, rng) for way in (rng.sample(ways, min(most or len(ways), len(ways))))]


def check_short(name, texts):
    """Short texts, with the middle of their block at each byte."""
    walk, rng = prepare(AUTOMATA[name]), random.Random(2)
    for text in texts:
        for at in range(1, len(text)):
            check(name, around(text[:at], text[at:], rng.randrange(4)), walk)


@pytest.mark.slow
@each_automaton
def test_each_cut_of_short_texts(name):
    check_short(name, short_texts(name, 4, 50))


@pytest.mark.full
@each_automaton
def test_each_cut_of_all_short_texts(name):
    check_short(name, short_texts(name, 3 if AUTOMATA[name].n_classes > 10 else 4))
    check_short(name, short_texts(name, 5 if AUTOMATA[name].n_classes <= 10 else 4, 5000))


def check_parts(name, texts):
    """A strong cut cuts a text into two with the same words: this is what all who cut rely on."""
    automaton = AUTOMATA[name]
    classes = automaton.member[automaton.page].ravel()
    classes[:128] = automaton.ascii_class
    pairs = [
        (text, at)
        for text in texts
        for at in range(1, len(text))
        if automaton.strong[classes[ord(text[at - 1])], classes[ord(text[at])]]
    ]
    whole = words(automaton, [text for text, _ in pairs])
    left, right = (
        words(automaton, [each for text, at in pairs for each in [text[:at], text[at:]][k : k + 1]]) for k in (0, 1)
    )
    for pair, of_whole, of_left, of_right in zip(pairs, whole, left, right, strict=True):
        assert of_whole == of_left + of_right, pair
    return len(pairs)


@each_automaton
def test_a_strong_cut_leaves_the_words_of_both_sides(name):
    rng = random.Random(3)
    texts = [spell(name, (*way, a, b), rng) + more for way, a, b in strong_pairs(name) for more in ("", "a", "é1")]
    assert check_parts(name, texts) > 0


@pytest.mark.full
@each_automaton
def test_a_strong_cut_of_all_short_texts(name):
    check_parts(name, short_texts(name, 3 if AUTOMATA[name].n_classes > 10 else 4))


def long_texts(name, n_texts, seed):
    """Texts longer than a block, whose last cut before its end is between two given characters."""
    rng = random.Random(seed)
    found = list(strong_pairs(name))
    for way, a, b in rng.sample(found, min(n_texts, len(found))):
        left, right = spell(name, (*way, a), rng), spell(name, (b,), rng)
        n_before = BLOCK_BYTES - 1 - len(left.encode()) - rng.randrange(3)
        yield "a" * (n_before - 1) + rng.choice(" a\n") + left + right + "a" * rng.randrange(40_000)


@each_automaton
def test_the_end_of_a_block(name):
    walk = prepare(AUTOMATA[name])
    for text in long_texts(name, 40, 4):
        check(name, [text], walk)


@pytest.mark.full
@each_automaton
def test_the_end_of_a_block_in_all_states(name):
    walk = prepare(AUTOMATA[name])
    for text in long_texts(name, 1000, 7):
        check(name, [text], walk)


def random_text(name, n, seed):
    rng = random.Random(seed)
    letters = [c for of_class in characters(name) for c in of_class]
    return "".join(rng.choices([*letters, *"a \n'", "'l", " a", "\n\n"], k=n))


@pytest.mark.parametrize("windows", [False, True])
@each_automaton
def test_random_texts(name, windows):
    tables = window_tables(AUTOMATA[name])
    walk = prepare(AUTOMATA[name], tables) if windows else prepare(AUTOMATA[name])
    check(name, [random_text(name, 20_000, 5), *(random_text(name, n, n) for n in range(100))], walk)


def check_slices(name, n_texts):
    """Slices of all sizes: those of threads."""
    walk = prepare(AUTOMATA[name])
    for seed in range(n_texts):
        texts = [random_text(name, n, seed) for n in (30, 0, 5, 12)]
        data, offsets = TextBatch.from_strings(texts)
        expected = Counter(plain(AUTOMATA[name], texts))
        for n_bytes in range(2, 40):
            cuts = slice_text(data, offsets, n_bytes, walk)
            assert counted(walk, data, offsets, cuts) == expected, (texts, cuts)


@each_automaton
def test_slices(name):
    check_slices(name, 3)


@pytest.mark.full
@each_automaton
def test_more_slices(name):
    check_slices(name, 100)


@each_automaton
def test_tiles_of_a_gpu(name):
    device = device_of("emulated", 0)
    tables = split.upload(device, AUTOMATA[name])
    rng = random.Random(6)
    found = list(strong_pairs(name))
    texts = [
        spell(name, (*way, a, b), rng) + "a" * rng.randrange(9) for way, a, b in rng.sample(found, min(300, len(found)))
    ]
    texts += [random_text(name, n, n) for n in (*range(20), 500)]
    batch = TextBatch.from_strings(texts)
    begins = np.cumsum([0, *(len(word.encode()) for word in plain(AUTOMATA[name], texts))])
    for n_bytes in (1, 2, 3, 7, 16, 256):
        tiled = device._replace(sizes=DeviceSizes(tile=n_bytes))
        found = split.find_words(tiled, *device.upload((batch.data, indexes(batch.offsets)))(), tables)
        assert np.array_equal(found, begins), n_bytes


def test_documents_that_were_cut_wrongly():
    """In each, the middle of the block lies in a match that is not decided."""
    gpt2 = next(name for name in AUTOMATA if name.startswith("GPT-2"))
    assert words(AUTOMATA[gpt2], ["it'l é"]) == [["it", "'", "l", " é"]]
    check(gpt2, ["it'l é"], prepare(AUTOMATA[gpt2]))
    gpt4o = "gpt-oss" if "gpt-oss" in AUTOMATA else "GPT-4o as some export it"
    for text in ("'goto clean-up' in", "a " * 20 + "  I'l x" + "é" * 23):
        check(gpt4o, [text], prepare(AUTOMATA[gpt4o]))
