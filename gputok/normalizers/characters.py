"""Normalizers that change each character by itself."""

from __future__ import annotations

from gputok.fields import optional, per_field, switch
from gputok.normalizers.base import Normalizer, component
from gputok.text.edit import map_characters, normalize_form
from gputok.text.pieces import Pieces


@component
class Lowercase(Normalizer):
    """Each character in lower case, whatever its neighbours: no final sigma.

    >>> Lowercase().normalize_str("ΟΔΟΣ İ") == "οδοσ i\\u0307"
    True
    """

    apart_at_spaces = True

    def _apply(self, pieces: Pieces) -> Pieces:
        return map_characters(pieces, "lowercase")


@component
class StripAccents(Normalizer):
    """Removes combining marks; letters with an accent of their own need NFD or NFKD first.

    >>> StripAccents().normalize_str("e\\u0301 é")
    'e é'
    """

    apart_at_spaces = True

    def _apply(self, pieces: Pieces) -> Pieces:
        return map_characters(pieces, "strip_accents")


@component
class Nmt(Normalizer):
    """What SentencePiece's NMT rules do to controls and spaces.

    >>> Nmt().normalize_str("a\\tb\\u200bc\\x01")
    'a b c'
    """

    apart_at_spaces = True

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

    checks = per_field(
        clean_text=switch,
        handle_chinese_chars=switch,
        strip_accents=optional(switch),
        lowercase=switch,
    )
    apart_at_spaces = True

    def _apply(self, pieces: Pieces) -> Pieces:
        for name in self.maps():
            pieces = (
                normalize_form(pieces, name[0]) if isinstance(name, tuple) else map_characters(pieces, name)
            )
        return pieces

    def maps(self) -> list[str | tuple[str, bool]]:
        """What it does, in order: character maps, and normalization forms and whether they compose."""
        strip_accents = self.lowercase if self.strip_accents is None else self.strip_accents
        first = ("bert", "clean" * self.clean_text, "chinese" * self.handle_chinese_chars)
        maps: list[str | tuple[str, bool]] = []
        if self.clean_text or self.handle_chinese_chars:
            maps.append("_".join(filter(None, first)))
        if strip_accents:
            return [*maps, ("nfd", False), "bert_marks_lowercase" if self.lowercase else "bert_marks"]
        return [*maps, "lowercase"] if self.lowercase else maps
