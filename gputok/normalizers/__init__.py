"""Normalizers change text before it is cut into pieces.

Names, arguments, JSON forms and results equal those of `tokenizers.normalizers`, also the Unicode version, which
differs from class to class.

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
        raise ValueError(
            f"{normalizer} is not a known unicode normalizer. Available are {NORMALIZERS.keys()}"
        )
    return NORMALIZERS[normalizer]()
