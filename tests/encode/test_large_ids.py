"""Ids that are much larger than the number of tokens: memory grows with the number of tokens, not with the ids."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import tokenizers

import gputok
from gputok.encoding.rows import Spelling

LARGE = [300_000_000, 2**32 - 2]

SCRIPT = """
    import resource, sys
    from gputok import Tokenizer, decoders, models, pre_tokenizers, processors

    vocabulary = {character: i for i, character in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    vocabulary |= {"ab": 256, "<unk>": 257}

    def make(kind, large):
        known = vocabulary | {"Ġa": large}
        return {
            "BPE": lambda: models.BPE(known, [("a", "b"), ("Ġ", "a")]),
            "WordPiece": lambda: models.WordPiece(known, "<unk>"),
            "WordLevel": lambda: models.WordLevel(known, "<unk>"),
        }[kind]()

    def check(kind, large):
        tokenizer = Tokenizer(make(kind, large))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.post_processor = processors.ByteLevel()
        tokenizer.decoder = decoders.ByteLevel()
        found = tokenizer.encode("ab a")
        assert (found.ids, found.offsets, found.tokens) == ([256, large], [(0, 2), (3, 4)], ["ab", "Ġa"]), found
        assert [one.offsets for one in tokenizer.encode_batch(["ab a", "ab"])] == [[(0, 2), (3, 4)], [(0, 2)]]
        assert [batch.ids.tolist() for batch in tokenizer.encode_corpus(iter(["ab a"]))] == [[256, large]]
        assert tokenizer.decode(found.ids) == "ab a" and tokenizer.id_to_token(large) == "Ġa"
        measured = tokenizer.report(iter(["ab a a"])).tokenizers[0]
        assert measured.usage[[-1]].tolist() == [2] and measured.ids[-1] == large and measured.n_tokens == 3
        again = Tokenizer.from_str(tokenizer.to_str())
        assert again.encode("ab a").offsets == found.offsets
        again.add_tokens(["Ġa", "more"])
        assert again.encode("abĠamore").ids == [256, large, large + 1 if large == 258 else 259]
        assert [batch.ids.tolist() for batch in again.encode_corpus(iter(["Ġaab"]))] == [[large, 256]]
        again.enable_padding(pad_id=large, pad_token="Ġa")
        assert again.encode_batch(["ab", "ab a"])[0].offsets == [(0, 2), (0, 0)]

    kinds = "BPE", "WordPiece", "WordLevel"
    for kind in kinds:
        check(kind, 258)  # kernels are compiled and loaded before the limit
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (2 << 30),) * 2)
    for kind in kinds:
        for large in map(int, sys.argv[1:]):
            check(kind, large)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="limits its memory by what Linux says it uses")
def test_one_large_id():
    """Everything that is kept for tokens fits in 2 GiB more than what the process used before."""
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT), *map(str, LARGE)]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("large", LARGE)
def test_as_in_tokenizers(large):
    texts = ["ab a", "a ab a", ""]
    found = []
    for package in (gputok, tokenizers):
        tokenizer = package.Tokenizer(
            package.models.BPE({"a": 0, "b": 1, "ab": 2, "Ġ": 3, "Ġa": large}, [("a", "b"), ("Ġ", "a")])
        )
        tokenizer.pre_tokenizer = package.pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.post_processor = package.processors.ByteLevel()
        tokenizer.add_tokens([package.AddedToken("Ġa", lstrip=True), "new"])
        encodings = tokenizer.encode_batch([*texts, "ab new \n Ġa"])
        found.append([(one.ids, one.offsets, one.tokens) for one in encodings])
    assert found[0] == found[1]


def test_margins_of_small_and_large_ids():
    texts = {0: " a", 7: "b \n", (1 << 20) - 1: "c", 1 << 20: "Ġd", 2**32 - 2: "  "}
    spelling = Spelling(texts.get)
    ids = np.array([1 << 20, 7, 2**32 - 2, 0, (1 << 20) - 1, 7, 1 << 20, 5], np.uint32)
    expected = [[1, 0], [0, 2], [2, 2], [1, 0], [0, 0], [0, 2], [1, 0], [0, 0]]
    assert spelling.margins(ids).tolist() == expected
    for at, one in enumerate(ids):
        assert spelling.margins(np.array([one], np.uint32)).tolist() == [expected[at]]
