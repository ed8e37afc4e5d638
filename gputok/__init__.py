"""gputok: train and run the tokenizers of Hugging Face `tokenizers`, byte for byte, many times faster.

The names are those of the `tokenizers` package, so changing the import is all a user does:

>>> from gputok import Tokenizer, models, pre_tokenizers, trainers

Everything is imported when it is first used, so that `import gputok` costs a few milliseconds.
"""

import importlib
import pathlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what type checkers and editors see; the same names are in the tables below
    from gputok import corpus as corpus
    from gputok import decoders as decoders
    from gputok import implementations as implementations
    from gputok import models as models
    from gputok import normalizers as normalizers
    from gputok import pre_tokenizers as pre_tokenizers
    from gputok import processors as processors
    from gputok import tools as tools
    from gputok import trainers as trainers
    from gputok.added_tokens import AddedToken as AddedToken
    from gputok.encoding import Encoding as Encoding
    from gputok.formats.gguf import from_gguf as from_gguf
    from gputok.formats.sentencepiece import save_sentencepiece as save_sentencepiece
    from gputok.formats.tekken import from_tekken as from_tekken
    from gputok.formats.tekken import save_tekken as save_tekken
    from gputok.formats.tiktoken import from_tiktoken as from_tiktoken
    from gputok.formats.tiktoken import save_tiktoken as save_tiktoken
    from gputok.implementations import BertWordPieceTokenizer as BertWordPieceTokenizer
    from gputok.implementations import ByteLevelBPETokenizer as ByteLevelBPETokenizer
    from gputok.implementations import CharBPETokenizer as CharBPETokenizer
    from gputok.implementations import SentencePieceBPETokenizer as SentencePieceBPETokenizer
    from gputok.implementations import SentencePieceUnigramTokenizer as SentencePieceUnigramTokenizer
    from gputok.inputs import EncodeInput as EncodeInput
    from gputok.inputs import InputSequence as InputSequence
    from gputok.inputs import OffsetReferential as OffsetReferential
    from gputok.inputs import Offsets as Offsets
    from gputok.inputs import OffsetType as OffsetType
    from gputok.inputs import PreTokenizedEncodeInput as PreTokenizedEncodeInput
    from gputok.inputs import PreTokenizedInputSequence as PreTokenizedInputSequence
    from gputok.inputs import SplitDelimiterBehavior as SplitDelimiterBehavior
    from gputok.inputs import TextEncodeInput as TextEncodeInput
    from gputok.inputs import TextInputSequence as TextInputSequence
    from gputok.normalized_string import NormalizedString as NormalizedString
    from gputok.pattern import Regex as Regex
    from gputok.pre_tokenized_string import PreTokenizedString as PreTokenizedString
    from gputok.pre_tokenized_string import Token as Token
    from gputok.pretrained import AutoTokenizer as AutoTokenizer
    from gputok.pretrained import PreTrainedTokenizer as PreTrainedTokenizer
    from gputok.pretrained import train_new_from_iterator as train_new_from_iterator
    from gputok.sentencepiece import from_sentencepiece as from_sentencepiece
    from gputok.text import TextBatch as TextBatch
    from gputok.tokenizer import Tokenizer as Tokenizer
    from gputok.tokenizers import install_as_tokenizers as install_as_tokenizers
    from gputok.word_counts import WordCounts as WordCounts

__version__ = "0.1.0"

# In a plain source tree `kernels/` lies beside this folder instead of in it; let it be found as gputok.kernels.
if not (pathlib.Path(__file__).parent / "kernels").is_dir():
    __path__.append(str(pathlib.Path(__file__).parents[1]))

_MODULES = (
    "corpus",
    "decoders",
    "implementations",
    "models",
    "normalizers",
    "pre_tokenizers",
    "processors",
    "tools",
    "trainers",
)

# name -> module that defines it
_NAMES: dict[str, str] = {
    "AddedToken": "added_tokens",
    "AutoTokenizer": "pretrained",
    "BertWordPieceTokenizer": "implementations",
    "ByteLevelBPETokenizer": "implementations",
    "CharBPETokenizer": "implementations",
    "EncodeInput": "inputs",
    "Encoding": "encoding",
    "InputSequence": "inputs",
    "from_gguf": "formats.gguf",
    "from_sentencepiece": "sentencepiece",
    "from_tekken": "formats.tekken",
    "from_tiktoken": "formats.tiktoken",
    "install_as_tokenizers": "tokenizers",
    "NormalizedString": "normalized_string",
    "OffsetReferential": "inputs",
    "OffsetType": "inputs",
    "Offsets": "inputs",
    "PreTokenizedEncodeInput": "inputs",
    "PreTokenizedInputSequence": "inputs",
    "PreTokenizedString": "pre_tokenized_string",
    "PreTrainedTokenizer": "pretrained",
    "Regex": "pattern",
    "SentencePieceBPETokenizer": "implementations",
    "SentencePieceUnigramTokenizer": "implementations",
    "SplitDelimiterBehavior": "inputs",
    "TextBatch": "text",
    "TextEncodeInput": "inputs",
    "TextInputSequence": "inputs",
    "Token": "pre_tokenized_string",
    "Tokenizer": "tokenizer",
    "WordCounts": "word_counts",
    "save_sentencepiece": "formats.sentencepiece",
    "save_tekken": "formats.tekken",
    "save_tiktoken": "formats.tiktoken",
    "train_new_from_iterator": "pretrained",
}


def __getattr__(name: str):
    if name in _NAMES:
        value = getattr(importlib.import_module(f"{__name__}.{_NAMES[name]}"), name)
    elif name in _MODULES:
        value = importlib.import_module(f"{__name__}.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_NAMES, *_MODULES])
