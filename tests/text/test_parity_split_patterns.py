"""The named patterns split as in `tokenizers`: on text over all of Unicode, on every short string, on real text."""

import pytest
from splitting import differences, random_texts, representatives, strings_over, upstream

from gputok.automaton import PATTERNS, compile_pattern

# DeepSeek V3's tokenizer.json splits three times; ours is one pattern.
DEEPSEEK = (
    r"\p{N}{1,3}",
    r"[一-龥぀-ゟ゠-ヿ]+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
)
# More forms that tokenizers are published with: anchors, stacked and possessive quantifiers, nested classes.
OTHERS = {
    "cl100k as in tiktoken": (
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
        r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
    ),
    "BLOOM": r" ?[^(\s|[.,!?…。，、।۔،])]+",
    "three digits": r"[0-9][0-9][0-9]",
    "Han apart": (
        r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{L}&&[^\p{Han}]]+|\p{N}{1,3}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
    "CLIP": r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",
}
# Equal patterns are tested once.
NAMED = {pattern: name for name, pattern in (PATTERNS | OTHERS).items()}
each_pattern = pytest.mark.parametrize("pattern", NAMED, ids=list(NAMED.values()))


def parity(pattern: str, texts: list[str]) -> list[tuple]:
    other = upstream(*DEEPSEEK) if pattern == PATTERNS["deepseek-v3"] else None
    return differences(pattern, texts, other=other)


@each_pattern
def test_random_text(pattern):
    assert parity(pattern, random_texts(1, 4000)) == []


@each_pattern
def test_every_short_string_of_classes(pattern):
    alphabet = representatives(compile_pattern(pattern))
    assert parity(pattern, strings_over(alphabet, 3 if len(alphabet) > 12 else 4)) == []


@pytest.mark.slow
@each_pattern
def test_long_runs(pattern):
    pieces = [" ", "\n", "a", "A", "7", "é", "中", "'", "\u0301", "\u0378", " \n", "a1", "'s"]
    texts = [a * 3000 + b * n for a in pieces for b in pieces for n in (0, 1, 500)]
    assert parity(pattern, texts) == []


@pytest.mark.slow
@pytest.mark.parametrize("corpus", ["en", "code", "multi", "zh"])
def test_real_text(corpus, corpus_sample):
    text = corpus_sample(corpus, 200_000)
    for pattern in NAMED:
        assert parity(pattern, [text, *text.splitlines(keepends=True)]) == []


@pytest.mark.full
@each_pattern
def test_random_text_in_bulk(pattern):
    for seed in range(2, 12):
        assert parity(pattern, random_texts(seed, 10_000)) == []


@pytest.mark.full
@each_pattern
def test_every_code_point_in_context(pattern):
    everything = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    for context in ("{}", "a{}", "{}a", " {}", "'{}", "1{} "):
        for at in range(0, len(everything), 100_000):
            assert parity(pattern, [context.format(c) for c in everything[at : at + 100_000]]) == []


@pytest.mark.full
@each_pattern
def test_every_longer_string_of_classes(pattern):
    alphabet = representatives(compile_pattern(pattern))
    assert parity(pattern, strings_over(alphabet, 4 if len(alphabet) > 12 else 5)) == []


@pytest.mark.full
@pytest.mark.parametrize("corpus", ["en", "code", "multi", "zh"])
def test_whole_corpora(corpus, corpus_sample):
    lines = corpus_sample(corpus, -1).split("\n")
    for pattern in dict.fromkeys(PATTERNS.values()):
        for at in range(0, len(lines), 50_000):
            assert parity(pattern, [line + "\n" for line in lines[at : at + 50_000]]) == []
