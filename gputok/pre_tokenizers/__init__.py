"""Pre-tokenizers cut text into pieces (words), which a model then tokenizes one by one.

>>> from gputok.pre_tokenizers import Digits, Sequence, WhitespaceSplit
>>> Sequence([WhitespaceSplit(), Digits(individual_digits=True)]).pre_tokenize_str("take 42")
[('take', (0, 4)), ('4', (5, 6)), ('2', (6, 7))]
"""

from gputok.pre_tokenizers.base import PreTokenizer, SplitPlan
from gputok.pre_tokenizers.byte_level import ByteLevel
from gputok.pre_tokenizers.metaspace import FixedLength, Metaspace
from gputok.pre_tokenizers.sequence import Sequence
from gputok.pre_tokenizers.splits import (
    BertPreTokenizer,
    CharDelimiterSplit,
    Digits,
    Punctuation,
    Split,
    UnicodeScripts,
    Whitespace,
    WhitespaceSplit,
)
from gputok.text.pieces import mark_starts, spell_out

__all__ = [
    "BertPreTokenizer",
    "ByteLevel",
    "CharDelimiterSplit",
    "Digits",
    "FixedLength",
    "Metaspace",
    "PreTokenizer",
    "Punctuation",
    "Sequence",
    "Split",
    "SplitPlan",
    "UnicodeScripts",
    "Whitespace",
    "WhitespaceSplit",
    "mark_starts",
    "spell_out",
]
