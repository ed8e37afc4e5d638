"""Rare pipelines: limits below special tokens, stacked post-processors, pairs as rows, affixes that become bytes."""

import itertools
import random

import numpy as np
import pytest
import tokenizers

from gputok import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

VOCABULARY = {"a": 0, "b": 1, "ab": 2, "[CLS]": 3, "[SEP]": 4, "<s>": 5}
BERT = processors.BertProcessing(("[SEP]", 4), ("[CLS]", 3))
AROUND = processors.TemplateProcessing("<s> $A <s>", "<s> $A <s> $B", [("<s>", 5)])
BEFORE = processors.TemplateProcessing("<s> $A", "<s> $A $B", [("<s>", 5)])


def both(model=None, pre_tokenizer=None, post_processor=None):
    """Our tokenizer, and the same of tokenizers."""
    ours = Tokenizer(model or models.BPE(VOCABULARY, [("a", "b")]))
    ours.pre_tokenizer = pre_tokenizer or pre_tokenizers.Whitespace()
    ours.post_processor = post_processor
    return ours, tokenizers.Tokenizer.from_str(ours.to_str())


def result(call):
    """What a call returns, or that it fails: tokenizers raises PanicException, which is no Exception."""
    try:
        return call()
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:
        return "an error"


def parts(encoding):
    return encoding.ids, [part.ids for part in encoding.overflowing]


@pytest.mark.slow
@pytest.mark.parametrize("processor", [BERT, AROUND, None])
@pytest.mark.parametrize("strategy", ["longest_first", "only_first", "only_second"])
def test_truncation_below_the_number_of_special_tokens(processor, strategy):
    """Without special tokens, texts are cut. With them, the rest is below 0, and wraps around: nothing is cut."""
    tokenizers_of_both = both(post_processor=processor)
    limits = itertools.product(range(6), range(3), ("left", "right"))
    for (length, stride, direction), special, text in itertools.product(
        limits, (True, False), (("a b ab",), ("a b", "ab a"), ("", "a"), ("",))
    ):
        found = []
        for tokenizer in tokenizers_of_both:
            tokenizer.no_truncation()

            def encoded(
                tokenizer=tokenizer, length=length, stride=stride, direction=direction, special=special, text=text
            ):
                tokenizer.enable_truncation(length, stride=stride, strategy=strategy, direction=direction)
                one = tokenizer.encode(*text, add_special_tokens=special)
                (other,) = tokenizer.encode_batch([text if len(text) > 1 else text[0]], add_special_tokens=special)
                assert parts(other) == parts(one)
                return parts(one)

            found.append(result(encoded))
        assert found[0] == found[1], (length, stride, direction, special, text)


@pytest.mark.parametrize("steps", list(itertools.product((BERT, AROUND, BEFORE), repeat=2)))
@pytest.mark.parametrize("special", [True, False])
def test_stacked_post_processors(steps, special):
    """A corpus needs what `encode` needs: that they take a text with special tokens only if there are any."""
    ours, theirs = both(post_processor=processors.Sequence([*steps]))
    texts = ["ab a", "", "b"]
    expected = result(lambda: [theirs.encode(text, add_special_tokens=special).ids for text in texts])
    assert result(lambda: [ours.encode(text, add_special_tokens=special).ids for text in texts]) == expected
    fast = result(lambda: [one.ids for one in ours.encode_batch_fast(texts, add_special_tokens=special)])
    assert fast == expected
    batches = result(lambda: [*ours.encode_corpus(iter(texts), add_special_tokens=special)])
    if batches != "an error":
        batches = [row.tolist() for batch in batches for row in np.split(batch.ids, batch.rows[1:-1])]
    assert batches == expected
    assert special or expected != "an error"


@pytest.mark.parametrize("method", ["encode_batch", "encode_batch_fast"])
def test_rows_of_an_array_are_pairs(method):
    inputs = [
        (np.array([["a", "b"], ["ab", "a b"]]), False),
        (np.array([["a", "b"], ["ab", "a b"]], dtype=object), False),
        ([np.array(["a", "b"])], False),
        ([np.array(["a", "b"], dtype=object), "a", ("b", "ab")], False),
        (np.array([[["a", "b"], ["a", "a"]]]), True),
        ([np.array(["a", "b", "a"]), (["a"], np.array(["b"]))], True),
        (np.array(["a", "ab"]), False),
        ([np.array(["a", "b", "a"])], False),
        ([np.array("a")], False),
        (np.array([[b"a", b"b"]]), False),
        ([np.array([["a", "b"], ["a", "b"], ["a", "b"]])], True),
    ]
    ours, theirs = both(post_processor=BERT)
    for given, is_pretokenized in inputs:
        found = [
            result(
                lambda tokenizer=tokenizer, given=given, words=is_pretokenized: [
                    one.ids for one in getattr(tokenizer, method)(given, is_pretokenized=words)
                ]
            )
            for tokenizer in (ours, theirs)
        ]
        assert found[0] == found[1], given
    with pytest.raises(TypeError, match="TextEncodeInput must be"):
        getattr(ours, method)([np.array("a")])


def fallback(rng, prefix, suffix):
    """A BPE with tokens of bytes, not always of all, whose prefix and suffix may have no tokens and become bytes."""
    all_bytes = [f"<0x{byte:02X}>" for byte in range(256)]
    tokens = ["<unk>", *rng.sample(all_bytes, rng.choice([256, 256, 200])), "a", "b", "ab"]
    tokens += [f"{prefix or ''}{c}" for c in "abé"] + [f"a{suffix or ''}", f"{prefix or ''}b{suffix or ''}"]
    return models.BPE(
        {token: i for i, token in enumerate(dict.fromkeys(tokens))},
        [],
        unk_token=rng.choice([None, "<unk>"]),
        fuse_unk=rng.random() < 0.5,
        byte_fallback=True,
        continuing_subword_prefix=prefix,
        end_of_word_suffix=suffix,
    )


def view(encoding):
    return encoding.ids, encoding.tokens, encoding.offsets, encoding.word_ids


@pytest.mark.slow
@pytest.mark.parametrize("prefix", [None, "##", "a"])
@pytest.mark.parametrize("suffix", [None, "</w>", "b"])
def test_offsets_of_affixes_that_become_bytes(prefix, suffix):
    texts = ["é", "aé", "éa", "é中b", "中", "aéb", "éé b", "ab é", "a", "é é", "aaé", "ab 中 é b 😀 a", ""]
    rng = random.Random(1)
    steps = [
        pre_tokenizers.Whitespace(),
        pre_tokenizers.Split(Regex(" "), "isolated"),
        pre_tokenizers.ByteLevel(),
        pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.ByteLevel(False)]),
        pre_tokenizers.Sequence([pre_tokenizers.ByteLevel(False), pre_tokenizers.Punctuation()]),
    ]
    for step, added, _ in itertools.product(steps, [False, True], range(6)):
        ours, theirs = both(fallback(rng, prefix, suffix), step)
        if added:
            ours.add_tokens(["é b", "aa"])
            theirs.add_tokens(["é b", "aa"])
        for text in texts:
            assert view(ours.encode(text)) == view(theirs.encode(text)), text
        lists = [text.split(" ") for text in texts]
        for given, are_lists in ((texts, False), (lists, True)):
            found = [one.encode_batch(given, is_pretokenized=are_lists) for one in (ours, theirs)]
            assert list(map(view, found[0])) == list(map(view, found[1]))


STEPS = {
    "lowercase": normalizers.Lowercase(),
    "decompose": normalizers.NFD(),
    "nothing": normalizers.Prepend(""),
    "text": normalizers.Prepend("xé"),
    "strip": normalizers.Strip(),
    "replace": normalizers.Replace("a", "é"),
    "remove": normalizers.Replace("b", ""),
}


@pytest.mark.parametrize(
    "before", [(), *itertools.product(STEPS), *itertools.permutations(["decompose", "text", "strip", "remove"], 2)]
)
def test_nothing_is_prepended(before):
    """The same offsets, unless tokenizers panics or repeats text, as it does if later steps change all of the text."""
    texts = ["", "ab", "éa", "é", " a", "É[X]b a", "b", "日本[X][X]é", " [X] éb", ["ab", "é"], [" a", "b"]]
    asked = 0
    for after, step in itertools.product(
        [(), ("text",), ("replace",)], [None, pre_tokenizers.Split(Regex("."), "isolated")]
    ):
        ours = Tokenizer(models.WordLevel({"a": 0, "u": 1}, "u"))
        ours.normalizer = normalizers.Sequence([STEPS[name] for name in (*before, "nothing", *after)])
        ours.pre_tokenizer = step
        ours.add_tokens([AddedToken("[X]", normalized=False)])
        theirs = tokenizers.Tokenizer.from_str(ours.to_str())
        for text in texts:
            words = isinstance(text, list)
            expected = result(lambda one=theirs, text=text, words=words: view(one.encode(text, is_pretokenized=words)))
            found = view(ours.encode(text, is_pretokenized=words))
            assert view(ours.encode_batch([text], is_pretokenized=words)[0]) == found
            if isinstance(expected, tuple):
                assert found == expected, (after, text)
                asked += 1
    assert asked > 5


@pytest.mark.parametrize("size", [0, 3, 200, 255, 256])
def test_models_without_all_bytes(size):
    """Characters of the ByteLevel alphabet without a token are left out or unknown, in all ways to encode."""
    rng = random.Random(size)
    texts = ["", "ab é", "中\n", "b a", "a" * 40, "x" * 3000]
    for unknown in (None, "<unk>"):
        tokens = [*rng.sample(sorted(pre_tokenizers.ByteLevel.alphabet()), size), *([unknown] if unknown else [])]
        model = models.BPE({token: i for i, token in enumerate(tokens)}, [], unk_token=unknown)
        ours, theirs = both(model, pre_tokenizers.ByteLevel(add_prefix_space=False))
        expected = [one.ids for one in theirs.encode_batch_fast(texts)]
        assert [one.ids for one in ours.encode_batch_fast(texts)] == expected
        assert [ours.encode(text).ids for text in texts] == expected
        (batch,) = ours.encode_corpus(iter(texts))
        assert [row.tolist() for row in np.split(batch.ids, batch.rows[1:-1])] == expected
