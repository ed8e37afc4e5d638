"""Tokenizers of models, opened, called, retrained and saved as in `transformers`, without requiring `transformers`.

AutoTokenizer            opens a name on the hub, a folder or a tokenizer.json
PreTrainedTokenizer      a tokenizer with named special tokens, limits, sides and a chat template
BatchEncoding            the result of calling a PreTrainedTokenizer
train_new_from_iterator  trains a new vocabulary for the steps of a tokenizer, also of a fast one of `transformers`
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from gputok.pretrained.batch import BatchEncoding, CharSpan, TokenSpan
from gputok.pretrained.retrain import retrain, same_class
from gputok.pretrained.special_tokens import Token
from gputok.pretrained.tokenizer import PreTrainedTokenizer
from gputok.tokenizer import Tokenizer

__all__ = ["AutoTokenizer", "BatchEncoding", "CharSpan", "PreTrainedTokenizer", "PreTrainedTokenizerFast", "TokenSpan"]
__all__ += ["train_new_from_iterator"]

PreTrainedTokenizerFast = PreTrainedTokenizer
"""The name that `transformers` has for it."""


class AutoTokenizer:
    """Opens any tokenizer by `AutoTokenizer.from_pretrained(...)`; the class has no instances."""

    def __init__(self) -> None:
        raise TypeError("call AutoTokenizer.from_pretrained with a name, a folder or a tokenizer.json")

    @staticmethod
    def from_pretrained(name_or_path: str | os.PathLike[str], **options: Any) -> PreTrainedTokenizer:
        """Opens a tokenizer with all settings of its folder.

        Args:
            name_or_path: one of

                - a folder that `save_pretrained` wrote, here or in `transformers`, also in an older form or with a
                  tiktoken file or a tekken.json;
                - the path of a file that is read alone: a tokenizer.json, a .gguf file, a SentencePiece model, a
                  tekken.json, or a tiktoken file (with `pattern=`, as for `gputok.from_tiktoken`);
                - a name on the Hugging Face Hub, which needs `huggingface_hub`. Files in the cache of the hub are found
                  without a network; with HF_HUB_OFFLINE=1 no connection is tried.
            options: `revision`, `subfolder`, `token`, `cache_dir`, `local_files_only` and `force_download` are for the
                hub. Options of `PreTrainedTokenizer`, such as `pad_token="<pad>"`, `padding_side="left"` or
                `add_prefix_space=True`, replace those of the folder. No code of a folder is ever run, even with
                `trust_remote_code=True`.

        Raises:
            OSError: if nothing has this path or name.
            ValueError: if a file is damaged, or this tokenizer cannot do what an option asks.
            TypeError: if an option is not known.
        """
        return PreTrainedTokenizer.from_pretrained(name_or_path, **options)


def train_new_from_iterator(
    tokenizer: Any,
    corpus: Iterable[Any],
    vocab_size: int,
    new_special_tokens: Iterable[Token] | None = None,
    special_tokens_map: Mapping[str, str] | None = None,
    **options: Any,
) -> Any:
    """Trains a new vocabulary for the algorithm, the steps and the special tokens of a tokenizer.

    Special tokens get the first ids, other added tokens the last ones. Vocabulary and merges are those of
    `PreTrainedTokenizerFast.train_new_from_iterator` with three differences: the byte pieces of a model with
    `byte_fallback` are kept, after the special tokens; ids in the post-processor and in the padding are those of the
    new vocabulary; and the alphabet of ByteLevel is complete even if ByteLevel is inside of a Sequence.

    Args:
        tokenizer: a fast tokenizer of `transformers`, or one of gputok; it stays as it is.
        corpus: texts, lists of texts, Arrow data, a `datasets.Dataset` or an `IterableDataset`.
        vocab_size: the size of the new vocabulary, with special tokens, byte pieces and the alphabet.
        new_special_tokens: more special tokens.
        special_tokens_map: old special token -> new name.
        options: those of `Tokenizer.train_from_iterator` (`gputok.pipeline.run.CountOptions`), and options of the
            trainer, such as `min_frequency`.

    Returns:
        A tokenizer of the same class.

    Raises:
        TypeError: if the tokenizer has no such steps (a slow one), or a text is not a string.
        ValueError: if a special token that is needed has no id in the new vocabulary.

    Example:
        >>> from gputok import Tokenizer, models, pre_tokenizers
        >>> old = Tokenizer(models.BPE())
        >>> old.pre_tokenizer = pre_tokenizers.Whitespace()
        >>> old.add_special_tokens(["<s>"])
        1
        >>> new = train_new_from_iterator(old, ["low lower lowest"] * 9, 12)
        >>> new.encode("<s> lower").tokens
        ['<s>', 'lowe', 'r']
    """
    if isinstance(tokenizer, PreTrainedTokenizer):
        options |= {"new_special_tokens": new_special_tokens, "special_tokens_map": special_tokens_map}
        return tokenizer.train_new_from_iterator(corpus, vocab_size, **options)
    if not isinstance(tokenizer, Tokenizer) and not hasattr(tokenizer, "backend_tokenizer"):
        instead = "pass a fast tokenizer of transformers, or one of gputok"
        raise TypeError(f"{type(tokenizer).__name__} has no model that can be trained: {instead}")
    renamed, new = dict(special_tokens_map or {}), [*(new_special_tokens or ())]
    if isinstance(tokenizer, Tokenizer):
        trained = retrain(tokenizer, corpus, vocab_size, new, renamed, **options)
        trained.encode_special_tokens = tokenizer.encode_special_tokens
        return trained
    old = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    return same_class(tokenizer, retrain(old, corpus, vocab_size, new, renamed, **options), new, renamed)
