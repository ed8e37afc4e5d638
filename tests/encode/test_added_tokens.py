"""Added tokens that include white space: the pieces of `tokenizers`, also if they overlap, by all ways to encode."""

from __future__ import annotations

import collections
import os
import random
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import tokenizers

import gputok

SWITCHES = ("single_word", "lstrip", "rstrip", "normalized", "special")
LETTERS = ["a", "b", "é", "<x>", "_", "\n", " ", "\u3000", "\x85"]
PRE_TOKENIZERS = {
    "nothing": lambda package: None,
    "byte level": lambda package: package.ByteLevel(add_prefix_space=False),
    "spaced bytes": lambda package: package.ByteLevel(use_regex=False),
    "metaspace": lambda package: package.Metaspace(),
    "first": lambda package: package.Metaspace(prepend_scheme="first"),
    "words": lambda package: package.Whitespace(),
    "runs": lambda package: package.WhitespaceSplit(),
    "characters": lambda package: package.FixedLength(length=2),
}
NORMALIZERS = {
    "nothing": lambda package: None,
    "nfd": lambda package: package.NFD(),
    "lower": lambda package: package.Lowercase(),
    "bytes": lambda package: package.ByteLevel(),
    "prepend": lambda package: package.Prepend("_"),
    "replace": lambda package: package.Replace("b", "aé"),
    "bert": lambda package: package.BertNormalizer(),
}


def is_blank(text: str) -> bool:
    return not text.strip("\n \u3000\x85")


def tokens(rng: random.Random) -> list[tuple[str, dict[str, bool]]]:
    """Contents and switches. None is blank with `lstrip`: tokenizers panics if nothing is left of such a token."""
    contents = sorted({"".join(rng.choices(LETTERS, k=rng.randint(1, 3))) for _ in range(rng.randint(2, 7))})
    made = [(content, {switch: rng.random() < 0.4 for switch in SWITCHES}) for content in contents]
    return [
        (content, switches | {"lstrip": switches["lstrip"] and not is_blank(content)}) for content, switches in made
    ]


def told_apart(added, normalizer):
    """Leaves out tokens that are normalized to the text of another: tokenizers finds either of them, by chance."""
    found = {}
    for content, switches in added:
        normal = content if normalizer is None or not switches["normalized"] else normalizer.normalize_str(content)
        if normal:
            found.setdefault((switches["normalized"], normal), (content, switches))
    return list(found.values())


def pipeline(package, normalizer: str, pre_tokenizer: str, added, keep: bool = False):
    """A tokenizer of single characters."""
    characters = dict.fromkeys([*LETTERS[:3], *"<x>_\n \u3000\x85▁e\u0301", *package_alphabet()])
    tokenizer = package.Tokenizer(package.models.BPE({c: i for i, c in enumerate(characters)}, []))
    if (part := NORMALIZERS[normalizer](package.normalizers)) is not None:
        tokenizer.normalizer = part
    if (part := PRE_TOKENIZERS[pre_tokenizer](package.pre_tokenizers)) is not None:
        tokenizer.pre_tokenizer = part
    tokenizer.add_tokens([package.AddedToken(content, **switches) for content, switches in added])
    tokenizer.encode_special_tokens = keep
    return tokenizer


def package_alphabet() -> list[str]:
    return sorted(gputok.pre_tokenizers.ByteLevel.alphabet())


def text(rng: random.Random, contents: list[str], longest: int = 14) -> str:
    return "".join(rng.choices([*LETTERS, *contents], k=rng.randint(0, longest)))


def view(encoding) -> tuple:
    return encoding.ids, encoding.tokens, encoding.offsets, encoding.word_ids


def corpus_rows(tokenizer, texts: list[str]) -> list[list[int]]:
    batches = tokenizer.encode_corpus(iter(texts), add_special_tokens=False)
    return [row.tolist() for batch in batches for row in np.split(batch.ids, batch.rows[1:-1])]


def same_in_every_way(ours, theirs, texts: list[str], where=None) -> None:
    """Compares `encode`, `encode_batch` and `encode_corpus` with tokenizers."""
    expected = [theirs.encode(one, add_special_tokens=False) for one in texts]
    views = list(map(view, expected))
    for one, wanted in zip(texts, views, strict=True):
        assert view(ours.encode(one, add_special_tokens=False)) == wanted, (where, one)
    assert list(map(view, ours.encode_batch(texts, add_special_tokens=False))) == views, where
    assert corpus_rows(ours, texts) == [encoding.ids for encoding in expected], where


def check(seed: int, n_texts: int = 8) -> None:
    rng = random.Random(seed)
    steps = rng.choice(list(NORMALIZERS)), rng.choice(list(PRE_TOKENIZERS))
    added, keep = told_apart(tokens(rng), NORMALIZERS[steps[0]](tokenizers.normalizers)), rng.random() < 0.2
    ours, theirs = (pipeline(package, *steps, added, keep) for package in (gputok, tokenizers))
    texts = [text(rng, [content for content, _ in added]) for _ in range(n_texts)]
    same_in_every_way(ours, theirs, texts, (seed, steps, added, keep))


def test_a_token_includes_the_white_space_before_the_next_token():
    """The first token ends where the white space does, the second lies inside of it, and so does text after that."""
    added = [("<x>", {"rstrip": True, "normalized": False}), ("\n", {"normalized": False})]
    ours, theirs = (pipeline(package, "nothing", "byte level", added) for package in (gputok, tokenizers))
    found = ours.encode("<x>  \n  b")
    assert found.tokens == ["<x>  \n  ", "\n", "Ġ", "Ġ", "b"]
    assert found.offsets == [(0, 8), (5, 6), (6, 7), (7, 8), (8, 9)]
    same_in_every_way(ours, theirs, ["<x>\n\nb", "<x>  \n  b", "a<x>\n<x> \n\n", "<x>" + "\n" * 2000 + "b"])


def test_a_token_that_a_longer_token_overlaps():
    """White space at the start of a token may belong to the token before it; the rest is still the token."""
    added = [
        ("<x>", {"rstrip": True, "normalized": False}),
        ("\n a", {"lstrip": True, "normalized": False}),
        ("\nb", {"normalized": False}),
    ]
    ours, theirs = (pipeline(package, "nothing", "words", added) for package in (gputok, tokenizers))
    assert ours.encode("<x> \n ab").offsets == [(0, 6), (6, 7), (7, 8)]
    assert ours.encode("<x> \nb").offsets == [(0, 5), (4, 6)]
    same_in_every_way(ours, theirs, ["<x> \n ab", "<x> \nb", "b\n a", "<x>\u3000\n a\nb \n a<x>\nb"])


def test_nothing_is_left_of_a_token():
    """If nothing is left of a token, gputok leaves it out; tokenizers panics."""
    added = [("<x>", {"rstrip": True, "normalized": False}), ("\n", {"lstrip": True, "normalized": False})]
    ours, theirs = (pipeline(package, "nothing", "words", added) for package in (gputok, tokenizers))
    with pytest.raises(BaseException, match="bad split"):
        theirs.encode("<x> \n  b")
    assert ours.encode("<x> \n  b").offsets == [(0, 7), (7, 8)]
    assert ours.encode("a  \n").offsets == [(0, 1), (1, 4)]


@pytest.mark.slow
@pytest.mark.parametrize("hundred", range(2))
def test_random_tokens_in_random_pipelines(hundred):
    for seed in range(100 * hundred, 100 * hundred + 100):
        check(seed)


@pytest.mark.full
@pytest.mark.parametrize("thousand", range(1, 6))
def test_thousands_of_random_tokens(thousand):
    for seed in range(1000 * thousand, 1000 * thousand + 1000):
        check(seed)


def test_counts_of_documents_do_not_depend_on_those_beside_them():
    """All documents of a batch are looked through at once first: tokens may seem to be there, but none is missed."""
    tokenizer = gputok.Tokenizer(gputok.models.BPE())
    tokenizer.pre_tokenizer = gputok.pre_tokenizers.ByteLevel(add_prefix_space=False)
    single, special = (
        gputok.AddedToken("b é", single_word=True),
        gputok.AddedToken("a<x", normalized=False, special=True),
    )
    tokenizer.add_tokens([single, gputok.AddedToken("<x>", normalized=False)])
    tokenizer.add_special_tokens([special])
    tokenizer.encode_special_tokens = True
    for texts, words in (
        (["a", "b é", "a"], ["a", "bĠÃ©", "a"]),  # with its neighbours, `b é` is not a single word
        # Nor does `<x>` begin after the special token that is ignored
        (["a", "<x>", "b"], ["a", "<x>", "b"]),
        (["b ", "é"], ["b", "Ġ", "Ã©"]),
    ):
        counts = tokenizer.count_words(iter(texts), progress=False).spelled_out()
        assert {word.decode(): count for word, count in counts.items()} == collections.Counter(words)


def test_parts_of_a_document_are_not_looked_through():
    """A corpus is cut at spaces, and parts lack the neighbours of a token: they are not searched for added tokens."""
    added = [(" a", {"single_word": True}), (" b", {"single_word": True}), ("b é", {"special": True}), (" é", {})]
    ours, theirs = (pipeline(package, "lower", "words", []) for package in (gputok, tokenizers))
    texts = ["a a a", "a b b", "b é", "bb a b", "a\nb"]  # in none of them is a token
    for tokenizer, package in ((ours, gputok), (theirs, tokenizers)):
        tokenizer.add_tokens([package.AddedToken(content, normalized=False, **switches) for content, switches in added])
        tokenizer.encode_special_tokens = True
    same_in_every_way(ours, theirs, texts)
    words = ours.count_words(iter(texts))
    expected: collections.Counter[bytes] = collections.Counter()
    for one in texts:
        found = theirs.encode(one)
        spans = [found.word_to_chars(word) for word in dict.fromkeys(found.word_ids)]
        expected.update(one[first:last].encode() for first, last in spans)
    assert dict(words.items()) == expected


@pytest.mark.slow
@pytest.mark.parametrize("name", ["llama3", "claude"])
def test_real_tokenizers(name, shared_tokenizer):
    path = str(shared_tokenizer(name))
    rng = random.Random(name)
    for _ in range(6):
        added = tokens(rng)
        pair = []
        for package in (gputok, tokenizers):
            tokenizer = package.Tokenizer.from_file(path)
            tokenizer.add_tokens([package.AddedToken(content, **switches) for content, switches in added])
            pair.append(tokenizer)
        texts = [text(rng, [content for content, _ in added], 40) for _ in range(100)]
        same_in_every_way(*pair, texts, added)


def test_the_heap_stays_whole():
    """The text that corrupted it, in a process in which the allocator checks and fills what is freed."""
    script = """
        from gputok import AddedToken, Tokenizer, models, pre_tokenizers
        for pre_tokenizer in (pre_tokenizers.ByteLevel(), pre_tokenizers.Metaspace()):
            tokenizer = Tokenizer(models.BPE())
            tokenizer.pre_tokenizer = pre_tokenizer
            x = AddedToken("<x>", rstrip=True, normalized=False)
            tokenizer.add_tokens([x, AddedToken("\\n", normalized=False)])
            for n in (1, 10, 2000):
                ids = tokenizer.encode("<x>" + "\\n" * n + "b").ids
                assert ids == [0] + n * [1], ids
    """
    checked = {**os.environ, "MALLOC_PERTURB_": "85", "MALLOC_CHECK_": "3"}
    ran = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], env=checked, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
