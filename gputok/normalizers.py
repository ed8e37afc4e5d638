"""Normalizers: what changes text before it is cut into pieces.

    BertNormalizer  ByteLevel  Lowercase  NFC  NFD  NFKC  NFKD  Nmt  Precompiled  Prepend  Replace  Sequence  Strip
    StripAccents

Names, arguments, JSON forms and results are those of `tokenizers.normalizers`, down to the Unicode version of each.

>>> Sequence([NFD(), Lowercase(), StripAccents()]).normalize_str("Crème Brûlée")
'creme brulee'
"""

from __future__ import annotations

import base64
import dataclasses
import functools
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from gputok.components import Component
from gputok.text import Alignment, Array, Pieces, TextBatch
from gputok.unicode_maps import character_map, compositions, grapheme_classes, normalization_form

if TYPE_CHECKING:
    from gputok.normalized_string import NormalizedString
    from gputok.pattern import Regex

component = dataclasses.dataclass(eq=False, repr=False)


class Normalizer(Component):
    """Base of all normalizers: text in, text out, and where each part of it came from."""

    kind: ClassVar[str] = "normalizer"

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        if cls is Normalizer:
            raise TypeError(
                "Normalizer is a base class: make one of its subclasses, or Normalizer.custom(...)"
            )
        return super().__new__(cls)

    @staticmethod
    def custom(normalizer: Any) -> Normalizer:
        """A normalizer written in Python: any object with `normalize(self, normalized: NormalizedString)`.

        >>> class Shout:
        ...     def normalize(self, normalized):
        ...         normalized.uppercase(), normalized.append("!")
        >>> Normalizer.custom(Shout()).normalize_str("hey")
        'HEY!'
        """
        return Custom(normalizer)

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Self:
        """A normalizer from its JSON form; on the base class, of the type that `type` names."""
        if not isinstance(value, dict):
            raise ValueError(f"a normalizer is a JSON object, not {value!r}")
        if cls is Normalizer:
            types = {kind.__name__: kind for kind in cls.__subclasses__() if dataclasses.is_dataclass(kind)}
            name = value.get("type")
            if name not in types:
                raise ValueError(f"{name!r} is no normalizer; the types are {', '.join(sorted(types))}")
            return types[name].from_dict(value)
        for field in dataclasses.fields(cls):
            if field.name not in value and "None" not in str(field.type):
                raise ValueError(f"{cls.__name__}: the field {field.name!r} is missing")
        try:
            return super().from_dict(value)
        except TypeError as error:
            raise ValueError(f"{cls.__name__}: {error}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        kind = {"bool": bool, "bool | None": bool | None, "str": str}.get(
            type(self).__annotations__.get(name), object
        )
        if not isinstance(value, kind):
            raise TypeError(f"{name}: '{type(value).__name__}' object is not an instance of '{kind}'")
        super().__setattr__(name, value)

    def apply(self, pieces: Pieces) -> Pieces:
        """Normalizes each piece that is not an added token, keeping the alignment if there is one."""
        return self._apply(spelled_out(pieces))

    def _apply(self, pieces: Pieces) -> Pieces:
        raise NotImplementedError

    def normalize_str(self, sequence: str) -> str:
        """The normalized string."""
        if not isinstance(sequence, str):
            raise TypeError(f"sequence: '{type(sequence).__name__}' object is not an instance of 'str'")
        pieces = self.apply(Pieces.from_batch(TextBatch.from_strings([sequence])))
        return spelled_out(pieces).strings()[0]

    def normalize(self, normalized: NormalizedString) -> None:
        """Normalizes in place."""
        normalized._normalize(self)


# ---- characters by themselves


@component
class Lowercase(Normalizer):
    """Each character in lower case, whatever its neighbours: no final sigma.

    >>> Lowercase().normalize_str("ΟΔΟΣ İ") == "οδοσ i\\u0307"
    True
    """

    def _apply(self, pieces: Pieces) -> Pieces:
        return map_characters(pieces, "lowercase")


@component
class StripAccents(Normalizer):
    """Removes combining marks; letters with an accent of their own need NFD or NFKD first.

    >>> StripAccents().normalize_str("e\\u0301 é")
    'e é'
    """

    def _apply(self, pieces: Pieces) -> Pieces:
        return map_characters(pieces, "strip_accents")


@component
class Nmt(Normalizer):
    """What SentencePiece's NMT rules do to controls and spaces.

    >>> Nmt().normalize_str("a\\tb\\u200bc\\x01")
    'a b c'
    """

    def _apply(self, pieces: Pieces) -> Pieces:
        return map_characters(pieces, "nmt")


@component
class ByteLevel(Normalizer):
    """Each byte of the text as a visible character.

    >>> ByteLevel().normalize_str("né ")
    'nÃ©Ġ'
    """

    def _apply(self, pieces: Pieces) -> Pieces:
        return pieces._replace(byte_level=True)


@component
class BertNormalizer(Normalizer):
    """What BERT does to raw text.

    clean_text removes controls and makes every white space a space; handle_chinese_chars puts spaces around Chinese
    characters; strip_accents removes non-spacing marks after NFD, and None means: if `lowercase`.

    >>> BertNormalizer().normalize_str("Élan\\t漢字")
    'elan  漢  字 '
    """

    clean_text: bool = True
    handle_chinese_chars: bool = True
    strip_accents: bool | None = None
    lowercase: bool = True

    def _apply(self, pieces: Pieces) -> Pieces:
        strip_accents = self.lowercase if self.strip_accents is None else self.strip_accents
        first = ("bert", "clean" * self.clean_text, "chinese" * self.handle_chinese_chars)
        if self.clean_text or self.handle_chinese_chars:
            pieces = map_characters(pieces, "_".join(filter(None, first)))
        if strip_accents:
            pieces = normalize_form(pieces, "nfd")
            return map_characters(pieces, "bert_marks_lowercase" if self.lowercase else "bert_marks")
        return map_characters(pieces, "lowercase") if self.lowercase else pieces


# ---- normalization forms


@component
class NFD(Normalizer):
    """Canonical decomposition.

    >>> NFD().normalize_str("é") == "e\\u0301"
    True
    """

    def _apply(self, pieces: Pieces) -> Pieces:
        return normalize_form(pieces, "nfd")


@component
class NFKD(Normalizer):
    """Compatibility decomposition.

    >>> NFKD().normalize_str("ﬁ①")
    'fi1'
    """

    def _apply(self, pieces: Pieces) -> Pieces:
        return normalize_form(pieces, "nfkd")


@component
class NFC(Normalizer):
    """Canonical decomposition, then composition.

    >>> NFC().normalize_str("e\\u0301")
    'é'
    """

    def _apply(self, pieces: Pieces) -> Pieces:
        return normalize_form(pieces, "nfc", compose=True)


@component
class NFKC(Normalizer):
    """Compatibility decomposition, then canonical composition.

    >>> NFKC().normalize_str("ﾊﾟﬁ")
    'パfi'
    """

    def _apply(self, pieces: Pieces) -> Pieces:
        return normalize_form(pieces, "nfkc", compose=True)


@component
class Precompiled(Normalizer):
    """A map from a SentencePiece model: its `precompiled_charsmap`, a double array and the strings it points to.

    It is applied to grapheme clusters shorter than six bytes, then to characters, as in the namesake.
    """

    precompiled_charsmap: bytes

    def __post_init__(self) -> None:
        self.precompiled_charsmap = bytes(self.precompiled_charsmap)
        _ = self._tables  # an error in the map belongs here, not where it is first used

    @functools.cached_property
    def _tables(self) -> tuple[Array, Array]:
        """The double array uint32[n_units], and the strings uint8[n_bytes], each ended by a NUL."""
        blob = self.precompiled_charsmap
        n_bytes = int.from_bytes(blob[:4], "little")
        if len(blob) < 4 + n_bytes or len(blob) < 4:
            raise ValueError(
                f"precompiled_charsmap says that {n_bytes} bytes of a double array follow, but ends after {len(blob)} bytes"
            )
        texts = blob[4 + n_bytes // 4 * 4 :]
        try:
            texts.decode()
        except UnicodeDecodeError as error:
            raise ValueError(f"the strings of precompiled_charsmap are no UTF-8: {error}") from None
        return np.frombuffer(blob, "<u4", n_bytes // 4, 4), np.frombuffer(texts, np.uint8)

    def to_dict(self) -> dict[str, Any]:
        return {
            "type": "Precompiled",
            "precompiled_charsmap": base64.b64encode(self.precompiled_charsmap).decode(),
        }

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Self:
        if not isinstance(value.get("precompiled_charsmap"), str):
            raise ValueError("Precompiled: the field 'precompiled_charsmap' must be a string, in base64")
        return cls(base64.b64decode(value["precompiled_charsmap"], validate=True))

    def __repr__(self) -> str:
        return f'Precompiled(precompiled_charsmap="{self.to_dict()["precompiled_charsmap"]}")'

    def _apply(self, pieces: Pieces) -> Pieces:
        from gputok.kernels.cpu.precompiled import normalize_precompiled

        return _rewritten(pieces, normalize_precompiled, *self._tables, grapheme_classes())


# ---- putting in and taking out


@component
class Prepend(Normalizer):
    """Puts a string before the text, if there is any.

    >>> Prepend("▁").normalize_str("hello")
    '▁hello'
    """

    prepend: str = "▁"

    def _apply(self, pieces: Pieces) -> Pieces:
        here = pieces.start < pieces.end
        if pieces.frozen is not None:
            here &= ~pieces.frozen
        at = pieces.start[here]
        return _spliced(pieces, at, at, np.append(0, np.cumsum(here)), self.prepend, at)


@component
class Replace(Normalizer):
    """Puts `content` in place of each match of a pattern, a string or a `Regex`.

    >>> Replace("``", '"').normalize_str("``so''")
    '"so\\'\\''
    """

    pattern: str | Regex
    content: str

    def to_dict(self) -> dict[str, Any]:
        literal = isinstance(self.pattern, str)
        pattern = {"String": self.pattern} if literal else {"Regex": self.pattern.pattern}
        return {"type": "Replace", "pattern": pattern, "content": self.content}

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Self:
        from gputok.pattern import Regex

        match value:
            case {"pattern": {"String": str(pattern)}, "content": str(content)}:
                return cls(pattern, content)
            case {"pattern": {"Regex": str(pattern)}, "content": str(content)}:
                return cls(Regex(pattern), content)
        raise ValueError(
            f'Replace: {{"pattern": {{"String" or "Regex": ...}}, "content": ...}} expected, not {value!r}'
        )

    def __repr__(self) -> str:
        (kind, pattern), *_ = self.to_dict()["pattern"].items()
        return f'Replace(pattern={kind}("{pattern}"), content="{self.content}")'

    def _apply(self, pieces: Pieces) -> Pieces:
        start, end, rows = find_matches(self.pattern, pieces)
        # What is put in comes from where the character before it does: the last one that is replaced.
        place = end - 1
        first = np.repeat(pieces.start, np.diff(rows))
        return _spliced(pieces, start, end, rows, self.content, np.where(end == first, ~first, place))


@component
class Strip(Normalizer):
    """Removes white space at the ends.

    >>> Strip(left=False).normalize_str(" hello ")
    ' hello'
    """

    strip_left: bool
    strip_right: bool

    def __init__(self, left: bool = True, right: bool = True) -> None:
        self.strip_left, self.strip_right = left, right

    left = property(lambda self: self.strip_left, lambda self, value: setattr(self, "strip_left", value))
    right = property(lambda self: self.strip_right, lambda self, value: setattr(self, "strip_right", value))

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Self:
        for name in ("strip_left", "strip_right"):
            if not isinstance(value.get(name), bool):
                raise ValueError(f"Strip: the field {name!r} must be true or false, not {value.get(name)!r}")
        return cls(value["strip_left"], value["strip_right"])

    def _apply(self, pieces: Pieces) -> Pieces:
        from gputok.kernels.cpu.normalize import strip

        space = character_map("whitespace")[:2]
        start, end = strip(
            pieces.data, pieces.start, pieces.end, pieces.frozen, space, self.strip_left, self.strip_right
        )
        return pieces._replace(start=start, end=end)


# ---- several, and those in Python


@component
class Sequence(Normalizer):
    """Normalizers one after the other; a Sequence among them is taken apart.

    >>> Sequence([Strip(), Prepend("_")])[1]
    Prepend(prepend="_")
    """

    normalizers: list[Normalizer]

    def __post_init__(self) -> None:
        if not isinstance(self.normalizers, list):
            raise TypeError(
                f"normalizers: '{type(self.normalizers).__name__}' object is not an instance of 'list'"
            )
        flat: list[Normalizer] = []
        for normalizer in self.normalizers:
            if not isinstance(normalizer, Normalizer):
                raise TypeError(f"normalizers: {normalizer!r} is not a Normalizer")
            flat += normalizer.normalizers if isinstance(normalizer, Sequence) else [normalizer]
        self.normalizers = flat

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Self:
        """From JSON, in which a Sequence in a Sequence stays one."""
        if not isinstance(value.get("normalizers"), list):
            raise ValueError(
                f"Sequence: the field 'normalizers' must be a list, not {value.get('normalizers')!r}"
            )
        sequence = cls([])
        sequence.normalizers = [Normalizer.from_dict(item) for item in value["normalizers"]]
        return sequence

    def __len__(self) -> int:
        return len(self.normalizers)

    def __getitem__(self, index: int) -> Normalizer:
        return self.normalizers[_place(index, len(self))]

    def __setitem__(self, index: int, value: Normalizer) -> None:
        if not isinstance(value, Normalizer) or isinstance(value, Sequence):
            raise TypeError(f"a normalizer that is no Sequence can be put in a Sequence, not {value!r}")
        self.normalizers[_place(index, len(self))] = value

    def __getnewargs__(self) -> tuple[list]:
        return ([],)

    def _apply(self, pieces: Pieces) -> Pieces:
        for normalizer in self.normalizers:
            pieces = normalizer.apply(pieces)
        return pieces


class Custom(Normalizer):
    """A normalizer written in Python, which sees each piece as a NormalizedString of its own."""

    def __init__(self, normalizer: Any) -> None:
        self.normalizer = normalizer

    def __repr__(self) -> str:
        return f"Normalizer.custom({self.normalizer!r})"

    def to_dict(self) -> dict[str, Any]:
        raise ValueError("Custom Normalizer cannot be serialized")

    def normalize(self, normalized: NormalizedString) -> None:
        self.normalizer.normalize(normalized)

    def _apply(self, pieces: Pieces) -> Pieces:
        from gputok.normalized_string import NormalizedString

        texts, sides = [], []
        for i, text in enumerate(pieces.strings()):
            normalized = NormalizedString(text)
            if pieces.frozen is None or not pieces.frozen[i]:
                self.normalizer.normalize(normalized)
            texts.append(normalized.normalized.encode())
            if pieces.alignment is not None:
                start, end = (side + pieces.start[i] for side in normalized._alignment())
                before, after = pieces.alignment
                # an empty range, before the first character, stays empty
                filled = end > start
                end = np.where(filled, after[end - filled], before[start] if len(text) else 0)
                sides.append((before[start] if len(text) else np.zeros_like(end), end))
        offsets = np.cumsum([0, *map(len, texts)], dtype=np.int64)
        alignment = None
        if pieces.alignment is not None:
            start, end = (np.concatenate([np.zeros(0, np.int32), *side]) for side in zip(*sides, strict=True))
            alignment = Alignment(start.astype(np.int32), end.astype(np.int32))
        data = np.frombuffer(b"".join(texts), np.uint8)
        return pieces._replace(data=data, start=offsets[:-1], end=offsets[1:], alignment=alignment)


NORMALIZERS = {"nfc": NFC, "nfd": NFD, "nfkc": NFKC, "nfkd": NFKD}


def unicode_normalizer_from_str(normalizer: str) -> Normalizer:
    """A normalization form by name: "nfc", "nfd", "nfkc" or "nfkd"."""
    if normalizer not in NORMALIZERS:
        raise ValueError(
            f"{normalizer} is not a known unicode normalizer. Available are {NORMALIZERS.keys()}"
        )
    return NORMALIZERS[normalizer]()


# ---- pieces through kernels


def spelled_out(pieces: Pieces) -> Pieces:
    """The characters of the ByteLevel alphabet, written out where bytes stand for them."""
    if not pieces.byte_level:
        return pieces
    from gputok.pre_tokenizers import spell_out

    return spell_out(pieces)


def map_characters(pieces: Pieces, name: str) -> Pieces:
    """Each character of the pieces becomes what a map of gputok/unicode_maps.py says."""
    from gputok.kernels.cpu import normalize

    table = character_map(name)
    if normalize.is_inert(pieces.data, pieces.start, pieces.end, pieces.frozen, *table[:2]):
        return pieces
    return _rewritten(pieces, normalize.map_characters, table)


def normalize_form(pieces: Pieces, name: str, compose: bool = False) -> Pieces:
    """The pieces in a normalization form, one of nfc, nfd, nfkc, nfkd."""
    from gputok.kernels.cpu import normalize

    form = normalization_form(name)
    if normalize.is_inert(pieces.data, pieces.start, pieces.end, pieces.frozen, *form[:3]):
        return pieces
    return _rewritten(pieces, normalize.normalize_form, form, compositions() if compose else None)


def find_matches(pattern: str | Regex, pieces: Pieces) -> tuple[Array, Array, Array]:
    """Where a pattern matches in each piece: start, end int64[n_matches], rows int64[n_pieces + 1].

    Matches are in order and apart; the empty string matches between any two characters.
    """
    from gputok.kernels.cpu.normalize import find_literal
    from gputok.kernels.cpu.split import split_words

    place = pieces.data, pieces.start, pieces.end, pieces.frozen
    if isinstance(pattern, str) and pattern:
        literal = np.frombuffer(pattern.encode(), np.uint8)
        found, rows = find_literal(*place, literal)
        return found, found + len(literal), rows
    from gputok.pattern import matcher

    machine = matcher(pattern)
    if isinstance(machine, tuple):
        cut, drop = np.ones((2, 2), bool), np.array([True, False])
        start, end, rows = split_words(*place, machine, cut, drop, keep_empty=True)
    else:
        start, end, rows = _backtracked(machine, pieces)
    live = (
        pieces.start < pieces.end if pieces.frozen is None else (pieces.start < pieces.end) & ~pieces.frozen
    )
    keep = np.repeat(live, np.diff(rows))
    return start[keep], end[keep], np.append(0, np.cumsum(keep))[rows]


def _backtracked(pattern: Any, pieces: Pieces) -> tuple[Array, Array, Array]:
    """The matches of a pattern that is no automaton, a compiled one of the package `regex`."""
    from gputok.pattern import spans

    found, rows = [], [0]
    for text, start in zip(pieces.strings(), pieces.start.tolist(), strict=True):
        for first, last, matched in spans(pattern, text):
            end = start + len(text[first:last].encode())
            found += [(start, end)] * matched
            start = end
        rows.append(len(found))
    start, end = np.array(found, np.int64).reshape(-1, 2).T
    return start, end, np.array(rows)


def _rewritten(pieces: Pieces, kernel: Any, *arguments: Any) -> Pieces:
    """What a kernel makes of the pieces, with its alignment."""
    aligned = pieces.alignment is not None
    edited = kernel(pieces.data, pieces.start, pieces.end, pieces.frozen, *arguments, aligned)
    return _replaced(pieces, *edited)


def _replaced(pieces: Pieces, data: Array, offsets: Array, source: Array) -> Pieces:
    """New text for the pieces; source is explained in kernels/cpu/normalize.py."""
    alignment = None
    if pieces.alignment is not None:
        start, end = pieces.alignment
        empty = source < 0
        at = np.where(empty, ~source, source)
        alignment = Alignment(start[at], np.where(empty, start[at], end[at]))
    return pieces._replace(data=data, start=offsets[:-1], end=offsets[1:], alignment=alignment)


def _spliced(pieces: Pieces, start: Array, end: Array, rows: Array, content: str, place: Array) -> Pieces:
    from gputok.kernels.cpu.normalize import splice

    text = np.frombuffer(content.encode(), np.uint8)
    aligned = pieces.alignment is not None
    return _replaced(
        pieces, *splice(pieces.data, pieces.start, pieces.end, rows, start, end, text, place, aligned)
    )


def _place(index: int, n: int) -> int:
    if index < 0:
        raise OverflowError(f"can't convert negative int to unsigned: {index}")
    if index >= n:
        raise IndexError(f"Index not found: {index} of {n}")
    return index
