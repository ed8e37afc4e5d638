"""Pairs and lists of words: ids first, by the engine of single texts. Random pipelines are in test_parity_pipelines."""

import pytest
import tokenizers

import gputok
from gputok.pipeline.encode.text import texts_of

FIELDS = (
    *("ids", "type_ids", "tokens", "offsets", "word_ids", "attention_mask"),
    *("special_tokens_mask", "sequence_ids"),
)
TEXT = "The quick brown fox naïvely jumps over 1234 lazy dogs; doesn't it? 漢字 🙂 <s> [SEP] " * 4


def attributes(encoding):
    return [getattr(encoding, name) for name in FIELDS] + [[attributes(part) for part in encoding.overflowing]]


@pytest.fixture(scope="module", params=["minilm-bert", "llama3", "llama2"])
def both(request, shared_tokenizer):
    path = str(shared_tokenizer(request.param))
    found = gputok.Tokenizer.from_file(path), tokenizers.Tokenizer.from_file(path)
    for tokenizer in found:
        tokenizer.no_truncation()
        tokenizer.no_padding()
    return found


def inputs_of(is_pretokenized):
    texts = [TEXT[:n] for n in (0, 1, 5, 30, 31, 200)]
    parts = [text.split(" ") for text in texts] if is_pretokenized else texts
    return [(one, other) for one in parts for other in parts[::-1]]


@pytest.mark.parametrize("is_pretokenized", [False, True])
@pytest.mark.parametrize("special", [False, True])
def test_pairs_of_all_lengths(both, is_pretokenized, special):
    options = {"is_pretokenized": is_pretokenized, "add_special_tokens": special}
    ours, theirs = both
    inputs = inputs_of(is_pretokenized)
    for given in inputs:
        assert attributes(ours.encode(*given, **options)) == attributes(theirs.encode(*given, **options))
    mixed = [*inputs, *(one for one, _ in inputs if not is_pretokenized or len(one) != 2)]
    found, expected = (tokenizer.encode_batch(mixed, **options) for tokenizer in both)
    assert all(encoding._later is not None for encoding in found)
    assert [*map(attributes, found)] == [*map(attributes, expected)]


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["longest_first", "only_first", "only_second"])
@pytest.mark.parametrize("direction", ["left", "right"])
@pytest.mark.parametrize("is_pretokenized", [False, True])
def test_cut_pairs(both, strategy, direction, is_pretokenized):
    """Lengths from below the special tokens to above the pair; where tokenizers raises an error, gputok does."""
    one, other = (TEXT[:40], TEXT[40:130])
    given = (one.split(" "), other.split(" ")) if is_pretokenized else (one, other)
    n = len(both[1].encode(*given, is_pretokenized=is_pretokenized))
    try:
        for length in (*range(7), n // 2, *range(n - 2, n + 2)):
            results = []
            for tokenizer in both:
                tokenizer.enable_truncation(length, strategy=strategy, direction=direction)
                tokenizer.enable_padding(direction=direction, pad_to_multiple_of=8, pad_type_id=1)
                try:
                    batch = [given, (given[0], given[0]), given[:1] if is_pretokenized else given[0]]
                    some = batch[: 3 if strategy != "only_second" and not is_pretokenized else 2]
                    found = tokenizer.encode_batch(some, is_pretokenized=is_pretokenized)
                    found.append(tokenizer.encode(*given, is_pretokenized=is_pretokenized))
                    results.append([*map(attributes, found)])
                except Exception as error:  # tokenizers raises Exception itself
                    results.append(str(error).split(":")[0])
            assert results[0] == results[1], length
    finally:
        for tokenizer in both:
            tokenizer.no_truncation()
            tokenizer.no_padding()


@pytest.mark.parametrize("trim_offsets", [False, True])
@pytest.mark.parametrize("direction", ["left", "right"])
def test_the_first_token_that_is_kept_keeps_its_space(direction, trim_offsets):
    """Post-processors that trim offsets come after truncation: of each text of a pair, too."""
    made = []
    for package in (gputok, tokenizers):
        letters = sorted(package.pre_tokenizers.ByteLevel.alphabet())
        vocabulary = {letter: i for i, letter in enumerate(letters)} | {"Ġa": 256}
        tokenizer = package.Tokenizer(package.models.BPE(vocabulary, [("Ġ", "a")]))
        tokenizer.pre_tokenizer = package.pre_tokenizers.ByteLevel(add_prefix_space=True)
        tokenizer.post_processor = package.processors.ByteLevel(trim_offsets=trim_offsets, add_prefix_space=True)
        made.append(tokenizer)
    ours, theirs = made
    for length in range(1, 14):
        for tokenizer in made:
            tokenizer.enable_truncation(length, direction=direction)
        for given in (("b a a a a b", "a a b a a a"), ("a a", "b b b a"), ("b a a a a b",)):
            assert attributes(ours.encode(*given)) == attributes(theirs.encode(*given)), (length, given)


@pytest.mark.slow
def test_long_texts_and_threads(both):
    """Texts that are too long for one call, and so many that threads encode them."""
    ours, theirs = both
    long = TEXT * 1000
    pairs = [(long, TEXT), (TEXT, long[: 1 << 18]), ("", TEXT)]
    for some in (pairs, [("", TEXT), (TEXT, long[: 1 << 10])] * 300 + pairs[1:2]):
        expected = [encoding.ids for encoding in theirs.encode_batch(some)]
        for threads in (None, 1, 3):
            assert [encoding.ids for encoding in ours.encode_batch(some, threads=threads)] == expected
    words = [long.split(" "), TEXT.split(" ")]
    expected = [encoding.ids for encoding in theirs.encode_batch(words, is_pretokenized=True)]
    for threads in (None, 1, 3):
        found = ours.encode_batch(words, is_pretokenized=True, threads=threads)
        assert [encoding.ids for encoding in found] == expected
    first, other = ours.encode(long, TEXT), theirs.encode(long, TEXT)
    assert first.offsets == other.offsets and first.word_ids == other.word_ids


def test_templates_that_are_not_in_order():
    """The second text first, or one text twice: the steps encode these pairs."""
    vocabulary = {"a": 0, "b": 1, "<s>": 2}
    for template in ("$B:1 <s> $A", "$A $A $B", "$A:1 <s> $B:0 <s>"):
        made = []
        for package in (gputok, tokenizers):
            tokenizer = package.Tokenizer(package.models.WordLevel(vocabulary, unk_token="<s>"))
            tokenizer.pre_tokenizer = package.pre_tokenizers.WhitespaceSplit()
            tokenizer.post_processor = package.processors.TemplateProcessing(
                single="$A <s>", pair=template, special_tokens=[("<s>", 2)]
            )
            made.append(tokenizer)
        ours = made[0]
        assert texts_of(ours.pipeline).joins == 1 + template.startswith("$A:1")
        for special in (True, False):
            one, other = (t.encode("a b", "b", add_special_tokens=special) for t in made)
            assert attributes(one) == attributes(other)
            one, other = (t.encode_batch_fast([("a b", "b"), "a"], add_special_tokens=special) for t in made)
            assert [(e.ids, e.type_ids) for e in one] == [(e.ids, e.type_ids) for e in other]
    assert ours.encode_batch_fast([("a", "b")])[0].offsets == [(0, 0)] * 4
