"""Retrains a tokenizer of gputok or of `transformers` on other text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from gputok.pretrained.retrain import old_json, old_tokenizer, retrain, same_class
from gputok.pretrained.tokenizer import PreTrainedTokenizer
from gputok.tokenizer import Tokenizer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gputok.pretrained.special_tokens import Token


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
    `byte_fallback` are kept, after the special tokens; ids in the post-processor and in the padding are those of the new
    vocabulary; and the alphabet of ByteLevel is complete even if ByteLevel is inside of a Sequence.

    Args:
        tokenizer: a fast tokenizer of `transformers`, or one of gputok; it stays as it is.
        corpus: texts, lists of texts, Arrow data, a `datasets.Dataset` or an `IterableDataset`.
        vocab_size: the size of the new vocabulary, with special tokens, byte pieces and the alphabet.
        new_special_tokens: more special tokens.
        special_tokens_map: old special token -> new name.
        options: `column`, `device`, `threads`, `progress` and `errors` of `Tokenizer.train_from_iterator`, and options
            of the trainer, such as `min_frequency`.

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
        return tokenizer.train_new_from_iterator(
            corpus, vocab_size, new_special_tokens=new_special_tokens, special_tokens_map=special_tokens_map, **options
        )
    if not isinstance(tokenizer, Tokenizer) and not hasattr(tokenizer, "backend_tokenizer"):
        raise TypeError(
            f"{type(tokenizer).__name__} has no model that can be trained: pass a fast tokenizer of transformers, or "
            "one of gputok"
        )
    renamed, new = dict(special_tokens_map or {}), [*(new_special_tokens or ())]
    if isinstance(tokenizer, Tokenizer):
        trained = retrain(old_tokenizer(tokenizer), corpus, vocab_size, new, renamed, **options)
        trained.encode_special_tokens = tokenizer.encode_special_tokens
        return trained
    old = old_json(json.loads(tokenizer.backend_tokenizer.to_str()))
    return same_class(tokenizer, retrain(old, corpus, vocab_size, new, renamed, **options), new, renamed)
