"""An untrained tokenizer and its trainer for each kind of model, as the field sets them up: what the command line trains.

The same recipe serves any package with these names: `tokenizers` is asked for the same thing by changing the import.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, Literal, get_args

Model = Literal["bpe", "wordpiece", "wordlevel", "unigram"]
MODELS: tuple[str, ...] = get_args(Model)

_SPECIAL_TOKENS = {
    "bpe": ["<|endoftext|>"],
    "wordpiece": ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
    "wordlevel": ["[UNK]"],
    "unigram": ["<unk>"],
}
_UNKNOWN = {"wordpiece": "[UNK]", "wordlevel": "[UNK]", "unigram": "<unk>"}


def recipe(
    model: Model = "bpe",
    *,
    vocab_size: int = 32_000,
    min_frequency: int = 0,
    pattern: str | None = None,
    special_tokens: Sequence[str] | None = None,
    package: str = "gputok",
) -> tuple[Any, Any]:
    """(tokenizer, trainer), ready for `tokenizer.train(files, trainer)`.

    bpe: byte-level with all 256 bytes as initial alphabet, split by GPT-2's pattern or by `pattern` (a name from
    `gputok.automaton.patterns`, or a regular expression). wordpiece: BERT's. wordlevel: words between white space.
    unigram: SentencePiece's, with `▁` for spaces. The token for the unknown is added to `special_tokens` where the
    model needs one. Raises ValueError for a model that is none of these, or a `pattern` for one that takes none.

    >>> tokenizer, trainer = recipe("bpe", vocab_size=1000)
    >>> trainer.vocab_size, len(trainer.initial_alphabet)
    (1000, 256)
    """
    if model not in MODELS:
        raise ValueError(f"model {model!r}: must be one of {', '.join(MODELS)}")
    if pattern is not None and model != "bpe":
        raise ValueError(f"pattern= splits text for a byte-level BPE; {model} has its own way")
    hf = importlib.import_module(package)
    models, normalizers, pre_tokenizers, decoders, trainers = (
        importlib.import_module(f"{package}.{name}")
        for name in ("models", "normalizers", "pre_tokenizers", "decoders", "trainers")
    )
    tokens = list(_SPECIAL_TOKENS[model] if special_tokens is None else special_tokens)
    unknown = _UNKNOWN.get(model)
    if unknown and unknown not in tokens:
        tokens.insert(0, unknown)
    options = {"vocab_size": vocab_size, "special_tokens": tokens}

    if model == "bpe":
        tokenizer = hf.Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = _byte_level(hf, pre_tokenizers, pattern)
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(initial_alphabet=alphabet, min_frequency=min_frequency, **options)
    elif model == "wordpiece":
        tokenizer = hf.Tokenizer(models.WordPiece(unk_token=unknown))
        tokenizer.normalizer = normalizers.BertNormalizer()
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece()
        trainer = trainers.WordPieceTrainer(min_frequency=min_frequency, **options)
    elif model == "wordlevel":
        tokenizer = hf.Tokenizer(models.WordLevel(unk_token=unknown))
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        trainer = trainers.WordLevelTrainer(min_frequency=min_frequency, **options)
    else:
        tokenizer = hf.Tokenizer(models.Unigram())
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        tokenizer.decoder = decoders.Metaspace()
        trainer = trainers.UnigramTrainer(unk_token=unknown, **options)
    return tokenizer, trainer


def _byte_level(hf: Any, pre_tokenizers: Any, pattern: str | None) -> Any:
    from gputok.automaton.patterns import PATTERNS

    if pattern in (None, "gpt2"):  # ByteLevel's own
        return pre_tokenizers.ByteLevel(add_prefix_space=False)
    split = pre_tokenizers.Split(hf.Regex(PATTERNS.get(pattern, pattern)), "isolated")
    return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
