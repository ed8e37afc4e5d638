"""Training anew, for a tokenizer of gputok or of `transformers`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from gputok.pretrained.retrain import old_json, old_tokenizer, retrain, same_class
from gputok.pretrained.special_tokens import Token
from gputok.pretrained.tokenizer import PreTrainedTokenizer
from gputok.tokenizer import Tokenizer


def train_new_from_iterator(
    tokenizer: Any,
    corpus: Iterable[Any],
    vocab_size: int,
    new_special_tokens: Iterable[Token] | None = None,
    special_tokens_map: Mapping[str, str] | None = None,
    **options: Any,
) -> Any:
    """A tokenizer of the same class, with the algorithm, steps and special tokens of the given one, trained anew.

    tokenizer: a fast tokenizer of `transformers`, or one of gputok.
    corpus: texts, or lists of texts, Arrow data, a `datasets.Dataset` or `IterableDataset`.
    vocab_size: of the new vocabulary; special tokens, byte pieces and the alphabet count.
    new_special_tokens: further ones. special_tokens_map: old special token -> what it is called from now on.
    options: `column`, `device`, `threads`, `progress` and `errors` of `Tokenizer.train_from_iterator`, and those of
    the model's trainer, such as `min_frequency`.

    Special tokens get the first ids, other added tokens the last ones. Vocabulary and merges are those of
    `PreTrainedTokenizerFast.train_new_from_iterator`, but for what is lost there: the byte pieces of a `byte_fallback` model
    are kept, after the special tokens; ids are right wherever the post-processor and the padding hold one; and the
    alphabet of ByteLevel is preset at whatever depth it is.

    Raises TypeError for a tokenizer without these steps (a slow one) or a text that is no string, ValueError
    where a special token that is needed has no id in the new vocabulary.

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
        return tokenizer.train_new_from_iterator(
            corpus,
            vocab_size,
            new_special_tokens=new_special_tokens,
            special_tokens_map=special_tokens_map,
            **options,
        )
    if not isinstance(tokenizer, Tokenizer) and not hasattr(tokenizer, "backend_tokenizer"):
        raise TypeError(
            f"{type(tokenizer).__name__} has no model that can be trained: pass a fast tokenizer of transformers, or "
            "one of gputok"
        )
    renamed, new = dict(special_tokens_map or {}), [*(new_special_tokens or ())]
    if isinstance(tokenizer, Tokenizer):
        return retrain(old_tokenizer(tokenizer), corpus, vocab_size, new, renamed, **options)
    old = old_json(json.loads(tokenizer.backend_tokenizer.to_str()))
    return same_class(tokenizer, retrain(old, corpus, vocab_size, new, renamed, **options), new, renamed)
