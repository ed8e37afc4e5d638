"""Pre-tokenizers cut text into pieces (words), which a model then tokenizes one by one.

>>> from gputok.pre_tokenizers import Digits, Sequence, WhitespaceSplit
>>> Sequence([WhitespaceSplit(), Digits(individual_digits=True)]).pre_tokenize_str("take 42")
[('take', (0, 4)), ('4', (5, 6)), ('2', (6, 7))]
"""

from gputok.pre_tokenizers.base import PreTokenizer
from gputok.pre_tokenizers.splits import (
    BertPreTokenizer,
    ByteLevel,
    CharDelimiterSplit,
    Digits,
    FixedLength,
    Metaspace,
    Punctuation,
    Sequence,
    Split,
    UnicodeScripts,
    Whitespace,
    WhitespaceSplit,
)
from gputok.text.pieces import mark_starts, spell_out

__all__ = ["BertPreTokenizer", "ByteLevel", "CharDelimiterSplit", "Digits", "FixedLength", "Metaspace"]
__all__ += ["PreTokenizer", "Punctuation", "Sequence", "Split", "UnicodeScripts", "Whitespace", "WhitespaceSplit"]
__all__ += ["mark_starts", "spell_out"]
