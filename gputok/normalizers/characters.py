"""Normalizers that change each character independently of its neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gputok.checks import field, optional, switch
from gputok.normalizers.base import BetweenSpaces, Normalizer
from gputok.text.edit import map_characters, normalize_form
from gputok.text.way import Apart

if TYPE_CHECKING:
    from gputok.text.pieces import Pieces
    from gputok.text.way import Way


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
        # NFD moves no accent past a mark, and decomposes none. A Chinese character gets spaces around it
        if self.handle_chinese_chars and after.apart is Apart.MARKS:
            after = after._replace(apart=Apart.IDEOGRAPHS)
        return after.changed(after.apart)

    def _apply(self, pieces: Pieces) -> Pieces:
        for name in self.maps():
            pieces = normalize_form(pieces, name) if name == "nfd" else map_characters(pieces, name)
        return pieces

    def maps(self) -> list[str]:
        """What it does, in order: character maps, and the normalization form "nfd"."""
        strip_accents = self.lowercase if self.strip_accents is None else self.strip_accents
        first = [*filter(None, ("clean" * self.clean_text, "chinese" * self.handle_chinese_chars))]
        maps = ["_".join(["bert", *first])] if first else []
        if strip_accents:
            return [*maps, "nfd", "bert_marks_lowercase" if self.lowercase else "bert_marks"]
        return [*maps, "lowercase"] if self.lowercase else maps
