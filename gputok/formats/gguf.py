"""Reads the tokenizer of a `.gguf` file, as llama.cpp does.

The file format is described in https://github.com/ggml-org/ggml/blob/master/docs/gguf.md; the meaning of tokens and
options in llama.cpp's `src/llama-vocab.cpp`. Only the metadata at the start of the file is read, never the weights.
The numbers of `tokenizer.ggml.token_type` are those of SentencePiece's types of pieces.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from gputok import decoders, models, normalizers, pre_tokenizers, processors
from gputok.automaton import PATTERNS
from gputok.automaton.pattern import Regex
from gputok.automaton.rust import from_rust
from gputok.checks import WORD, Check, WrongType, WrongValue, checked, in_file, integer, listed, short, string, switch
from gputok.files.arrow import needing
from gputok.files.sentencepiece_proto import BPE, BYTE, CONTROL, NORMAL, UNIGRAM, UNKNOWN, USER_DEFINED
from gputok.formats.sentencepiece import SPACE, PieceTable, tokenizer_of
from gputok.tokenizer import Tokenizer
from gputok.tokens.added_token import AddedToken

_DIGIT = r"\p{N}"
_BLOOM = r" ?[^(\s|.,!?…。，、।۔،)]+"
_QWEN35 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_FAMILIES: dict[tuple[str, ...], str] = {
    (PATTERNS["gpt2"],): (
        "gpt-2 phi-2 mpt olmo jais trillion granite-docling gigachat mellum a.x-4.0 exaone4 modern-bert "
        "jina-es jina-de jina-v1-en jina-v2-es jina-v2-de jina-v2-code roberta-bpe"
    ),
    (PATTERNS["llama3"],): (
        "llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano dbrx smaug-bpe glm4 chatglm-bpe"
    ),
    (PATTERNS["qwen2"],): ("qwen2 deepseek-r1-qwen kormo f2llmv2 megrez stablelm2 hunyuan solar-open grok-2"),
    (_QWEN35,): "qwen35",
    (PATTERNS["o200k"],): "gpt-4o llama4 kanana2 talkie minimax-m2",
    (PATTERNS["tekken"],): "tekken",
    (PATTERNS["deepseek-v3"],): "deepseek-v3 hunyuan-dense joyai-llm hy_v4",
    (_DIGIT, PATTERNS["gpt2"]): "starcoder refact command-r smollm codeshell exaone minerva-7b mellum2",
    (r"[\p{P}\$\+<=>\^~\|`]+", PATTERNS["gpt2"], r"[0-9][0-9][0-9]"): "falcon",
    (_BLOOM,): "bloom poro-chat gpt3-finnish",
    (_BLOOM, _DIGIT): "viking",
}
"""Patterns -> the values of `tokenizer.ggml.pre` that stand for them; each pattern cuts what the one before it has cut.

The patterns are as in the models' own tokenizers. llama.cpp writes some otherwise, where its engine lacks a feature.
"""

SPLITS: dict[str, tuple[str, ...]] = {name: patterns for patterns, names in _FAMILIES.items() for name in names.split()}
"""Value of `tokenizer.ggml.pre` -> the patterns that cut text."""

_WHOLE_WORDS = {*"llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano tekken".split()}
"""Values of `tokenizer.ggml.pre` that imply `ignore_merges` (a word that is a token is not cut), and a bos token."""

_SPECIAL_NAMES = {f"{role}_token": f"{role}_token_id" for role in ("bos", "eos", "cls", "mask")}
_SPECIAL_NAMES |= {"unk_token": "unknown_token_id", "sep_token": "seperator_token_id", "pad_token": "padding_token_id"}


def from_gguf(path: str | os.PathLike[str], *, pattern: str | None = None) -> Tokenizer:
    """Reads the tokenizer of a `.gguf` file.

    Byte-level BPE ("gpt2"), BPE ("llama") and Unigram ("t5") of SentencePiece, and WordPiece ("bert") are supported. If
    the file contains a tokenizer.json (`tokenizer.huggingface.json`), that is read instead.
    `AutoTokenizer.from_pretrained` also reads the roles of special tokens and the chat template. This needs the package
    `gguf`, the extra of that name.

    Args:
        path: the file. Its weights are not read.
        pattern: the pattern that cuts text into words: a name from `gputok.automaton.PATTERNS`, or a regular
            expression. Needed only for a byte-level BPE whose file names none that gputok knows (`tokenizer.ggml.pre`).

    Returns:
        The tokenizer, which adds special tokens to a text as the file demands.

    Raises:
        ValueError: if it is no GGUF file, ends too early, or has no tokenizer or one that gputok can't express.
        ImportError: if the package `gguf` is missing.
    """
    return read_gguf(path, pattern=pattern)[0]


def read_gguf(path: str | os.PathLike[str], *, pattern: str | None = None) -> tuple[Tokenizer, dict[str, Any]]:
    """Reads the tokenizer and its options: the special tokens by role, and the chat template; see `from_gguf`."""
    name = os.fspath(path)
    metadata = read_metadata(name)
    with in_file(name):
        return _opened(_Values(metadata), pattern)


def _opened(values: _Values, pattern: str | None) -> tuple[Tokenizer, dict[str, Any]]:
    kind = values.get("model")
    make: dict[Any, Callable[[], Tokenizer]] = {
        "gpt2": lambda: _byte_level(values, pattern),
        "llama": lambda: _sentencepiece(values, BPE),
        "t5": lambda: _sentencepiece(values, UNIGRAM),
        "bert": lambda: _wordpiece(values),
    }
    if whole := values.metadata.get("tokenizer.huggingface.json"):
        make[kind] = lambda: Tokenizer.from_str(whole)
    if kind not in make:
        found = "is missing" if kind is None else f"is {short(kind)}"
        raise ValueError(f"tokenizer.ggml.model {found}; gputok reads tokenizers of kind {', '.join(map(repr, make))}")
    tokenizer = make[kind]()
    options: dict[str, Any] = {}
    tokens = _wordpiece_tokens(values) if kind == "bert" else values.tokens
    for role, key in _SPECIAL_NAMES.items():
        token_id = values.get(key)
        if isinstance(token_id, int) and token_id < len(tokens):
            options[role] = tokens[token_id]
    if template := values.metadata.get("tokenizer.chat_template"):
        options["chat_template"] = template
    return tokenizer, options


def _numbers(*kinds: str) -> Check:
    """Makes a check that accepts arrays of these kinds of numbers, as NumPy names them."""

    def check(value: Any) -> Any:
        if not isinstance(value, np.ndarray) or value.dtype.kind not in kinds:
            raise WrongType(f"must be an array of {'integers' if 'f' not in kinds else 'numbers'}, not {short(value)}")
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise WrongValue("must be finite numbers")
        return value

    return check


_CHECKS = {
    "tokenizer.huggingface.json": string,
    "tokenizer.chat_template": string,
    **{
        f"tokenizer.ggml.{key}": check
        for check, keys in {
            string: "model pre",
            switch: "add_bos_token add_eos_token add_space_prefix remove_extra_whitespaces treat_whitespace_as_suffix "
            "normalizer.lowercase normalizer.strip_accents",
            integer(0, WORD): " ".join(_SPECIAL_NAMES.values()),
            listed(string): "tokens merges",
            _numbers("i", "u"): "token_type precompiled_charsmap",
            _numbers("i", "u", "f"): "scores",
        }.items()
        for key in keys.split()
    },
}
"""Key -> what its value must be; the values of other keys aren't looked at."""


class _Values:
    """The metadata `tokenizer.ggml.*` of a file."""

    def __init__(self, metadata: Mapping[str, Any]) -> None:
        self.metadata = metadata
        for key, check in _CHECKS.items():
            if key in metadata:
                checked(key, check, metadata[key])
        self.tokens: list[str] = metadata.get("tokenizer.ggml.tokens") or []
        if not self.tokens and "tokenizer.ggml.model" in metadata:
            raise ValueError("the tokenizer has no tokens (tokenizer.ggml.tokens)")
        if repeated := len(self.tokens) - len(set(self.tokens)):
            raise ValueError(f"{repeated} tokens occur twice (tokenizer.ggml.tokens)")
        self.types: Sequence[int] = self.column("token_type", NORMAL)

    def get(self, key: str, default: Any = None) -> Any:
        """Returns the value of `tokenizer.ggml.key`."""
        return self.metadata.get(f"tokenizer.ggml.{key}", default)

    def column(self, key: str, default: float) -> Sequence[Any]:
        """Returns the values of a key that has one for each token; without the key, `default` for each token."""
        values = self.get(key)
        if values is None:
            return [default] * len(self.tokens)
        if len(values) != len(self.tokens):
            raise ValueError(f"tokenizer.ggml.{key} has {len(values)} values for {len(self.tokens)} tokens")
        return values

    def named(self, key: str, tokens: list[str], default: int = 0) -> tuple[str, int]:
        """Returns the token whose id is the value of a key, and the id."""
        token_id = self.get(key, default)
        if not 0 <= token_id < len(tokens):
            raise ValueError(f"tokenizer.ggml.{key} is {token_id}, but the tokenizer has {len(tokens)} tokens")
        return tokens[token_id], token_id


def _byte_level(values: _Values, pattern: str | None) -> Tokenizer:
    pre = values.get("pre")
    if pattern is not None:
        patterns: tuple[str, ...] = (PATTERNS.get(pattern) or from_rust(pattern),)
    elif pre in SPLITS:
        patterns = SPLITS[pre]
    else:
        found = "names no pattern" if pre in (None, "default") else f"names the unknown pattern {short(pre)}"
        how = f"pass pattern=, one of {', '.join(PATTERNS)} or a regular expression"
        known = f"Known values: {', '.join(sorted(SPLITS))}"
        raise ValueError(f"the file {found} to cut text (tokenizer.ggml.pre); {how}. {known}")
    merges = values.get("merges")
    if merges is None:
        raise ValueError("a byte-level BPE needs merges (tokenizer.ggml.merges)")
    pairs = [(merge[:at], merge[at + 1 :]) for merge in merges for at in [merge.find(" ", 1)]]
    vocabulary = {token: token_id for token_id, token in enumerate(values.tokens)}
    tokenizer = Tokenizer(models.BPE(vocabulary, pairs, ignore_merges=pre in _WHOLE_WORDS))
    splits = [pre_tokenizers.Split(Regex(each), "isolated") for each in patterns]
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*splits, byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    _add_tokens(tokenizer, values, values.tokens)
    _add_ends(tokenizer, values, bos=pre in _WHOLE_WORDS)
    return tokenizer


def _sentencepiece(values: _Values, kind: int) -> Tokenizer:
    """Makes a tokenizer from pieces and their scores, as from a `.model` file."""
    if values.get("treat_whitespace_as_suffix"):
        raise ValueError("white space as a suffix can't be expressed")
    unknown = values.get("unknown_token_id", 0 if kind == BPE else 2)
    # Tokens of other types become control pieces, which the model never finds in text. User-defined tokens become added
    # tokens (`_add_tokens`), which are cut out of the text before the model sees it.
    kinds = np.array(values.types)
    kinds[~np.isin(kinds, (NORMAL, UNKNOWN, BYTE))] = CONTROL
    if UNKNOWN not in kinds and 0 <= unknown < len(kinds):
        kinds[unknown] = UNKNOWN
    pieces = PieceTable(values.tokens, np.array(values.column("scores", 0.0), np.float32), kinds)
    charsmap = values.get("precompiled_charsmap")
    proto = SimpleNamespace(
        trainer_spec=SimpleNamespace(model_type=kind, byte_fallback=BYTE in kinds, treat_whitespace_as_suffix=False),
        normalizer_spec=SimpleNamespace(
            name="identity" if charsmap is None else "nmt_nfkc",
            precompiled_charsmap=b"" if charsmap is None else np.asarray(charsmap).astype(np.uint8).tobytes(),
            add_dummy_prefix=values.get("add_space_prefix", kind == BPE),
            remove_extra_whitespaces=values.get("remove_extra_whitespaces", False),
            escape_whitespaces=True,
        ),
    )
    tokenizer = tokenizer_of(proto, pieces, added=False)
    _add_tokens(tokenizer, values, values.tokens)
    _add_ends(tokenizer, values, bos=kind == BPE, eos=kind == UNIGRAM)
    return tokenizer


def _wordpiece_tokens(values: _Values) -> list[str]:
    """Returns the tokens as WordPiece has them: `##` before those that continue a word, no `▁` before the others."""

    def named(token: str, kind: int) -> str:
        if token.startswith(SPACE):
            return token.removeprefix(SPACE)
        is_apart = kind in (CONTROL, UNKNOWN) or (token.startswith("[") and token.endswith("]") and len(token) > 2)
        return token if is_apart else f"##{token}"

    return [*map(named, values.tokens, values.types)]


def _wordpiece(values: _Values) -> Tokenizer:
    tokens = _wordpiece_tokens(values)
    unknown, _ = values.named("unknown_token_id", tokens, 100)
    vocabulary = {token: token_id for token_id, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=unknown))
    lowercase = values.get("normalizer.lowercase", True)
    strip_accents = values.get("normalizer.strip_accents", lowercase)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase, strip_accents=strip_accents)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    _add_tokens(tokenizer, values, tokens)
    has_cls = values.get("cls_token_id") is not None
    bos = values.named("cls_token_id" if has_cls else "bos_token_id", tokens, 101)
    sep = values.named("seperator_token_id", tokens, 102)
    tokenizer.post_processor = processors.around([bos], [sep], [])
    return tokenizer


def _add_tokens(tokenizer: Tokenizer, values: _Values, tokens: list[str]) -> None:
    """Adds the control tokens as special tokens, and the user-defined tokens; both are looked for in the raw text."""
    special = [token for token, kind in zip(tokens, values.types, strict=True) if token and kind in (CONTROL, UNKNOWN)]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    named = zip(values.tokens, values.types, strict=True)
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token, kind in named if kind == USER_DEFINED])


def _add_ends(tokenizer: Tokenizer, values: _Values, *, bos: bool = False, eos: bool = False) -> None:
    """Sets the special tokens around a text, as the file demands; bos, eos: the defaults, if the file says nothing."""
    before, after = _end(values, "bos", bos), _end(values, "eos", eos)
    if before or after:
        tokenizer.post_processor = processors.around(before, after, before)


def _end(values: _Values, name: str, default: bool) -> list[tuple[str, int]]:
    has_id = values.get(f"{name}_token_id") is not None
    add = values.get(f"add_{name}_token", default and has_id)
    if add and not has_id:
        raise ValueError(f"tokenizer.ggml.add_{name}_token is set, but tokenizer.ggml.{name}_token_id is missing")
    return [values.named(f"{name}_token_id", values.tokens)] if add else []


_ARRAY = 9  # GGUFValueType.ARRAY


def read_metadata(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads the metadata of a GGUF file, by key; ValueError: it is none, of an unknown version, or ends too early."""
    with needing("GGUF files need an extra: pip install 'gputok[gguf]'"):
        from gguf import GGUFReader

    class Reader(GGUFReader):
        """Skips tensors, reads the numbers of an array at once, from memory; GGUFReader takes eight times as long."""

        def _get(self, offset: int, dtype: Any, count: int = 1, override_order: Any = None) -> np.ndarray:
            kind = np.dtype(dtype).newbyteorder(override_order or self.byte_order)
            try:
                return np.frombuffer(self.data, kind, int(count), offset)
            except (ValueError, OverflowError):
                size, end = int(count) * kind.itemsize, len(self.data)
                raise ValueError(f"{size} bytes should follow byte {offset}, but the file ends at {end}") from None

        def _get_field_parts(self, orig_offs: int, raw_type: int) -> tuple:
            kind: Any = self._get(orig_offs, np.uint32)[0] if int(raw_type) == _ARRAY else None
            if (dtype := self.gguf_scalar_to_np.get(kind)) is None:
                return super()._get_field_parts(orig_offs, raw_type)
            values = self._get(orig_offs + 12, dtype, self._get(orig_offs + 4, np.uint64)[0])
            return 12 + values.nbytes, [values], [0], []

        def _build_tensor_info(self, offs: int, count: int) -> tuple:
            return offs, []

    with open(path, "rb") as file:
        if file.read(4) != b"GGUF":
            raise ValueError(f"{path}: expected a GGUF file, which begins with GGUF")
    try:
        fields = Reader(path).fields
        return {key: field.contents() if field.types else field.parts[-1].copy() for key, field in fields.items()}
    except (ValueError, KeyError, RecursionError) as error:
        reason = error.args[0] if isinstance(error, KeyError) else error
        raise ValueError(f"{path}: is a broken GGUF file: {reason}") from None
