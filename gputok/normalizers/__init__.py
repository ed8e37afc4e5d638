"""Normalizers change text before it is cut into pieces.

Names, arguments, JSON forms and results equal those of `tokenizers.normalizers`, also the Unicode version, which
differs from class to class.

>>> from gputok.normalizers import NFD, Lowercase, Sequence, StripAccents
>>> Sequence([NFD(), Lowercase(), StripAccents()]).normalize_str("Crème Brûlée")
'creme brulee'
"""

from typing import TYPE_CHECKING

from gputok.lazy import attach

if TYPE_CHECKING:  # for type checkers and editors; the table below has the same names
    from gputok.normalizers.base import Normalizer
    from gputok.normalizers.characters import BertNormalizer, ByteLevel, Lowercase, Nmt, StripAccents
    from gputok.normalizers.edits import Prepend, Replace, Strip
    from gputok.normalizers.forms import NFC, NFD, NFKC, NFKD, NORMALIZERS, Precompiled, unicode_normalizer_from_str
    from gputok.normalizers.sequence import Sequence

__all__ = [
    "NFC",
    "NFD",
    "NFKC",
    "NFKD",
    "NORMALIZERS",
    "BertNormalizer",
    "ByteLevel",
    "Lowercase",
    "Nmt",
    "Normalizer",
    "Precompiled",
    "Prepend",
    "Replace",
    "Sequence",
    "Strip",
    "StripAccents",
    "unicode_normalizer_from_str",
]

if not TYPE_CHECKING:  # else type checkers would take any name
    __getattr__, __dir__ = attach(
        __name__,
        {
            "BertNormalizer": "normalizers.characters",
            "ByteLevel": "normalizers.characters",
            "Lowercase": "normalizers.characters",
            "NFC": "normalizers.forms",
            "NFD": "normalizers.forms",
            "NFKC": "normalizers.forms",
            "NFKD": "normalizers.forms",
            "NORMALIZERS": "normalizers.forms",
            "Nmt": "normalizers.characters",
            "Normalizer": "normalizers.base",
            "Precompiled": "normalizers.forms",
            "Prepend": "normalizers.edits",
            "Replace": "normalizers.edits",
            "Sequence": "normalizers.sequence",
            "Strip": "normalizers.edits",
            "StripAccents": "normalizers.characters",
            "unicode_normalizer_from_str": "normalizers.forms",
        },
    )
