"""For each kind of model, an untrained tokenizer with the usual steps, and its trainer. `gputok train` uses these.

The recipes need only the public names of `tokenizers`, so they also work for that package.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

Model = Literal["bpe", "superbpe", "wordpiece", "wordlevel", "unigram"]
MODELS: tuple[str, ...] = get_args(Model)

_SPECIAL_TOKENS = {"bpe": ["<|endoftext|>"], "superbpe": ["<|endoftext|>"]}
_SPECIAL_TOKENS |= {"wordpiece": ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]}
_SPECIAL_TOKENS |= {"wordlevel": ["[UNK]"], "unigram": ["<unk>"]}
_UNKNOWN = {"wordpiece": "[UNK]", "wordlevel": "[UNK]", "unigram": "<unk>"}


def recipe(
    model: Model = "bpe",
    *,
    vocab_size: int = 32_000,
    min_frequency: int = 0,
    pattern: str | None = None,
    regex: str | None = None,
    special_tokens: Sequence[str] | None = None,
    package: str = "gputok",
    superwords: Mapping[str, Any] | None = None,
) -> tuple[Any, Any]:
    """Makes an untrained tokenizer and its trainer, ready for `tokenizer.train(files, trainer)`.

    Args:
        model: "bpe": byte-level, with all 256 bytes as initial alphabet. "superbpe": the same, with tokens that span
            words, which only gputok trains. "wordpiece": BERT's. "wordlevel": words between white space. "unigram":
            SentencePiece's, with `▁` for spaces.
        vocab_size: the number of tokens to learn, special tokens included.
        min_frequency: pairs (of WordLevel: words) that occur less often are not learnt. Unigram has no such limit.
        pattern: for "bpe" and "superbpe", the name of a well-known tokenizer whose pattern splits text (a key of
            `gputok.automaton.PATTERNS`); None: GPT-2's.
        regex: for "bpe" and "superbpe", another expression that splits text.
        special_tokens: the special tokens; None: the usual ones of the model. If the model needs a token for unknown
            text, it is added.
        package: the package whose classes to use, "gputok" or "tokenizers".
        superwords: for "superbpe", further options of `SuperBpeTrainer`.

    Returns:
        The tokenizer and the trainer.

    Raises:
        ValueError: the name of the model or of the pattern is unknown, `regex` can't be read, both of them are given,
            or one of them for another model than BPE.

    Example:
        >>> tokenizer, trainer = recipe("bpe", vocab_size=1000)
        >>> trainer.vocab_size, len(trainer.initial_alphabet)
        (1000, 256)
    """
    _check(model, package, superwords)
    if (pattern, regex) != (None, None) and model not in ("bpe", "superbpe"):
        given = "regex" if pattern is None else "pattern"
        raise ValueError(f"{given}= splits text for a byte-level BPE; {model} has its own way")
    regex = _expression(pattern, regex)
    hf = importlib.import_module(package)
    models, normalizers, pre_tokenizers, decoders, trainers = (
        importlib.import_module(f"{package}.{name}")
        for name in ("models", "normalizers", "pre_tokenizers", "decoders", "trainers")
    )
    tokens = list(_SPECIAL_TOKENS[model] if special_tokens is None else special_tokens)
    unknown = _UNKNOWN.get(model)
    if unknown and unknown not in tokens:
        tokens.insert(0, unknown)
    options: dict[str, Any] = {"vocab_size": vocab_size, "special_tokens": tokens}

    if model in ("bpe", "superbpe"):
        tokenizer = hf.Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = _byte_level(hf, pre_tokenizers, regex)
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        options |= {"initial_alphabet": alphabet, "min_frequency": min_frequency}
        kind = trainers.BpeTrainer if model == "bpe" else trainers.SuperBpeTrainer
        trainer = kind(**options, **(superwords or {}))
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


def _check(model: str, package: str, superwords: Mapping[str, Any] | None) -> None:
    if model not in MODELS:
        raise ValueError(f"model {model!r}: must be one of {', '.join(MODELS)}")
    if superwords and model != "superbpe":
        raise ValueError(f"{min(superwords)}= is for model 'superbpe', not for {model!r}")
    if model == "superbpe" and package != "gputok":
        raise ValueError(f"model 'superbpe': {package} has no trainer of superwords")


def _expression(pattern: str | None, regex: str | None) -> str | None:
    """Returns the expression that one of the two options means; None if neither is given."""
    from gputok.automaton import PATTERNS

    if pattern is None:
        return regex
    if regex is not None:
        raise ValueError(f"pattern {pattern!r} and regex {regex!r} both say how to split text: pass one of them")
    if pattern not in PATTERNS:
        close = difflib.get_close_matches(pattern.lower(), PATTERNS, n=1, cutoff=0.5)
        meant = f" (did you mean {close[0]}?)" if close else ""
        known = f"there are {', '.join(PATTERNS)}; pass an expression as regex (--regex)"
        raise ValueError(f"pattern {pattern!r}: there is no pattern of this name{meant}; {known}")
    return PATTERNS[pattern]


def _byte_level(hf: Any, pre_tokenizers: Any, regex: str | None) -> Any:
    from gputok.automaton import PATTERNS

    if regex in (None, PATTERNS["gpt2"]):  # the pattern of ByteLevel
        return pre_tokenizers.ByteLevel(add_prefix_space=False)
    split = pre_tokenizers.Split(hf.Regex(regex), "isolated")
    return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
