"""gputok.normalizers and gputok.NormalizedString against those of `tokenizers`."""

import json
import random

import numpy as np
import pytest
import tokenizers
import tokenizers.models
import tokenizers.normalizers as theirs
import tokenizers.pre_tokenizers

import gputok.normalizers as ours
from gputok.normalizers.base import spelled_out
from gputok.text import Pieces, TextBatch

N_STRINGS = 2_000

# ---- text that finds mistakes

POOLS = [
    [chr(c) for c in range(0x20, 0x7F)],
    list("aAbBeEiIoOuUkKsStT .,"),
    [chr(c) for c in (*range(0x20), 0x7F, *range(0x80, 0xA1), 0xAD)],
    [
        chr(c)
        for c in (
            0x1680,
            *range(0x2000, 0x2010),
            *range(0x2028, 0x2030),
            0x205F,
            0x3000,
            0xFEFF,
            0xFFFD,
            0x2581,
        )
    ],
    [
        chr(c)
        for c in (
            *range(0x300, 0x370),
            0x1AB0,
            0x1DC0,
            0x20D0,
            0x20DD,
            0x302A,
            0x302E,
            0x3099,
            0x309A,
            0x1D165,
        )
    ],
    [chr(c) for c in (*range(0xC0, 0x250), *range(0x1E00, 0x2000))],
    [
        chr(c)
        for c in (*range(0x370, 0x400), 0x130, 0x131, 0x17F, 0x1E9E, 0x212A, 0x212B, 0xFB00, 0xFB01, 0xFB06)
    ],
    [chr(c) for c in (*range(0x1100, 0x1200), *range(0xA960, 0xA97D), *range(0xD7B0, 0xD7FC))],
    [chr(c) for c in range(0xAC00, 0xD7A4, 7)],
    [
        chr(c)
        for c in (*range(0x4E00, 0x4E40), *range(0xF900, 0xFA20), *range(0x2F800, 0x2F820), 0x3400, 0x2B920)
    ],
    [chr(c) for c in (*range(0x3040, 0x3100), *range(0xFF00, 0xFFEF), *range(0x3200, 0x3400))],
    [
        chr(c)
        for c in (
            *range(0x900, 0x980),
            0x9BE,
            0x9C7,
            0xB47,
            0xB56,
            0xBD7,
            *range(0xD00, 0xD80),
            0xDDC,
            0x1025,
        )
    ],
    [
        chr(c)
        for c in (*range(0x5B0, 0x5F0), *range(0x600, 0x660), 0x6DD, 0x70F, 0xFB1D, 0xFDFA, 0xFDFB, 0xFEF5)
    ],
    [
        chr(c)
        for c in (0x200D, 0xFE0F, 0x1F469, 0x1F466, 0x2764, 0xA9, 0xAE, 0x1F1E6, 0x1F1FF, 0x1F3FB, 0xE0061)
    ],
    [
        chr(c)
        for c in (
            *range(0xE00, 0xE80),
            *range(0xF40, 0xFC0),
            0x1103C,
            0x110BA,
            0x11131,
            0x1D15E,
            0x16D63,
            0x16D67,
        )
    ],
    [
        chr(c)
        for c in (
            0xE000,
            0xF8FF,
            0xFFFF,
            0x10FFFF,
            0x378,
            0x1D400,
            0x1D7CE,
            0x10400,
            0x1E900,
            0x1FBF0,
            0x13430,
        )
    ],
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


def same_normalizer(module, form: dict):
    """A normalizer of gputok or of tokenizers from its JSON form."""
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
    pieces = pieces._replace(token=np.array([-1, 7] * len(strings), np.int32))
    done = spelled_out(same_normalizer(ours, form).apply(pieces))
    plain = same_normalizer(ours, form).apply(pieces._replace(alignment=None))
    assert spelled_out(plain).strings() == done.strings()
    assert set(done.strings()[1::2]) == {frozen}
    answers = []
    for i, string in enumerate(strings):
        start, end = done.start[2 * i], done.end[2 * i]
        text = done.data[start:end].tobytes().decode()
        sizes = np.array([len(c.encode()) for c in text], np.int64)
        last = start + np.cumsum(sizes) - 1
        # byte -> the character that it is in, or (with 1 added, for an end) the one that ends at or after it
        place = np.repeat(np.arange(len(string)), [len(c.encode()) for c in string])
        place, stop = np.append(place, len(string)), np.append(0, place + 1)
        low, high = done.alignment.start[last - sizes + 1], done.alignment.end[last]
        answers.append((text, list(zip(place[low].tolist(), stop[high].tolist(), strict=True))))
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
    "Llama": [
        {"type": "Prepend", "prepend": "▁"},
        {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
    ],
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
    for string, got, expected in zip(
        strings, our_answers(form, strings), their_answers(form, strings), strict=True
    ):
        assert got == expected, f"{string!r} = {string.encode('unicode-escape')!r}"


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
        # text put in before the first character makes the namesake fail in what comes next
        normalizers.sort(key=lambda form: form.get("pattern") == {"Regex": "(?=[A-Z])"})
        check({"type": "Sequence", "normalizers": normalizers}, random_strings(seed, 100))
