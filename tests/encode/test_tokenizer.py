"""The tokenizer against that of tokenizers: training, encoding, added tokens, files."""

import asyncio
import json
import pickle
import random
import string
import threading

import growing
import numpy as np
import pytest
import tokenizers

import gputok
from gputok import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from gputok.recipes import recipe

ATTRIBUTES = [
    "ids",
    "tokens",
    "offsets",
    "type_ids",
    "attention_mask",
    "special_tokens_mask",
    "word_ids",
    "sequence_ids",
    "n_sequences",
]
CORPUS = [
    "The quick brown fox jumps over the lazy dog.",
    "Ça va? «Très bien», dit-elle; 東京タワーは高い。",
    "def f(x):\n\treturn x ** 2  # 1234567",
    "Ünïcödé ﬁ ½ \u200b Ǆ İstanbul 👩🏽‍🚀!",
    "low lower lowest newer newest wider widest",
] * 5


def same(found, expected) -> None:
    for name in ATTRIBUTES:
        assert getattr(found, name) == getattr(expected, name), (name, expected.tokens)
    assert len(found.overflowing) == len(expected.overflowing)
    for part, other in zip(found.overflowing, expected.overflowing, strict=True):
        same(part, other)


def same_batches(ours, theirs, inputs, **options) -> None:
    found, expected = ours.encode_batch(inputs, **options), theirs.encode_batch(inputs, **options)
    for one, other in zip(found, expected, strict=True):
        same(one, other)


def random_text(rng: random.Random, spice: list[str]) -> str:
    def part():
        kind = rng.randrange(8)
        if kind == 0:
            return rng.choice(spice)
        if kind == 1:
            return rng.choice([" ", "  ", "\t", "\n", "\u3000", "\u00a0", "\u200b", "\u0301", "\u0345"])
        if kind == 2:
            point = rng.randrange(0x110000)
            return chr(point) if not 0xD800 <= point < 0xE000 else "\ufffd"
        if kind == 3:
            return chr(
                rng.choice([*range(0xA0, 0x250), *range(0x300, 0x370), *range(0x4E00, 0x4E20), *range(0xAC00, 0xAC20)])
            )
        return "".join(rng.choices(string.ascii_letters + string.digits, k=rng.randrange(1, 6)))

    return "".join(part() for _ in range(rng.randrange(12)))


def pipelines(package):
    """A tokenizer of each kind of model, with components of all kinds, trained by tokenizers on CORPUS."""
    t, m, n, p, d, q = (
        package.trainers,
        package.models,
        package.normalizers,
        package.pre_tokenizers,
        package.decoders,
        package.processors,
    )

    def made(model, trainer, normalizer, pre_tokenizer, processor, decoder):
        tokenizer = package.Tokenizer(model)
        tokenizer.normalizer, tokenizer.pre_tokenizer, tokenizer.post_processor = (normalizer, pre_tokenizer, processor)
        tokenizer.decoder = decoder
        return tokenizer, trainer

    options = {"show_progress": False, "special_tokens": ["[UNK]", "[CLS]", "[SEP]"]}
    bert = q.TemplateProcessing("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", [("[CLS]", 1), ("[SEP]", 2)])
    return {
        "byte level": made(
            m.BPE(), t.BpeTrainer(vocab_size=400, show_progress=False, special_tokens=["<s>"]),
            None, p.ByteLevel(), q.RobertaProcessing(("<s>", 0), ("<s>", 0)), d.ByteLevel(),
        ),
        "word piece": made(
            m.WordPiece(unk_token="[UNK]"), t.WordPieceTrainer(vocab_size=150, **options),
            n.BertNormalizer(), p.BertPreTokenizer(), bert, d.WordPiece(),
        ),
        "word level": made(
            m.WordLevel(unk_token="[UNK]"), t.WordLevelTrainer(**options),
            n.Sequence([n.NFD(), n.StripAccents(), n.Strip()]), p.Whitespace(), q.Sequence([q.ByteLevel(), bert]), None,
        ),
        "unigram": made(
            m.Unigram(), t.UnigramTrainer(vocab_size=100, unk_token="[UNK]", **options),
            n.NFKC(), p.Metaspace(), bert, d.Metaspace(),
        ),
        "characters": made(
            m.BPE(unk_token="[UNK]", fuse_unk=True, end_of_word_suffix="</w>"),
            t.BpeTrainer(vocab_size=150, end_of_word_suffix="</w>", limit_alphabet=40, **options),
            n.Lowercase(), p.Sequence([p.WhitespaceSplit(), p.Punctuation(), p.Digits(True)]),
            q.BertProcessing(("[SEP]", 2), ("[CLS]", 1)), d.BPEDecoder(),
        ),
    }  # fmt: skip


@pytest.fixture(scope="module", params=["byte level", "word piece", "word level", "unigram", "characters"])
def pair(request):
    """(ours, theirs): the same trained tokenizer in both packages."""
    theirs, trainer = pipelines(tokenizers)[request.param]
    theirs.train_from_iterator(CORPUS, trainer)
    ours = Tokenizer.from_str(theirs.to_str())
    for package, tokenizer in ((gputok, ours), (tokenizers, theirs)):
        tokenizer.add_tokens(
            ["lowest", package.AddedToken("Fox", single_word=True), package.AddedToken("é", lstrip=True)]
        )
        tokenizer.add_special_tokens(
            [package.AddedToken("<m>", lstrip=True, rstrip=True), package.AddedToken("<N>", normalized=True)]
        )
    return ours, theirs


SPICE = ["<s>", "[CLS]", " <m> ", "<m>", "<N>", "<n>", "lowest", "Fox", "fox", "é", " é", "É", "ﬁ", "  "]


def test_encodes_alike(pair):
    ours, theirs = pair
    rng = random.Random(0)
    texts = [*CORPUS[:5], "", " ", *(random_text(rng, SPICE) for _ in range(160))]
    same_batches(ours, theirs, texts)
    same_batches(ours, theirs, texts, add_special_tokens=False)
    pairs = [(a, b) if i % 3 else a for i, (a, b) in enumerate(zip(texts, reversed(texts), strict=True))]
    same_batches(ours, theirs, pairs)
    words = [text.split(" ") for text in texts]
    same_batches(ours, theirs, [one if len(one) != 2 else (one, words[3]) for one in words], is_pretokenized=True)
    for text in texts[:40]:
        same(ours.encode(text), theirs.encode(text))
        same(ours.encode(text, "a b"), theirs.encode(text, "a b"))
        fast, other = ours.encode_batch_fast([text])[0], theirs.encode_batch_fast([text])[0]
        same(fast, other)


def test_decodes_alike(pair):
    ours, theirs = pair
    rng = random.Random(1)
    size = theirs.get_vocab_size() + 5  # some ids do not exist
    for _ in range(200):
        ids = rng.choices(range(size), k=rng.randrange(12))
        for skip in (True, False):
            expected = theirs.decode(ids, skip_special_tokens=skip)
            assert ours.decode(ids, skip) == ours.decode(np.array(ids, np.uint16), skip) == expected
    batch = [rng.choices(range(size), k=5) for _ in range(10)]
    assert ours.decode_batch(batch) == ours.decode_batch(np.array(batch)) == theirs.decode_batch(batch)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("length", "stride", "strategy", "direction"),
    [
        (5, 0, "longest_first", "right"),
        (9, 1, "longest_first", "left"),
        (8, 2, "only_first", "right"),
        (12, 3, "only_first", "left"),
        (40, 3, "only_second", "right"),
        (40, 0, "only_second", "left"),
    ],
)
def test_truncates_and_pads_alike(pair, length, stride, strategy, direction):
    rng = random.Random(2)
    texts = [random_text(rng, SPICE) for _ in range(70)]
    if strategy == "longest_first":
        inputs = [
            (a, b) if i % 2 and not stride else a for i, (a, b) in enumerate(zip(texts, texts[::-1], strict=True))
        ]
    else:
        inputs = [*texts] if strategy == "only_first" else [("a", text * 9) for text in texts]
    for tokenizer in pair:
        tokenizer.enable_truncation(length, stride=stride, strategy=strategy, direction=direction)
        tokenizer.enable_padding(direction=direction, pad_to_multiple_of=4, pad_id=1, pad_type_id=2, pad_token="[P]")
    ours, theirs = pair
    try:
        assert ours.truncation == theirs.truncation and ours.padding == theirs.padding
        assert repr(ours) == repr(theirs)
        same_batches(ours, theirs, inputs)
        same_batches(ours, theirs, inputs, add_special_tokens=False)
        assert ours.to_str() == theirs.to_str()
    finally:
        for tokenizer in pair:
            tokenizer.no_truncation()
            tokenizer.no_padding()


def test_files_and_pickles(pair, tmp_path):
    ours, theirs = pair
    for pretty in (True, False):
        assert ours.to_str(pretty) == theirs.to_str(pretty)
    assert repr(ours) == repr(theirs)
    assert str(ours) == str(theirs)
    assert ours.__getstate__() == theirs.__getstate__()
    ours.save(str(tmp_path / "tokenizer.json"))
    assert (tmp_path / "tokenizer.json").read_text(encoding="utf-8") == theirs.to_str(True)
    # Not compared with `theirs` itself: tokenizers reads some numbers one bit off.
    assert tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json")).to_str() == (
        tokenizers.Tokenizer.from_str(theirs.to_str()).to_str()
    )
    for again in (
        Tokenizer.from_file(str(tmp_path / "tokenizer.json")),
        Tokenizer.from_buffer(ours.to_str().encode()),
        pickle.loads(pickle.dumps(ours)),
    ):
        assert again.to_str() == ours.to_str()
        same(again.encode(CORPUS[0]), theirs.encode(CORPUS[0]))


def test_vocabularies(pair):
    ours, theirs = pair
    for added in (True, False):
        assert ours.get_vocab(added) == theirs.get_vocab(added)
        assert ours.get_vocab_size(added) == theirs.get_vocab_size(added)
    for token in ["a", "<m>", "<N>", "nothing", "Fox", "é", ""]:
        assert ours.token_to_id(token) == theirs.token_to_id(token)
    for token_id in range(theirs.get_vocab_size() + 3):
        assert ours.id_to_token(token_id) == theirs.id_to_token(token_id)
    found, expected = ours.get_added_tokens_decoder(), theirs.get_added_tokens_decoder()
    assert {i: repr(token) for i, token in found.items()} == {i: repr(token) for i, token in expected.items()}
    for is_pair in (False, True):
        assert ours.num_special_tokens_to_add(is_pair) == theirs.num_special_tokens_to_add(is_pair)


@pytest.mark.parametrize("kind", ["byte level", "word level"])
def test_trains_alike(kind, tmp_path):
    """From files, from iterators of texts and of lists, and from counts, all equal to the file of tokenizers."""
    path = tmp_path / "corpus.txt"
    path.write_text("\n".join(CORPUS) + "\r\nlast", encoding="utf-8", newline="")
    theirs, trainer = pipelines(tokenizers)[kind]
    theirs.train([str(path)], trainer)
    lines = [line.decode() for line in path.read_bytes().splitlines(keepends=True)]
    for way in ("files", "texts", "lists", "counts"):
        ours, trainer = pipelines(gputok)[kind]
        if way == "files":
            ours.train([str(path)], trainer)
        elif way == "texts":
            ours.train_from_iterator(lines, trainer, length=len(lines))
        elif way == "lists":
            ours.train_from_iterator((lines[i : i + 3] for i in range(0, len(lines), 3)), trainer)
        else:
            halves = [ours.count_words(iter(half)) for half in (lines[::2], lines[1::2])]
            ours.train_from_word_counts(gputok.WordCounts.merge(halves), trainer)
        assert json.loads(ours.to_str()) == json.loads(theirs.to_str()), way


@pytest.mark.parametrize("length", ["a", -1, 1.5, 2**64])
def test_a_length_that_is_none_is_refused(length):
    for package, kinds in ((tokenizers, (TypeError, OverflowError)), (gputok, (TypeError, ValueError))):
        with pytest.raises(kinds):
            package.Tokenizer(package.models.BPE()).train_from_iterator(["a"], length=length)


def test_trains_with_the_models_own_trainer():
    ours, theirs = (package.Tokenizer(package.models.WordLevel()) for package in (gputok, tokenizers))
    for tokenizer in (ours, theirs):
        tokenizer.train_from_iterator(["b", "a", "b"])
    assert ours.get_vocab() == theirs.get_vocab() == {"b": 0, "a": 1}


def test_trains_around_added_tokens():
    """Added tokens are cut out before, and are words of their own."""
    results = []
    for package in (gputok, tokenizers):
        tokenizer = package.Tokenizer(package.models.BPE())
        tokenizer.pre_tokenizer = package.pre_tokenizers.Whitespace()
        tokenizer.add_special_tokens(["<sep>"])
        trainer = package.trainers.BpeTrainer(vocab_size=30, show_progress=False, special_tokens=["<sep>"])
        tokenizer.train_from_iterator(["ab<sep>abc abc", "<sep>cab"] * 3, trainer)
        results.append(json.loads(tokenizer.to_str()))
    assert results[0] == results[1]


@pytest.mark.parametrize("seed", range(6))
def test_added_tokens_alike(seed):
    """Random added tokens with random options, one inside the other, added in two steps, in random text."""
    rng = random.Random(seed)
    alphabet = ["a", "b", " ", "é", "A", "́", "<", "\u3000", "_", "ⅷ"]
    # None is nothing but white space: tokenizers fails where another has taken that (test_added_tokens.py).
    contents = {"".join(rng.choices(alphabet, k=rng.randrange(1, 4))) for _ in range(12)}
    contents = {content for content in contents if content.strip()}
    given = [
        (
            content,
            {option: rng.random() < 0.4 for option in ("single_word", "lstrip", "rstrip", "normalized", "special")},
        )
        for content in sorted(contents)
    ]
    pair = []
    for package in (gputok, tokenizers):
        tokenizer = package.Tokenizer(package.models.WordLevel({"[UNK]": 0, "a": 1, "b": 2}, unk_token="[UNK]"))
        tokenizer.normalizer = [None, package.normalizers.Lowercase(), package.normalizers.NFC()][seed % 3]
        tokenizer.pre_tokenizer = package.pre_tokenizers.WhitespaceSplit() if seed % 2 else None
        made = [package.AddedToken(content, **options) for content, options in given]
        counts = (
            tokenizer.add_tokens(made[:6]),
            tokenizer.add_special_tokens(made[4:]),
            tokenizer.add_tokens(made[:2]),
        )
        pair.append((tokenizer, counts))
    (ours, counts), (theirs, expected) = pair
    assert counts == expected
    assert ours.to_str() == theirs.to_str()
    texts = ["".join(rng.choices(alphabet, k=rng.randrange(20))) for _ in range(300)]
    same_batches(ours, theirs, texts)
    assert ours.decode_batch([[*range(12)]]) == theirs.decode_batch([[*range(12)]])
    for tokenizer in (ours, theirs):
        tokenizer.encode_special_tokens = True
    assert ours.encode_special_tokens
    same_batches(ours, theirs, texts)


@pytest.mark.slow
def test_word_characters_are_those_of_tokenizers():
    """What counts as a character of words beside `single_word` tokens, for every code point."""
    from make_word_characters import word_characters

    from gputok.pipeline.added_vocabulary import word_bits

    assert (np.unpackbits(word_bits(), bitorder="little").astype(bool) == word_characters()).all()


def test_a_normalizer_that_is_set_later_is_used():
    results = []
    for package in (gputok, tokenizers):
        tokenizer = package.Tokenizer(package.models.WordLevel({"yes": 0, "no": 1}, unk_token="no"))
        tokenizer.add_tokens(["Well"])
        tokenizer.normalizer = package.normalizers.Lowercase()
        tokenizer.pre_tokenizer = package.pre_tokenizers.Whitespace()
        results.append((tokenizer.encode("YES WELL well").tokens, tokenizer.id_to_token(2)))
    assert results[0] == results[1]


def test_changing_a_component_changes_the_tokenizer():
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "A": 1, "?": 2}, unk_token="?"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "isolated")
    assert tokenizer.encode("A a").ids == [0, 2, 0]
    tokenizer.pre_tokenizer.behavior = "removed"
    assert tokenizer.encode("A a").ids == [0, 0]
    tokenizer.model.unk_token = "A"
    assert tokenizer.encode("A b").tokens == ["a", "A"]
    tokenizer.normalizer = None
    assert tokenizer.encode("A a").ids == [1, 0]


def test_post_process(pair):
    ours, theirs = pair
    for tokenizer in pair:
        tokenizer.enable_truncation(9)
        tokenizer.enable_padding(length=11)
    try:
        given = [tokenizer.encode("low lower wide", add_special_tokens=False) for tokenizer in pair]
        other = [tokenizer.encode("newest fox", add_special_tokens=False) for tokenizer in pair]
        same(ours.post_process(given[0]), theirs.post_process(given[1]))
        same(ours.post_process(given[0], other[0], False), theirs.post_process(given[1], other[1], False))
    finally:
        for tokenizer in pair:
            tokenizer.no_truncation()
            tokenizer.no_padding()


def test_custom_components_in_a_tokenizer():
    class Reversed:
        def normalize(self, normalized):
            normalized.replace("x", "yy")

    class Cut:
        def pre_tokenize(self, pretok):
            pretok.split(lambda i, text: text.split("-", "removed"))

    class Loud:
        def decode_chain(self, tokens):
            return [token.upper() for token in tokens]

    results = []
    for package in (gputok, tokenizers):
        tokenizer = package.Tokenizer(package.models.WordLevel({"ayy": 0, "b": 1}, unk_token="b"))
        tokenizer.normalizer = package.normalizers.Normalizer.custom(Reversed())
        tokenizer.pre_tokenizer = package.pre_tokenizers.PreTokenizer.custom(Cut())
        tokenizer.decoder = package.decoders.Decoder.custom(Loud())
        encoding = tokenizer.encode("ax-b-c")
        results.append((encoding.tokens, encoding.offsets, encoding.word_ids, tokenizer.decode([0, 1])))
    assert results[0] == results[1]


def test_many_threads_and_slices(pair):
    """A batch in many slices over threads, from many threads at once, is the batch in one."""
    from gputok.pipeline.encode import stepwise as batching

    ours, _ = pair
    texts = [*CORPUS, "", *((text, "b") for text in CORPUS)] * 2
    expected = [(one.ids, one.offsets) for one in ours.encode_batch(texts, threads=1)]
    inputs, results = batching.check_inputs(texts, False), []

    def work():
        found = batching.encode(ours.pipeline, inputs, False, True, offsets=True, threads=3, slice_size=97)
        results.append([(one.ids, one.offsets) for one in found])

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert results == [expected] * 3


def test_async_forms(pair):
    ours, _ = pair

    async def work():
        return (
            (await ours.async_encode("low é", "b")).offsets,
            (await ours.async_encode_batch(["low", "é"]))[1].tokens,
            (await ours.async_encode_batch_fast(["low"]))[0].ids,
            await ours.async_decode_batch([[1, 2], [3]]),
        )

    assert asyncio.run(work()) == (
        ours.encode("low é", "b").offsets,
        ours.encode("é").tokens,
        ours.encode("low").ids,
        ours.decode_batch([[1, 2], [3]]),
    )


@pytest.mark.parametrize("added", [[], ["<s>"]])
def test_no_component_is_called_for_empty_text(added):
    asked = {}
    for package in (gputok, tokenizers):
        seen = asked[package] = []

        class Noting:
            def normalize(self, normalized, seen=seen):
                seen.append(str(normalized.normalized))

            def pre_tokenize(self, text, seen=seen):
                text.split(lambda i, part: seen.append(str(part)) or [part])

        tokenizer = package.Tokenizer(package.models.BPE({"a": 0}, []))
        tokenizer.normalizer = package.normalizers.Normalizer.custom(Noting())
        tokenizer.pre_tokenizer = package.pre_tokenizers.PreTokenizer.custom(Noting())
        tokenizer.add_special_tokens(added)
        for text in ("", "a", "<s>", "a<s>a"):
            seen.append(tokenizer.encode(text).tokens)
    assert asked[gputok] == asked[tokenizers]


def test_inputs_of_other_kinds(pair):
    ours, theirs = pair
    same(ours.encode(("low", "é"), is_pretokenized=True), theirs.encode(("low", "é"), is_pretokenized=True))
    words = np.array(["low", "fox"], object)
    same(ours.encode(words, is_pretokenized=True), theirs.encode(words, is_pretokenized=True))
    same_batches(ours, theirs, ["low", ["a", "pair"], ("a", "pair")])
    assert ours.encode_batch([]) == []
    assert ours.encode_batch(np.array(["low", "fox"]))[1].ids == ours.encode("fox").ids


@pytest.mark.parametrize(
    ("error", "message", "call"),
    [
        (TypeError, "must be str", lambda t: t.encode(1)),
        (TypeError, "TextEncodeInput", lambda t: t.encode_batch([1])),
        (TypeError, "list of texts", lambda t: t.encode_batch("text")),
        (TypeError, "PreTokenized", lambda t: t.encode("text", is_pretokenized=True)),
        (TypeError, "TextEncodeInput", lambda t: t.encode_batch([["a", "b", "c"]])),
        (UnicodeEncodeError, "surrogates", lambda t: t.encode("a\ud800")),
        (OverflowError, "0 to", lambda t: t.decode([-1])),
        (OverflowError, "0 to", lambda t: t.decode([1 << 32])),
        (TypeError, "whole numbers", lambda t: t.decode([1.5])),
        (TypeError, "whole numbers", lambda t: t.decode("text")),
        (OverflowError, "stride", lambda t: t.enable_truncation(5, stride=-1)),
        (ValueError, "stride set to 9", lambda t: t.enable_truncation(9, stride=9)),
        (ValueError, "strategy: 'none' is an unknown", lambda t: t.enable_truncation(9, strategy="none")),
        (ValueError, "direction: 'up' is an unknown", lambda t: t.enable_padding(direction="up")),
        (TypeError, "List", lambda t: t.add_tokens([1])),
        (TypeError, "List", lambda t: t.add_tokens("token")),
        (TypeError, "expected a normalizer", lambda t: setattr(t, "normalizer", pre_tokenizers.Whitespace())),
        (TypeError, "needs a model", lambda t: setattr(t, "model", None)),
        (AttributeError, "truncation", lambda t: setattr(t, "truncation", None)),
        (TypeError, "str", lambda t: t.token_to_id(1)),
        (FileNotFoundError, "nowhere", lambda t: t.train(["nowhere.txt"])),
        (FileNotFoundError, "folder", lambda t: t.save("/nowhere/at/all.json")),
        (FileNotFoundError, "nowhere", lambda t: Tokenizer.from_file("nowhere.json")),
    ],
)
def test_errors(pair, error, message, call):
    ours, _ = pair
    if message == "stride set to 9":
        ours.enable_truncation(30)
    with pytest.raises(error, match=message):
        call(ours)
    ours.no_truncation()


def good() -> dict:
    tokenizer, _ = pipelines(gputok)["byte level"]
    tokenizer.add_special_tokens(["<s>"])
    return json.loads(tokenizer.to_str())


class Raw(str):
    """A part of a file that is written as it stands."""


def nested(inner: str, depth: int) -> Raw:
    return Raw(f'{{"type":"Sequence","{inner}":[' * depth + "]}" * depth)


UNCLOSED = {"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated", "invert": False}
THIRD_TEXT = {"type": "TemplateProcessing", "pair": [], "special_tokens": {}}
THIRD_TEXT["single"] = [{"Sequence": {"id": "C", "type_id": 0}}]
NEGATIVE = {"direction": "Right", "max_length": -3, "strategy": "LongestFirst", "stride": 0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": "2.0"}, "version"),
        ({"model": None}, "Model missing"),
        ({"model": {"type": "GPT"}}, "in model: .*GPT"),
        ({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [["a", "b"]]}}, "in model: .*'b'"),
        ({"model": {"type": "BPE", "vocab": {"a": -1}, "merges": []}}, "in model.vocab: "),
        ({"model": {"type": "BPE", "vocab": {"a": 1 << 40}, "merges": []}}, "in model.vocab: "),
        ({"model": {"type": "BPE", "vocab": ["a"], "merges": []}}, "in model.vocab: "),
        ({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [1]}}, r"in model\.merges\[0\]: "),
        ({"model": {"type": "Unigram", "vocab": [["a", "x"]], "unk_id": 0}}, r"in model\.vocab\[0\]\[1\]: "),
        ({"model": {"type": "Unigram", "vocab": [["a", 0.0]], "unk_id": 7}}, "in model.unk_id: "),
        ({"normalizer": {"type": "Shout"}}, "in normalizer: .*Shout"),
        ({"normalizer": 3}, "in normalizer: "),
        ({"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}}, "in normalizer.precompiled_charsmap"),
        ({"pre_tokenizer": {"type": "Split"}}, "in pre_tokenizer: "),
        ({"pre_tokenizer": UNCLOSED}, "in pre_tokenizer.pattern.Regex: "),
        ({"pre_tokenizer": nested("pretokenizers", 1000)}, "deep"),
        ({"normalizer": nested("normalizers", 100)}, "deep"),
        ({"decoder": nested("decoders", 300)}, "deep"),
        ({"post_processor": {"type": "BertProcessing"}}, "in post_processor: missing field 'sep'"),
        ({"post_processor": THIRD_TEXT}, r"in post_processor\.single\[0\]\.Sequence\.id: "),
        ({"decoder": {"type": "Fuze"}}, "in decoder: .*Fuze"),
        ({"added_tokens": [{"content": "x"}]}, r"in added_tokens\[0\]: missing field 'id'"),
        ({"added_tokens": [{"id": -1, "content": "x"}]}, r"in added_tokens\[0\]\.id: must be"),
        ({"added_tokens": {"x": 1}}, "in added_tokens: "),
        ({"truncation": {"max_length": 3}}, "in truncation: missing field"),
        ({"truncation": NEGATIVE}, "in truncation.max_length: must be"),
        ({"padding": {"strategy": "Sometimes"}}, "in padding.strategy: "),
    ],
)
def test_hostile_files(change, message, tmp_path):
    """A hostile file raises one error that names the field, in bounded time and memory."""
    path = tmp_path / "tokenizer.json"
    text = json.dumps(good() | {part: "@" if isinstance(value, Raw) else value for part, value in change.items()})
    path.write_text(text.replace('"@"', next(iter(change.values()))) if '"@"' in text else text)
    with pytest.raises(ValueError, match=message) as caught:
        Tokenizer.from_file(str(path))
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '"x"', '{"version": NaN}', "[" * 100_000, '{"a":' * 100_000, '{"version": "1.0"}', "{} x"],
)
def test_files_that_are_not_tokenizers(text):
    with pytest.raises(ValueError, match=r"not a tokenizer\.json|too deeply|deep"):
        Tokenizer.from_str(text)
    with pytest.raises(ValueError, match=r"not a tokenizer\.json|too deeply|deep"):
        Tokenizer.from_buffer(text.encode() + b"\xff")


def test_a_save_that_fails_leaves_the_file(tmp_path, monkeypatch):
    path = tmp_path / "tokenizer.json"
    tokenizer = Tokenizer(models.WordLevel({"a": 0}))
    tokenizer.save(str(path))
    before = path.read_text()
    tokenizer.add_tokens(["new"])
    monkeypatch.setattr(
        "gputok.tokens.vocabulary.rows", lambda *given: (_ for _ in ()).throw(OSError("No space left on device"))
    )
    with pytest.raises(OSError, match="No space"):
        tokenizer.save(str(path))
    assert path.read_text() == before
    assert [one.name for one in tmp_path.iterdir()] == ["tokenizer.json"]


def test_numbers_in_files_are_written_as_rust_does():
    scores = [-1e-5, -1.5e-5, -1e-7, -1.25e-10, -0.0001, -1e16, -123456789012345680.0, -1e300, 0.0, -3.25]
    vocab = [(f"e-0{i}", score) for i, score in enumerate(scores)]
    ours, theirs = (package.Tokenizer(package.models.Unigram(vocab, 0)) for package in (gputok, tokenizers))
    assert ours.to_str() == theirs.to_str()
    assert ours.to_str(True) == theirs.to_str(True)


ODD_TOKENS = ["?", '"', "\\", '\\"', "\n", "\x00", "\x1f\x7f", "\u2028", "é\t🙂", "", "a"]


@pytest.mark.parametrize("pretty", [False, True])
@pytest.mark.parametrize(
    "make",
    [
        lambda models: models.BPE({t: 7 * i for i, t in enumerate(["", *ODD_TOKENS[:-2], '?"', "a"])}, [("?", '"')]),
        lambda models: models.BPE({}, []),
        lambda models: models.BPE(dict(zip(ODD_TOKENS, range(11)[::-1], strict=True)), [], dropout=1e-7),
        lambda models: models.WordPiece(dict(zip(ODD_TOKENS, [8, 3, 5, 4, 1, 0, 2, 70, 6, 9, 10], strict=True))),
        lambda models: models.WordLevel({token: i for i, token in enumerate(ODD_TOKENS)}, unk_token="\\"),
        lambda models: models.Unigram([(token, -i / 3) for i, token in enumerate(ODD_TOKENS)], 0),
    ],
)
def test_unusual_tokens_in_files_are_written_as_tokenizers_does(make, pretty):
    ours, theirs = (package.Tokenizer(make(package.models)) for package in (gputok, tokenizers))
    assert ours.to_str(pretty) == theirs.to_str(pretty)
    assert json.loads(ours.to_str(pretty))["model"] == ours.model.to_dict()


def test_html_has_no_markup_of_the_text():
    tokenizer = Tokenizer(models.WordLevel({"<b>": 0, "&": 1, "?": 2}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(["<script>"])
    tokenizer.post_processor = processors.TemplateProcessing("<script> $A", special_tokens=[("<script>", 3)])
    html = tokenizer.encode('<b> & <img src="x"> <script>')._repr_html_()
    assert "&lt;b&gt;" in html and "&lt;script&gt;" in html
    assert "<b>" not in html and "<script>" not in html and "<img" not in html
    words = tokenizer.encode(["<b>", "&"], is_pretokenized=True)._repr_html_()
    assert "&lt;b&gt;" in words and "&amp;" in words

    show = gputok.tools.EncodingVisualizer(tokenizer, default_to_notebook=False)
    noted = show("<b> & so", annotations=[gputok.tools.Annotation(0, 5, '"><script>')])
    assert "<script>" not in noted and "annotation" in noted


@pytest.mark.filterwarnings("ignore:only .* pieces were learned")
def test_ready_made_tokenizers(tmp_path):
    """Each of the five ready-made tokenizers, trained by both packages; also `save_model` and `from_file`."""
    for name, options in {
        "BertWordPieceTokenizer": {"vocab_size": 80},
        "ByteLevelBPETokenizer": {"vocab_size": 300},
        "CharBPETokenizer": {"vocab_size": 90},
        "SentencePieceBPETokenizer": {"vocab_size": 90},
    }.items():
        ours, theirs = (getattr(package, name)() for package in (gputok, tokenizers))
        assert repr(ours) == repr(theirs)
        for tokenizer in (ours, theirs):
            tokenizer.train_from_iterator(["low lower lowest newer"] * 5, show_progress=False, **options)
        found, expected = json.loads(ours.to_str()), json.loads(theirs.to_str())
        # a hash table orders characters with affixes there
        if name in ("BertWordPieceTokenizer", "CharBPETokenizer"):
            assert len(found.pop("model")["vocab"]) == len(expected.pop("model")["vocab"])
        assert found == expected, name
        files = ours.save_model(str(tmp_path))
        again = getattr(gputok, name).from_file(*files)
        assert again.encode("lower").ids == ours.encode("lower", add_special_tokens=name != "X").ids or name.startswith(
            "Bert"
        )
    unigram = gputok.SentencePieceUnigramTokenizer()
    unigram.train_from_iterator(["low lower lowest"] * 5, vocab_size=20, show_progress=False)
    assert unigram.decode(unigram.encode("low lower").ids) == "low lower"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["llama2", "llama3", "qwen3", "claude", "minilm-bert"])
def test_real_files(name, shared_tokenizer, corpus_sample):
    """Real tokenizers on real text and on adversarial strings: every column, decoding, and the file itself."""
    path = str(shared_tokenizer(name))
    ours, theirs = Tokenizer.from_file(path), tokenizers.Tokenizer.from_file(path)
    rng = random.Random(name)
    texts = [
        random_text(rng, ["<s>", " <s> ", "[MASK]", "[CLS]", "<|im_end|>", "<|begin_of_text|>", "</s>"])
        for _ in range(1500)
    ]
    for corpus in ("en", "code", "multi", "zh"):
        sample = corpus_sample(corpus, 45_000)
        texts += [sample[i : i + 1500] for i in range(0, len(sample), 1500)]
    found, expected = ours.encode_batch(texts), theirs.encode_batch(texts)
    for one, other in zip(found, expected, strict=True):
        same(one, other)
    ids = [one.ids for one in expected]
    assert ours.decode_batch(ids) == theirs.decode_batch(ids)
    assert ours.decode_batch(ids, skip_special_tokens=False) == theirs.decode_batch(ids, skip_special_tokens=False)
    assert ours.to_str(True) == theirs.to_str(True)
    for tokenizer in (ours, theirs):
        tokenizer.enable_truncation(20, stride=4)
    same_batches(ours, theirs, texts[:300])


def test_top_level_names():
    assert gputok.OffsetType.CHAR.value == "char"
    assert {member.value for member in gputok.SplitDelimiterBehavior} == {
        member.value for member in tokenizers.SplitDelimiterBehavior
    }
    assert gputok.Tokenizer is Tokenizer and AddedToken("x").content == "x" and decoders and trainers


def test_a_long_text_on_many_threads():
    """A text that is cut between words for threads is encoded as in one piece."""
    from gputok.pipeline.encode import stepwise as batching

    theirs, trainer = pipelines(tokenizers)["byte level"]
    theirs.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    theirs.train_from_iterator(CORPUS, trainer)
    ours = Tokenizer.from_str(theirs.to_str())

    def encode(inputs, threads=None):
        inputs = batching.check_inputs(inputs, False)
        return batching.encode(ours.pipeline, inputs, False, True, offsets=True, threads=threads, slice_size=64)

    texts = ["short", "", "\n".join(CORPUS), "no added token, ünd: " * 40, "with <s> inside " * 60, "   " * 300]
    for one, other in zip(encode(texts, threads=3), theirs.encode_batch(texts), strict=True):
        same(one, other)
    same(encode([(texts[2], texts[3])])[0], theirs.encode(texts[2], texts[3]))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_in_other_processes(method):
    """As in workers of a DataLoader or of `datasets.map`: sent as a pickle, also after use on threads here."""
    import concurrent.futures
    import multiprocessing

    tokenizer, trainer = pipelines(gputok)["byte level"]
    tokenizer.train_from_iterator(CORPUS, trainer)
    expected = [encoding.ids for encoding in tokenizer.encode_batch(CORPUS, threads=2)]
    context = multiprocessing.get_context(method)
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
        assert list(pool.map(_ids, [(tokenizer, CORPUS)] * 2)) == [expected] * 2


def _ids(work):
    tokenizer, texts = work
    return [encoding.ids for encoding in tokenizer.encode_batch(texts)]


def test_first_is_where_the_first_character_is_replaced():
    """A replacement of a text's first character starts the text, whatever its bytes; one of the second does not."""
    encoded = []
    for package in (gputok, tokenizers):
        tokenizer = package.Tokenizer(package.models.WordLevel({"?": 0}, "?"))
        tokenizer.normalizer = package.normalizers.Replace(package.Regex(r"\s+"), "xx")
        tokenizer.pre_tokenizer = package.pre_tokenizers.Metaspace("_", "first")
        texts = ["\u3000a", " a", "\u3000\u3000a", "\u00e9\u3000a"]
        encoded.append([(one.ids, one.offsets, one.word_ids) for one in tokenizer.encode_batch(texts)])
        # The tokens are all unknown, and what was put before a word is shown alone.
        tokenizer.model = package.models.BPE({c: i for i, c in enumerate("_xaé")}, [])
        encoded[-1] += [(one.tokens, one.offsets) for one in tokenizer.encode_batch(texts)]
    assert encoded[0] == encoded[1]
    assert encoded[0][4][0] == ["_", "x", "x", "a"] and encoded[0][6][0] == ["x", "x", "a"]


def test_added_again_with_other_options():
    """Decoding normalizes the text of a token only while the token has `normalized`.

    tokenizers does the same at first and after saving and loading, but in between uses the first options of the token.
    """
    decoded = []
    for package in (gputok, tokenizers):
        tokenizer = package.Tokenizer(package.models.WordLevel({"a": 0}, "a"))
        tokenizer.normalizer = package.normalizers.Prepend("+")
        for normalized in (True, False):
            tokenizer.add_tokens([package.AddedToken("x", normalized=normalized)])
            if package is tokenizers:
                tokenizer = package.Tokenizer.from_str(tokenizer.to_str())
            decoded.append(tokenizer.decode([1, 0]))
    assert decoded[:2] == ["+x a", "x a"] == decoded[2:]


def test_an_encoding_stays_what_it_was():
    """Columns are computed at the first access, with the state of the tokenizer when it encoded."""
    tokenizer = Tokenizer(gputok.models.BPE())
    tokenizer.pre_tokenizer = gputok.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = gputok.processors.ByteLevel()
    train = {"vocab_size": 300, "show_progress": False}
    tokenizer.train_from_iterator(CORPUS, trainers.BpeTrainer(**train))
    texts = ["low lower é", "newest"]
    before = tokenizer.encode_batch(texts)
    known = tokenizer.to_str()
    tokenizer.train_from_iterator(["other words and letters"], trainers.BpeTrainer(**train))
    tokenizer.pre_tokenizer, tokenizer.post_processor = gputok.pre_tokenizers.Whitespace(), None
    for one, other in zip(before, Tokenizer.from_str(known).encode_batch(texts), strict=True):
        same(one, other)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("vocab_size", "get_vocab_size"), ("eos_token", "AutoTokenizer"), ("convert_ids_to_tokens", "id_to_token")],
)
def test_names_of_transformers_get_a_hint(name, hint):
    """No library that asks for them sees them, and programs may set attributes of their own."""
    tokenizer = Tokenizer(models.WordLevel({"a": 0}, unk_token="a"))
    with pytest.raises(AttributeError, match=f"no attribute '{name}': .*{hint}"):
        getattr(tokenizer, name)
    assert not hasattr(tokenizer, name) and not hasattr(Tokenizer, name) and not callable(tokenizer)
    setattr(tokenizer, name, 3)
    assert getattr(tokenizer, name) == 3
    with pytest.raises(AttributeError, match="no attribute 'input_ids': use `ids`"):
        tokenizer.encode("a").input_ids  # noqa: B018 # pyright: ignore[reportAttributeAccessIssue]


def test_one_string_as_an_iterator_of_texts_is_warned_of():
    tokenizer = Tokenizer(models.WordLevel({"a": 0}, unk_token="a"))
    with pytest.warns(UserWarning, match=r"each of its characters is a text; pass a list of texts, \[text\]"):
        tokenizer.train_from_iterator("ab")
    assert tokenizer.get_vocab_size() == 2


@pytest.mark.parametrize("name", ["bpe", "unigram", "wordlevel"])
def test_a_warning_points_at_the_line_that_calls_the_library(name):
    with pytest.warns(UserWarning, match="no words|runs slowly") as warned:
        tokenizer, trainer = recipe(name)
        tokenizer.train_from_iterator([], trainer)
        tokenizer.train_from_word_counts(tokenizer.count_words([]), trainer)
        tokenizer.pre_tokenizer = pre_tokenizers.Split(gputok.Regex(rf"({name})\1"), "isolated")
        tokenizer.encode("a")
    assert len(warned) >= 3 and {one.filename for one in warned} == {__file__}


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda one: one.encode_batch(["a"], threads=0), "threads: must be a whole number from 1"),
        (lambda one: one.encode_batch_fast(["a"], threads="2"), "threads: 'str' object"),
        (lambda one: one.encode_to_numpy(["a"], threads=-1), "threads: must be a whole number from 1"),
        (lambda one: one.incremental(5), "add_special_tokens: 'int' object"),
        (lambda one: one.encode_segments([("a", True)], 3), "add_special_tokens: 'int' object"),
        (lambda one: gputok.PrefixCache(one).encode("a", 5), "add_special_tokens: 'int' object"),
        (lambda one: gputok.PrefixCache(one, 1.5), "max_bytes: 'float' object"),
        (lambda one: one.decode_bytes([1], 5), "skip_special_tokens: 'int' object"),
        (lambda one: one.canonical([1], final=None), "final: 'NoneType' object"),
        (lambda one: one.split("a b", 2.5), "max_tokens: 'float' object"),
        (lambda one: one.split("a b", 3, overlap=1.5), "overlap: 'float' object"),
        (lambda one: one.split("a b", 3, at=5), "at=5: must be texts"),
        (lambda one: gputok.Regex("\ud800"), "pattern: holds half of a surrogate pair"),
    ],
)
def test_values_of_a_wrong_kind_are_errors(call, error):
    with pytest.raises((TypeError, ValueError), match=error):
        call(growing.tokenizer("bpe", None, growing.BYTES))
