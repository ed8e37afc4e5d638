"""Every pre-tokenizer against that of tokenizers, asked live: pieces and offsets, JSON, `repr`, pickle and errors."""

import functools
import itertools
import json
import pathlib
import pickle
import time
from typing import NamedTuple

import numpy as np
import pytest
import tokenizers
from tokenizers import pre_tokenizers as theirs

import gputok
from gputok import pre_tokenizers as ours
from gputok.automaton import compile_pattern
from gputok.automaton.pattern import spans
from gputok.text.pieces import Pieces, TextBatch
from gputok.text.way import Way
from tests import reference

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN = LLAMA3.replace("{1,3}", "")
DEEPSEEK = (
    r"\p{N}{1,3}",
    "[一-龥぀-ゟ゠-ヿ]+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
)
BEHAVIORS = ["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"]


def split_then_bytes(*patterns):
    return lambda p, Regex: p.Sequence(
        [*(p.Split(Regex(pattern), "isolated") for pattern in patterns), p.ByteLevel(False, True, False)]
    )


# name -> how to make it from a module of pre-tokenizers and a Regex class
MAKERS = {
    "bert": lambda p, _: p.BertPreTokenizer(),
    "byte level": lambda p, _: p.ByteLevel(),
    "byte level, no prefix": lambda p, _: p.ByteLevel(add_prefix_space=False, trim_offsets=False),
    "byte level, no regex": lambda p, _: p.ByteLevel(use_regex=False),
    "delimiter": lambda p, _: p.CharDelimiterSplit("é"),
    "digits": lambda p, _: p.Digits(),
    "digits, each": lambda p, _: p.Digits(individual_digits=True),
    "fixed length": lambda p, _: p.FixedLength(),
    "fixed length 1": lambda p, _: p.FixedLength(1),
    "metaspace": lambda p, _: p.Metaspace(),
    "metaspace, first": lambda p, _: p.Metaspace(prepend_scheme="first"),
    "metaspace, never": lambda p, _: p.Metaspace(prepend_scheme="never"),
    "metaspace, whole": lambda p, _: p.Metaspace("x", split=False),
    "metaspace, letter": lambda p, _: p.Metaspace("a"),
    "scripts": lambda p, _: p.UnicodeScripts(),
    "whitespace": lambda p, _: p.Whitespace(),
    "whitespace split": lambda p, _: p.WhitespaceSplit(),
    "llama 3": split_then_bytes(LLAMA3),
    "qwen": split_then_bytes(QWEN),
    "deepseek": split_then_bytes(*DEEPSEEK),
    "deepseek, digits and Chinese": split_then_bytes(*DEEPSEEK[:2]),
    "deepseek, all but digits": split_then_bytes(*DEEPSEEK[1:]),
    "deepseek, and more": lambda p, Regex: p.Sequence(
        [p.Punctuation(), *(p.Split(Regex(x.replace(r"\n", "\n")), "isolated") for x in DEEPSEEK), p.FixedLength(2)]
    ),
    "empty sequence": lambda p, _: p.Sequence([]),
    "bytes twice": lambda p, _: p.Sequence([p.ByteLevel(), p.ByteLevel(use_regex=False)]),
    "bytes, then spaces": lambda p, _: p.Sequence([p.ByteLevel(), p.Metaspace()]),
    "words, then first": lambda p, _: p.Sequence([p.WhitespaceSplit(), p.Metaspace(prepend_scheme="first")]),
    "spaces, then bytes": lambda p, _: p.Sequence([p.Metaspace(), p.ByteLevel(), p.Digits(True)]),
    "scripts, then marks": lambda p, _: p.Sequence([p.UnicodeScripts(), p.Punctuation("contiguous")]),
    "whitespace, digits, fixed": lambda p, _: p.Sequence([p.Whitespace(), p.Digits(), p.FixedLength(3)]),
    "empty string": lambda p, _: p.Split("", "isolated"),
    **{f"punctuation, {b}": lambda p, _, b=b: p.Punctuation(b) for b in BEHAVIORS},
    **{
        f"split, {b}{', inverted' * invert}": lambda p, Regex, b=b, i=invert: p.Split(Regex(r"\s|[ae]+"), b, i)
        for b in BEHAVIORS
        for invert in (False, True)
    },
    **{f"string, {b}": lambda p, _, b=b: p.Split("a.", b) for b in BEHAVIORS},
}
NAMED = {"gpt2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"}
NAMED |= {"llama 3": LLAMA3, "qwen": QWEN, **{f"deepseek {i}": p for i, p in enumerate(DEEPSEEK)}}


def pair(name):
    make = MAKERS[name]
    return make(ours, gputok.Regex), make(theirs, tokenizers.Regex)


# What patterns and sets tell apart, and what other Unicode versions see otherwise.
WORDS = [
    *"aeZé,.!?'\"-_$+<|~^ \t\n\r09½²Ⅷ٣०〇一龥あーアﾊ가กאبяΣßſKIıİ",
    *"\u0301\u0345\u200d\u20e3\ufe0f\u00ad\ufeff\u200b\u0085\u00a0\u1680\u2003\u2028\u2029\u202f\u205f\u3000\x0b\x1c\x1f\0",
    *"▁Ġ😀👍🏽‿⁀々〆ⓐ€\u0378\ue000\U000e0100\U0001e900\U0001f9ff\U0003134f\U0010ffff\U00016d40\u1c89",
    *["'s", "'RE", "'ſ", "n't", "  ", "   ", "\r\n", "\n\n", "12345", "a.", "aa", "中文", "word", " word", "👨‍👩‍👧"],
]


def random_texts(seed: int, n: int) -> list[str]:
    """Strings over all of Unicode, most of them of what the patterns look at; the first is empty."""
    rng = np.random.default_rng(seed)
    texts = [""]
    while len(texts) < n:
        words = rng.choice(WORDS, rng.integers(1, 24)).tolist()
        if rng.random() < 0.4:
            points = rng.integers(0, 0x110000, 4)
            words += [chr(c) for c in points if not 0xD800 <= c < 0xE000]
        if rng.random() < 0.1:
            words.append(words[0] * int(rng.integers(1, 200)))
        texts.append("".join(rng.permutation(words)))
    return texts


def results(pre_tokenizer, texts: list[str]) -> list[list[tuple[str, tuple[int, int]]]]:
    """`pre_tokenize_str` of every text, by one `apply` of all of them."""
    batch = TextBatch.from_strings(texts)
    pieces = ours.spell_out(pre_tokenizer.apply(Pieces.from_batch(batch, aligned=True)))
    strings, rows = pieces.strings(), pieces.rows.tolist()
    start, end = (side.tolist() for side in pieces.alignment)
    found = []
    for text, first, stop in zip(texts, rows, rows[1:], strict=False):
        character = [i for i, c in enumerate(text) for _ in c.encode()]
        ranges = [
            (character[start[a]], character[end[b - 1] - 1] + 1) if a < b else (0, 0)
            for a, b in zip(pieces.start[first:stop].tolist(), pieces.end[first:stop].tolist(), strict=True)
        ]
        found.append(list(zip(strings[first:stop], ranges, strict=True)))
    return found


def check_parity(name: str, texts: list[str]) -> None:
    mine, upstream = pair(name)
    for text, found in zip(texts, results(mine, texts), strict=True):
        assert found == upstream.pre_tokenize_str(text), (name, text)


@pytest.mark.slow
@pytest.mark.parametrize("name", MAKERS)
def test_pieces_and_offsets(name):
    texts = random_texts(1, 2000)
    check_parity(name, texts)
    mine, upstream = pair(name)
    for text in texts[:40]:
        assert mine.pre_tokenize_str(text) == upstream.pre_tokenize_str(text)


@pytest.mark.full
@pytest.mark.parametrize("name", MAKERS)
def test_pieces_and_offsets_of_many(name):
    check_parity(name, random_texts(2, 20_000))


@pytest.mark.slow
@pytest.mark.parametrize("corpus", ["en", "code", "multi", "zh"])
def test_pieces_and_offsets_of_corpora(corpus, corpus_sample):
    lines = corpus_sample(corpus, 100_000).splitlines(keepends=True)
    texts = ["".join(lines[i : i + 20]) for i in range(0, len(lines), 20)]
    for name in MAKERS:
        check_parity(name, texts)


@pytest.mark.slow
def test_every_character_of_the_sets():
    """One text for each 256 code points: each character between letters, digits and spaces."""
    points = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    texts = ["".join(f"a{c}1{c} " for c in points[i : i + 256]) for i in range(0, 0x30000, 256)]
    for name in ("bert", "digits", "punctuation, isolated", "scripts", "whitespace", "whitespace split"):
        check_parity(name, texts)


BEYOND = [r"\b", r"(a|b)\1", "(?<=a)b|c", r"(?!ab)\w", "^", "(?>ab|a)c"]


@pytest.mark.parametrize("pattern", BEYOND)
def test_patterns_beyond_automata_warn_once(pattern):
    compile_pattern.cache_clear()
    with pytest.warns(UserWarning, match="`regex` package") as warned:
        split = ours.Split(gputok.Regex(pattern), "removed")
        split.pre_tokenize_str("ab")
        split.pre_tokenize_str("ba")
    assert len(warned) == 1


HOSTILE = [r"(a|aa)+(?<=b)\1", r"(?:a{1,200}){1,200}(?<=b)c", r"(a|a)+\1(?<=b)c", r"(a|aa)+(?<=b)\1|b"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:pattern")
@pytest.mark.parametrize("pattern", HOSTILE)
def test_a_hostile_pattern_ends_in_an_error(pattern, monkeypatch):
    """`tokenizers` panics after ten million steps of backtracking."""
    monkeypatch.setattr("gputok.automaton.pattern.spans", functools.partial(spans, seconds=0.3))
    text = "b" * ("|" in pattern[-2:]) + "é" + "a" * 60
    for split in (
        ours.Split(gputok.Regex(pattern), "isolated").pre_tokenize_str,
        gputok.normalizers.Replace(gputok.Regex(pattern), "x").normalize_str,
        lambda text: gputok.NormalizedString(text).split(gputok.Regex(pattern), "isolated"),
        lambda text: gputok.decoders.Replace(gputok.Regex(pattern), "x").decode([text]),
    ):
        began = time.process_time()
        with pytest.raises(ValueError, match=r"took more than 0\.3 s for a text of 6[12] characters") as raised:
            split(text)
        assert time.process_time() - began < 2
        assert repr(pattern) in str(raised.value)
        assert f"at character {text.index('é')}, before 'éaaaaa" in str(raised.value)
    assert [word for word, _ in ours.Split(gputok.Regex(pattern), "isolated").pre_tokenize_str("xyz")] == ["xyz"]


@pytest.mark.filterwarnings("ignore:pattern")
def test_many_short_hostile_texts_are_bounded_together():
    """Each match stays below the bound; the time of a text is that of all its matches."""
    pattern = compile_pattern(r"(a|aa)+(?<=b)\1|c|$")
    with pytest.raises(ValueError, match="was given up at character"):
        list(spans(pattern, ("a" * 18 + "c") * 4000, seconds=0.3, per_character=0.0))


@pytest.mark.filterwarnings("ignore:pattern")
@pytest.mark.parametrize("pattern", [*BEYOND, r"(?<=\s)\w+|(\w)\1|\s+"])
def test_ordinary_text_is_far_from_the_bound(pattern):
    """It takes less than a tenth of the time."""
    text = pathlib.Path(pathlib.__file__).read_text() * 5
    assert list(spans(compile_pattern(pattern), text, seconds=0.5, per_character=1e-5))


@pytest.mark.filterwarnings("ignore:pattern")
@pytest.mark.parametrize("pattern", [*BEYOND, "(?=b)", "a*", "$", "", "b??", "(?:a|)+"])
def test_empty_matches_and_patterns_beyond_automata(pattern):
    """Empty matches cut too, unless they touch the last match."""
    texts = ["aabb abc", "", "b", "\n\n a", "é\nab aac", "中a"]
    for behavior in BEHAVIORS:
        for invert in (False, True):
            mine = ours.Split(gputok.Regex(pattern), behavior, invert)
            upstream = theirs.Split(tokenizers.Regex(pattern), behavior, invert)
            assert results(mine, texts) == [upstream.pre_tokenize_str(text) for text in texts]


def test_added_tokens_stay_whole():
    """A piece that is an added token is neither cut nor changed, whatever comes before and after it."""
    texts = ["one two", "<s> 1 ", " three,4 ", "<s> 1 ", "", "five"]
    token = np.array([-1, 7, -1, 7, -1, -1], np.int64)
    for name in MAKERS:
        mine, _ = pair(name)
        batch = TextBatch.from_strings(texts)
        pieces = Pieces.from_batch(batch, aligned=True)._replace(rows=np.array([0, 2, 6]), token=token)
        apart = [
            [text] if number >= 0 else [piece for piece, _ in mine.pre_tokenize_str(text)]
            for text, number in zip(texts, token, strict=True)
        ]
        if name in ("metaspace, first", "words, then first"):  # all of these texts lie at the start here
            continue
        cut = ours.spell_out(mine.apply(pieces))
        assert cut.strings() == list(itertools.chain(*apart)), name
        assert cut.rows.tolist() == [0, sum(map(len, apart[:2])), sum(map(len, apart))]
        assert cut.token.tolist() == [n for n, part in zip(token.tolist(), apart, strict=True) for _ in part]


def test_first_is_the_start_of_the_document():
    """Without an alignment, the first piece of a document; with one, what comes from its first byte."""
    batch = TextBatch.from_strings([" a b", "c"])
    pieces = Pieces.from_batch(batch)._replace(
        start=np.array([1, 3, 4]), end=np.array([2, 4, 5]), rows=np.array([0, 2, 3])
    )
    meta = ours.Metaspace(prepend_scheme="first")
    assert meta.apply(pieces).strings() == ["▁a", "b", "▁c"]
    assert meta.way(Way()).at_start and ours.Sequence([meta]).way(Way()).at_start
    aligned = pieces._replace(alignment=Pieces.from_batch(batch, aligned=True).alignment)
    assert meta.apply(aligned).strings() == ["a", "b", "▁c"]


@pytest.mark.parametrize("name", MAKERS)
def test_pieces_do_not_depend_on_the_alignment(name):
    mine, _ = pair(name)
    batch = TextBatch.from_strings(random_texts(4, 200))
    plain, aligned = (mine.apply(Pieces.from_batch(batch, aligned=aligned)) for aligned in (False, True))
    assert plain.alignment is None
    assert ours.spell_out(plain).strings() == ours.spell_out(aligned).strings()
    assert plain.rows.tolist() == aligned.rows.tolist()


def test_plans_do_the_same_as_apply():
    """A plan is one automaton whose words are the pieces; everything else has none."""
    texts = random_texts(3, 200)
    planned = {name for name in MAKERS if pair(name)[0].way(Way()).automaton}
    assert {"byte level, no prefix", "llama 3", "qwen", "deepseek", "digits, each"} <= planned
    assert not planned & {"byte level", "metaspace", "bytes twice", "split, removed", "empty sequence"}
    for name in planned:
        mine, _ = pair(name)
        _, automaton, byte_level, *_ = mine.way(Way())
        split = ours.cut_pieces(Pieces.from_batch(TextBatch.from_strings(texts)), automaton, "isolated")
        assert (
            ours.spell_out(split._replace(byte_level=byte_level)).strings()
            == ours.spell_out(mine.apply(Pieces.from_batch(TextBatch.from_strings(texts)))).strings()
        )


class Counted(NamedTuple):
    """A table that counts how often it is read."""

    table: np.ndarray
    reads: list[int]

    def __getitem__(self, at):
        self.reads[0] += 1
        return self.table[at]

    @property
    def shape(self):
        return self.table.shape


@pytest.mark.parametrize("name", NAMED)
def test_named_patterns_are_linear(name):
    """Four times the text takes four times the steps, for the texts that make backtracking quadratic."""
    automaton = compile_pattern(NAMED[name])

    def steps(text: str) -> int:
        reads = [0]
        data = np.frombuffer(text.encode(), np.uint8)
        counted = automaton._replace(accept=Counted(automaton.accept, reads))
        everything = np.array([0]), np.array([len(data)])
        reference.split_words(data, *everything, None, counted, *ours.cut_rule("isolated"))
        return reads[0]

    for unit in (
        " ",
        "a",
        "\n",
        " \n",
        "\n ",
        "\r",
        "'",
        "1",
        ".",
        "é",
        "\u0301",
        "中",
        "a ",
        "'s",
        ".\n",
        "😀",
        "  a",
    ):
        assert steps(unit * 2000) <= 4.1 * steps(unit * 500) + 100, (name, unit)


@pytest.mark.parametrize("name", MAKERS)
def test_json_repr_and_pickle(name):
    mine, upstream = pair(name)
    assert mine.to_dict() == json.loads(upstream.__getstate__())
    assert repr(mine) == repr(upstream)
    assert repr(pickle.loads(pickle.dumps(mine))) == repr(mine)
    assert repr(ours.PreTokenizer.from_dict(mine.to_dict())) == repr(mine)


def test_json_forms_of_files():
    def read(value):
        file = json.loads(tokenizers.Tokenizer(tokenizers.models.BPE()).to_str())
        text = json.dumps(file | {"pre_tokenizer": value})
        return repr(tokenizers.Tokenizer.from_str(text).pre_tokenizer)

    nested = {"type": "Sequence", "pretokenizers": [{"type": "Sequence", "pretokenizers": []}, {"type": "Whitespace"}]}
    for value in (
        nested,
        {"type": "Punctuation"},
        {"type": "FixedLength"},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True},
        {"type": "Metaspace", "replacement": "_", "add_prefix_space": True, "str_rep": "_"},
        {"type": "Metaspace", "replacement": "_", "add_prefix_space": False, "prepend_scheme": "never"},
        {"type": "Split", "pattern": {"String": '\n"'}, "behavior": "Removed", "invert": True},
    ):
        assert repr(ours.PreTokenizer.from_dict(value)) == read(value)
    for value in (
        {"type": "Nope"},
        {},
        None,
        {"type": "PreTokenizer"},
        {"type": "Sequence"},
        {"type": "Sequence", "pretokenizers": [{"type": "Nope"}]},
        {"type": "ByteLevel", "trim_offsets": True},
        {"type": "Digits"},
        {"type": "Digits", "individual_digits": "yes"},
        {"type": "FixedLength", "length": -1},
        {"type": "CharDelimiterSplit", "delimiter": "ab"},
        {"type": "Split", "pattern": {"String": "a"}, "behavior": "Removed"},
        {"type": "Punctuation", "behavior": "isolated"},
        {"type": "Metaspace", "replacement": "_", "add_prefix_space": False},
        {"type": "Split", "pattern": "a", "behavior": "Removed", "invert": False},
        {"type": "Split", "pattern": {"Regex": "("}, "behavior": "Removed", "invert": False},
    ):
        with pytest.raises(ValueError):
            ours.PreTokenizer.from_dict(value)
        if value is not None:  # that is no pre-tokenizer at all
            with pytest.raises(Exception, match="line 1"):
                read(value)


def test_attributes_can_be_set():
    text = "a1 b22 _c"
    settings = [
        ("digits", "individual_digits", True),
        ("byte level", "use_regex", False),
        ("byte level", "add_prefix_space", False),
        ("metaspace", "split", False),
        ("metaspace", "replacement", "_"),
        ("metaspace", "prepend_scheme", "never"),
        ("punctuation, isolated", "behavior", "removed"),
        ("split, removed", "behavior", "contiguous"),
        ("split, removed", "invert", True),
        ("delimiter", "delimiter", "b"),
        ("fixed length", "length", 2),
    ]
    for name, attribute, value in settings:
        both = pair(name)
        for pre_tokenizer in both:
            pre_tokenizer.pre_tokenize_str(text)  # what was derived from the old value must go
            setattr(pre_tokenizer, attribute, value)
            assert getattr(pre_tokenizer, attribute) == value
        assert both[0].pre_tokenize_str(text) == both[1].pre_tokenize_str(text)
        assert repr(both[0]) == repr(both[1])


def test_a_sequence_contains_the_objects_that_were_passed():
    for p in (ours, theirs):
        digits = p.Digits()
        sequence = p.Sequence([p.Sequence([digits]), p.Whitespace()])
        digits.individual_digits = True
        assert repr(sequence) == "Sequence(pretokenizers=[Digits(individual_digits=True), Whitespace()])"
        sequence[1] = p.WhitespaceSplit()
        assert repr(sequence[1]) == "WhitespaceSplit()"
        assert [repr(element) for element in sequence] == ["Digits(individual_digits=True)", "WhitespaceSplit()"]
        with pytest.raises(IndexError, match="Index not found"):
            sequence[2]
        with pytest.raises(Exception, match=r"a [sS]equence"):
            sequence[0] = p.Sequence([digits])


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda p: p.Split("a", "nope"), ValueError),
        (lambda p: p.Split("a", "Removed"), ValueError),
        (lambda p: p.Split(1, "removed"), TypeError),
        (lambda p: p.Split("a", "removed", 1), TypeError),
        (lambda p: p.Punctuation("nope"), ValueError),
        (lambda p: p.Punctuation(None), TypeError),
        (lambda p: p.Metaspace("ab"), ValueError),
        (lambda p: p.Metaspace(prepend_scheme="last"), ValueError),
        (lambda p: p.CharDelimiterSplit(""), ValueError),
        (lambda p: p.FixedLength(-1), OverflowError),
        (lambda p: p.ByteLevel(1), TypeError),
        (lambda p: p.Sequence([1]), TypeError),
        (lambda p: p.PreTokenizer(), TypeError),
        (lambda p: p.Digits().pre_tokenize_str(1), TypeError),
        (lambda p: p.Digits().pre_tokenize_str("\ud800"), UnicodeEncodeError),
    ],
)
def test_errors(make, error):
    for p in (ours, theirs):
        with pytest.raises(error):
            make(p)


def test_the_byte_alphabet():
    assert sorted(ours.ByteLevel.alphabet()) == sorted(theirs.ByteLevel.alphabet())
    assert ours.ByteLevel.alphabet()[ord("A")] == "A"


def test_metaspace_first_after_a_normalizer_that_strips():
    """After stripped text, a piece is not the start of the document, with or without offsets."""

    def ids(library, text, method):
        vocabulary = {"▁a": 0, "a": 1, "▁b": 2, "?": 3}
        tokenizer = library.Tokenizer(library.models.WordLevel(vocabulary, unk_token="?"))
        tokenizer.normalizer = library.normalizers.Strip()
        tokenizer.pre_tokenizer = library.pre_tokenizers.Metaspace(prepend_scheme="first")
        return [encoding.ids for encoding in getattr(tokenizer, method)([text])]

    for text in ("  a b", "a b", " a", "", " "):
        for method in ("encode_batch", "encode_batch_fast"):
            assert ids(gputok, text, method) == ids(tokenizers, text, method)


@pytest.mark.parametrize("normalizer", [None, "NFD", "ByteLevel", "StripAccents"])
def test_parts_of_the_first_character_begin_the_text(normalizer):
    """If a character is cut, each part has the position of the whole; so Metaspace "first" treats each as the start."""
    found = []
    for package in (gputok, tokenizers):
        parts = package.pre_tokenizers
        characters = dict.fromkeys([*sorted(parts.ByteLevel.alphabet()), *"▁字éáe\u0301 "])
        tokenizer = package.Tokenizer(package.models.BPE({c: i for i, c in enumerate(characters)}, []))
        if normalizer is not None:
            tokenizer.normalizer = getattr(package.normalizers, normalizer)()
        for cut in (parts.ByteLevel(add_prefix_space=False, use_regex=False), parts.Digits()):
            tokenizer.pre_tokenizer = parts.Sequence(
                [cut, parts.FixedLength(length=1), parts.Metaspace(prepend_scheme="first")]
            )
            texts = ["字", "é字", "e\u0301a", "a字", " é", "\u0301", ""]
            found += [[(one.ids, one.offsets) for one in tokenizer.encode_batch(texts)]]
            found += [[one.ids for one in tokenizer.encode_batch_fast(texts)]]
    half = len(found) // 2
    assert found[:half] == found[half:]
    if normalizer is None:
        assert len(found[0][0][0]) == 6  # a Chinese character: three bytes, each with its own ▁
