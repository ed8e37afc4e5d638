"""The split patterns of well-known tokenizers, by name."""

from __future__ import annotations

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_SPACE = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_TAIL = rf" ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{_SPACE}"

# GPT-4o cuts words by case: upper case letters, then lower case letters. Letters without case count as both.
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_LOWER_WORD, _UPPER_WORD = (rf"[^\r\n\p{{L}}\p{{N}}]?{case}" for case in (f"{_UPPER}*{_LOWER}+", f"{_UPPER}+{_LOWER}*"))
_CASED_TAIL = rf" ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_SPACE}"

# DeepSeek V3 splits three times: at digits, then at runs of Chinese and Japanese, then within each piece; no match of
# the third split reaches across an earlier cut. One pattern does the same if it has the third split twice, for text
# inside such runs and for other text. The third split matches no unassigned code points, of which these runs have two;
# here the last part of _CJK_PIECES matches them.
_CJK = "一-龥぀-ゟ゠-ヿ"
_REST = rf"[^\p{{N}}{_CJK}]"
_CJK_PIECES = (
    rf"[{_CJK}&&[^\p{{L}}\p{{P}}\p{{S}}]]?[{_CJK}&&[\p{{L}}\p{{M}}]]+|[{_CJK}&&[\p{{P}}\p{{S}}]]+"
    rf"|[{_CJK}&&[^\p{{L}}\p{{M}}\p{{P}}\p{{S}}]]+(?![{_CJK}&&[\p{{L}}\p{{M}}]])"
)
_REST_PIECES = (
    rf"[!-/:-@\[-`{{-~][A-Za-z]+|[{_REST}&&[^\r\n\p{{L}}\p{{P}}\p{{S}}]]?[{_REST}&&[\p{{L}}\p{{M}}]]+"
    rf"| ?[{_REST}&&[\p{{P}}\p{{S}}]]+[\r\n]*|\s*[\r\n]+|\s+(?![{_REST}&&\S])|\s+"
)

_CL100K = rf"{_CONTRACTIONS}|{_WORD}|\p{{N}}{{1,3}}|{_TAIL}"
_QWEN = rf"{_CONTRACTIONS}|{_WORD}|\p{{N}}|{_TAIL}"

PATTERNS: dict[str, str] = {
    "gpt2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "cl100k": _CL100K,
    "llama3": _CL100K,
    "qwen2": _QWEN,
    "qwen3": _QWEN,
    "o200k": rf"{_LOWER_WORD}{_CONTRACTIONS}?|{_UPPER_WORD}{_CONTRACTIONS}?|\p{{N}}{{1,3}}|{_CASED_TAIL}",
    "tekken": rf"{_LOWER_WORD}|{_UPPER_WORD}|\p{{N}}|{_CASED_TAIL}",
    "deepseek-v3": rf"\p{{N}}{{1,3}}|{_CJK_PIECES}|{_REST_PIECES}",
}
"""The patterns of the `tokenizer.json` files; `deepseek-v3` is one pattern that splits like the three of that file."""

SPLITS: tuple[tuple[str, ...], ...] = (
    (
        r"\p{N}{1,3}",
        "[一-龥぀-ゟ゠-ヿ]+",
        "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
        "| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+",
    ),
)
"""For each model whose `tokenizer.json` splits several times, here DeepSeek V3, its patterns in order."""
