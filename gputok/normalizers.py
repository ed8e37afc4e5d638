"""Normalizers change text before it is cut into pieces.

Names, arguments, JSON forms and results equal those of `tokenizers.normalizers`, also the Unicode version, which
differs from class to class.

>>> from gputok.normalizers import NFD, Lowercase, Sequence, StripAccents
>>> Sequence([NFD(), Lowercase(), StripAccents()]).normalize_str("Crème Brûlée")
'creme brulee'
"""

from __future__ import annotations

import binascii
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from gputok.automaton.pattern import PATTERN, Regex
from gputok.checks import WrongValue, elements, field, optional, string, switch, typed, wrong_type
from gputok.components import Chain, Code, Component, call_custom, derived
from gputok.text.edit import inert_in, map_characters, normalize_form, prepend, replace, rewritten, strip
from gputok.text.pieces import Pieces, TextBatch, spell_out
from gputok.text.unicode_maps import grapheme_classes
from gputok.text.way import Apart, Before, SpaceChange, Way

if TYPE_CHECKING:
    from collections.abc import Sequence as ListOf

    import numpy.typing as npt

    from gputok.text.normalized_string import NormalizedString
    from gputok.types import Bytes

__all__ = ["NFC", "NFD", "NFKC", "NFKD", "NORMALIZERS", "BertNormalizer", "ByteLevel", "Lowercase", "Nmt"]
__all__ += ["Normalizer", "Precompiled", "Prepend", "Replace", "Sequence", "Strip", "StripAccents"]
__all__ += ["unicode_normalizer_from_str"]


class Normalizer(Component):
    """Base class of all normalizers, which map text to text and keep track of the origin of each part."""

    kind: ClassVar[str] = "normalizer"
    home: ClassVar[str] = "gputok.normalizers"

    @property
    def inert(self) -> tuple[Any, Any, int] | None:
        """(page, member, n): a table of kinds of characters; a text of kinds below n does not change. None: unknown."""
        return None

    @staticmethod
    def custom(normalizer: Any) -> Normalizer:
        """Makes a normalizer from an object that a user wrote in Python.

        Args:
            normalizer: an object with the method `normalize(self, normalized: NormalizedString) -> None`, which
                changes `normalized` in place.

        Returns:
            A normalizer that calls the object. It cannot be saved.

        Example:
            >>> class Shout:
            ...     def normalize(self, normalized):
            ...         normalized.uppercase(), normalized.append("!")
            >>> Normalizer.custom(Shout()).normalize_str("hey")
            'HEY!'
        """
        return Custom(normalizer)

    def way(self, after: Way) -> Way:
        """Returns how all steps up to this one take a text apart (`gputok.text.way`); after: how those before it do."""
        return after.changed()

    def apply(self, pieces: Pieces) -> Pieces:
        """Normalizes each piece that is not an added token. If the pieces have an alignment, the result has one."""
        return self._apply(spell_out(pieces))

    def _apply(self, pieces: Pieces) -> Pieces:
        raise NotImplementedError

    def normalize_str(self, sequence: str) -> str:
        """Normalizes a string.

        Args:
            sequence: the text.

        Returns:
            The normalized text.

        Raises:
            TypeError: if `sequence` is not a string.
        """
        typed("sequence", str, sequence)
        pieces = self.frozen().apply(Pieces.from_batch(TextBatch.from_strings([sequence])))
        return spell_out(pieces).strings()[0]

    def normalize(self, normalized: NormalizedString) -> None:
        """Normalizes a NormalizedString in place.

        Args:
            normalized: the text; its `original` stays as it is.
        """
        normalized.apply(self.frozen().apply)


class Sequence(Chain, Normalizer):
    """Applies normalizers one after the other.

    The elements can be read and replaced by index, and are the same objects that were passed.

    Args:
        normalizers: the elements; a Sequence among them is replaced by its elements.

    Example:
        >>> from gputok.normalizers import Prepend, Strip
        >>> Sequence([Strip(), Prepend("_")])[1]
        Prepend(prepend="_")
    """

    normalizers: ListOf[Normalizer] = field(**elements(Normalizer))

    def way(self, after: Way) -> Way:
        for normalizer in self.normalizers:
            after = normalizer.way(after)
        return after

    @property
    def inert(self) -> tuple[Any, Any, int] | None:
        """That of the element, if it is the only one; else None."""
        return self.normalizers[0].inert if len(self.normalizers) == 1 else None

    def __getnewargs__(self) -> tuple[list[Normalizer]]:
        return ([],)

    def _apply(self, pieces: Pieces) -> Pieces:
        most = _LARGE + _MOST_TIMES * len(pieces.data)
        for number, normalizer in enumerate(self.normalizers):
            pieces = normalizer.apply(pieces)
            if len(pieces.data) > most:  # with 40 elements that double each "a", one letter would become a terabyte
                raise ValueError(
                    f"normalizers[{number}], {normalizer!r}: a text became more than {_MOST_TIMES:,} times as long, "
                    f"and has {len(pieces.data):,} bytes; leave out steps that make text longer"
                )
        return pieces


# A Sequence may make a text this many times as long, and this many bytes longer: else a file could use up all memory
_MOST_TIMES, _LARGE = 1000, 1 << 20


class BetweenSpaces:
    """Base of normalizers whose result is the same for the whole text and for its parts between spaces, one by one."""

    def way(self, after: Way) -> Way:
        return after.changed(Apart.SPACES)


class Custom(Code, Normalizer):
    """A normalizer that a user wrote in Python. It gets each piece as a separate NormalizedString."""

    def normalize(self, normalized: NormalizedString) -> None:
        call_custom(self.code, "normalize", normalized)

    def _apply(self, pieces: Pieces) -> Pieces:
        from gputok.text.pre_tokenized_string import PreTokenizedString

        return PreTokenizedString.changed_by(lambda text: text.normalize(self.normalize), pieces)


class Lowercase(BetweenSpaces, Normalizer):
    r"""Changes each character to lower case, independently of its neighbours, so without the Greek final sigma.

    >>> Lowercase().normalize_str("ΟΔΟΣ İ") == "οδοσ i\u0307"
    True
    """

    def _apply(self, pieces: Pieces) -> Pieces:
        return map_characters(pieces, "lowercase")


class StripAccents(BetweenSpaces, Normalizer):
    r"""Removes combining marks. A letter that includes its accent, as é does, must first be split by NFD or NFKD.

    >>> StripAccents().normalize_str("e\u0301 é")
    'e é'
    """

    def _apply(self, pieces: Pieces) -> Pieces:
        return map_characters(pieces, "strip_accents")


class Nmt(BetweenSpaces, Normalizer):
    r"""Removes control characters, and changes other white space to spaces, by the NMT rules of SentencePiece.

    >>> Nmt().normalize_str("a\tb\u200bc\x01")
    'a b c'
    """

    def _apply(self, pieces: Pieces) -> Pieces:
        return map_characters(pieces, "nmt")


class ByteLevel(Normalizer):
    """Writes each byte of the text as one of 256 visible characters, as GPT-2 does.

    >>> ByteLevel().normalize_str("né ")
    'nÃ©Ġ'
    """

    def _apply(self, pieces: Pieces) -> Pieces:
        return pieces._replace(byte_level=True)


class BertNormalizer(Normalizer):
    r"""Normalizes raw text as BERT does.

    Args:
        clean_text: removes control characters, and changes all white space to spaces.
        handle_chinese_chars: puts a space before and after each Chinese character.
        strip_accents: splits letters from their accents (NFD) and removes the accents; None stands for the value of
            `lowercase`.
        lowercase: changes each character to lower case.

    Example:
        >>> BertNormalizer().normalize_str("Élan\t漢字")
        'elan  漢  字 '
    """

    clean_text: bool = field(switch, default=True)
    handle_chinese_chars: bool = field(switch, default=True)
    strip_accents: bool | None = field(optional(switch), default=None, may_lack=True)
    lowercase: bool = field(switch, default=True)

    def way(self, after: Way) -> Way:
        # The text may be cut at marks, since NFD moves no accent past one, and decomposes none; and beside each Chinese
        # character, since it gets spaces around it
        if self.handle_chinese_chars and after.apart == Apart.MARKS:
            after = after._replace(apart=Apart.IDEOGRAPHS)
        return after.changed(after.apart)

    def _apply(self, pieces: Pieces) -> Pieces:
        for name in self.maps():
            pieces = normalize_form(pieces, name) if name == "nfd" else map_characters(pieces, name)
        return pieces

    def maps(self) -> list[str]:
        """Returns what it does, in order: names of character maps (`gputok.text.unicode_maps`), and "nfd"."""
        strip_accents = self.lowercase if self.strip_accents is None else self.strip_accents
        first = [*filter(None, ("clean" * self.clean_text, "chinese" * self.handle_chinese_chars))]
        maps = ["_".join(["bert", *first])] if first else []
        if strip_accents:
            return [*maps, "nfd", "bert_marks_lowercase" if self.lowercase else "bert_marks"]
        return [*maps, "lowercase"] if self.lowercase else maps


class Prepend(Normalizer):
    """Inserts a string before the text, unless the text is empty.

    Args:
        prepend: the string. The empty string changes no text, but gives the first character an empty range of offsets,
            as in `tokenizers`.

    Example:
        >>> Prepend("▁").normalize_str("hello")
        '▁hello'
    """

    prepend: str = field(string, default="▁")

    def way(self, after: Way) -> Way:
        plain = after.spaces == SpaceChange.KEPT and after.before == Before.NONE
        if self.prepend == "▁" and plain:
            return after._replace(apart=Apart.NOWHERE, before=Before.ANY)
        return after.changed()

    def _apply(self, pieces: Pieces) -> Pieces:
        return prepend(pieces, self.prepend)


class Replace(Normalizer):
    r"""Replaces each match of a pattern.

    Args:
        pattern: a string, which matches itself, or a `Regex`.
        content: the text that replaces each match, character for character: `\1` and `$1` have no special meaning.

    Example:
        >>> Replace("``", '"').normalize_str("``so''")
        '"so\'\''
    """

    pattern: str | Regex = field(**PATTERN)
    content: str = field(string)

    def way(self, after: Way) -> Way:
        if self.pattern == " " and self.content == "▁" and after.spaces == SpaceChange.KEPT:
            return after._replace(apart=Apart.NOWHERE, spaces=SpaceChange.WRITTEN)
        return after.changed()

    def _apply(self, pieces: Pieces) -> Pieces:
        return replace(pieces, self.pattern, self.content)


def _also(name: str, about: str) -> property:
    """Makes a property that is another name of the field `name`."""

    def value_of(self: Any) -> Any:
        return getattr(self, name)

    value_of.__doc__ = about
    return property(value_of, lambda self, value: setattr(self, name, value))


class Strip(Normalizer):
    """Removes white space at the ends of the text.

    Args:
        left: at the start.
        right: at the end.

    Example:
        >>> Strip(left=False).normalize_str(" hello ")
        ' hello'
    """

    strip_left: bool = field(switch)
    strip_right: bool = field(switch)

    def __init__(self, left: bool = True, right: bool = True) -> None:
        self.strip_left, self.strip_right = left, right

    left = _also("strip_left", "True if white space at the start is removed.")
    right = _also("strip_right", "True if white space at the end is removed.")

    def _apply(self, pieces: Pieces) -> Pieces:
        return strip(pieces, self.strip_left, self.strip_right)


class _Form(BetweenSpaces):
    """Base of the normalization forms of Unicode; form: the name of its tables."""

    form: ClassVar[str]

    def _apply(self, pieces: Pieces) -> Pieces:
        return normalize_form(pieces, self.form)

    @property
    def inert(self) -> tuple[Any, Any, int] | None:
        return inert_in(self.form)


class NFD(_Form, Normalizer):
    r"""Normalization form D of Unicode: canonical decomposition.

    >>> NFD().normalize_str("é") == "e\u0301"
    True
    """

    form = "nfd"


class NFKD(_Form, Normalizer):
    """Normalization form KD of Unicode: compatibility decomposition.

    >>> NFKD().normalize_str("ﬁ①")
    'fi1'
    """

    form = "nfkd"


class NFC(_Form, Normalizer):
    r"""Normalization form C of Unicode: canonical decomposition, then composition.

    >>> NFC().normalize_str("e\u0301")
    'é'
    """

    form = "nfc"


class NFKC(_Form, Normalizer):
    """Normalization form KC of Unicode: compatibility decomposition, then canonical composition.

    >>> NFKC().normalize_str("ﾊﾟﬁ")
    'パfi'
    """

    form = "nfkc"


class Precompiled(Normalizer):
    """Replaces characters by the map that a SentencePiece model contains.

    As in `tokenizers`, the map is looked up for each grapheme cluster of fewer than six bytes; in longer clusters, and
    if the map has no entry for the cluster, for each character.

    Args:
        precompiled_charsmap: the map, from the field of that name of the model: the number of bytes of a double array
            (4 bytes, little endian), the double array, and the strings that the double array refers to.

    Raises:
        ValueError: if the bytes end too early, or the strings are not UTF-8.
    """

    precompiled_charsmap: bytes = field(
        lambda value: _charsmap(value),
        shown=lambda blob: f'"{_base64(blob)}"',
        written=lambda blob: _base64(blob),
        read=lambda text: binascii.a2b_base64(string(text), strict_mode=True),
    )

    @derived
    def tables(self) -> tuple[npt.NDArray[np.uint32], Bytes]:
        """The map as the kernels take it: a double array, uint32[n_units], and strings, uint8[n_bytes]."""
        return _parsed(self.precompiled_charsmap)

    def way(self, after: Way) -> Way:
        return after.changed(Apart.SPACES if self._apart_at_spaces else Apart.NOWHERE)

    @derived
    def _apart_at_spaces(self) -> bool:
        """True if no entry of the map has a space, and no grapheme cluster that has an entry goes on across a space."""
        from gputok.kernels.cpu.precompiled import LABEL, PREPEND

        # An unused unit of the double array may also have this label. Then False is returned, which is only slower.
        if bool(np.any(self.tables[0] & LABEL == ord(" "))):
            return False
        page, member = grapheme_classes()
        kinds = member[page].ravel()[:0x110000]
        text = "".join(chr(code) + " " for code in np.flatnonzero(kinds == PREPEND).tolist())
        return self.normalize_str(text) == text

    def _apply(self, pieces: Pieces) -> Pieces:
        from gputok.kernels.cpu.precompiled import normalize_precompiled

        return rewritten(pieces, normalize_precompiled, *self.tables, grapheme_classes())


def _charsmap(value: Any) -> bytes:
    if not isinstance(value, bytes | bytearray | memoryview):
        raise wrong_type(value, "bytes")
    blob = bytes(value)
    _parsed(blob)  # raises for a broken map now, not at the first use
    return blob


def _parsed(blob: bytes) -> tuple[npt.NDArray[np.uint32], Bytes]:
    """Returns the double array, uint32[n_units], of a map, and the strings, uint8[n_bytes], each ended by a NUL."""
    n_bytes = int.from_bytes(blob[:4], "little")
    if len(blob) < 4 + n_bytes or len(blob) < 4:
        raise WrongValue(f"says that {n_bytes} bytes of a double array follow, but ends after {len(blob)} bytes")
    texts = blob[4 + n_bytes // 4 * 4 :]
    try:
        texts.decode()
    except UnicodeDecodeError as error:
        raise WrongValue(f"has strings that are not UTF-8: {error}") from None
    return np.frombuffer(blob, "<u4", n_bytes // 4, 4), np.frombuffer(texts, np.uint8)


def _base64(blob: bytes) -> str:
    return binascii.b2a_base64(blob, newline=False).decode()


NORMALIZERS = {"nfc": NFC, "nfd": NFD, "nfkc": NFKC, "nfkd": NFKD}


def unicode_normalizer_from_str(normalizer: str) -> Normalizer:
    """Makes a normalization form of Unicode from its name.

    Args:
        normalizer: "nfc", "nfd", "nfkc" or "nfkd".

    Returns:
        The normalizer.

    Raises:
        ValueError: if the name is another one.

    Example:
        >>> unicode_normalizer_from_str("nfkc").normalize_str("ﬁ")
        'fi'
    """
    if normalizer not in NORMALIZERS:
        raise ValueError(f"{normalizer} is not a known unicode normalizer. Available are {NORMALIZERS.keys()}")
    return NORMALIZERS[normalizer]()
