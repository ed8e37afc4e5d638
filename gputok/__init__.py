"""gputok: train and run the tokenizers of Hugging Face `tokenizers`, byte for byte, many times faster.

Public names are those of the `tokenizers` package, so users only change the import:

>>> from gputok import Tokenizer, models, pre_tokenizers, trainers

Modules are imported at the first use of a name, so `import gputok` takes a few milliseconds.

Six words for text:

- text: a str, or bytes
- document: a corpus has many documents, such as lines or rows
- piece: a part of a document between two steps of a tokenizer: the whole document, a word or an added token
- word: a piece that the model encodes separately, also called pre-token
- batch: documents that are read together and pass through the pipeline together
- slice: a range of a text or of a list of texts that one thread processes at a time

Six other words in the code:

- row: the pieces or tokens of one document, as a range of arrays that many documents share
- span: a range first:last of bytes, characters or tokens
- symbol: a token of BPE while pairs are merged, by its position in the vocabulary
- rank: the position of a merge in the list of merges of BPE; a lower rank is merged first
- stage: one loop over arrays: a kernel with a reference in Python and versions for the CPU and the GPU; in progress
  reports, a phase of training or encoding
- walk: the pass of an automaton over a text, which finds the pre-tokens

And one that both share:

- seam: a place in a text at which both sides are texts of their own, whatever the text goes on with
"""

import os
from typing import TYPE_CHECKING

from gputok.lazy import attach
from gputok.version import __version__ as __version__

if TYPE_CHECKING:  # for type checkers and editors; the tables below have the same names
    from gputok import (
        corpus,
        decoders,
        distributed,
        implementations,
        models,
        normalizers,
        pre_tokenizers,
        processors,
        tools,
        trainers,
    )
    from gputok.alignment import align
    from gputok.automaton.pattern import Regex
    from gputok.budgets import Counts, Part
    from gputok.counts.word_counts import WordCounts
    from gputok.encoding.encoding import Encoding
    from gputok.formats.gguf import from_gguf
    from gputok.formats.sentencepiece import from_sentencepiece, save_sentencepiece
    from gputok.formats.sentencepiece_training import train_sentencepiece
    from gputok.formats.tekken import from_tekken, save_tekken
    from gputok.formats.tiktoken import from_tiktoken, save_tiktoken
    from gputok.implementations import (
        BertWordPieceTokenizer,
        ByteLevelBPETokenizer,
        CharBPETokenizer,
        SentencePieceBPETokenizer,
        SentencePieceUnigramTokenizer,
    )
    from gputok.incremental import Incremental
    from gputok.pipeline.arrow import CorpusEncoder, WordCounter
    from gputok.prefix_cache import PrefixCache
    from gputok.pretrained import AutoTokenizer, PreTrainedTokenizer, PreTrainedTokenizerFast, train_new_from_iterator
    from gputok.text.normalized_string import NormalizedString
    from gputok.text.pieces import TextBatch
    from gputok.text.pre_tokenized_string import PreTokenizedString, Token
    from gputok.token_files.merge import merge_tokens
    from gputok.token_files.token_files import TokenFiles, open_tokens
    from gputok.tokenizer import Tokenizer
    from gputok.tokenizers import install_as_tokenizers
    from gputok.tokens.added_token import AddedToken
    from gputok.tokens.vocabulary_change import VocabularyChange
    from gputok.types import (
        EncodeInput,
        InputSequence,
        OffsetReferential,
        Offsets,
        OffsetType,
        PreTokenizedEncodeInput,
        PreTokenizedInputSequence,
        SplitDelimiterBehavior,
        TextEncodeInput,
        TextInputSequence,
    )

__all__ = ["AddedToken", "AutoTokenizer", "BertWordPieceTokenizer", "ByteLevelBPETokenizer", "CharBPETokenizer"]
__all__ += ["CorpusEncoder", "Counts", "EncodeInput", "Encoding", "Incremental", "InputSequence", "NormalizedString"]
__all__ += ["OffsetReferential", "OffsetType", "Offsets", "Part", "PreTokenizedEncodeInput"]
__all__ += ["PreTokenizedInputSequence", "PreTokenizedString", "PreTrainedTokenizer", "PreTrainedTokenizerFast"]
__all__ += ["PrefixCache", "Regex", "SentencePieceBPETokenizer", "SentencePieceUnigramTokenizer"]
__all__ += ["SplitDelimiterBehavior", "TextBatch", "TextEncodeInput", "TextInputSequence", "Token", "TokenFiles"]
__all__ += ["Tokenizer", "VocabularyChange", "WordCounter", "WordCounts", "align", "corpus", "decoders"]
__all__ += ["distributed", "from_gguf", "from_sentencepiece", "from_tekken", "from_tiktoken", "implementations"]
__all__ += ["install_as_tokenizers", "merge_tokens", "models", "normalizers", "open_tokens", "pre_tokenizers"]
__all__ += ["processors", "save_sentencepiece", "save_tekken", "save_tiktoken", "tools", "train_new_from_iterator"]
__all__ += ["train_sentencepiece", "trainers"]

# In a source tree, kernels/ lies beside this folder, not inside as in the wheel. Its name is gputok.kernels in both.
if not os.path.isdir(os.path.join(__path__[0], "kernels")):
    __path__.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# Module -> the public names that it defines. The other names of `__all__` are modules themselves; so is `types`
_NAMES = {
    "alignment": "align",
    "automaton.pattern": "Regex",
    "budgets": "Counts Part",
    "counts.word_counts": "WordCounts",
    "encoding": "Encoding",
    "formats.gguf": "from_gguf",
    "formats.sentencepiece": "from_sentencepiece save_sentencepiece",
    "formats.sentencepiece_training": "train_sentencepiece",
    "formats.tekken": "from_tekken save_tekken",
    "formats.tiktoken": "from_tiktoken save_tiktoken",
    "implementations": (
        "BertWordPieceTokenizer ByteLevelBPETokenizer CharBPETokenizer SentencePieceBPETokenizer "
        "SentencePieceUnigramTokenizer"
    ),
    "incremental": "Incremental",
    "pipeline.arrow": "CorpusEncoder WordCounter",
    "prefix_cache": "PrefixCache",
    "pretrained": "AutoTokenizer PreTrainedTokenizer PreTrainedTokenizerFast train_new_from_iterator",
    "text": "TextBatch",
    "text.normalized_string": "NormalizedString",
    "text.pre_tokenized_string": "PreTokenizedString Token",
    "token_files.merge": "merge_tokens",
    "token_files.token_files": "TokenFiles open_tokens",
    "tokenizer": "Tokenizer",
    "tokenizers": "install_as_tokenizers",
    "tokens.added_token": "AddedToken",
    "tokens.vocabulary_change": "VocabularyChange",
    "types": (
        "EncodeInput InputSequence OffsetReferential OffsetType Offsets PreTokenizedEncodeInput "
        "PreTokenizedInputSequence SplitDelimiterBehavior TextEncodeInput TextInputSequence types"
    ),
}

if not TYPE_CHECKING:  # else type checkers would take any name
    __getattr__, __dir__ = attach(__name__, _NAMES)
