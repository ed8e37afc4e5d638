"""Normalizers: what changes text before it is cut into pieces.

Names, arguments, JSON forms and results are those of `tokenizers.normalizers`, down to the Unicode version of each.

>>> from gputok.normalizers import NFD, Lowercase, Sequence, StripAccents
>>> Sequence([NFD(), Lowercase(), StripAccents()]).normalize_str("Crème Brûlée")
'creme brulee'
"""

from gputok.normalizers.base import Normalizer
from gputok.normalizers.characters import BertNormalizer, ByteLevel, Lowercase, Nmt, StripAccents
from gputok.normalizers.edits import Prepend, Replace, Strip
from gputok.normalizers.forms import NFC, NFD, NFKC, NFKD, Precompiled
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

NORMALIZERS = {"nfc": NFC, "nfd": NFD, "nfkc": NFKC, "nfkd": NFKD}


def unicode_normalizer_from_str(normalizer: str) -> Normalizer:
    """A normalization form by name: "nfc", "nfd", "nfkc" or "nfkd"."""
    if normalizer not in NORMALIZERS:
        raise ValueError(
            f"{normalizer} is not a known unicode normalizer. Available are {NORMALIZERS.keys()}"
        )
    return NORMALIZERS[normalizer]()
