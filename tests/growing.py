"""For the tests of text that grows: tokenizers of every kind, and text that is hard to cut."""

from __future__ import annotations

import copy
import json
import random
from typing import TYPE_CHECKING

import numpy as np

import gputok
from gputok import AddedToken, models, normalizers, pre_tokenizers, processors, trainers
from gputok.automaton import PATTERNS

if TYPE_CHECKING:
    from collections.abc import Callable

ATOMS = [
    "'s", "'ll", "'LL", "'r", "'re", "e", "s", " ", "  ", "   ", "\n", "\n\n", "\r\n", " \n", "\t", "a", "the", " the",
    "ab", "Hello", "WORLD", "fooBar", "ABCd", "1", "12", "123", "1234", "٣", "३", "é", "e\u0301", "\u0301", "\u0338",
    "①", "ﬁ", "½", "中文", "。", "한", "ᄀ", "ᅡ", "각", "\u11a8", "क्", "ि", "▁", "Ġ", "😀", "👨\u200d👩", "-", "--",
    "//", "...", "?\n", "_", "\u00a0", "\u3000", "\u200b", "\x85", "\u2028", "=", "<", "<|", "[", "[CL", "S]", "İ",
    "ſ", "K", "\U0001d400", "\0", "x" * 30,
]  # fmt: skip
TOKENS = ["<s>", "<|im_start|>", "<|im_end|>", "<|im", "[CLS]"]
REPLACE = normalizers.Replace(" ", "▁")
BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False)


def texts(seed: int, n: int) -> list[str]:
    rng = random.Random(seed)
    return ["".join(rng.choices(ATOMS, k=30)) for _ in range(n)]


def tokenizer(model: str, normalizer=None, pre_tokenizer=None, added=TOKENS, **options) -> gputok.Tokenizer:
    """Trains a small tokenizer; options: of its added tokens."""
    trainer = {
        "bpe": lambda: trainers.BpeTrainer(vocab_size=400, special_tokens=["<unk>"], initial_alphabet=BYTES.alphabet()),
        "unigram": lambda: trainers.UnigramTrainer(vocab_size=300, special_tokens=["<unk>"], unk_token="<unk>"),
        "wordpiece": lambda: trainers.WordPieceTrainer(vocab_size=300, special_tokens=["<unk>"]),
        "wordlevel": lambda: trainers.WordLevelTrainer(vocab_size=300, special_tokens=["<unk>"]),
    }[model]()  # fmt: skip
    made = gputok.Tokenizer(
        {
            "bpe": lambda: models.BPE(unk_token="<unk>", byte_fallback=True),
            "unigram": models.Unigram,
            "wordpiece": lambda: models.WordPiece(unk_token="<unk>"),
            "wordlevel": lambda: models.WordLevel(unk_token="<unk>"),
        }[model]()
    )
    made.normalizer, made.pre_tokenizer = normalizer, pre_tokenizer
    made.train_from_iterator(texts(1, 200), trainer)
    options.setdefault("normalized", False)
    made.add_tokens([AddedToken(one, **options) for one in added])
    return made


def lines(normalizer=None, pre_tokenizer=None, added=TOKENS, **options) -> gputok.Tokenizer:
    """A model without words, in which no token has a space after a letter."""
    rng, merges = random.Random(2), []
    tokens = [*"▁abeths.,éHlo中12\nx"]
    while len(merges) < 60:
        pair = rng.choice(tokens), rng.choice(tokens)
        if "".join(pair) not in tokens and not ("▁" in pair[1] and pair[0].strip("▁")):
            merges.append(pair)
            tokens.append("".join(pair))
    vocabulary = {one: i for i, one in enumerate(["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), *tokens])}
    made = gputok.Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    made.normalizer, made.pre_tokenizer = normalizer, pre_tokenizer
    options.setdefault("normalized", False)
    made.add_tokens([AddedToken(one, **options) for one in added])
    return made


def superwords() -> gputok.Tokenizer:
    """Tokens that span words."""
    made = gputok.Tokenizer(models.BPE())
    made.pre_tokenizer = regex("cl100k")
    phrases = [" the ab", "Hello the", "a the ab Hello", "foo Bar, 12 the"] * 40
    made.train_from_iterator(
        phrases + texts(1, 40),
        trainers.SuperBpeTrainer(vocab_size=600, transition=480, initial_alphabet=BYTES.alphabet()),
    )
    made.add_tokens([AddedToken(one, normalized=False) for one in TOKENS])
    return made


def regex(name: str) -> pre_tokenizers.PreTokenizer:
    split = pre_tokenizers.Split(gputok.Regex(PATTERNS[name]), "isolated")
    return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


class Upper:
    """A pre-tokenizer that a user wrote: what it does with a piece depends on the pieces before."""

    def pre_tokenize(self, pretok):
        n = 0

        def split(_, piece):
            nonlocal n
            n += 1
            return [piece] if n % 2 else piece.split("a", "isolated")

        pretok.split(split)


_BERT = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
_LLAMA2 = normalizers.Sequence([normalizers.Prepend("▁"), REPLACE])
_METASPACE = pre_tokenizers.Metaspace
NEWLINES = ["\n" * n for n in range(1, 8)]
KINDS: dict[str, tuple[str, Callable[[], gputok.Tokenizer]]] = {
    "gpt2": ("pairs", lambda: tokenizer("bpe", None, BYTES)),
    "cl100k": ("pairs", lambda: tokenizer("bpe", None, regex("cl100k"))),
    "o200k": ("pairs", lambda: tokenizer("bpe", None, regex("o200k"))),
    "tekken": ("pairs", lambda: tokenizer("bpe", None, regex("tekken"))),
    "DeepSeek V3": ("pairs", lambda: tokenizer("bpe", None, regex("deepseek-v3"))),
    "Qwen 3": ("pairs", lambda: tokenizer("bpe", normalizers.NFC(), regex("qwen2"))),
    "NFKC": ("pairs", lambda: tokenizer("bpe", normalizers.NFKC(), regex("gpt2"))),
    "NFD": ("pairs", lambda: tokenizer("bpe", normalizers.NFD(), regex("gpt2"))),
    "Llama 2": ("pairs", lambda: lines(_LLAMA2)),
    "Gemma": ("pairs", lambda: lines(REPLACE, pre_tokenizers.Split(" ", "merged_with_previous"), [*TOKENS, *NEWLINES])),
    "Mistral": ("pairs", lambda: lines(None, _METASPACE(prepend_scheme="first", split=False))),
    "Metaspace, always": ("pairs", lambda: lines(None, _METASPACE(split=False))),
    "BERT": ("pairs", lambda: tokenizer("wordpiece", *_BERT)),
    "words": ("pairs", lambda: tokenizer("wordlevel", None, pre_tokenizers.Whitespace())),
    "T5": ("pairs", lambda: tokenizer("unigram", None, _METASPACE())),
    "T5, NFKC": ("pairs", lambda: tokenizer("unigram", normalizers.NFKC(), _METASPACE())),
    "Metaspace, first": ("pairs", lambda: tokenizer("unigram", None, _METASPACE(prepend_scheme="first"))),
    "lstrip": ("pairs", lambda: tokenizer("bpe", None, BYTES, lstrip=True)),
    "rstrip": ("pairs", lambda: tokenizer("unigram", None, _METASPACE(), [*TOKENS, *NEWLINES], rstrip=True)),
    "single_word": ("pairs", lambda: tokenizer("bpe", None, regex("cl100k"), ["ab", "<s>", "s"], single_word=True)),
    "normalized": ("pairs", lambda: tokenizer("bpe", None, regex("cl100k"), normalized=True)),
    "normalized after NFC": ("tokens", lambda: both(normalizers.NFC())),
    "Lowercase": ("tokens", lambda: tokenizer("bpe", normalizers.Lowercase(), BYTES)),
    "Strip": ("tokens", lambda: tokenizer("bpe", normalizers.Strip(), BYTES)),
    "prefix space": ("tokens", lambda: tokenizer("bpe", None, pre_tokenizers.ByteLevel())),
    "Unigram of texts": ("tokens", lambda: tokenizer("unigram", None, _METASPACE(split=False))),
    "superwords": ("tokens", superwords),
    "tokens with lstrip": ("tokens", lambda: tokenizer("bpe", normalizers.Strip(), BYTES, lstrip=True)),
    "no tokens": ("whole", lambda: bare(tokenizer("wordpiece", normalizers.Lowercase(), regex("gpt2")))),
    "custom": ("whole", lambda: tokenizer("bpe", None, pre_tokenizers.PreTokenizer.custom(Upper()))),
}  # fmt: skip
"""Name -> where its seams are, and a function that makes such a tokenizer."""


def bare(made: gputok.Tokenizer) -> gputok.Tokenizer:
    return gputok.Tokenizer.of(made.pipeline.without_added())


def both(normalizer) -> gputok.Tokenizer:
    """Tokens of raw text and tokens of normalized text."""
    made = tokenizer("bpe", normalizer, BYTES)
    made.add_tokens([AddedToken("é", normalized=True), AddedToken("a", normalized=True)])
    return made


def real(load: Callable[[str], str]) -> dict[str, Callable[[], gputok.Tokenizer]]:
    """The five real tokenizers, and steps of others around their vocabularies; load: name -> the tokenizer.json."""

    def changed(name: str, normalizer, pre_tokenizer, added=()):
        form = json.loads(load(name))
        form["normalizer"] = None if normalizer is None else normalizer.to_dict()
        form["pre_tokenizer"] = pre_tokenizer.to_dict()
        made = gputok.Tokenizer.from_str(json.dumps(form))
        made.add_tokens([AddedToken(one, normalized=False) for one in added])
        return made

    gemma = pre_tokenizers.Split(" ", "merged_with_previous")
    deepseek = "<｜User｜>", "<｜Assistant｜>", "<｜tool▁calls▁begin｜>"
    names = "llama3", "qwen3", "llama2", "claude", "minilm-bert"
    return {
        **{name: lambda name=name: unlimited(gputok.Tokenizer.from_str(load(name))) for name in names},
        "gemma": lambda: changed("llama2", REPLACE, gemma, ["\n" * n for n in range(1, 32)]),
        "gpt-4o": lambda: changed("qwen3", None, regex("o200k")),
        "deepseek-v3": lambda: changed("llama3", None, regex("deepseek-v3"), deepseek),
        "gpt2": lambda: changed("llama3", None, BYTES),
    }


def unlimited(made: gputok.Tokenizer) -> gputok.Tokenizer:
    made.no_truncation()
    made.no_padding()
    return made


def surroundings(made: gputok.Tokenizer) -> gputok.Tokenizer:
    """The same tokenizer, with a special token on each side of a text."""
    other = gputok.Tokenizer.of(made.pipeline)
    other.add_special_tokens(["<s>"])
    token = "<s>", other.token_to_id("<s>")
    other.post_processor = processors.TemplateProcessing("<s> $A <s>", None, [token])
    return other


def atoms_of(made: gputok.Tokenizer, rng: random.Random) -> list[str]:
    """Text that is hard to cut: ATOMS, and added tokens with their beginnings and ends."""
    tokens = [token.content for token in made.get_added_tokens_decoder().values()]
    found = [*ATOMS]
    for one in rng.sample(tokens, min(len(tokens), 12)):
        at = rng.randrange(len(one))
        found += [one, one, one[:at], one[at:], one[:-1]]
    return [one for one in found if one]


def common(one: np.ndarray, other: np.ndarray) -> int:
    n = min(len(one), len(other))
    return int(np.argmin(np.append(one[:n] == other[:n], False)))


def grow(made: gputok.Tokenizer, seed: int, n: int, special: bool = False) -> int:
    """Appends and truncates at random, and asks for the whole text each time; returns the number of steps."""
    rng, done = random.Random(seed), 0
    atoms, pipeline = atoms_of(made, rng), made.pipeline
    frozen = gputok.Tokenizer.of(pipeline)
    while done < n:
        text, growing, style = "", gputok.Incremental(pipeline, special), rng.randrange(4)
        ids, stays = growing.ids.copy(), []
        for _ in range(rng.choice([3, 10, 40])):
            if text and rng.random() < 0.12:
                size = rng.randrange(len(text) + 1)
                text, stays = text[:size], []
                step, kept = f"truncate({size})", growing.truncate(size)
            else:
                k = rng.choice([1, 1, 2, 3, 8]) if style < 3 else 50
                new = "".join(rng.choices(atoms, k=k)) if style else rng.choice(atoms)[:1]
                text += new
                step, kept = f"append({new!r})", growing.append(new)
            whole = frozen.encode(text, add_special_tokens=special)
            expected, where = whole.ids_array, f"seed {seed}: {text!r} by {step}"
            assert np.array_equal(growing.ids, expected), where
            assert kept == common(ids, expected), where
            assert all(np.array_equal(some, expected[: len(some)]) for some in stays), where
            if rng.random() < 0.05:
                assert [*map(tuple, growing.offsets.tolist())] == whole.offsets, where
                growing = copy.copy(growing)
            ids, stays, done = expected.copy(), [*stays[-3:], expected[: growing.final].copy()], done + 1
    return done
