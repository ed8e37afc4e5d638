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

import pathlib
from typing import TYPE_CHECKING

from gputok.lazy import attach
from gputok.version import __version__ as __version__

if TYPE_CHECKING:  # for type checkers and editors; the tables below have the same names
    from gputok import corpus as corpus
    from gputok import decoders as decoders
    from gputok import distributed as distributed
    from gputok import implementations as implementations
    from gputok import models as models
    from gputok import normalizers as normalizers
    from gputok import pre_tokenizers as pre_tokenizers
    from gputok import processors as processors
    from gputok import tools as tools
    from gputok import trainers as trainers
    from gputok.alignment import align as align
    from gputok.automaton.pattern import Regex as Regex
    from gputok.budgets import Counts as Counts
    from gputok.budgets import Part as Part
    from gputok.counts.word_counts import WordCounts as WordCounts
    from gputok.encoding.encoding import Encoding as Encoding
    from gputok.formats.gguf import from_gguf as from_gguf
    from gputok.formats.sentencepiece import from_sentencepiece as from_sentencepiece
    from gputok.formats.sentencepiece import save_sentencepiece as save_sentencepiece
    from gputok.formats.sentencepiece_training import train_sentencepiece as train_sentencepiece
    from gputok.formats.tekken import from_tekken as from_tekken
    from gputok.formats.tekken import save_tekken as save_tekken
    from gputok.formats.tiktoken import from_tiktoken as from_tiktoken
    from gputok.formats.tiktoken import save_tiktoken as save_tiktoken
    from gputok.implementations import BertWordPieceTokenizer as BertWordPieceTokenizer
    from gputok.implementations import ByteLevelBPETokenizer as ByteLevelBPETokenizer
    from gputok.implementations import CharBPETokenizer as CharBPETokenizer
    from gputok.implementations import SentencePieceBPETokenizer as SentencePieceBPETokenizer
    from gputok.implementations import SentencePieceUnigramTokenizer as SentencePieceUnigramTokenizer
    from gputok.incremental import Incremental as Incremental
    from gputok.pipeline.arrow import CorpusEncoder as CorpusEncoder
    from gputok.pipeline.arrow import WordCounter as WordCounter
    from gputok.prefix_cache import PrefixCache as PrefixCache
    from gputok.pretrained import AutoTokenizer as AutoTokenizer
    from gputok.pretrained import PreTrainedTokenizer as PreTrainedTokenizer
    from gputok.pretrained import PreTrainedTokenizerFast as PreTrainedTokenizerFast
    from gputok.pretrained import train_new_from_iterator as train_new_from_iterator
    from gputok.text.normalized_string import NormalizedString as NormalizedString
    from gputok.text.pieces import TextBatch as TextBatch
    from gputok.text.pre_tokenized_string import PreTokenizedString as PreTokenizedString
    from gputok.text.pre_tokenized_string import Token as Token
    from gputok.token_files.merge import merge_tokens as merge_tokens
    from gputok.token_files.token_files import TokenFiles as TokenFiles
    from gputok.token_files.token_files import open_tokens as open_tokens
    from gputok.tokenizer import Tokenizer as Tokenizer
    from gputok.tokenizers import install_as_tokenizers as install_as_tokenizers
    from gputok.tokens.added_token import AddedToken as AddedToken
    from gputok.tokens.vocabulary_change import VocabularyChange as VocabularyChange
    from gputok.types import EncodeInput as EncodeInput
    from gputok.types import InputSequence as InputSequence
    from gputok.types import OffsetReferential as OffsetReferential
    from gputok.types import Offsets as Offsets
    from gputok.types import OffsetType as OffsetType
    from gputok.types import PreTokenizedEncodeInput as PreTokenizedEncodeInput
    from gputok.types import PreTokenizedInputSequence as PreTokenizedInputSequence
    from gputok.types import SplitDelimiterBehavior as SplitDelimiterBehavior
    from gputok.types import TextEncodeInput as TextEncodeInput
    from gputok.types import TextInputSequence as TextInputSequence

__all__ = [
    "AddedToken",
    "AutoTokenizer",
    "BertWordPieceTokenizer",
    "ByteLevelBPETokenizer",
    "CharBPETokenizer",
    "CorpusEncoder",
    "Counts",
    "EncodeInput",
    "Encoding",
    "Incremental",
    "InputSequence",
    "NormalizedString",
    "OffsetReferential",
    "OffsetType",
    "Offsets",
    "Part",
    "PreTokenizedEncodeInput",
    "PreTokenizedInputSequence",
    "PreTokenizedString",
    "PreTrainedTokenizer",
    "PreTrainedTokenizerFast",
    "PrefixCache",
    "Regex",
    "SentencePieceBPETokenizer",
    "SentencePieceUnigramTokenizer",
    "SplitDelimiterBehavior",
    "TextBatch",
    "TextEncodeInput",
    "TextInputSequence",
    "Token",
    "TokenFiles",
    "Tokenizer",
    "VocabularyChange",
    "WordCounter",
    "WordCounts",
    "align",
    "corpus",
    "decoders",
    "distributed",
    "from_gguf",
    "from_sentencepiece",
    "from_tekken",
    "from_tiktoken",
    "implementations",
    "install_as_tokenizers",
    "merge_tokens",
    "models",
    "normalizers",
    "open_tokens",
    "pre_tokenizers",
    "processors",
    "save_sentencepiece",
    "save_tekken",
    "save_tiktoken",
    "tools",
    "train_new_from_iterator",
    "train_sentencepiece",
    "trainers",
]

# In a source tree, kernels/ lies next to this folder, not inside as in the wheel. Either way its name is gputok.kernels.
if not (pathlib.Path(__file__).parent / "kernels").is_dir():
    __path__.append(str(pathlib.Path(__file__).parents[1]))

# Public name -> the module that defines it, or the module of this name
_NAMES: dict[str, str] = {
    "AddedToken": "tokens.added_token",
    "AutoTokenizer": "pretrained",
    "BertWordPieceTokenizer": "implementations",
    "ByteLevelBPETokenizer": "implementations",
    "CharBPETokenizer": "implementations",
    "CorpusEncoder": "pipeline.arrow",
    "Counts": "budgets",
    "EncodeInput": "types",
    "Encoding": "encoding",
    "Incremental": "incremental",
    "InputSequence": "types",
    "Part": "budgets",
    "PrefixCache": "prefix_cache",
    "from_gguf": "formats.gguf",
    "from_sentencepiece": "formats.sentencepiece",
    "from_tekken": "formats.tekken",
    "from_tiktoken": "formats.tiktoken",
    "install_as_tokenizers": "tokenizers",
    "merge_tokens": "token_files.merge",
    "open_tokens": "token_files.token_files",
    "NormalizedString": "text.normalized_string",
    "OffsetReferential": "types",
    "OffsetType": "types",
    "Offsets": "types",
    "PreTokenizedEncodeInput": "types",
    "PreTokenizedInputSequence": "types",
    "PreTokenizedString": "text.pre_tokenized_string",
    "PreTrainedTokenizer": "pretrained",
    "PreTrainedTokenizerFast": "pretrained",
    "Regex": "automaton.pattern",
    "SentencePieceBPETokenizer": "implementations",
    "SentencePieceUnigramTokenizer": "implementations",
    "SplitDelimiterBehavior": "types",
    "TextBatch": "text",
    "TextEncodeInput": "types",
    "TextInputSequence": "types",
    "Token": "text.pre_tokenized_string",
    "TokenFiles": "token_files.token_files",
    "Tokenizer": "tokenizer",
    "VocabularyChange": "tokens.vocabulary_change",
    "WordCounter": "pipeline.arrow",
    "WordCounts": "counts.word_counts",
    "save_sentencepiece": "formats.sentencepiece",
    "save_tekken": "formats.tekken",
    "save_tiktoken": "formats.tiktoken",
    "train_new_from_iterator": "pretrained",
    "train_sentencepiece": "formats.sentencepiece_training",
    "align": "alignment",
    "corpus": "corpus",
    "decoders": "decoders",
    "distributed": "distributed",
    "implementations": "implementations",
    "models": "models",
    "normalizers": "normalizers",
    "pre_tokenizers": "pre_tokenizers",
    "processors": "processors",
    "tools": "tools",
    "trainers": "trainers",
}

if not TYPE_CHECKING:  # else type checkers would take any name
    __getattr__, __dir__ = attach(__name__, _NAMES)
