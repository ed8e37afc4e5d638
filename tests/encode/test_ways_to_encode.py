"""Real tokenizers: one text, encoded in each way that there is, has the ids that `tokenizers` gives.

`test_parity_pipelines.py` and `test_properties.py` do the same for random pipelines.
"""

import random

import numpy as np
import pytest
import tokenizers
from splitting import ODD, random_texts

import gputok
from gputok.pipeline.about import ways
from gputok.pipeline.encode.text import texts_of
from gputok.pipeline.encode.units import Stepped, engine_of

NAMES = ["claude", "llama2", "llama3", "minilm-bert", "qwen3"]
UNDECIDED = [
    "'l",
    "'ll",
    "'s",
    "s'",
    " '",
    "\n ",
    " \n",
    "  ",
    "1234",
    "users's",
    "it'l é",
    "<s>",
    "<|",
    "[MASK]",
    "é" * 23,
]


def cut_texts(rng, text, n):
    """Slices of real text, often with something in between that is not decided where it ends."""
    for _ in range(n):
        at, size = rng.randrange(len(text)), rng.choice([3, 20, 60, 200, 800])
        some = text[at : at + size]
        if rng.random() < 0.6:
            cut = rng.randrange(len(some) + 1)
            some = some[:cut] + "".join(rng.choices([*UNDECIDED, *ODD], k=rng.randrange(1, 4))) + some[cut:]
        yield some


def check(tokenizer, upstream, texts, rng):
    expected = [encoding.ids for encoding in upstream.encode_batch_fast(texts)]
    bare = [encoding.ids for encoding in upstream.encode_batch(texts, add_special_tokens=False)]
    for special, ids in ((True, expected), (False, bare)):
        ways = {
            "encode": [tokenizer.encode(text, add_special_tokens=special).ids for text in texts],
            "encode_batch": [one.ids for one in tokenizer.encode_batch(texts, add_special_tokens=special)],
            "encode_batch_fast": [
                one.ids
                for one in tokenizer.encode_batch_fast(texts, add_special_tokens=special, threads=rng.randrange(1, 4))
            ],
            "encode_corpus": [
                row.tolist()
                for batch in tokenizer.encode_corpus(
                    iter(texts), add_special_tokens=special, threads=rng.randrange(1, 4)
                )
                for row in np.split(batch.ids, batch.rows[1:-1])
            ],
        }
        for way, found in ways.items():
            wrong = [text for text, ours, theirs in zip(texts, found, ids, strict=True) if ours != theirs]
            assert not wrong, (way, special, wrong[:3])


def compare(path, samples, seed, n):
    rng = random.Random(seed)
    tokenizer, upstream = gputok.Tokenizer.from_file(str(path)), tokenizers.Tokenizer.from_file(str(path))
    for each in (tokenizer, upstream):
        each.no_truncation()
        each.no_padding()
    texts = [text for sample in samples for text in cut_texts(rng, sample, n)]
    check(tokenizer, upstream, [*texts, *random_texts(seed, n)], rng)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_all_ways(shared_tokenizer, corpus_sample, name):
    samples = [corpus_sample(corpus, 100_000) for corpus in ("en", "code", "multi", "zh")]
    compare(shared_tokenizer(name), samples, 1, 50)


@pytest.mark.parametrize("name", NAMES)
def test_the_steps_alone(shared_tokenizer, corpus_sample, name, monkeypatch):
    """`GPUTOK_WAY=steps` forces them: each faster way can be compared with them."""
    samples = [corpus_sample(corpus, 100_000) for corpus in ("en", "code", "multi", "zh")]
    path = shared_tokenizer(name)
    usual = gputok.Tokenizer.from_file(str(path))
    assert type(engine_of(usual.pipeline)) is not Stepped and texts_of(usual.pipeline) is not None
    monkeypatch.setenv("GPUTOK_WAY", "steps")
    forced = gputok.Tokenizer.from_file(str(path))
    assert texts_of(forced.pipeline) is None
    monkeypatch.delenv("GPUTOK_WAY")  # which was asked for all texts of this tokenizer
    assert type(engine_of(forced.pipeline)) is Stepped
    compare(path, samples, 3, 10)
    counts = [one.count_words(iter(samples), progress=False) for one in (usual, forced)]
    assert counts[0] == counts[1]
    assert {sentence.split(":")[0] for sentence in ways(forced.pipeline).values()} == {"steps"}


def test_no_other_way_can_be_forced(monkeypatch):
    monkeypatch.setenv("GPUTOK_WAY", "fast")
    with pytest.raises(ValueError, match="GPUTOK_WAY must be steps, or not be set; got 'fast'"):
        gputok.Tokenizer(gputok.models.WordLevel({"a": 0}, "a")).encode("a")


@pytest.mark.full
@pytest.mark.parametrize("seed", range(2, 12))
@pytest.mark.parametrize("name", NAMES)
def test_all_ways_for_many_texts(shared_tokenizer, corpus_sample, name, seed):
    samples = [corpus_sample(corpus, 1_000_000) for corpus in ("en", "code", "multi", "zh")]
    compare(shared_tokenizer(name), samples, seed, 2000)
