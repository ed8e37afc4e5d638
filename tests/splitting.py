"""For the tests of patterns: the splits of gputok and of `tokenizers`, and text that distinguishes patterns."""

from __future__ import annotations

import functools
import itertools
import random
import unicodedata

import numpy as np
import tokenizers
from gputok.kernels import Automaton
from gputok.kernels.cpu.split import split_words
from tokenizers import pre_tokenizers

from gputok.automaton import compile_pattern
from gputok.automaton.pattern import spans
from gputok.text.pieces import TextBatch


def words(automaton: Automaton, texts: list[str], *, drop_gaps: bool = False) -> list[list[str]]:
    """The matches and, unless dropped, the gaps of each text: `Split(pattern, "isolated")`."""
    data, offsets = TextBatch.from_strings(texts)
    start, end, rows = split_words(
        data, offsets[:-1], offsets[1:], None, automaton, np.ones((2, 2), bool), np.array([drop_gaps, False])
    )
    raw = data.tobytes()
    pieces = [raw[a:b].decode() for a, b in zip(start.tolist(), end.tolist(), strict=True)]
    return [pieces[a:b] for a, b in itertools.pairwise(rows.tolist())]


def regex_words(pattern, texts: list[str]) -> list[list[str]]:
    """Does the same with the `regex` package."""
    return [[text[start:end] for start, end, _ in spans(pattern, text) if start < end] for text in texts]


@functools.cache
def upstream(*patterns: str) -> pre_tokenizers.PreTokenizer:
    splits = [pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated") for pattern in patterns]
    return splits[0] if len(splits) == 1 else pre_tokenizers.Sequence(splits)


def upstream_words(split: pre_tokenizers.PreTokenizer, texts: list[str]) -> list[list[str]]:
    return [[piece for piece, _ in split.pre_tokenize_str(text)] for text in texts]


def differences(pattern: str, texts: list[str], *, other: pre_tokenizers.PreTokenizer | None = None) -> list[tuple]:
    """Texts that gputok and `tokenizers` split otherwise: (text, ours, theirs)."""
    ours = compile_pattern(pattern)
    split = words if isinstance(ours, Automaton) else regex_words
    both = zip(texts, split(ours, texts), upstream_words(other or upstream(pattern), texts), strict=True)
    return [(text, a, b) for text, a, b in both if a != b]


def is_taken(pattern: str) -> bool:
    """Returns True if `tokenizers` accepts a pattern."""
    try:
        tokenizers.Regex(pattern)
    except Exception:  # tokenizers raises bare Exception
        return False
    return True


def representatives(automaton: Automaton) -> list[str]:
    """One character of each class."""
    classes = automaton.member[automaton.page].ravel()
    classes[:128] = automaton.ascii_class
    classes[0xD800:0xE000] = 255
    return [chr(np.flatnonzero(classes == k)[0]) for k in range(automaton.n_classes)]


def strings_over(alphabet: str | list[str], longest: int) -> list[str]:
    """Every string over an alphabet up to a length."""
    return ["".join(s) for n in range(1, longest + 1) for s in itertools.product(alphabet, repeat=n)]


ODD = (
    "'sStTlLrReEvVmMdDſKﬆßİ 0159²Ⅷ.,!?/-_$…。、\n\r\t\v\x85\u2028\u00a0\u3000\u200b\u200d\ufeffé中あ゠ー々〇ｱ한"
    "\u0301\u0940\U0001d400\U0001f600\u0378\U000e0001"
)


def random_texts(seed: int, n_texts: int) -> list[str]:
    """Short texts over all of Unicode, dense in what patterns treat specially, with runs."""
    rng = random.Random(seed)

    def character() -> str:
        kind = rng.random()
        if kind < 0.5:
            return rng.choice(ODD)
        c = rng.randrange(0x3000) if kind < 0.75 else rng.randrange(0x32000) if kind < 0.95 else rng.randrange(0x110000)
        return chr(c) if unicodedata.category(chr(c)) != "Cs" else " "

    return [
        "".join(character() * rng.choice([1, 1, 1, 2, 3, 7]) for _ in range(rng.randrange(12))) for _ in range(n_texts)
    ]
