"""gputok: train and run the tokenizers of Hugging Face `tokenizers`, byte for byte, many times faster.

The names are those of the `tokenizers` package, so changing the import is all a user does:

>>> from gputok import Tokenizer, models, pre_tokenizers, trainers

Everything is imported when it is first used, so that `import gputok` costs a few milliseconds.
"""

import importlib
import pathlib

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
    "from_sentencepiece": "sentencepiece",
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
