"""Tokenizers of models, opened, called, retrained and saved as in `transformers`, without requiring `transformers`.

AutoTokenizer            opens a name on the hub, a folder or a tokenizer.json
PreTrainedTokenizer      a tokenizer with named special tokens, limits, sides and a chat template
BatchEncoding            the result of calling a PreTrainedTokenizer
train_new_from_iterator  trains a new vocabulary for the steps of a tokenizer, also of a fast one of `transformers`
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gputok.pretrained.batch import BatchEncoding, CharSpan, TokenSpan
from gputok.pretrained.tokenizer import PreTrainedTokenizer
from gputok.pretrained.training import train_new_from_iterator

if TYPE_CHECKING:
    import os

__all__ = [
    "AutoTokenizer",
    "BatchEncoding",
    "CharSpan",
    "PreTrainedTokenizer",
    "PreTrainedTokenizerFast",
    "TokenSpan",
    "train_new_from_iterator",
]

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
