"""A cache of prefixes gives the ids of `encode`, whatever it has kept or dropped."""

import copy
import pickle
import random
import threading

import growing
import numpy as np
import pytest

import gputok
from gputok import prefix_cache


def prompts(tokenizer, seed, n):
    """Texts that branch off earlier texts."""
    rng, found = random.Random(seed), [""]
    atoms = growing.atoms_of(tokenizer, rng)
    for _ in range(n):
        before = rng.choice(found[-6:])
        before = before[: rng.randrange(len(before) + 1)] if rng.random() < 0.2 else before
        found.append(before + "".join(rng.choices(atoms, k=rng.choice([1, 10, 60]))))
    return found


def check(cache, tokenizer, texts, special):
    for text in texts:
        expected = tokenizer.encode(text, add_special_tokens=special).ids
        assert cache.encode(text, special).tolist() == expected, text
        assert 0 <= cache.used <= cache.max_bytes


@pytest.mark.parametrize(
    "name", ["cl100k", "Qwen 3", "Llama 2", "Gemma", "BERT", "Metaspace, first", "Strip", "no tokens"]
)
def test_ids_are_those_of_encode(name, monkeypatch):
    """Small blocks, a memory that is always full, and texts that are not ASCII."""
    monkeypatch.setattr(prefix_cache, "BLOCK", 16)
    tokenizer = growing.surroundings(growing.KINDS[name][1]())
    for max_bytes in (1 << 30, 60_000, 0):
        cache = gputok.PrefixCache(tokenizer, max_bytes=max_bytes)
        for special in (True, False):
            check(cache, tokenizer, prompts(tokenizer, max_bytes, 40), special)
    assert (cache.used, cache.hits) == (0, 0)


def test_what_is_known_is_not_encoded_again(monkeypatch):
    tokenizer = growing.KINDS["o200k"][1]()
    for text in ("the Hello ab " * 10_000, "the Hello 中文 " * 10_000):
        cache = gputok.PrefixCache(tokenizer)
        cache.encode(text)
        asked = []
        encode = prefix_cache.Seams.ids
        with monkeypatch.context() as patch:
            patch.setattr(prefix_cache.Seams, "ids", lambda *a: asked.append(len(a[1])) or encode(*a))  # noqa: B023
            for _ in range(3):
                text += "ab " * 10
                assert cache.encode(text)[-1] == tokenizer.encode(text).ids[-1]
        assert sum(asked) < 4 * 2 * prefix_cache.BLOCK
        assert (cache.hits, cache.misses) == (3, 1)
        assert cache.used < 5 * len(text.encode())


def test_a_long_word_is_not_kept_again_and_again():
    tokenizer = growing.KINDS["gpt2"][1]()
    cache, text = gputok.PrefixCache(tokenizer), "the " + "ab" * 200_000
    for _ in range(2):
        assert cache.encode(text).tolist() == tokenizer.encode(text).ids
    assert cache.used < 70 * prefix_cache.LONGEST_TAIL
    assert len(cache._nodes) < 70


def test_texts_share_what_they_have_in_common():
    tokenizer = growing.KINDS["cl100k"][1]()
    cache = gputok.PrefixCache(tokenizer)
    for system in ("the ab Hello " * 5000, "the ab Hello 中文 " * 5000):
        sizes = []
        for i in range(3):
            cache.encode(system + f"user {i} " * (10 + i))
            sizes.append(cache.used)
        assert sizes[0] == sizes[2]


def test_a_changed_tokenizer_begins_anew():
    tokenizer = copy.deepcopy(growing.KINDS["gpt2"][1]())
    cache, text = gputok.PrefixCache(tokenizer), "the ab Hello " * 2000
    before = cache.encode(text)
    tokenizer.add_tokens([" Hello the"])
    after = cache.encode(text)
    assert after.tolist() == tokenizer.encode(text).ids != before.tolist()
    assert cache.misses == 2
    with pytest.raises(ValueError, match="read-only"):
        after[0] = 1


def test_threads_share_a_cache(monkeypatch):
    monkeypatch.setattr(prefix_cache, "BLOCK", 16)
    tokenizer = growing.KINDS["cl100k"][1]()
    cache, failed = gputok.PrefixCache(tokenizer, max_bytes=40_000), []

    def work(seed):
        try:
            check(cache, tokenizer, prompts(tokenizer, 1, 60), False)
            check(cache, tokenizer, prompts(tokenizer, seed, 60), False)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    nodes = [*cache._nodes.values()]
    assert cache._used == sum(node.size for node in nodes)
    assert all(node.key[0] is cache._root or node.key[0].key in cache._nodes for node in nodes)


def test_it_takes_the_tokenizers_of_transformers():
    tokenizer = growing.KINDS["gpt2"][1]()
    cache = gputok.PrefixCache(gputok.PreTrainedTokenizerFast(tokenizer_object=tokenizer))
    assert cache.encode("the ab").tolist() == tokenizer.encode("the ab").ids


def test_wrong_use():
    tokenizer = copy.deepcopy(growing.KINDS["gpt2"][1]())
    with pytest.raises(ValueError, match="max_bytes: must be a whole number from 0"):
        gputok.PrefixCache(tokenizer, max_bytes=-1)
    for wrong in (lambda: gputok.PrefixCache(5), lambda: gputok.align(tokenizer, 5, "a")):
        with pytest.raises(TypeError, match="'int' object is not an instance of 'Tokenizer': 5"):
            wrong()
    cache = gputok.PrefixCache(tokenizer)
    with pytest.raises(TypeError, match="'bytes' object"):
        cache.encode(b"a")
    tokenizer.enable_truncation(5)
    with pytest.raises(ValueError, match="no_truncation"):
        cache.encode("a")
    tokenizer.no_truncation()
    assert np.array_equal(cache.encode("the"), tokenizer.encode("the").ids_array)


def test_copies_begin_empty():
    """A copy that shared nodes with its original would count them twice."""
    tokenizer = growing.tokenizer("bpe", None, growing.BYTES)
    cache, text = gputok.PrefixCache(tokenizer, max_bytes=1 << 20), "the a " * 2000
    cache.encode(text)
    for other in (pickle.loads(pickle.dumps(cache)), copy.copy(cache), copy.deepcopy(cache)):
        assert (other.used, other.max_bytes) == (0, 1 << 20) and cache.used > 0
        assert np.array_equal(other.encode(text), cache.encode(text)) and other.used == cache.used


def test_a_text_that_grows_in_memory_is_counted_once():
    """Python keeps the UTF-8 of a string beside it; a text of a whole node is the caller's own string."""
    tokenizer = growing.KINDS["cl100k"][1]()
    cache = gputok.PrefixCache(tokenizer, max_bytes=100_000)
    for i in range(40):
        text = (f"é中 {i} " * prefix_cache.BLOCK)[: prefix_cache.BLOCK]
        cache.encode(text)
        pickle.dumps(text)
    assert 0 < cache.used == sum(node.size for node in cache._nodes.values()) <= cache.max_bytes
    assert len(cache._nodes) < 20
