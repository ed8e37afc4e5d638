"""Normalizers change text before it is cut into pieces.

Names, arguments, JSON forms and results equal those of `tokenizers.normalizers`, also the Unicode version, which
differs from class to class.

>>> from gputok.normalizers import NFD, Lowercase, Sequence, StripAccents
>>> Sequence([NFD(), Lowercase(), StripAccents()]).normalize_str("Crème Brûlée")
'creme brulee'
"""

from gputok.normalizers.base import Normalizer, Sequence
from gputok.normalizers.edits import (
    NFC,
    NFD,
    NFKC,
    NFKD,
    NORMALIZERS,
    BertNormalizer,
    ByteLevel,
    Lowercase,
    Nmt,
    Precompiled,
    Prepend,
    Replace,
    Strip,
    StripAccents,
    unicode_normalizer_from_str,
)

__all__ = ["NFC", "NFD", "NFKC", "NFKD", "NORMALIZERS", "BertNormalizer", "ByteLevel", "Lowercase", "Nmt"]
__all__ += ["Normalizer", "Precompiled", "Prepend", "Replace", "Sequence", "Strip", "StripAccents"]
__all__ += ["unicode_normalizer_from_str"]
