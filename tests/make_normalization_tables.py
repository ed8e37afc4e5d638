"""Writes gputok/text/unicode_maps.bin: how the installed `tokenizers` normalizes each character.

Its normalizers use different Unicode versions, so `tokenizers` is the only source. Run this when `tokenizers` changes:

    python tests/make_normalization_tables.py

gputok/text/unicode_maps.py explains the arrays. tests/text/test_normalizers.py asks about every character again.
"""

from __future__ import annotations

import base64
import functools
import json
import pathlib
import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
from tokenizers import NormalizedString, Tokenizer, models
from tokenizers.normalizers import NFC, NFD, NFKC, NFKD, BertNormalizer, Lowercase, Nmt, Strip, StripAccents

from gputok.text import unicode_maps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

N_CODES = 0x110000
CODES = [c for c in range(N_CODES) if not 0xD800 <= c < 0xE000]
HANGUL = range(0xAC00, 0xAC00 + 11172)
nfc, nfd, nfkc, nfkd = (form().normalize_str for form in (NFC, NFD, NFKC, NFKD))


def main() -> None:
    parts = {name: pack_map(ask) for name, ask in character_maps().items()} | forms()
    parts["grapheme"] = two_stages(grapheme_classes())
    target = pathlib.Path(__file__).parents[1] / "gputok" / "text" / unicode_maps.FILE
    target.write_bytes(packed(parts))
    print(f"{target}: {target.stat().st_size:,} bytes")


def packed(tables: dict[str, dict[str, np.ndarray]]) -> bytes:
    """Returns the contents of the file of tables."""
    index: dict[str, Any] = {}
    parts, end = list[bytes](), 0
    for name, part in tables.items():
        arrays = {field: array.astype(array.dtype.newbyteorder("<")) for field, array in part.items()}
        parts.append(zlib.compress(b"".join(array.tobytes() for array in arrays.values()), 9))
        fields = [(field, array.dtype.str, *array.shape) for field, array in arrays.items()]
        index[name] = end, (end := end + len(parts[-1])), fields
    return json.dumps(index).encode() + b"\n" + b"".join(parts)


def two_stages(values: np.ndarray) -> dict[str, np.ndarray]:
    """values[code point] as values[c] = member[page[c >> 7], c & 127]."""
    member, page = np.unique(values.reshape(-1, 128), axis=0, return_inverse=True)
    return {"page": page.ravel().astype(np.uint16), "member": member}


# ---- what becomes of each character by itself


def character_maps() -> dict[str, Callable[[str], str]]:
    def uppercase(character: str) -> str:
        text = NormalizedString(character)
        text.uppercase()
        return text.normalized

    def after_nfd(bert: BertNormalizer) -> Callable[[str], str]:
        """As `bert`, for what can come out of NFD."""
        return lambda character: bert.normalize_str(character) if nfd(character) == character else character

    return {
        "lowercase": Lowercase().normalize_str,
        "uppercase": uppercase,
        "strip_accents": StripAccents().normalize_str,
        "nmt": Nmt().normalize_str,
        "whitespace": Strip().normalize_str,
        "bert_clean": BertNormalizer(True, False, False, False).normalize_str,
        "bert_chinese": BertNormalizer(False, True, False, False).normalize_str,
        "bert_clean_chinese": BertNormalizer(True, True, False, False).normalize_str,
        "bert_marks": after_nfd(BertNormalizer(False, False, True, False)),
        "bert_marks_lowercase": after_nfd(BertNormalizer(False, False, True, True)),
    }


def pack_map(ask: Callable[[str], str]) -> dict[str, np.ndarray]:
    rules, texts = np.zeros(N_CODES, np.uint16), {}
    for code in CODES:
        character = chr(code)
        answer = ask(character)
        if answer == "":
            rules[code] = 1
        elif answer == f" {character} ":
            rules[code] = 2
        elif answer != character:
            rules[code] = 3 + texts.setdefault(answer, len(texts))
    encoded = [text.encode() for text in texts]
    return two_stages(rules) | {
        "text": np.frombuffer(b"".join(encoded), np.uint8),
        "offsets": np.cumsum([0, 0, 0, 0, *map(len, encoded)], dtype=np.int32),
    }


# ---- normalization forms


def forms() -> dict[str, dict[str, np.ndarray]]:
    rank = combining_ranks()
    pairs = compositions()
    seconds = {b for _, b in pairs} | {chr(c) for c in [*range(0x1161, 0x1176), *range(0x11A8, 0x11C3)]}
    packed = {
        "compose": {
            "pair": np.array([ord(a) << 32 | ord(b) for a, b in sorted(pairs)], np.uint64),
            "to": np.array([ord(pairs[pair]) for pair in sorted(pairs)], np.uint32),
        }
    }
    for name, form, decompose in (("nfd", nfd, nfd), ("nfc", nfc, nfd), ("nfkd", nfkd, nfkd), ("nfkc", nfkc, nfkd)):
        kinds: dict[tuple, list[int]] = {(False, 0, ""): []}
        for code in CODES:
            character = chr(code)
            parts = decompose(character)
            free = not rank.get(parts[0], 0) and (form is decompose or parts[0] not in seconds)
            alone = free and form(character) == character
            shown = "" if parts == character or code in HANGUL else parts
            kinds.setdefault((not alone, rank.get(character, 0) if not shown else 0, shown), []).append(code)
        values = np.zeros(N_CODES, np.uint16)
        for i, kind in enumerate(sorted(kinds)):
            values[kinds[kind]] = i
        parts = "".join(shown for _, _, shown in sorted(kinds))
        packed[name] = two_stages(values) | {
            "n_inert": np.array(sum(not active for active, _, _ in kinds)),
            "rank": np.array([rank for _, rank, _ in sorted(kinds)], np.uint8),
            "offsets": np.cumsum([0, *(len(shown) for _, _, shown in sorted(kinds))], dtype=np.int32),
            "parts": np.array([ord(part) for part in parts], np.uint32),
            "parts_rank": np.array([rank.get(part, 0) for part in parts], np.uint8),
        }
    return packed


def combining_ranks() -> dict[str, int]:
    """The canonical combining classes, as their ranks (only their order matters), of characters that have one."""

    def swapped(text: str) -> bool:
        return nfd(text) != text

    atoms = [chr(code) for code in CODES if nfd(chr(code)) == chr(code)]
    # U+0345 has the highest class and U+0334 the lowest; one of the two is exchanged with any other mark
    marks = [c for c in atoms if swapped("\u0345" + c) or swapped(c + "\u0334") or c in "\u0345\u0334"]
    marks.sort(key=functools.cmp_to_key(lambda a, b: swapped(a + b) - swapped(b + a)))
    rank = {}
    for before, mark in zip([marks[0], *marks], marks, strict=False):
        rank[mark] = rank.get(before, 1) + (mark != before and swapped(mark + before))
    return rank


def compositions() -> dict[tuple[str, str], str]:
    """(a, b) -> c, for each character c that NFC makes of two, Hangul syllables aside."""
    pairs = {}
    for code in CODES:
        character = chr(code)
        parts = nfd(character)
        if code not in HANGUL and parts != character and nfc(character) == character:
            first = nfc(parts[:-1])
            assert len(first) == 1 and nfc(first + parts[-1]) == character, hex(code)
            pairs[first, parts[-1]] = character
    return pairs


# ---- grapheme clusters, as far as Precompiled lets them be seen

(ANY, CONTROL, CR, LF, EXTEND, ZWJ, SPACING, PREPEND, L, V, T, LV, LVT, PICTURE, CONSONANT, LINKER, INCB_EXTEND) = (
    range(17)
)


def charsmap(characters: Iterable[str]) -> bytes:
    """A SentencePiece charsmap that makes an `X` of each of these characters.

    A double array with a block of 256 units for each node: the child with label b of the node at block n lies
    at n ^ b. All leaves share the value 0, at unit 1 << 8 (block 1, label 0).
    """
    tree: dict = {}
    for character in characters:
        functools.reduce(lambda node, byte: node.setdefault(byte, {}), character.encode(), tree)
    units: dict[int, int] = {}
    n_blocks = 2

    def offset(value: int) -> int:
        return value << 10 if value < 1 << 21 else (value >> 8) << 10 | 1 << 9

    stack = [(0, tree, 0)]  # where the node's unit is, its children, its label
    while stack:
        at, children, label = stack.pop()
        target = n_blocks << 8 if children else 1 << 8
        n_blocks += bool(children)
        units[at] = label | offset(at ^ target) | (0 if children else 1 << 8)
        stack += [(target ^ byte, child, byte) for byte, child in children.items()]
    array = np.zeros(n_blocks << 8, np.uint32)
    array[list(units)] = list(units.values())
    return struct.pack("<I", array.nbytes) + array.tobytes() + b"X\0"


def precompiled(blob: bytes) -> Callable[[str], str]:
    tokenizer = json.loads(Tokenizer(models.BPE()).to_str())
    tokenizer["normalizer"] = {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(blob).decode()}
    return Tokenizer.from_str(json.dumps(tokenizer)).normalizer.normalize_str


def grapheme_classes() -> np.ndarray:
    """The grapheme class of each code point: uint16[0x110000].

    A cluster shorter than six bytes is replaced as a whole by what its first character becomes. So of a probe
    and the mark after it the mark goes, unless what stands before the probe is joined to it.
    """
    mark, zwj, linker, consonant = "\u0300", "\u200d", "\u094d", "\u0915"
    probes = {"a", "\u1100", "\u1161", "\u11a8", "©", consonant}
    classes = np.zeros(N_CODES, np.uint16)
    for low in range(0, N_CODES, 4096):
        chunk = [chr(code) for code in range(low, low + 4096) if not 0xD800 <= code < 0xE000]
        if not chunk:
            continue
        normalize = precompiled(charsmap(probes | set(chunk) - {mark, zwj, linker, "\0"}))

        def joins(before: str, probe: str, normalize=normalize) -> bool:
            return normalize(before + probe).endswith(mark)

        for c in chunk:
            if c in "\r\n":
                kind = CR if c == "\r" else LF
            elif c == zwj:
                kind = ZWJ
            elif joins(c, "a" + mark + mark):
                kind = PREPEND
            elif normalize("a" + c) == "X":
                if joins(consonant + c, consonant + mark):
                    kind = LINKER
                elif joins(consonant + linker + c, consonant + mark):
                    kind = INCB_EXTEND
                else:
                    kind = EXTEND if joins("©" + c + zwj, "©" + mark) else SPACING
            elif joins(c, "\u1100" + mark):
                kind = L
            elif joins(c, "\u1161" + mark):
                kind = LV if ord(c) in HANGUL else V
            elif joins(c, "\u11a8" + mark):
                kind = LVT if ord(c) in HANGUL else T
            elif joins(c + zwj, "©" + mark):
                kind = PICTURE
            elif joins(c + linker, consonant + mark):
                kind = CONSONANT
            else:
                kind = CONTROL if joins(c, mark) and len(c.encode()) < 4 else ANY
            classes[ord(c)] = kind
    return classes


if __name__ == "__main__":
    main()
