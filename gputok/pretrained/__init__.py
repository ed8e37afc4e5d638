"""Tokenizers that belong to a model, opened, called, trained anew and saved as in `transformers`, which need not be there.

AutoTokenizer            opens a name on the hub, a folder or a tokenizer.json
PreTrainedTokenizer      what it gives: a tokenizer with named special tokens, lengths, sides and a chat template
BatchEncoding            what calling that gives
train_new_from_iterator  the same steps with a new vocabulary, also for a fast tokenizer of `transformers`
"""

from __future__ import annotations

import os
from typing import Any

from gputok.pretrained.batch import BatchEncoding, CharSpan, TokenSpan
from gputok.pretrained.tokenizer import PreTrainedTokenizer
from gputok.pretrained.training import train_new_from_iterator

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
    """Opens any tokenizer: `AutoTokenizer.from_pretrained(...)`; it has no instances."""

    def __init__(self) -> None:
        raise TypeError("call AutoTokenizer.from_pretrained with a name, a folder or a tokenizer.json")

    @staticmethod
    def from_pretrained(name_or_path: str | os.PathLike[str], **options: Any) -> PreTrainedTokenizer:
        """A tokenizer with all that its folder says about it.

        name_or_path: a folder that `save_pretrained` wrote, here or in `transformers` (an older form, too, or one with
        a tiktoken file or a tekken.json); the path of a tokenizer.json, which is read alone, or of a .gguf file; or a
        name on the Hugging Face Hub, which needs `huggingface_hub` and is taken from its cache without a network (set
        HF_HUB_OFFLINE=1 so that none is looked for).
        options: `revision`, `subfolder`, `token`, `cache_dir`, `local_files_only` and `force_download` for the hub; others,
        those of `PreTrainedTokenizer`, replace those of the folder, such as `pad_token="<pad>"`, `padding_side="left"` or
        `add_prefix_space=True`. No code of a folder is ever run, whatever `trust_remote_code` says.

        Raises OSError where there is no such thing, ValueError for files that are broken or an option that the tokenizer
        can't follow, TypeError for one that isn't known.
        """
        return PreTrainedTokenizer.from_pretrained(name_or_path, **options)
