"""gputok.normalizers and gputok.NormalizedString against those of `tokenizers`."""

import io
import itertools
import json
import pickle
import random

import numpy as np
import pytest
import tokenizers
import tokenizers.models
import tokenizers.normalizers as theirs
import tokenizers.pre_tokenizers
from make_normalization_tables import charsmap

import gputok
import gputok.normalizers as ours
from gputok.text.pieces import Pieces, TextBatch, spell_out

N_STRINGS = 2_000

# ---- text that finds mistakes

POOLS = [
    [chr(c) for c in range(0x20, 0x7F)],
    list("aAbBeEiIoOuUkKsStT .,"),
    [chr(c) for c in (*range(0x20), 0x7F, *range(0x80, 0xA1), 0xAD)],
    [chr(c) for c in (0x1680, *range(0x2000, 0x2010), *range(0x2028, 0x2030), 0x205F, 0x3000, 0xFEFF, 0xFFFD, 0x2581)],
    [chr(c) for c in (*range(0x300, 0x370), 0x1AB0, 0x1DC0, 0x20D0, 0x20DD, 0x302A, 0x302E, 0x3099, 0x309A, 0x1D165)],
    [chr(c) for c in (*range(0xC0, 0x250), *range(0x1E00, 0x2000))],
    [chr(c) for c in (*range(0x370, 0x400), 0x130, 0x131, 0x17F, 0x1E9E, 0x212A, 0x212B, 0xFB00, 0xFB01, 0xFB06)],
    [chr(c) for c in (*range(0x1100, 0x1200), *range(0xA960, 0xA97D), *range(0xD7B0, 0xD7FC))],
    [chr(c) for c in range(0xAC00, 0xD7A4, 7)],
    [chr(c) for c in (*range(0x4E00, 0x4E40), *range(0xF900, 0xFA20), *range(0x2F800, 0x2F820), 0x3400, 0x2B920)],
    [chr(c) for c in (*range(0x3040, 0x3100), *range(0xFF00, 0xFFEF), *range(0x3200, 0x3400))],
    [chr(c) for c in (*range(0x900, 0x980), 0x9BE, 0x9C7, 0xB47, 0xB56, 0xBD7, *range(0xD00, 0xD80), 0xDDC, 0x1025)],
    [chr(c) for c in (*range(0x5B0, 0x5F0), *range(0x600, 0x660), 0x6DD, 0x70F, 0xFB1D, 0xFDFA, 0xFDFB, 0xFEF5)],
    [chr(c) for c in (0x200D, 0xFE0F, 0x1F469, 0x1F466, 0x2764, 0xA9, 0xAE, 0x1F1E6, 0x1F1FF, 0x1F3FB, 0xE0061)],
    [
        chr(c)
        for c in (*range(0xE00, 0xE80), *range(0xF40, 0xFC0), 0x1103C, 0x110BA, 0x11131, 0x1D15E, 0x16D63, 0x16D67)
    ],
    [chr(c) for c in (0xE000, 0xF8FF, 0xFFFF, 0x10FFFF, 0x378, 0x1D400, 0x1D7CE, 0x10400, 0x1E900, 0x1FBF0, 0x13430)],
]


def random_strings(seed: int, n: int) -> list[str]:
    """Strings of up to 24 characters, each from a few of the pools or from all of Unicode."""
    choose = random.Random(seed)
    strings = ["", " ", "\0", "\n", "e\u0301"]
    while len(strings) < n:
        pools = choose.sample(POOLS, choose.randint(1, 3))
        if choose.random() < 0.3:
            pools.append([chr(choose.choice([choose.randrange(0xD800), choose.randrange(0xE000, 0x110000)]))])
        strings.append("".join(choose.choice(choose.choice(pools)) for _ in range(choose.randint(0, 24))))
    return strings


def same_normalizer(module, form):
    """A normalizer of gputok or of tokenizers from its JSON form, or from a function of the module."""
    if callable(form):
        return form(module)
    if module is ours:
        return ours.Normalizer.from_dict(form)
    tokenizer = json.loads(tokenizers.Tokenizer(tokenizers.models.BPE()).to_str())
    return tokenizers.Tokenizer.from_str(json.dumps(tokenizer | {"normalizer": form})).normalizer


def their_answers(form: dict, strings: list[str]) -> list[tuple[str, list[tuple[int, int]]]]:
    """Each string normalized, and for each of its characters the range of characters of the original."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel({"?": 0}, unk_token="?"))
    tokenizer.normalizer = same_normalizer(theirs, form)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Split(tokenizers.Regex(r"(?m:.)"), "isolated")
    normalized = [tokenizer.normalizer.normalize_str(string) for string in strings]
    encodings = tokenizer.encode_batch(strings, add_special_tokens=False)
    return [(text, encoding.offsets) for text, encoding in zip(normalized, encodings, strict=True)]


def our_answers(form: dict, strings: list[str]) -> list[tuple[str, list[tuple[int, int]]]]:
    """The same from all strings as one batch, with added tokens between them that must stay as they are."""
    frozen = "É \t漢"
    batch = TextBatch.from_strings([part for string in strings for part in (string, frozen)])
    pieces = Pieces.from_batch(batch, aligned=True)
    pieces = pieces._replace(token=np.array([-1, 7] * len(strings), np.int64))
    done = spell_out(same_normalizer(ours, form).apply(pieces))
    plain = same_normalizer(ours, form).apply(pieces._replace(alignment=None))
    assert spell_out(plain).strings() == done.strings()
    assert set(done.strings()[1::2]) == {frozen}
    answers = []
    for i, string in enumerate(strings):
        start, end = done.start[2 * i], done.end[2 * i]
        text = done.data[start:end].tobytes().decode()
        sizes = np.array([len(c.encode()) for c in text], np.int64)
        last = start + np.cumsum(sizes) - 1
        # byte -> the character that it is in, or (with 1 added, for an end) the one that ends at or after it
        first = np.repeat(np.arange(len(string)), [len(c.encode()) for c in string])
        first, stop = np.append(first, len(string)), np.append(0, first + 1)
        low, high = done.alignment.start[last - sizes + 1], done.alignment.end[last]
        answers.append((text, list(zip(first[low].tolist(), stop[high].tolist(), strict=True))))
    return answers


# ---- each normalizer, alone and in sequences

PIPELINES: dict[str, list[dict]] = {
    "Lowercase": [{"type": "Lowercase"}],
    "StripAccents": [{"type": "StripAccents"}],
    "Nmt": [{"type": "Nmt"}],
    "ByteLevel": [{"type": "ByteLevel"}],
    "NFD": [{"type": "NFD"}],
    "NFC": [{"type": "NFC"}],
    "NFKD": [{"type": "NFKD"}],
    "NFKC": [{"type": "NFKC"}],
    "Strip": [{"type": "Strip", "strip_left": True, "strip_right": True}],
    "Strip left": [{"type": "Strip", "strip_left": True, "strip_right": False}],
    "Strip right": [{"type": "Strip", "strip_left": False, "strip_right": True}],
    "Prepend": [{"type": "Prepend", "prepend": "▁"}],
    "Prepend several": [{"type": "Prepend", "prepend": "aé▁"}],
    "Replace": [{"type": "Replace", "pattern": {"String": " "}, "content": "▁"}],
    "Replace by nothing": [{"type": "Replace", "pattern": {"String": "a"}, "content": ""}],
    "Replace long": [{"type": "Replace", "pattern": {"String": "e\u0301"}, "content": "éé"}],
    "Replace Regex": [{"type": "Replace", "pattern": {"Regex": r"\s{2,}|[aeiou]+"}, "content": "<>"}],
    "Replace between": [{"type": "Replace", "pattern": {"Regex": r"(?=[A-Z])"}, "content": "|"}],
    "Llama": [{"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}],
    "ALBERT": [
        {"type": "Replace", "pattern": {"String": "``"}, "content": '"'},
        {"type": "Replace", "pattern": {"String": "''"}, "content": '"'},
        {"type": "NFKD"},
        {"type": "StripAccents"},
        {"type": "Lowercase"},
    ],
    "all forms": [{"type": form} for form in ("NFD", "NFKC", "NFKD", "NFC")],
    "everything": [
        {"type": "Nmt"},
        {"type": "NFKC"},
        {"type": "Strip", "strip_left": True, "strip_right": True},
        {"type": "Lowercase"},
        {"type": "NFD"},
        {"type": "StripAccents"},
        {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
        {"type": "Prepend", "prepend": "▁"},
        {"type": "ByteLevel"},
        {"type": "NFC"},
    ],
} | {
    f"Bert {clean:d}{chinese:d}{accents}{lower:d}": [
        {
            "type": "BertNormalizer",
            "clean_text": clean,
            "handle_chinese_chars": chinese,
            "strip_accents": accents,
            "lowercase": lower,
        }
    ]
    for clean, chinese, accents, lower in [
        (True, True, None, True),
        (True, True, None, False),
        (True, False, False, True),
        (False, True, True, False),
        (False, False, True, True),
        (False, False, None, False),
    ]
}


def check(form: dict, strings: list[str]) -> None:
    for string, got, expected in zip(strings, our_answers(form, strings), their_answers(form, strings), strict=True):
        assert got == expected, f"{string!r} = {string.encode('unicode-escape')!r}"


@pytest.mark.slow
@pytest.mark.parametrize("name", PIPELINES)
def test_random_strings(name):
    normalizers = PIPELINES[name]
    form = normalizers[0] if len(normalizers) == 1 else {"type": "Sequence", "normalizers": normalizers}
    check(form, random_strings(len(name), N_STRINGS))


def test_random_sequences():
    singles = [form for forms in PIPELINES.values() if len(forms) == 1 for form in forms]
    choose = random.Random(5)
    for seed in range(40):
        normalizers = choose.sample(singles, choose.randint(2, 5))
        # text put in before the first character makes tokenizers fail in what comes next
        normalizers.sort(key=lambda form: form.get("pattern") == {"Regex": "(?=[A-Z])"})
        check({"type": "Sequence", "normalizers": normalizers}, random_strings(seed, 100))


# ---- Precompiled


@pytest.fixture(scope="session")
def sentencepiece_charsmap():
    """`sentencepiece_charsmap("nmt_nfkc")`: the map that SentencePiece puts in a model for such a rule."""
    sentencepiece = pytest.importorskip("sentencepiece")
    model_pb2 = pytest.importorskip("sentencepiece.sentencepiece_model_pb2")

    def charsmap(rule: str) -> bytes:
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(["hello world"]),
            model_writer=model,
            model_type="char",
            normalization_rule_name=rule,
            hard_vocab_limit=False,
            minloglevel=2,
        )
        return model_pb2.ModelProto.FromString(model.getvalue()).normalizer_spec.precompiled_charsmap

    return charsmap


@pytest.mark.parametrize("rule", ["nmt_nfkc", "nmt_nfkc_cf", "nfkc"])
def test_precompiled(rule, sentencepiece_charsmap):
    form = ours.Precompiled(sentencepiece_charsmap(rule)).to_dict()
    check(form, random_strings(7, N_STRINGS))


def test_precompiled_clusters():
    """A map of every second character to `X`, which shows where one grapheme cluster ends and the next begins."""
    strings = random_strings(8, N_STRINGS)
    characters = {*sorted(set("".join(strings)) - {"\0"})[::2], "क", "©"}
    conjuncts = ["क\u094dक\u0300", "क\u094d\u200dक\u0300", "कक\u0300", "क\u0300क\u0300", "\u094dक\u0300"]
    pictures = ["©\u200d©\u0300", "©\u0300\u200d©\u0300", "©\u200d\u0300©\u0300", "a\u200d©\u0300"]
    check(ours.Precompiled(charsmap(characters)).to_dict(), strings + conjuncts + pictures)


def test_precompiled_text_that_grows(sentencepiece_charsmap):
    form = ours.Precompiled(sentencepiece_charsmap("nmt_nfkc")).to_dict()
    check(form, ["ﷺ" * 3_000, "\x01ab" * 3_000, "a\u0300\u0301" * 3_000, "㌀a" * 3_000])


@pytest.mark.parametrize("blob", [b"", b"\x08\0\0\0abcd", b"\0\0\0\0\xff"])
def test_precompiled_refuses_invalid_maps(blob):
    with pytest.raises(ValueError, match="precompiled_charsmap"):
        ours.Precompiled(blob)


@pytest.mark.parametrize("ending", ["", "\0", "é", "漢", "😀"])
def test_precompiled_stays_inside_a_broken_map(ending):
    """The trie of a hostile file may point anywhere, and into the middle of a character; tokenizers panics.

    Steps are found, as each unit has the label of its index; the offsets and values are random. A read outside of the
    map raises in the checked build.
    """
    alphabet, changed = "aeé漢😀\u0301\0", 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        texts = ("".join(rng.choice(list(alphabet), 200)) + ending).encode()
        index = np.arange(1024, dtype=np.uint32)
        offset = rng.choice(np.array([0, 1, 2, 3, 4, 2**20, 2**21 - 1], np.uint32), len(index))
        leaf, far = rng.integers(0, 2, (2, len(index)), np.uint32)
        units = offset << (np.uint32(18) - np.uint32(8) * far) | far << 9 | leaf << 8 | index & 255
        units[rng.random(len(index)) < 0.3] &= np.uint32(0x3FF)  # values inside
        broken = ours.Precompiled(np.uint32(units.nbytes).tobytes() + units.tobytes() + texts)
        strings = random_strings(seed, 50)
        pieces = broken.apply(Pieces.from_batch(TextBatch.from_strings(strings)))
        for old, new in zip(strings, spell_out(pieces).strings(), strict=True):  # raises for what isn't UTF-8
            assert set(new) <= set(old) | set(alphabet + ending)
            assert broken.normalize_str(old) == new
            changed += old != new
    assert changed > 20


# ---- every character


def check_text(form: dict, strings: list[str]) -> None:
    """As `check`, without the alignment, for many strings."""
    theirs_normalizer = same_normalizer(theirs, form)
    pieces = same_normalizer(ours, form).apply(Pieces.from_batch(TextBatch.from_strings(strings)))
    wrong = [
        (string, got, expected)
        for string, got, expected in zip(
            strings, spell_out(pieces).strings(), map(theirs_normalizer.normalize_str, strings), strict=True
        )
        if got != expected
    ]
    assert not wrong, f"{len(wrong)} differ: {wrong[:5]!a}"


def in_context(codes) -> list[str]:
    """Each code point alone, and among marks of the highest and the lowest combining class."""
    characters = [chr(code) for code in codes if not 0xD800 <= code < 0xE000]
    return characters + [f"a\u0345{c}\u0334{c}" for c in characters]


SINGLES = [
    name for name, forms in PIPELINES.items() if len(forms) == 1 and forms[0]["type"] not in ("Prepend", "Replace")
]


@pytest.mark.parametrize("name", SINGLES)
def test_sampled_characters(name):
    low = [*range(0x3400), *range(0xA000, 0xAC00), *range(0xF900, 0x10000)]
    codes = random.Random(name).sample(low, 6_000) + random.Random(name).sample(range(0x110000), 4_000)
    check_text(PIPELINES[name][0], in_context(codes))


@pytest.mark.full
@pytest.mark.parametrize("name", SINGLES)
def test_every_character(name):
    for low in range(0, 0x110000, 0x11000):
        check_text(PIPELINES[name][0], in_context(range(low, low + 0x11000)))


@pytest.mark.full
@pytest.mark.parametrize("name", ["NFC", "NFKC"])
def test_every_pair_that_may_compose(name):
    codes = [c for c in range(0x30000) if not 0xD800 <= c < 0xE000]
    atoms = [chr(c) for c in codes if len(theirs.NFD().normalize_str(chr(c))) > 1 and not 0xAC00 <= c < 0xD7A4]
    parts = sorted({part for atom in atoms for part in theirs.NFD().normalize_str(atom)} | {"\u1161", "\u11a8"})
    for first in sorted({*parts, *atoms, *map(chr, range(0xAC00, 0xD7A4, 97))}):
        check_text(PIPELINES[name][0], [first + second for second in parts])


@pytest.mark.full
@pytest.mark.parametrize("name", PIPELINES)
def test_many_random_strings(name):
    normalizers = PIPELINES[name]
    form = normalizers[0] if len(normalizers) == 1 else {"type": "Sequence", "normalizers": normalizers}
    check(form, random_strings(100 + len(name), 20_000))


@pytest.mark.slow
@pytest.mark.parametrize("corpus", ["en", "code", "multi", "zh"])
def test_corpora(corpus, corpus_sample):
    lines = corpus_sample(corpus, 300_000).splitlines(keepends=True)
    for name in ("NFC", "NFKD", "ALBERT", "Bert 11None1", "everything"):
        normalizers = PIPELINES[name]
        form = normalizers[0] if len(normalizers) == 1 else {"type": "Sequence", "normalizers": normalizers}
        check(form, lines)


@pytest.mark.parametrize("name", ["NFKC", "Lowercase", "Bert 11None1", "Replace", "Replace between", "everything"])
def test_text_that_grows(name):
    """The kernels' output outgrows the space that they begin with, again and again."""
    form = {"type": "Sequence", "normalizers": PIPELINES[name]}
    check(form, ["ﷺ\u0315\u0300" * 2_000, "Ⱥ漢 İ" * 3_000, "", "A" * 5_000, "\u0300" * 300])


def test_a_long_run_of_marks_takes_linear_time():
    """Canonical ordering of alternating marks: a sort by insertion would take hours."""
    n = 200_000
    assert ours.NFD().normalize_str("a" + "\u0315\u0300" * n) == "a" + "\u0300" * n + "\u0315" * n


# ---- as components


def both(build):
    """The same component of gputok and of tokenizers."""
    return build(ours, gputok.Regex), build(theirs, tokenizers.Regex)


@pytest.mark.parametrize(
    "build",
    [
        lambda module, regex: module.BertNormalizer(),
        lambda module, regex: module.BertNormalizer(False, True, strip_accents=True, lowercase=False),
        lambda module, regex: module.ByteLevel(),
        lambda module, regex: module.Lowercase(),
        lambda module, regex: module.NFC(),
        lambda module, regex: module.NFD(),
        lambda module, regex: module.NFKC(),
        lambda module, regex: module.NFKD(),
        lambda module, regex: module.Nmt(),
        lambda module, regex: module.Precompiled(charsmap("ab")),
        lambda module, regex: module.Prepend(),
        lambda module, regex: module.Prepend('é"\n\\'),
        lambda module, regex: module.Replace('"', "\n"),
        lambda module, regex: module.Replace(regex(r"\s+"), " "),
        lambda module, regex: module.Strip(),
        lambda module, regex: module.Strip(left=False),
        lambda module, regex: module.StripAccents(),
        lambda module, regex: module.Sequence([]),
        lambda module, regex: module.Sequence([module.NFC(), module.Sequence([module.Strip(), module.NFD()])]),
        lambda module, regex: module.unicode_normalizer_from_str("nfkc"),
    ],
)
def test_shown_and_saved_as_in_tokenizers(build):
    mine, yours = both(build)
    assert repr(mine) == repr(yours)
    assert str(mine) == str(yours) or isinstance(mine, ours.Precompiled)  # which is cut short there
    assert mine.__getstate__() == yours.__getstate__()
    for copy in (pickle.loads(pickle.dumps(mine)), ours.Normalizer.from_dict(json.loads(yours.__getstate__()))):
        assert type(copy) is type(mine)
        assert repr(copy) == repr(mine)


def test_a_changed_setting_takes_effect():
    strip, bert, prepend, replace = (ours.Strip(), ours.BertNormalizer(), ours.Prepend("_"), ours.Replace("a", "b"))
    sequence = ours.Sequence([strip, bert, prepend, replace])
    assert sequence.normalize_str(" Á ") == "_b"
    strip.left = bert.lowercase = False
    prepend.prepend, replace.content = "<", "c"
    bert.strip_accents = True
    assert sequence.normalize_str(" Áa ") == "< Ac"
    sequence[0] = ours.Lowercase()
    assert (len(sequence), repr(sequence[0])) == (4, "Lowercase()")


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"type": "NFX"}, "expected a normalizer of type BertNormalizer, ByteLevel, .*; got type 'NFX'"),
        ({}, "expected a normalizer of type .*; got type None"),
        ([], "a JSON object"),
        ({"type": "Strip"}, "missing field 'strip_left'"),
        ({"type": "Prepend", "prepend": 3}, "'int' object"),
        ({"type": "Prepend"}, "missing field 'prepend'"),
        ({"type": "BertNormalizer", "clean_text": True}, "missing field 'handle_chinese_chars'"),
        ({"type": "Sequence"}, "missing field 'normalizers'"),
        ({"type": "Sequence", "normalizers": [1]}, "a JSON object"),
        ({"type": "Replace", "pattern": "a", "content": "b"}, "pattern: must be"),
        ({"type": "Replace", "pattern": {"Regex": "("}, "content": "b"}, "pattern"),
        ({"type": "Precompiled", "precompiled_charsmap": "AA"}, "Precompiled|[Bb]ase64|padding"),
    ],
)
def test_bad_json_is_one_clear_error(form, message):
    with pytest.raises(ValueError, match=message):
        ours.Normalizer.from_dict(form)


def test_deep_nesting_is_one_clear_error():
    form = {"type": "NFC"}
    for _ in range(10_000):
        form = {"type": "Sequence", "normalizers": [form]}
    with pytest.raises(ValueError, match="nested too deeply"):
        ours.Normalizer.from_dict(form)


def test_errors_in_python():
    for error, wrong in [
        (TypeError, lambda: ours.Normalizer()),
        (TypeError, lambda: ours.NFC().normalize_str(3)),
        (UnicodeEncodeError, lambda: ours.NFC().normalize_str("\ud800")),
        (TypeError, lambda: ours.BertNormalizer(lowercase=1)),
        (TypeError, lambda: ours.Sequence((ours.NFC(),))),
        (IndexError, lambda: ours.Sequence([])[0]),
        (OverflowError, lambda: ours.Sequence([ours.NFC()])[-1]),
        (ValueError, lambda: ours.unicode_normalizer_from_str("nfx")),
        (TypeError, lambda: pickle.dumps(ours.Normalizer.custom(3))),
    ]:
        with pytest.raises(error):
            wrong()


def test_text_inserted_before_the_first_character():
    """In tokenizers any normalizer after such a Replace fails (an index out of bounds)."""
    sequence = ours.Sequence([ours.Replace(gputok.Regex("(?=É)"), "▁"), ours.Lowercase(), ours.NFD()])
    assert sequence.normalize_str("Éa") == "▁e\u0301a"


class Shout:
    """A normalizer in Python, for either package."""

    def __init__(self, regex):
        self.regex = regex

    def normalize(self, normalized):
        normalized.nfd()
        normalized.filter(lambda c: c not in "aé\u0301")
        normalized.map(lambda c: "_" if c == " " else c)
        normalized.uppercase()
        normalized.replace("SS", "ß")
        normalized.replace(self.regex(r"\d+"), "0")
        normalized.prepend("<")
        normalized.append(">")
        normalized.rstrip()


def test_custom():
    mine = ours.Normalizer.custom(Shout(gputok.Regex))
    yours = theirs.Normalizer.custom(Shout(tokenizers.Regex))
    for string in random_strings(11, 500):
        assert mine.normalize_str(string) == yours.normalize_str(string), ascii(string)
        one, two = gputok.NormalizedString(string), tokenizers.NormalizedString(string)
        mine.normalize(one), yours.normalize(two)
        assert repr(one) == repr(two)


class Thin:
    """A normalizer in Python that takes away, replaces and adds."""

    def normalize(self, normalized):
        normalized.filter(lambda c: c not in "aeiou ")
        normalized.map(lambda c: "é" if c == "b" else c)
        normalized.replace("s", "▁▁")
        if normalized.normalized:
            normalized.append("é")
            normalized.prepend("<>")


def test_custom_keeps_the_alignment():
    def build(module):
        return module.Sequence([module.NFD(), module.Normalizer.custom(Thin()), module.NFKC()])

    check(build, random_strings(14, 500))


# ---- NormalizedString


def strings_of(parts) -> list[tuple[str, str]]:
    return [(part.original, part.normalized) for part in parts]


METHODS = [
    ("nfd",), ("nfkd",), ("nfc",), ("nfkc",), ("lowercase",), ("uppercase",), ("lstrip",), ("rstrip",), ("strip",),
    ("prepend", "é▁"), ("append", "▁x"), ("clear",), ("replace", " ", "__"), ("replace", "", "x"),
    ("filter", str.isalpha), ("filter", str.isascii), ("map", lambda c: "é" if c.isascii() else "a"),
]  # fmt: skip


def test_normalized_string_methods():
    """Random methods one after the other, comparing every slice after each of them."""
    choose = random.Random(12)
    for string in random_strings(12, 600):
        mine, yours = gputok.NormalizedString(string), tokenizers.NormalizedString(string)
        done = []
        for name, *arguments in choose.sample(METHODS, 4):
            if not yours.normalized:  # text appended to nothing is written twice by the next method there
                break
            done.append((name, arguments))
            assert getattr(mine, name)(*arguments) is getattr(yours, name)(*arguments) is None
            assert repr(mine) == repr(yours), (ascii(string), done)
            n = len(yours.normalized)
            cuts = [0, *(sorted(choose.choices(range(n + 1), k=3))), n]
            for key in (0, n, slice(0, 1), *(slice(a, b) for a, b in itertools.pairwise(cuts) if a <= b)):
                one, two = mine[key], yours[key]
                assert (one is None) == (two is None), (ascii(string), done, key)
                assert one is None or repr(one) == repr(two), (ascii(string), done, key)


@pytest.mark.parametrize("behavior", ["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"])
def test_normalized_string_split(behavior):
    for string in ["the-final--countdown", "--", "", "a", *random_strings(13, 300)]:
        for pattern in ("-", " ", "aa", "", r"[^a-z]", r"\s+|e", r"(?=a)"):
            mine, yours = gputok.NormalizedString(string), tokenizers.NormalizedString(string)
            mine.nfkd(), yours.nfkd()
            if pattern == "" and not yours.normalized.isascii():
                continue  # counts characters as if they were bytes there, and panics
            is_regex = len(pattern) > 2
            one = mine.split(gputok.Regex(pattern) if is_regex else pattern, behavior)
            two = yours.split(tokenizers.Regex(pattern) if is_regex else pattern, behavior)
            assert strings_of(one) == strings_of(two), (ascii(string), pattern)


def test_normalized_string_for_each():
    for string in ["", "e\u0301 ﬁ", *random_strings(14, 20)]:
        seen = {}
        for package in (gputok, tokenizers):
            text = package.NormalizedString(string)
            text.nfkc(), text.for_each(seen.setdefault(package, []).append)
        assert seen[gputok] == seen[tokenizers]


def test_normalized_string_refuses():
    text = gputok.NormalizedString("abc")
    with pytest.raises(ValueError, match="merged_with_next"):
        text.split("a", "joined")
    with pytest.raises(TypeError):
        text.filter(3)
    with pytest.raises(ValueError, match="bigger than max len"):
        text[-4]


def test_a_sequence_cannot_ask_for_any_memory():
    """Forty doublings of a letter, in a file of 3 kB: for a text, and for an added token when the file is opened."""
    tokenizer = gputok.Tokenizer(gputok.models.WordLevel({"a": 0}))
    double = ours.Replace("a", "aa")
    tokenizer.normalizer = ours.Sequence([double] * 40)
    for encode in (lambda: tokenizer.encode("a"), lambda: [*tokenizer.encode_corpus(iter(["a"]), progress=False)]):
        with pytest.raises(ValueError, match=r"normalizers\[20\], Replace.*more than 1,000 times as long"):
            encode()
    token = {"id": 1, "content": "a", "special": False, "normalized": True}
    token |= {"single_word": False, "lstrip": False, "rstrip": False}
    file = json.loads(tokenizer.to_str()) | {"added_tokens": [token]}
    with pytest.raises(ValueError, match="more than 1,000 times as long"):
        gputok.Tokenizer.from_str(json.dumps(file))
    tokenizer.normalizer = ours.Sequence([double] * 10)
    assert tokenizer.normalizer.normalize_str("a") == "a" * 1024
